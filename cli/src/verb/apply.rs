//! `ostria apply -f`.

use crate::arguments::Files;
use crate::client;
use crate::failure::Failure;
use crate::manifest::read;
use crate::state::State;
use crate::verb::print;
use crate::wire::Apply;

/// Reads the files, has them checked, and changes all objects or none.
pub fn run(state: &State, files: &Files) -> Result<(), Failure> {
    let objects =
        read::read(&files.filename, files.recursive, files.namespace.as_deref()).map_err(Failure::Refused)?;
    let request = Apply { objects, dry_run: files.dry_run };
    let answer = client::block_on(client::call(state, "/apply", &request))?;
    print::answer(answer, if files.dry_run { " (dry run)" } else { "" })
}
