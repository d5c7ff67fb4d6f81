//! Pure. Clusters and their endpoints made ready. What outlives a version of the configuration (limits in use, health
//! of an endpoint) is carried over by `Arc`.

use super::health::{Ejections, EndpointHealth};
use crate::credentials::{Store, client_config};
use crate::matcher::InvalidConfig;
use api::model::cluster::{self as model, ClusterTls, Discovery};
use api::model::endpoint::{Endpoint, EndpointAddress, LoadAssignment};
use api::model::tls::UpstreamTls;
use rustls::ClientConfig;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// A cluster.
#[derive(Debug)]
pub struct Cluster {
    /// What it was made from.
    pub model: Arc<model::Cluster>,
    /// Its name.
    pub name: Arc<str>,
    /// TLS towards endpoints.
    pub tls: Option<Arc<Tls>>,
    /// What is open, over all threads.
    pub gauges: Arc<Gauges>,
    /// The endpoints, as far as configuration says; `None` until they are discovered.
    pub endpoints: Option<Arc<Endpoints>>,
}

/// TLS configurations towards endpoints.
#[derive(Debug)]
pub struct Tls {
    /// Settings.
    pub model: UpstreamTls,
    /// Only to endpoints that offer mTLS.
    pub when_offered: bool,
    /// As configured.
    pub plain: Arc<ClientConfig>,
    /// For HTTP/1.1, when the ALPN filter is on the path.
    pub http1: Arc<ClientConfig>,
    /// For HTTP/2.
    pub http2: Arc<ClientConfig>,
    /// For HTTP/2, when the ALPN filter is on the path.
    pub mesh_http2: Arc<ClientConfig>,
    /// For either HTTP version, by negotiation.
    pub any_http: Arc<ClientConfig>,
}

/// What of a cluster is open at once, over all threads. Only counted where a limit is set.
#[derive(Debug, Default)]
pub struct Gauges {
    /// Connections.
    pub connections: Gauge,
    /// Requests that wait for a connection.
    pub pending: Gauge,
    /// Requests.
    pub requests: Gauge,
    /// Repetitions.
    pub retries: Gauge,
}

/// A number with a limit.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU32);

impl Gauge {
    /// Takes one, unless the limit is reached; each taken one is given back with `release`.
    pub fn take(&self, limit: u32) -> bool {
        if self.0.fetch_add(1, Ordering::Relaxed) < limit {
            return true;
        }
        self.release();
        false
    }

