//! `ostria scale`.

use clap::Args;
use serde_json::json;

use crate::client::stream::block_on;
use crate::failure::Failure;
use crate::manifest::object::Key;
use crate::place::Place;
use crate::verb::entry::Verb;
use crate::verb::{print, resource};
use crate::view::form::Form;

/// `ostria scale`
#[derive(Debug, Args)]
pub struct Scale {
    /// Objects to scale, as deployment/NAME or statefulset/NAME
    #[arg(required = true, value_name = "KIND/NAME")]
    words: Vec<String>,
    /// Number of pods to run
    #[arg(long)]
    replicas: u32,
    /// Scale only if the current number of replicas is this
    #[arg(long)]
    current_replicas: Option<u64>,
    /// Format of the scaled objects: json, yaml, name, jsonpath=TEMPLATE or custom-columns=HEAD:PATH,...
    #[arg(short, long, default_value = "", hide_default_value = true)]
    output: Form,
}

impl Verb for Scale {
    const NAME: &'static str = "scale";
    const ABOUT: &'static str = "Set the number of pods of a Deployment or StatefulSet";
    const EXAMPLES: &'static [&'static str] =
        &["scale deployment/reviews-v1 --replicas=3", "scale deployment/reviews-v1 --replicas=3 -o json"];

    fn run(self, place: &Place) -> Result<(), Failure> {
        block_on(async {
            let mesh = place.mesh().await?;
            for selection in resource::selections(&self.words)? {
                if !matches!(selection.kind.kind, "Deployment" | "StatefulSet") || selection.names.is_empty()
                {
                    let reason = format!("{} cannot be scaled", selection.kind.plural);
                    return Err(Failure::blocked(reason, "name deployment/NAME or statefulset/NAME"));
                }
                for name in &selection.names {
                    let object = resource::object(&mesh, selection.kind, mesh.namespace(), name).await?;
                    let has =
                        object.pointer("/spec/replicas").and_then(serde_json::Value::as_u64).unwrap_or(1);
                    if let Some(expected) = self.current_replicas.filter(|expected| *expected != has) {
                        let reason = format!("Expected replicas to be {expected}, was {has}");
                        return Err(Failure::blocked(
                            reason,
                            "set --current-replicas to this number, or remove it",
                        ));
                    }
                    resource::edit(&mesh, &object, |object| {
                        object["spec"]["replicas"] = json!(self.replicas);
                    })
                    .await?;
                    let words = format!("{} scaled\n", Key::of(&object).printed());
                    let scaled = resource::object(&mesh, selection.kind, mesh.namespace(), name).await?;
                    print::object(&self.output, &scaled, &words)?;
                }
            }
            Ok(())
        })
    }
}
