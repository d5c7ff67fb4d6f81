//! Streams changes of objects, for `get --watch` and for verbs that wait.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::manifest::object::Key;
use crate::up::context::Context;
use crate::up::look;
use crate::wire::{Query, Watched};

/// Sends one line of JSON for each change until the client disconnects.
pub async fn run(context: Arc<Context>, query: Query, sender: mpsc::Sender<std::io::Result<Bytes>>) {
    let mut changes = context.shared.watch();
    let mut known: Option<BTreeMap<Key, Value>> = None;
    loop {
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = sender.closed() => return,
        }
        changes.borrow_and_update();
        let Ok(objects) = look::list(&context, &query) else { return };
        let found: BTreeMap<Key, Value> =
            objects.into_iter().map(|object| (Key::of(&object), object)).collect();
        let mut changes_found = difference(known.as_ref().unwrap_or(&BTreeMap::new()), &found);
        if known.is_none() {
            changes_found.push(Watched::Bookmark);
        }
        known = Some(found);
        for watched in changes_found {
            let mut line = serde_json::to_vec(&watched).expect("objects are plain data");
            line.push(b'\n');
            if sender.send(Ok(line.into())).await.is_err() {
                return;
            }
        }
    }
}

fn difference(before: &BTreeMap<Key, Value>, after: &BTreeMap<Key, Value>) -> Vec<Watched> {
    let gone = before.iter().filter(|(key, _)| !after.contains_key(key));
    let gone = gone.map(|(_, object)| Watched::Deleted(object.clone()));
    let there = after.iter().filter_map(|(key, object)| match before.get(key) {
        None => Some(Watched::Added(object.clone())),
        Some(old) if old != object => Some(Watched::Modified(object.clone())),
        Some(_) => None,
    });
    gone.chain(there).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn created_changed_and_deleted_objects_are_reported() {
        let world = |objects: &[(&str, u64)]| -> BTreeMap<Key, Value> {
            let object = |(name, value): &(&str, u64)| json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "value": value});
            objects.iter().map(object).map(|object| (Key::of(&object), object)).collect()
        };
        let changes_found: Vec<String> =
            difference(&world(&[("a", 1), ("b", 1), ("c", 1)]), &world(&[("b", 2), ("c", 1), ("d", 1)]))
                .into_iter()
                .map(|watched| match watched {
                    Watched::Added(object) => format!("+{}", object["metadata"]["name"]),
                    Watched::Modified(object) => format!("~{}", object["metadata"]["name"]),
                    Watched::Deleted(object) => format!("-{}", object["metadata"]["name"]),
                    Watched::Bookmark => "bookmark".into(),
                })
                .collect();
        assert_eq!(changes_found, ["-\"a\"", "~\"b\"", "+\"d\""]);
    }
}
