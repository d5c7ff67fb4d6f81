//! `ostria crds`: prints the CustomResourceDefinitions that a cluster needs to accept the mesh's kinds.

use api::resource::crd;
use clap::{Args, ValueEnum};
use serde_json::json;

use crate::failure::Failure;
use crate::state::State;
use crate::verb::entry::Verb;
use crate::verb::print;

/// `ostria crds`
#[derive(Debug, Args)]
pub struct Crds {
    /// Format: yaml, one document for each definition, or json, one list
    #[arg(short, long, value_enum, default_value_t = Format::Yaml)]
    output: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Yaml,
    Json,
}

impl Verb for Crds {
    const NAME: &'static str = "crds";
    const ABOUT: &'static str = "Print the mesh's CustomResourceDefinitions for Kubernetes";
    const EXAMPLES: &'static [&'static str] = &["crds", "crds -o json"];

    fn run(self, _state: &State) -> Result<(), Failure> {
        let all = crd::all();
        match self.output {
            Format::Yaml => {
                for definition in all {
                    print::out(&format!("---\n{}", print::yaml(&definition)));
                }
            }
            Format::Json => {
                let list = json!({"apiVersion": "v1", "kind": "List", "items": all});
                print::out(&print::json(&list));
            }
        }
        Ok(())
    }
}
