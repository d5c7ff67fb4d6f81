//! Keeps the stream to the control plane open and reopens it whenever it ends. While there is no stream, the
//! current configuration stays in force.

use super::Seams;
use super::configuration::{Configuration, Outcome, note_versions};
use super::schedule::BackOff;
use crate::config::Discovery;
use crate::credentials::{client_config, own_certificate};
use api::model::Kind;
use api::model::tls::UpstreamTls;
use api::process::tls::expected::expected_servers;
use api::process::{channel, tls};
use api::wire::xds::{DeltaDiscoveryResponse, NodeInfo};
use api::xds::connect::Stream;
use api::xds::server::Mode;
use rustls::ClientConfig;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::transport::Channel;

/// The server of the stream.
#[derive(Debug, Clone)]
pub enum Server {
    /// The mesh's control plane.
    Mesh {
        /// The server's address and files.
        discovery: Discovery,
        /// Sent to the control plane together with the token.
        cluster_id: String,
    },
    /// A static cluster of a bootstrap.
    Cluster {
        /// `host:port`.
        address: String,
        /// The TLS settings of the connection.
        tls: Option<Box<UpstreamTls>>,
        /// The form of the protocol.
        mode: Mode,
    },
}

/// The subscriptions of the stream.
#[derive(Debug, Clone)]
pub struct Subscriptions {
    /// The node that subscribes.
    pub node: NodeInfo,
    /// Kinds that are subscribed to with a wildcard.
    pub wildcards: Vec<Kind>,
}

/// Keeps a stream open; never returns.
pub async fn run(
    server: Server,
    subscriptions: Subscriptions,
    seams: Seams,
    mut peers: UnboundedReceiver<IpAddr>,
) {
    let start = seams.snapshot.borrow().clone();
    let mut configuration = Configuration::new(subscriptions.node, start, &subscriptions.wildcards);
    let mut back_off = BackOff::new(LONGEST_WAIT);
    loop {
        let reason = match open(&server, &seams, &mut configuration).await {
            Ok(stream) => {
                let mut session = Session {
                    stream,
                    configuration: &mut configuration,
                    seams: &seams,
                    due: None,
                    accepted: false,
                };
                let ended = session.run(&mut peers).await;
                if session.accepted {
                    back_off.succeeded();
                }
                match ended {
                    None if !session.accepted => {
                        Some("the control plane ended the stream at once".to_owned())
                    }
                    ended => ended,
                }
            }
            Err(reason) => Some(reason),
        };
        let wait = back_off.failed(rand::random());
        match reason {
            Some(reason) => {
                seams.status.send_if_modified(|status| std::mem::replace(&mut status.connected, false));
                seams.telemetry.named("control_plane.connected_state").store(0, Ordering::Relaxed);
                tracing::warn!(
                    reason,
                    wait_ms = wait.as_millis(),
                    "no stream to the control plane; trying again"
                );
            }
            None => tracing::info!("the control plane closed the stream; reconnecting"),
        }
        tokio::time::sleep(wait).await;
    }
}

async fn open(server: &Server, seams: &Seams, configuration: &mut Configuration) -> Result<Stream, String> {
    let (channel, metadata) = dial(server, seams)?;
    let mode = match server {
        Server::Mesh { .. } => Mode::Delta,
        Server::Cluster { mode, .. } => *mode,
    };
    let stream = Stream::open(channel, metadata, configuration.connected(), mode).await;
    stream.map_err(|status| format!("{}: {}", status.code().description(), status.message()))
}

pub(super) fn dial(server: &Server, seams: &Seams) -> Result<(Channel, MetadataMap), String> {
    match server {
        Server::Cluster { address, tls, .. } => {
            let config = tls.as_ref().map(|tls| client_config(tls, &seams.credentials)).transpose();
            let config = config.map_err(|error| error.to_string())?;
            Ok((
                channel::lazy(address, config.map(|config| ClientConfig::clone(&config)))?,
                MetadataMap::new(),
            ))
        }
        Server::Mesh { discovery, cluster_id } => {
            let tls = discovery.tls.then(|| mesh_tls(discovery, seams)).transpose()?;
            let metadata = credentials(discovery, cluster_id)?;
            Ok((channel::lazy(&discovery.address, tls)?, metadata))
        }
    }
}

fn mesh_tls(discovery: &Discovery, seams: &Seams) -> Result<ClientConfig, String> {
    let path = discovery.roots.display();
    let pem = std::fs::read(&discovery.roots).map_err(|error| format!("`{path}` cannot be read: {error}"))?;
    let roots = tls::roots_from_pem(&pem).map_err(|error| format!("`{path}`: {error}"))?;
    let builder = ClientConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| error.to_string())?;
    Ok(builder
        .dangerous()
        .with_custom_certificate_verifier(expected_servers(roots, discovery.server.clone()))
        .with_client_cert_resolver(own_certificate(api::name::WORKLOAD_CERTIFICATE, &seams.credentials)))
}

/// Reads the token for each stream, because the kubelet renews it.
fn credentials(discovery: &Discovery, cluster_id: &str) -> Result<MetadataMap, String> {
    let mut metadata = MetadataMap::new();
    if !discovery.tls {
        return Ok(metadata);
    }
    let path = discovery.token.display();
    match std::fs::read_to_string(&discovery.token) {
        Ok(token) => {
            let value = MetadataValue::try_from(format!("Bearer {}", token.trim()));
            metadata.insert("authorization", value.map_err(|_| format!("`{path}` does not hold a token"))?);
        }
        // If no token is mounted, a client certificate suffices.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(format!("`{path}` cannot be read: {error}")),
    }
    if let Ok(value) = MetadataValue::try_from(cluster_id) {
        metadata.insert("clusterid", value);
    }
    Ok(metadata)
}

