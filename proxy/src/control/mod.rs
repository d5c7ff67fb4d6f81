//! Writes the seams: configuration from the control plane into `snapshot`, certificates into `credentials`, callers'
//! workloads into `telemetry`. Runs on the control thread, never on a worker's. Whatever fails here is tried again for
//! ever, and meanwhile the last good configuration and certificates stay in force.

pub mod certificate;
pub mod mounted;
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

/// What control writes to, and others read.
#[derive(Clone)]
pub struct Seams {
    /// The configuration in force.
    pub snapshot: watch::Sender<Arc<Snapshot>>,
    /// Secrets.
    pub credentials: Arc<Store>,
    /// Counters and callers.
    pub telemetry: Arc<Telemetry>,
    /// Names that the DNS server answers.
    pub names: watch::Sender<Arc<NameTable>>,
    /// How control stands.
    pub status: watch::Sender<Status>,
}

impl Seams {
    /// Seams with nothing in them.
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

/// Which version of a resource is here, and since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The control plane's word for it.
    pub text: String,
    /// When it came.
    pub updated: SystemTime,
}

/// How control stands, for readiness and dumps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// A stream to the control plane is open.
    pub connected: bool,
    /// Clusters have arrived.
    pub clusters: bool,
    /// Listeners have arrived.
    pub listeners: bool,
    /// The first configuration has been given to the workers.
    pub published: bool,
    /// Versions of the resources that are here.
    pub versions: BTreeMap<Kind, BTreeMap<String, Version>>,
    /// Resources whose newest version was refused, with the reason.
    pub refused: BTreeMap<(Kind, String), String>,
    /// Why the last attempt to get a certificate failed.
    pub certificate: Option<String>,
}

#[cfg(test)]
mod tests;
