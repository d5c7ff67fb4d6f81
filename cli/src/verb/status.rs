//! `ostria status`.

use clap::Args;

use crate::arguments::Output;
use crate::client::stream::block_on;
use crate::failure::Failure;
use crate::place::Place;
use crate::verb::entry::Verb;
use crate::verb::print;
use crate::view;

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
    const EXAMPLES: &'static [&'static str] =
        &["status", "status -n default -o wide", "status --context kind-kind"];

    fn run(self, place: &Place) -> Result<(), Failure> {
        let namespace = place.namespace();
        let status = block_on(async { place.mesh().await?.status(namespace, print::now()).await })?;
        match print::document(&status, self.output) {
            Some(text) => print::out(&text),
            None => print::table(&view::status::render(&status, self.output == Output::Wide)),
        }
        Ok(())
    }
}
