//! `ostria apply -f`.

use api::resource::document::Problem;

use crate::arguments::{Apply, DryRun};
use crate::client;
use crate::failure::Failure;
use crate::kubelet::check::check;
use crate::manifest::object::Key;
use crate::manifest::read;
use crate::state::State;
use crate::state::lock;
use crate::verb::entry::Verb;
use crate::verb::{print, settle};
use crate::view::settle::Awaited;
use crate::wire::{self, ChangeResponse, Given, Outcome};

impl Verb for Apply {
    const NAME: &'static str = "apply";
    const ABOUT: &'static str = "Create or update objects from files";
    const EXAMPLES: &'static [&'static str] =
        &["apply -f samples/bookinfo/networking/virtual-service-reviews-80-20.yaml"];

    fn run(self, state: &State) -> Result<(), Failure> {
        run(state, &self)
    }
}

/// Reads and checks the files, changes all objects or none, and waits until every proxy has acknowledged the change.
fn run(state: &State, apply: &Apply) -> Result<(), Failure> {
    let files = &apply.files;
    let objects =
        read::read(&files.filename, files.recursive, files.namespace.as_deref()).map_err(Failure::Refused)?;
    if objects.is_empty() {
        return Err(Failure::Nothing("apply"));
    }
    let suffix = match apply.dry_run {
        DryRun::None => "",
        DryRun::Server => " (server dry run)",
        DryRun::Client => " (dry run)",
    };
    if apply.dry_run == DryRun::Client && lock::running(state).is_err() {
        return print::response(&alone(&objects), suffix);
    }
    client::block_on(async {
        let request = wire::Apply { objects: objects.clone(), dry_run: apply.dry_run };
        let response: ChangeResponse = client::call(state, "/apply", &request).await?;
        print::response(&response, suffix)?;
        if apply.dry_run != DryRun::None || !apply.wait {
            return Ok(());
        }
        let awaited = response.wanted.into_iter().zip(&objects);
        let awaited: Vec<Awaited> =
            awaited.filter_map(|(wanted, given)| Awaited::new(wanted, given.file.clone())).collect();
        settle::wait(state, &awaited, apply.timeout).await
    })
}

/// Checks objects without a running mesh. Programs are not looked up, because that depends on the machine that runs the
/// mesh.
fn alone(objects: &[Given]) -> ChangeResponse {
    let problems: Vec<Problem> = objects.iter().flat_map(|given| check(given, &|_| true)).collect();
    let outcome =
        |given: &Given| Outcome { object: Key::of(&given.object).printed(), verdict: "created".into() };
    ChangeResponse { outcomes: objects.iter().map(outcome).collect(), problems, ..ChangeResponse::default() }
}
