//! The pages of the proxy: Envoy's administration on the loopback address, and what Istio's agent serves beside it
//! (health, merged metrics, the application's probes). They read the seams and never stand in a request's way.

mod agent;
mod envoy;

mod probe;
mod scrape;

mod clusters;
mod dump;
mod certs;
mod listeners;
mod stats;

mod fetch;

pub use agent::{agent, health, metrics};
pub use envoy::envoy;

use crate::config::{Prober, Scrape};
use crate::control::{Seams, Status};
use crate::pipeline::bound::Bound;
use api::process::log;
use api::wire::json::Bootstrap;
use api::wire::xds::NodeInfo;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime};
use tokio::sync::{mpsc, watch};

/// What the pages show and do.
#[derive(Clone)]
pub struct Admin {
    shared: Arc<Shared>,
}

/// What the pages are made from.
pub struct Shared {
    /// Configuration, secrets, counters.
    pub seams: Seams,
    /// Where listeners are bound.
    pub bound: Bound,
    /// The running log.
    pub log: log::Handle,
    /// Who this proxy is.
    pub node: NodeInfo,
    /// Worker threads.
    pub concurrency: usize,
    /// When the process began.
    pub started: Instant,
    /// What a mesh needs before it is ready; a static proxy needs its listeners alone.
    pub needs: Needs,
    /// The application's probes.
    pub probers: BTreeMap<String, Prober>,
    /// Where the application's metrics are.
    pub scrape: Vec<Scrape>,
    /// The pod's address, at which the application is probed.
    pub address: IpAddr,
    /// What the process was started from, for dumps.
    pub bootstrap: Bootstrap,
    /// Why the pod's traffic is not captured as it should be; `None`: it is, or it need not be.
    pub capture: watch::Sender<Option<String>>,
    /// The end is near: not ready any more.
    pub draining: AtomicBool,
    /// Wishes that the pages take.
    pub commands: mpsc::UnboundedSender<Command>,
}

/// What has to be there before the proxy is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// The workload's own certificate.
    pub certificate: bool,
    /// Clusters and listeners of the control plane.
    pub discovery: bool,
}

/// A wish that a page takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// End without draining.
    Quit,
    /// Stop taking connections, and go on living.
    Drain {
        /// Of inbound listeners only.
        inbound_only: bool,
        /// Only after a moment, for callers that have not learned of the end yet.
        graceful: bool,
    },
}

impl Admin {
    /// Pages over these parts.
    pub fn new(shared: Shared) -> Self {
        Self { shared: Arc::new(shared) }
    }

    /// Marks the proxy as ending: not ready from here on.
    pub fn drain(&self) {
        self.shared.draining.store(true, Ordering::Relaxed);
    }

    /// Not ready while there is a reason why the pod's traffic is not captured.
    pub fn wait_for_capture(&self, reason: Option<String>) {
        self.shared.capture.send_replace(reason);
    }

    /// What readiness waits for; empty: ready.
    pub fn pending(&self) -> Vec<String> {
        let shared = &self.shared;
        let bound = shared.bound.all();
        let status = shared.seams.status.borrow();
        let has_certificate = shared.seams.credentials.contains(api::name::WORKLOAD_CERTIFICATE);
        let draining = shared.draining.load(Ordering::Relaxed);
        let mut pending = pending(shared.needs, &status, has_certificate, draining);
        pending.extend(shared.capture.borrow().clone());
        for listener in
            shared.seams.snapshot.borrow().listeners().iter().filter(|listener| listener.bind_to_port)
        {
            match bound.get(&listener.name) {
                Some(Ok(_)) => {}
                Some(Err(reason)) => pending.push(format!("listener {}: {reason}", listener.name)),
                None => pending.push(format!("listener {}", listener.name)),
            }
        }
        pending
    }

    /// Brings the gauges up to date that follow from others.
    #[allow(clippy::disallowed_methods, reason = "the page tells how long a certificate lives from now on")]
    fn refresh(&self) {
        let state = match self.state() {
            "LIVE" => 0,
            "DRAINING" => 1,
            _ => 2,
        };
        let telemetry = &self.shared.seams.telemetry;
        let certificates = &self.shared.seams.credentials;
        if let Some(end) = certificates.expiry(api::name::WORKLOAD_CERTIFICATE) {
            let left = end.duration_since(SystemTime::now()).unwrap_or_default().as_secs();
            telemetry.named("agent.cert_expiry_seconds").store(left, Ordering::Relaxed);
        }
        telemetry.named("server.state").store(state, Ordering::Relaxed);
        telemetry.named("server.live").store(u64::from(state == 0), Ordering::Relaxed);
        telemetry.named("server.uptime").store(self.shared.started.elapsed().as_secs(), Ordering::Relaxed);
    }

    /// Envoy's word for how the server stands.
    fn state(&self) -> &'static str {
        if self.shared.draining.load(Ordering::Relaxed) {
            "DRAINING"
        } else if self.pending().is_empty() {
            "LIVE"
        } else {
            "PRE_INITIALIZING"
        }
    }
}

fn pending(needs: Needs, status: &Status, has_certificate: bool, draining: bool) -> Vec<String> {
    let table = [
        (draining, "the proxy is ending"),
        (needs.certificate && !has_certificate, "the workload's certificate"),
        (needs.discovery && !status.clusters, "clusters from the control plane"),
        (needs.discovery && !status.listeners, "listeners from the control plane"),
    ];
    let mut pending: Vec<String> =
        table.iter().filter(|(waits, _)| *waits).map(|(_, what)| (*what).to_owned()).collect();
    if let Some(reason) = status.certificate.as_ref().filter(|_| needs.certificate && !has_certificate) {
        pending.push(reason.clone());
    }
    pending
}

#[cfg(test)]
mod tests;
