//! Writes the seams: configuration from the control plane into `snapshot`, certificates into `credentials`,
//! clients' workloads into `telemetry`. Runs on the control thread, never on a worker's. Failures are retried
//! forever, and meanwhile the last good configuration and certificates stay in force.

pub mod certificate;
pub mod mounted;
pub mod removal;
pub mod xds;

mod configuration;

mod schedule;

use crate::credentials::Store;
use crate::snapshot::Snapshot;
use crate::telemetry::Telemetry;
use api::model::Kind;
use api::model::workload::NameTable;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::sync::watch;

/// The shared state that control writes and other parts read.
#[derive(Clone)]
pub struct Seams {
    /// The configuration in force, for the workers.
    pub snapshot: watch::Sender<Arc<Snapshot>>,
    /// Certificates, keys and roots.
    pub credentials: Arc<Store>,
    /// Counters, and the workloads of clients.
    pub telemetry: Arc<Telemetry>,
    /// The names that the DNS server resolves.
    pub names: watch::Sender<Arc<NameTable>>,
    /// The state of control.
    pub status: watch::Sender<Status>,
}

impl Seams {
    /// Creates seams without configuration.
    pub fn new(credentials: Arc<Store>, telemetry: Arc<Telemetry>) -> Self {
        Self {
            snapshot: watch::Sender::new(Arc::new(Snapshot::empty())),
            credentials,
            telemetry,
            names: watch::Sender::new(Arc::default()),
            status: watch::Sender::new(Status::default()),
        }
    }
}

/// The version of a resource, and when it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The control plane's version string.
    pub text: String,
    /// When the resource arrived.
    pub updated: SystemTime,
}

/// The state of control, for readiness and dumps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Whether a stream to the control plane is open.
    pub connected: bool,
    /// Whether clusters have arrived.
    pub clusters: bool,
    /// Whether listeners have arrived.
    pub listeners: bool,
    /// Whether the workers have received the first configuration.
    pub published: bool,
    /// Versions of the accepted resources.
    pub versions: BTreeMap<Kind, BTreeMap<String, Version>>,
    /// Resources whose latest version was refused, with the reason.
    pub refused: BTreeMap<(Kind, String), String>,
    /// Why the last certificate request failed.
    pub certificate: Option<String>,
}

#[cfg(test)]
mod tests;
