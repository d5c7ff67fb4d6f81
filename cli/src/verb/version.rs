//! `ostria version`.

use clap::Args;
use serde_json::json;

use crate::arguments::Output;
use crate::failure::Failure;
use crate::state::State;
use crate::verb::entry::Verb;
use crate::verb::print;

/// `ostria version`
#[derive(Debug, Args)]
pub struct Version {
    /// Format: json or yaml; without it, plain text
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

impl Verb for Version {
    const NAME: &'static str = "version";
    const ABOUT: &'static str = "Print the version";
    const EXAMPLES: &'static [&'static str] = &["version -o json"];

    fn run(self, _state: &State) -> Result<(), Failure> {
        let version = env!("CARGO_PKG_VERSION");
        let text = print::document(&json!({"version": version}), self.output);
        print::out(&text.unwrap_or_else(|| format!("ostria {version}\n")));
        Ok(())
    }
}
