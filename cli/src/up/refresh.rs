//! Updates the files in volumes: tokens before they expire, configuration when its object changes.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use tokio::time::{Instant, sleep};

use crate::up::context::Context;
use crate::up::files;

/// Rewrites volumes until the runtime ends: soon after an object changes, and at least every two minutes, which is a
/// fifth of the shortest lifetime of a token.
pub async fn run(context: Arc<Context>) {
    let mut changes = context.shared.watch();
    let mut generation = String::new();
    let mut last = Instant::now();
    loop {
        // Objects often change together, so one pass serves several changes.
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

/// The generations of all ConfigMaps and Secrets as one text, which changes when any of them changes.
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
