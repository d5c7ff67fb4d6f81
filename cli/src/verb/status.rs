//! `ostria status`.

use crate::arguments::Output;
use crate::client;
use crate::failure::Failure;
use crate::state::State;
use crate::verb::print;
use crate::view;
use crate::wire::Status;

/// Shows pods, identities and what proxies have.
pub fn run(state: &State, output: Output) -> Result<(), Failure> {
    let status: Status = client::block_on(client::call(state, "/status", &()))?;
    let text = print::document(&status, output);
    print::out(&text.unwrap_or_else(|| view::status::render(&status, output == Output::Wide)));
    Ok(())
}