/// One open stream.
struct Session<'a> {
    stream: Stream,
    configuration: &'a mut Configuration,
    seams: &'a Seams,
    /// When to use the draft even if resources that it refers to are missing.
    due: Option<Instant>,
    /// Whether the control plane serves this stream.
    accepted: bool,
}

impl Session<'_> {
    /// Handles responses until the stream ends, and returns why it failed. `None`: the control plane ended it without an
    /// error, as it does at the maximum age of streams.
    async fn run(&mut self, peers: &mut UnboundedReceiver<IpAddr>) -> Option<String> {
        let mut silence = std::pin::pin!(tokio::time::sleep(REJECTION_LIMIT));
        loop {
            let due = self.due;
            let overdue = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                response = self.stream.next() => match response {
                    Ok(Some(response)) => self.take(response),
                    Ok(None) => return None,
                    Err(status) => return Some(format!("{}: {}", status.code().description(), status.message())),
                },
                Some(address) = peers.recv() => self.request_workload(address, peers),
                () = overdue => self.publish(),
                () = &mut silence, if !self.accepted => self.accept(),
            }
        }
    }

    /// Notes that the control plane serves this stream: it has sent a response, or has nothing to send to a proxy that
    /// reconnects with the current configuration.
    fn accept(&mut self) {
        if !std::mem::replace(&mut self.accepted, true) {
            tracing::info!("connected to the control plane");
            self.seams.status.send_modify(|status| status.connected = true);
            self.seams.telemetry.named("control_plane.connected_state").store(1, Ordering::Relaxed);
        }
    }

    fn request_workload(&mut self, address: IpAddr, peers: &mut UnboundedReceiver<IpAddr>) {
        let mut request = self.configuration.request_workload(address);
        // Addresses that arrived together are requested one after the other: each request names one more.
        while let Some(message) = request.take() {
            self.stream.send(message);
            request = peers.try_recv().ok().and_then(|address| self.configuration.request_workload(address));
        }
    }

    fn take(&mut self, response: DeltaDiscoveryResponse) {
        self.accept();
        let kind = Kind::from_type_url(&response.type_url);
        let Some(outcome) = self.configuration.receive(response, &self.seams.credentials) else { return };
        self.report(kind, &outcome);
        for request in &outcome.requests {
            self.stream.send(request.clone());
        }
        for (address, workload) in outcome.peers {
            self.seams.telemetry.peers().set(address, workload);
        }
        if let Some(names) = outcome.names {
            self.seams.names.send_replace(Arc::new(names));
        }
        if !outcome.changed {
            self.arrived();
        } else if self.configuration.is_complete() {
            self.publish();
        } else if self.due.is_none() {
            self.due = Some(Instant::now() + SYNC_TIMEOUT);
        }
    }

    #[allow(clippy::disallowed_methods, reason = "dumps tell when a resource came")]
    fn report(&self, kind: Option<Kind>, outcome: &Outcome) {
        for refused in &outcome.refused {
            tracing::warn!(kind = ?refused.kind, name = refused.name, reason = refused.reason, "configuration refused");
        }
        let result = usize::from(!outcome.refused.is_empty());
        if let Some(names) = kind.and_then(stat_names) {
            self.seams.telemetry.named(names[result]).fetch_add(1, Ordering::Relaxed);
        }
        self.seams.status.send_modify(|status| {
            note_versions(&mut status.versions, outcome, SystemTime::now());
            for (kind, name, _) in &outcome.accepted {
                status.refused.remove(&(*kind, name.clone()));
            }
            for key in &outcome.removed {
                status.refused.remove(key);
            }
            for refused in &outcome.refused {
                status.refused.insert((refused.kind, refused.name.clone()), refused.reason.clone());
            }
        });
    }

    fn publish(&mut self) {
        if !self.configuration.is_complete() {
            let missing = self.configuration.draft().missing();
            tracing::warn!(?missing, "the configuration is used although parts of it have not arrived");
        }
        self.due = None;
        self.seams.snapshot.send_replace(self.configuration.draft().clone());
        self.arrived();
    }

    /// Updates the status once the received configuration is in force.
    fn arrived(&self) {
        if self.due.is_some() {
            return;
        }
        let (clusters, listeners) =
            (self.configuration.has(Kind::Cluster), self.configuration.has(Kind::Listener));
        self.seams.status.send_if_modified(|status| {
            let before = (status.clusters, status.listeners, status.published);
            (status.clusters, status.listeners) = (clusters, listeners);
            status.published = clusters && listeners;
            before != (status.clusters, status.listeners, status.published)
        });
    }
}

/// Envoy's names of the counters for accepted and for refused updates.
fn stat_names(kind: Kind) -> Option<[&'static str; 2]> {
    match kind {
        Kind::Cluster => Some(["cluster_manager.cds.update_success", "cluster_manager.cds.update_rejected"]),
        Kind::Listener => {
            Some(["listener_manager.lds.update_success", "listener_manager.lds.update_rejected"])
        }
        Kind::Route => Some(["http.rds.update_success", "http.rds.update_rejected"]),
        Kind::Endpoints => Some(["cluster.eds.update_success", "cluster.eds.update_rejected"]),
        Kind::Secret => Some(["sds.update_success", "sds.update_rejected"]),
        Kind::Workload | Kind::Names => None,
    }
}

/// How long a control plane takes at most to reject a stream: pilot waits three seconds for a proxy's Pod. A stream that
/// is still open then is accepted, even if nothing has been received.
const REJECTION_LIMIT: Duration = Duration::from_secs(5);
/// The longest wait before a reconnect. While there is no stream, endpoints become outdated, so a control plane
/// that is back must be found soon.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
const SYNC_TIMEOUT: Duration = Duration::from_secs(15);
