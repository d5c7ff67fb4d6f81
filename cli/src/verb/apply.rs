//! `ostria apply -f`.

use crate::arguments::Files;
use crate::client;
use crate::failure::Failure;
use crate::manifest::read;
use crate::state::State;
use crate::verb::entry::Verb;
use crate::verb::print;
use crate::wire::Apply;

impl Verb for Files {
    const NAME: &'static str = "apply";
    const ABOUT: &'static str = "Create or change objects from files";
    const EXAMPLES: &'static [&'static str] =
        &["apply -f samples/bookinfo/networking/virtual-service-reviews-80-20.yaml"];

    fn run(self, state: &State) -> Result<(), Failure> {
        run(state, &self)
    }
}

/// Reads the files, has them checked, and changes all objects or none.
fn run(state: &State, files: &Files) -> Result<(), Failure> {
    let objects =
        read::read(&files.filename, files.recursive, files.namespace.as_deref()).map_err(Failure::Refused)?;
    let request = Apply { objects, dry_run: files.dry_run };
    let answer = client::block_on(client::call(state, "/apply", &request))?;
    print::answer(answer, if files.dry_run { " (dry run)" } else { "" })
}
