//! The state that the pages show, and what the proxy still waits for before it is ready.

use crate::config::{Prober, Scrape};
use crate::control::removal::Departure;
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

/// Serves the pages.
#[derive(Clone)]
pub struct Admin {
    pub(super) shared: Arc<Shared>,
}

/// The state that the pages show.
pub struct Shared {
    /// Configuration, secrets, counters.
    pub seams: Seams,
    /// Where listeners are bound, and which failed to bind.
    pub bound: Bound,
    /// The log, whose level can be changed.
    pub log: log::Handle,
    /// This proxy's node.
    pub node: NodeInfo,
    /// The number of worker threads.
    pub concurrency: usize,
    /// When the process started.
    pub started: Instant,
    /// What must be present before the proxy is ready; a static proxy needs only its listeners.
    pub needs: Needs,
    /// The application's probes.
    pub probers: BTreeMap<String, Prober>,
    /// Where to fetch the application's metrics.
    pub scrape: Vec<Scrape>,
    /// The pod's address, at which the application is probed.
    pub address: IpAddr,
    /// The configuration that the process started with, for dumps.
    pub bootstrap: Bootstrap,
    /// Why the pod's traffic is not captured correctly; `None`: it is, or it need not be.
    pub capture: watch::Sender<Option<String>>,
    /// The proxy is shutting down, and therefore not ready.
    pub draining: AtomicBool,
    /// What the hooks of the ending pod wait for.
    pub departure: Departure,
    /// Commands received by the pages.
    pub commands: mpsc::UnboundedSender<Command>,
}

/// What must be present before the proxy is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// The workload's own certificate.
    pub certificate: bool,
    /// Clusters and listeners of the control plane.
    pub discovery: bool,
}

/// A command received by a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// End the process without draining.
    Quit,
    /// Stop accepting connections, but keep the process running.
    Drain {
        /// Drain only inbound listeners.
        inbound_only: bool,
        /// Wait a moment first, for clients that have not learned of the drain yet.
        graceful: bool,
        /// Wait until other proxies have acknowledged that the pod ends.
        departs: bool,
    },
}

impl Admin {
    /// Creates pages for this state.
    pub fn new(shared: Shared) -> Self {
        Self { shared: Arc::new(shared) }
    }

    /// Marks the proxy as shutting down, which makes it not ready.
    pub fn drain(&self) {
        self.shared.draining.store(true, Ordering::Relaxed);
    }

    /// Sets why the pod's traffic is not captured; the proxy is not ready while there is a reason.
    pub fn wait_for_capture(&self, reason: Option<String>) {
        self.shared.capture.send_replace(reason);
    }

    /// What readiness still waits for; empty: the proxy is ready.
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

    /// Updates the gauges that are derived from other values.
    #[allow(clippy::disallowed_methods, reason = "the page shows how long a certificate is still valid")]
    pub(super) fn refresh(&self) {
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

    /// The server state under Envoy's name.
    pub(super) fn state(&self) -> &'static str {
        if self.shared.draining.load(Ordering::Relaxed) {
            "DRAINING"
        } else if self.pending().is_empty() {
            "LIVE"
        } else {
            "PRE_INITIALIZING"
        }
    }
}

pub(super) fn pending(needs: Needs, status: &Status, has_certificate: bool, draining: bool) -> Vec<String> {
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
