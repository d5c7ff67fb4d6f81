//! Writes the state of the world for pilot: one file for each object and for each running pod, in the folder that pilot
//! watches. Each file is replaced atomically, and only if its content has changed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

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
    let mut trouble: Option<String> = None;
    loop {
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            // Try again, because no change may follow when the disk has room again.
            () = tokio::time::sleep(AGAIN), if trouble.is_some() => {}
        }
        let count = *changes.borrow_and_update();
        let result = write(&context, &mut written).map_err(|error| unwritten(&context, &error));
        if let Err(reason) = &result
            && trouble.as_ref() != Some(reason)
        {
            tracing::error!(reason, "configuration for pilot cannot be written; pilot keeps the last one");
        }
        trouble = result.err();
        context.published.send_modify(|state| {
            state.count = count;
            state.trouble.clone_from(&trouble);
        });
    }
}

/// Checks that there is room on the disk for more objects; fails with the reason. This runs before anything changes,
/// because pilot would not see a change that cannot be written.
pub fn has_room(context: &Context, objects: &[&Value]) -> Result<(), String> {
    let content: Vec<u8> = objects.iter().flat_map(|object| bytes(object)).collect();
    let folder = context.state.config();
    let file = folder.join(TRIAL);
    let tried = std::fs::create_dir_all(&folder).and_then(|()| replace_own(&file, &content));
    // If the file remains, the next trial overwrites it.
    let _ = std::fs::remove_file(&file);
    tried.map_err(|error| unwritten(context, &error))
}

fn unwritten(context: &Context, error: &std::io::Error) -> String {
    format!("objects cannot be written to {}: {error}", context.state.config().display())
}

/// Updates the folder to the state of the world.
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

/// A pod with its status, as the API server would return it.
pub fn with_status(entry: &crate::up::world::Entry) -> Value {
    let mut pod = entry.object.clone();
    pod["status"] = entry.status.object(&NODE.to_string());
    pod["metadata"]["creationTimestamp"] = json!(entry.status.created);
    if entry.status.leaving {
        pod["metadata"]["deletionTimestamp"] = json!(entry.status.changed);
    }
    pod
}

/// Name of a file that pilot ignores.
const TRIAL: &str = "trial";
/// Delay before a failed write is tried again.
const AGAIN: Duration = Duration::from_secs(1);

fn bytes(object: &Value) -> Vec<u8> {
    serde_json::to_vec_pretty(object).expect("an object is plain data")
}
