//! `ostria status`.

use clap::Args;

use crate::arguments::Output;
use crate::client;
use crate::failure::Failure;
use crate::state::State;
use crate::verb::entry::Verb;
use crate::verb::print;
use crate::view;
use crate::wire;

/// `ostria status`
#[derive(Debug, Args)]
pub struct Status {
    /// Format: table, wide, json or yaml
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

impl Verb for Status {
    const NAME: &'static str = "status";
    const ABOUT: &'static str = "Show pods, their identities and whether their proxies are in sync";
    const EXAMPLES: &'static [&'static str] = &["status", "status -o json"];

    fn run(self, state: &State) -> Result<(), Failure> {
        let status: wire::Status = client::block_on(client::call(state, "/status", &()))?;
        match print::document(&status, self.output) {
            Some(text) => print::out(&text),
            None => print::table(&view::status::render(&status, self.output == Output::Wide)),
        }
        Ok(())
    }
}