    /// Gives one back.
    pub fn release(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many are taken.
    pub fn value(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The endpoints of a cluster.
#[derive(Debug)]
pub struct Endpoints {
    /// What they were made from.
    pub model: Arc<LoadAssignment>,
    /// Endpoints with an address, in order.
    pub list: Box<[Arc<Target>]>,
    /// Their groups.
    pub localities: Box<[Group]>,
    /// Shared with the former versions, whose requests may still eject endpoints of this one.
    pub ejections: Arc<Ejections>,
}

/// Endpoints that share a place and a priority.
#[derive(Debug)]
pub struct Group {
    /// 0 is preferred.
    pub priority: u32,
    /// Relative weight among groups of one priority.
    pub weight: Option<u32>,
    /// Positions in `Endpoints::list`.
    pub members: std::ops::Range<usize>,
}

/// One endpoint.
#[derive(Debug)]
pub struct Target {
    /// Where to connect.
    pub address: SocketAddr,
    /// Health, weight, identity.
    pub model: Endpoint,
    /// What its answers say of its health.
    pub health: Arc<EndpointHealth>,
}

impl Cluster {
    /// Makes a cluster ready; what its last version has in common is shared.
    pub fn compile(
        model: Arc<model::Cluster>,
        last: Option<&Self>,
        discovered: Option<&Arc<LoadAssignment>>,
        store: &Arc<Store>,
    ) -> Result<Self, InvalidConfig> {
        let tls = match last.filter(|last| last.model.tls == model.tls) {
            Some(last) => last.tls.clone(),
            None => tls(&model.tls, store)?,
        };
        let mut cluster = Self {
            name: last.map_or_else(|| model.name.as_str().into(), |last| last.name.clone()),
            gauges: last.map(|last| last.gauges.clone()).unwrap_or_default(),
            endpoints: last.and_then(|last| last.endpoints.clone()),
            tls,
            model,
        };
        cluster.endpoints = cluster.assigned(discovered);
        Ok(cluster)
    }

    /// The same cluster with other discovered endpoints.
    #[must_use]
    pub fn with_endpoints(&self, discovered: Option<&Arc<LoadAssignment>>) -> Self {
        Self {
            model: self.model.clone(),
            name: self.name.clone(),
            tls: self.tls.clone(),
            gauges: self.gauges.clone(),
            endpoints: self.assigned(discovered),
        }
    }

    fn assigned(&self, discovered: Option<&Arc<LoadAssignment>>) -> Option<Arc<Endpoints>> {
        let last = self.endpoints.as_ref();
        let assignment = match &self.model.discovery {
            Discovery::Static(assignment) => {
                if let Some(last) = last.filter(|last| *last.model == *assignment) {
                    return Some(last.clone());
                }
                Arc::new(assignment.clone())
            }
            Discovery::Eds(_) => discovered?.clone(),
            // Resolved by the workers.
            Discovery::StrictDns(_) | Discovery::LogicalDns(_) | Discovery::OriginalDestination { .. } => {
                return None;
            }
        };
        match last {
            Some(last) if Arc::ptr_eq(&last.model, &assignment) => Some(last.clone()),
            last => Some(Arc::new(Endpoints::build(assignment, last.map(AsRef::as_ref)))),
        }
    }
}

impl Endpoints {
    /// Makes endpoints ready; an address keeps the health it had.
    pub fn build(model: Arc<LoadAssignment>, last: Option<&Self>) -> Self {
        let (mut list, mut localities) = (vec![], vec![]);
        for locality in &model.localities {
            let first = list.len();
            list.extend(locality.endpoints.iter().filter_map(|endpoint| Target::build(endpoint, last)));
            localities.push(Group {
                priority: locality.priority,
                weight: locality.weight,
                members: first..list.len(),
            });
        }
        let ejections = last.map(|last| last.ejections.clone()).unwrap_or_default();
        Self { list: list.into(), localities: localities.into(), model, ejections }
    }
}

impl Target {
    fn build(endpoint: &Endpoint, last: Option<&Endpoints>) -> Option<Arc<Self>> {
        let EndpointAddress::Socket(address) = endpoint.address else { return None };
        let known = last.and_then(|last| last.list.iter().find(|t| t.address == address));
        Some(match known {
            Some(same) if same.model == *endpoint => same.clone(),
            known => Arc::new(Self {
                address,
                model: endpoint.clone(),
                health: known.map(|k| k.health.clone()).unwrap_or_default(),
            }),
        })
    }
}

fn tls(from: &ClusterTls, store: &Arc<Store>) -> Result<Option<Arc<Tls>>, InvalidConfig> {
    let (model, when_offered) = match from {
        ClusterTls::Never => return Ok(None),
        ClusterTls::Always(tls) => (tls, false),
        ClusterTls::WhenOffered(tls) => (tls, true),
    };
    let plain = client_config(model, store).map_err(InvalidConfig::chain)?;
    let mesh = model.common.alpn.iter().any(|protocol| protocol.starts_with("istio"));
    let with = |protocols: &[&str]| {
        let mut config = ClientConfig::clone(&plain);
        config.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
        Arc::new(config)
    };
    let unless_given = |protocols: &[&str]| {
        if mesh || model.common.alpn.is_empty() { with(protocols) } else { plain.clone() }
    };
    Ok(Some(Arc::new(Tls {
        http1: if mesh {
            with(&["istio-http/1.1", "istio", "http/1.1"])
        } else {
            unless_given(&["http/1.1"])
        },
        http2: unless_given(&["h2"]),
        mesh_http2: if mesh { with(&["istio-h2", "istio", "h2"]) } else { unless_given(&["h2"]) },
        any_http: unless_given(&["h2", "http/1.1"]),
        model: UpstreamTls::clone(model),
        when_offered,
        plain,
    })))
}
