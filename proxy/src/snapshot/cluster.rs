//! Pure. Compiles clusters and their endpoints. State that outlives a version of the configuration (usage of limits,
//! endpoint health) is carried over by `Arc`.

use super::health::{Ejections, EndpointHealth};
use crate::credentials::{Store, client_config};
use crate::matcher::InvalidConfig;
use api::model::cluster::{self as model, ClusterTls, Discovery};
use api::model::endpoint::{Endpoint, EndpointAddress, LoadAssignment};
use api::model::tls::UpstreamTls;
use rustls::ClientConfig;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A compiled cluster.
#[derive(Debug)]
pub struct Cluster {
    /// The resource that it was compiled from.
    pub model: Arc<model::Cluster>,
    /// Its name.
    pub name: Arc<str>,
    /// TLS settings for its endpoints; `None`: plaintext.
    pub tls: Option<Arc<Tls>>,
    /// Usage of its limits, over all threads.
    pub gauges: Arc<Gauges>,
    /// The endpoints from the configuration or EDS; `None` until they are received.
    pub endpoints: Option<Arc<Endpoints>>,
    /// The endpoints of a DNS cluster.
    pub resolved: Arc<Resolved>,
}

/// The addresses that a DNS cluster's names were last resolved to. All threads look up names and share the result, so
/// that they share the endpoints' health, and admin pages can show both.
#[derive(Debug, Default)]
pub struct Resolved(Mutex<Option<Arc<Endpoints>>>);

impl Resolved {
    /// The endpoints; `None`: the names were not resolved yet.
    pub fn endpoints(&self) -> Option<Arc<Endpoints>> {
        self.lock().clone()
    }

    /// Replaces the addresses, unless they are the same, and returns their endpoints. An address keeps its health.
    pub fn replace(&self, addresses: LoadAssignment) -> Arc<Endpoints> {
        let mut endpoints = self.lock();
        if let Some(same) = endpoints.as_ref().filter(|last| *last.model == addresses) {
            return same.clone();
        }
        let last = endpoints.take();
        endpoints.insert(Arc::new(Endpoints::build(Arc::new(addresses), last.as_deref()))).clone()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Endpoints>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// TLS settings for endpoints.
#[derive(Debug)]
pub struct Tls {
    /// The configured settings.
    pub model: UpstreamTls,
    /// Whether to use TLS only for endpoints that offer mTLS.
    pub when_offered: bool,
    /// With the configured ALPN.
    pub plain: Arc<ClientConfig>,
    /// For HTTP/1.1, when the listener has the ALPN filter.
    pub http1: Arc<ClientConfig>,
    /// For HTTP/2.
    pub http2: Arc<ClientConfig>,
    /// For HTTP/2, when the listener has the ALPN filter.
    pub mesh_http2: Arc<ClientConfig>,
    /// For either HTTP version, by ALPN negotiation.
    pub any_http: Arc<ClientConfig>,
}

/// Usage of a cluster's limits, over all threads. Only counted where a limit is set.
#[derive(Debug, Default)]
pub struct Gauges {
    /// Connections.
    pub connections: Gauge,
    /// Requests waiting for a connection.
    pub pending: Gauge,
    /// Active requests.
    pub requests: Gauge,
    /// Retries.
    pub retries: Gauge,
}

/// A counter with a limit.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU32);

impl Gauge {
    /// Takes a unit, unless the limit is reached. Each unit taken must be given back with `release`.
    pub fn take(&self, limit: u32) -> bool {
        if self.0.fetch_add(1, Ordering::Relaxed) < limit {
            return true;
        }
        self.release();
        false
    }

    /// Gives a unit back.
    pub fn release(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// The number of units taken.
    pub fn value(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The compiled endpoints of a cluster.
#[derive(Debug)]
pub struct Endpoints {
    /// The resource that they were compiled from.
    pub model: Arc<LoadAssignment>,
    /// Endpoints with an IP address, in order.
    pub list: Box<[Arc<Target>]>,
    /// The endpoints' localities.
    pub localities: Box<[Group]>,
    /// Shared with earlier versions, whose requests may still eject endpoints of this one.
    pub ejections: Arc<Ejections>,
}

/// Endpoints that share a locality and a priority.
#[derive(Debug)]
pub struct Group {
    /// Priority; 0 is preferred.
    pub priority: u32,
    /// Weight relative to other groups of the same priority.
    pub weight: Option<u32>,
    /// Positions in `Endpoints::list`.
    pub members: std::ops::Range<usize>,
}

/// A compiled endpoint.
#[derive(Debug)]
pub struct Target {
    /// The address to connect to.
    pub address: SocketAddr,
    /// The endpoint as received: health, weight, identity.
    pub model: Endpoint,
    /// Its health as observed in its responses.
    pub health: Arc<EndpointHealth>,
}

impl Cluster {
    /// Compiles a cluster. Shares the unchanged parts of its last version.
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
            resolved: last.map(|last| last.resolved.clone()).unwrap_or_default(),
            tls,
            model,
        };
        cluster.endpoints = cluster.assigned(discovered);
        Ok(cluster)
    }

    /// The same cluster with different EDS endpoints.
    #[must_use]
    pub fn with_endpoints(&self, discovered: Option<&Arc<LoadAssignment>>) -> Self {
        Self {
            model: self.model.clone(),
            name: self.name.clone(),
            tls: self.tls.clone(),
            gauges: self.gauges.clone(),
            endpoints: self.assigned(discovered),
            resolved: self.resolved.clone(),
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
            // The workers resolve these.
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
    /// Compiles endpoints. An address keeps its health.
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
