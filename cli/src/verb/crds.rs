//! `ostria crds`: prints the CustomResourceDefinitions that a cluster needs to accept the mesh's kinds.

use api::resource::crd;
use clap::{Args, ValueEnum};
use serde_json::json;

use crate::failure::Failure;
use crate::place::Place;
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

    fn run(self, _place: &Place) -> Result<(), Failure> {
        match self.output {
            Format::Yaml => print::out(&definitions()),
            Format::Json => {
                let list = json!({"apiVersion": "v1", "kind": "List", "items": crd::all()});
                print::out(&print::json(&list));
            }
        }
        Ok(())
    }
}

/// The definitions as YAML documents.
fn definitions() -> String {
    let documents: Vec<String> = crd::all().iter().map(print::yaml).collect();
    format!("---\n{}", documents.join("---\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `OSTRIA_WRITE_DOCS=1` rewrites the chart's file.
    #[test]
    fn the_chart_installs_the_printed_definitions() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/helm/ostria/files/crds.yaml");
        let heading = "# Printed by `ostria crds`; written by `make docs`.\n";
        let expected = heading.to_owned() + &definitions();
        if std::env::var_os("OSTRIA_WRITE_DOCS").is_some() {
            std::fs::write(path, &expected).unwrap();
        }
        assert!(
            std::fs::read_to_string(path).unwrap() == expected,
            "{path} is not what `ostria crds` prints; run `make docs`"
        );
    }
}
