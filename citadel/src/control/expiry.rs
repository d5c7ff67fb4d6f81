//! Reports when the root and the signing certificate expire: always in metrics, and in the log when they are about to.

use crate::root::Root;
use crate::telemetry::Metrics;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::sync::watch;

/// Updates the metrics each minute, and warns once a day.
pub async fn run(root: watch::Receiver<Arc<Root>>, metrics: Metrics) {
    let mut ticks = tokio::time::interval(MINUTE);
    for minute in 0_u64.. {
        ticks.tick().await;
        let now = OffsetDateTime::now_utc();
        let root = root.borrow().clone();
        metrics.set_ends(root.root_not_after(), root.signer_not_after(), now);
        let end = root.root_not_after().min(root.signer_not_after());
        if minute % MINUTES_A_DAY == 0 && end - now < WARNING {
            let days = (end - now).whole_days();
            tracing::warn!(
                days,
                "the signing certificate or its root expires soon; replace the files in the root folder"
            );
        }
    }
}

const MINUTE: Duration = Duration::from_mins(1);
const MINUTES_A_DAY: u64 = 24 * 60;
const WARNING: time::Duration = time::Duration::days(90);
