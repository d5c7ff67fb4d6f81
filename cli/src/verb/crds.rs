//! `ostria crds`: prints the CustomResourceDefinitions that a cluster needs to accept the mesh's kinds.

use api::resource::crd;
use clap::Args;

use crate::failure::Failure;
use crate::state::State;
use crate::verb::entry::Verb;
use crate::verb::print;

/// `ostria crds`
#[derive(Debug, Args)]
pub struct Crds {}

impl Verb for Crds {
    const NAME: &'static str = "crds";
    const ABOUT: &'static str = "Print the mesh's CustomResourceDefinitions for Kubernetes";
    const EXAMPLES: &'static [&'static str] = &["crds"];

    /// Prints the definitions as YAML documents.
    fn run(self, _state: &State) -> Result<(), Failure> {
        for definition in crd::all() {
            print::out(&format!("---\n{}", print::yaml(&definition)));
        }
        Ok(())
    }
}
