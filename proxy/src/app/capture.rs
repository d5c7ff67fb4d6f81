//! Checks before startup that the pod's traffic is captured. Rules can be missing because the init container was
//! removed, or because another program changed them, and traffic that bypasses the proxy bypasses every policy.

use super::plan::Plan;
use crate::admin::Admin;
use crate::redirect::verify::{self, Probe};
use std::time::Duration;

/// Returns when test connections of both IP families are captured. Until then the proxy is not ready, and its
/// status gives the reason.
pub(super) async fn confirmed(plan: &Plan, admin: &Admin) {
    let Some(probe) = plan.capture else { return };
    let mut reported = None;
    while let Err(reason) = test(probe).await {
        let message = format!("capture of the pod's traffic: {reason}; {NEXT}");
        if reported.as_ref() != Some(&message) {
            tracing::error!("not ready: {message}");
            admin.wait_for_capture(Some(message.clone()));
            reported = Some(message);
        }
        tokio::time::sleep(AGAIN).await;
    }
    if reported.is_some() {
        tracing::info!("the pod's traffic is captured now");
    }
    admin.wait_for_capture(None);
}

/// Runs the test on a blocking thread: it waits for the kernel, which is quick unless something is wrong. Pages are
/// served meanwhile.
async fn test(probe: Probe) -> Result<(), String> {
    let tested = tokio::task::spawn_blocking(move || verify::capture_works(&probe)).await;
    tested.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}

const AGAIN: Duration = Duration::from_secs(1);
const NEXT: &str = "the container istio-init (ostria-proxy init) makes the rules; proxyMetadata \
                    OSTRIA_CAPTURE_CHECK: \"false\" starts without this test";
