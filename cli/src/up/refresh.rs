//! Keeps the files in volumes current: tokens before they expire, configuration when its object changed.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use tokio::time::{Instant, sleep};

use crate::up::context::Context;
use crate::up::files;

/// Writes volumes again until the runtime ends: soon after a change of an object, and at least each two
/// minutes, which is a fifth of the shortest life that a token may have.
pub async fn run(context: Arc<Context>) {
    let mut changes = context.shared.watch();
    let mut generation = String::new();
    let mut last = Instant::now();
    loop {
        // Many objects change together; one pass serves them all.
        sleep(Duration::from_secs(1)).await;
        if tokio::time::timeout(LONGEST, changes.changed()).await.is_ok_and(|changed| changed.is_err()) {
            return;
        }
        let now = configuration(&context);
        if now != generation || last.elapsed() >= LONGEST {
            generation = now;
            last = Instant::now();
            write(&context);
        }
    }
}

/// What all configuration says, in short.
fn configuration(context: &Context) -> String {
    let world = context.shared.read();
    let kinds = ["ConfigMap", "Secret"].into_iter().flat_map(|kind| world.of_kind(kind));
    let lines: Vec<String> =
        kinds.map(|(key, object)| format!("{key} {}", object["metadata"]["generation"])).collect();
    lines.join(
        "
",
    )
}

fn write(context: &Context) {
    let pods: Vec<(Pod, String)> = {
        let world = context.shared.read();
        let running = world.pods.values().filter(|entry| entry.sandbox.is_some());
        running
            .filter_map(|entry| {
                Some((serde_json::from_value(entry.object.clone()).ok()?, entry.status.address.clone()))
            })
            .collect()
    };
    for (pod, address) in pods {
        let folder = context.state.pod(pod.metadata.uid.as_deref().unwrap_or_default());
        if let Err(error) = files::volumes(context, &pod, &folder, &address, false) {
            tracing::warn!(
                pod = pod.metadata.name,
                reason = error.to_string(),
                "volumes keep their old content"
            );
        }
    }
}

const LONGEST: Duration = Duration::from_secs(120);
