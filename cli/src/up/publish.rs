//! Tells pilot what is there: one file for each object and for each running pod, in the folder that pilot
//! watches. Each file is replaced in one step and only when its content changed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use api::resource::kind;
use serde_json::{Value, json};

use crate::beneath::replace_own;
use crate::kubelet::address::NODE;
use crate::manifest::object::bounded;
use crate::up::context::Context;
use crate::up::world::World;

/// Writes files until the runtime ends.
pub async fn run(context: Arc<Context>) {
    let mut changes = context.shared.watch();
    let mut written = BTreeMap::new();
    while changes.changed().await.is_ok() {
        if let Err(error) = write(&context, &mut written) {
            tracing::error!(%error, "configuration cannot be written for pilot");
        }
    }
}

/// Brings the folder up to date with the world.
pub fn write(context: &Context, written: &mut BTreeMap<PathBuf, Vec<u8>>) -> std::io::Result<()> {
    let wanted = files(&context.shared.read());
    let folder = context.state.config();
    for (path, content) in &wanted {
        if written.get(path) != Some(content) {
            let file = folder.join(path);
            if let Some(parent) = file.parent() {
                std::fs::create_dir_all(parent)?;
            }
            replace_own(&file, content)?;
        }
    }
    for path in written.keys().filter(|path| !wanted.contains_key(*path)) {
        match std::fs::remove_file(folder.join(path)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    *written = wanted;
    Ok(())
}

fn files(world: &World) -> BTreeMap<PathBuf, Vec<u8>> {
    let objects =
        world.objects.iter().filter(|(key, _)| key.kind != "Pod" || !key.group.is_empty()).filter_map(
            |(key, object)| {
                let folder = match kind::of(&key.group, &key.kind)? {
                    kind if kind.is_mesh() => "mesh",
                    kind => kind.plural,
                };
                Some((PathBuf::from(folder).join(format!("{}.json", key.file_name())), bytes(object)))
            },
        );
    let pods =
        world.pods.iter().filter(|(_, entry)| entry.address.is_some()).map(|((namespace, name), entry)| {
            let path = PathBuf::from("pods").join(format!("{}.json", bounded(format!("{namespace}_{name}"))));
            (path, bytes(&with_status(entry)))
        });
    objects.chain(pods).collect()
}

/// A pod as the API server would show it.
pub fn with_status(entry: &crate::up::world::Entry) -> Value {
    let mut pod = entry.object.clone();
    pod["status"] = entry.status.object(&NODE.to_string());
    pod["metadata"]["creationTimestamp"] = json!(entry.status.created);
    if entry.status.leaving {
        pod["metadata"]["deletionTimestamp"] = json!(entry.status.changed);
    }
    pod
}

fn bytes(object: &Value) -> Vec<u8> {
    serde_json::to_vec_pretty(object).expect("an object is plain data")
}
