//! A cluster as one thread uses it: its endpoints with their load and connections, and its circuit breaker limits. A
//! change of the configuration keeps the load, connections and health of unchanged endpoints.

use super::local::Local;
use crate::balance::ejection::Ejecting;
use crate::balance::{PickContext, another};
use crate::io::{now, uptime};
use crate::policy::retry::Outcome;
use crate::send::{ConnectionKind, Pool, Settings, connect::Dial};
use crate::snapshot::cluster::{Cluster, Endpoints, Gauge, Gauges, Target};
use crate::snapshot::health::{Verdict, may_eject};
use crate::telemetry::stats::ClusterStats;
use api::model::cluster::{Discovery, UpstreamHttp};
use foldhash::HashMap;
use rustls::ClientConfig;
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

/// A cluster as one thread uses it.
pub(super) struct Upstream {
    cluster: Arc<Cluster>,
    pub(super) stats: Arc<ClusterStats>,
    /// Number of the cluster's service in metrics.
    pub(super) service: u32,
    endpoints: Option<Arc<Endpoints>>,
    hosts: Vec<Rc<Host>>,
    picker: Option<RefCell<Ejecting>>,
    /// Hosts of original-destination clusters, by address.
    original: RefCell<HashMap<SocketAddr, Rc<Host>>>,
}

/// An endpoint as one thread uses it.
pub(super) struct Host {
    pub(super) address: SocketAddr,
    pub(super) pool: Rc<Pool>,
    /// Number of the endpoint's workload in metrics.
    pub(super) workload: u32,
    target: Option<Arc<Target>>,
    /// Shared with the same endpoint in earlier versions of the configuration, whose requests are still active.
    active: Rc<Cell<u32>>,
}

impl Host {
    /// The endpoint's hostname, if it has one.
    pub(super) fn name(&self) -> Option<&str> {
        self.target.as_ref().map(|target| target.model.hostname.as_str()).filter(|name| !name.is_empty())
    }
}

/// An active request or connection at an endpoint.
pub(super) struct ActiveGuard {
    host: Rc<Host>,
    stats: Arc<ClusterStats>,
    http: bool,
    connected: Option<OpenConnection>,
}

/// A unit taken from a limit, returned on drop.
pub(super) struct Permit(Option<(Arc<Gauges>, SelectGauge)>);

/// Selects one of a cluster's limits.
type SelectGauge = fn(&Gauges) -> &Gauge;

impl Upstream {
    pub(super) fn new(cluster: Arc<Cluster>, last: Option<&Rc<Self>>, thread: &Local) -> Rc<Self> {
        let endpoints = match cluster.model.discovery {
            // Resolved addresses stay in use in a changed cluster until its names are resolved again.
            Discovery::StrictDns(_) | Discovery::LogicalDns(_) => {
                let known = last.and_then(|last| last.endpoints.clone());
                known.or_else(|| cluster.resolved.endpoints())
            }
            _ => cluster.endpoints.clone(),
        };
        Self::with(cluster, endpoints, last, thread)
    }

    /// The same cluster with different endpoints.
    pub(super) fn with_endpoints(self: &Rc<Self>, endpoints: Arc<Endpoints>, thread: &Local) -> Rc<Self> {
        Self::with(self.cluster.clone(), Some(endpoints), Some(self), thread)
    }

    fn with(
        cluster: Arc<Cluster>,
        endpoints: Option<Arc<Endpoints>>,
        last: Option<&Rc<Self>>,
        thread: &Local,
    ) -> Rc<Self> {
        // Connections made with different settings cannot serve the changed cluster.
        let last = last.filter(|last| last.connects_like(&cluster));
        let known = |address: SocketAddr| last.and_then(|l| l.hosts.iter().find(|h| h.address == address));
        let settings = settings(&cluster);
        let host = |target: &Arc<Target>| match known(target.address) {
            Some(host) if host.target.as_ref().is_some_and(|t| Arc::ptr_eq(t, target)) => host.clone(),
            known => {
                let same =
                    known.filter(|h| h.target.as_ref().is_some_and(|t| t.model.mtls == target.model.mtls));
                Rc::new(Host {
                    address: target.address,
                    pool: same.map_or_else(|| Pool::new(settings), |h| h.pool.clone()),
                    workload: target.model.workload.as_ref().map_or(0, |w| thread.telemetry.workload(w)),
                    target: Some(target.clone()),
                    active: known.map(|h| h.active.clone()).unwrap_or_default(),
                })
            }
        };
        let hosts: Vec<Rc<Host>> = endpoints.iter().flat_map(|e| e.list.iter().map(host)).collect();
        let random = || thread.random();
        let picker = endpoints.as_ref().map(|endpoints| {
            let model = &cluster.model;
            let ejecting = Ejecting::new(endpoints, model.balancer, model.panic_threshold, &random);
            RefCell::new(ejecting.detecting(model.outlier.is_some()))
        });
        Rc::new(Self {
            stats: thread.telemetry.cluster(&cluster.name),
            service: service(&cluster, thread),
            original: RefCell::new(last.map(|l| l.original.borrow().clone()).unwrap_or_default()),
            endpoints,
            hosts,
            picker,
            cluster,
        })
    }

    fn connects_like(&self, other: &Cluster) -> bool {
        let (a, b) = (&self.cluster.model, &other.model);
        let same_tls = match (&self.cluster.tls, &other.tls) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (None, None) => true,
            _ => false,
        };
        same_tls
            && (a.http, a.bind, a.keepalive, a.max_requests_per_connection, a.idle_timeout)
                == (b.http, b.bind, b.keepalive, b.max_requests_per_connection, b.idle_timeout)
    }

    /// The cluster's configuration.
    pub(super) fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }

    /// The endpoints as currently known.
    pub(super) fn endpoints(&self) -> Option<&Arc<Endpoints>> {
        self.endpoints.as_ref()
    }

    /// Chooses an endpoint that has not been tried, with up to `reselections` picks; `None`: there is none.
    pub(super) fn choose(
        &self,
        thread: &Local,
        hash: Option<u64>,
        original: Option<SocketAddr>,
        (tried, reselections): (&[SocketAddr], u32),
    ) -> Option<Rc<Host>> {
        if let Discovery::OriginalDestination { port } = self.cluster.model.discovery {
            let at = |to: SocketAddr| SocketAddr::new(to.ip(), port.unwrap_or(to.port()));
            return original.map(|address| self.original_host(at(address)));
        }
        let (endpoints, picker) = (self.endpoints.as_ref()?, self.picker.as_ref()?);
        let time = uptime(thread.coarse());
        let random = || thread.random();
        let context = PickContext { active: &|i| self.hosts[i].active.get(), hash, random: &random };
        let mut picker = picker.borrow_mut();
        let picker = picker.at(endpoints, time, &random);
        let known = |i: usize| tried.contains(&self.hosts[i].address);
        let mut picked = picker.pick(&context)?;
        for _ in 0..reselections {
            if !known(picked) {
                break;
            }
            picked = picker.pick(&context)?;
        }
        if reselections > 0 && known(picked) {
            let excluded = |i: usize| known(i) || endpoints.list[i].health.ejected(time);
            picked = another(endpoints, picked, &excluded, thread.random()).unwrap_or(picked);
        }
        Some(self.hosts[picked].clone())
    }

    fn original_host(&self, address: SocketAddr) -> Rc<Host> {
        let mut hosts = self.original.borrow_mut();
        let host = hosts.entry(address).or_insert_with(|| {
            Rc::new(Host {
                address,
                pool: Pool::new(settings(&self.cluster)),
                workload: 0,
                target: None,
                active: Rc::default(),
            })
        });
        host.clone()
    }

    /// The settings for dialling an endpoint; `kind` is `None` for opaque bytes.
    pub(super) fn dial(&self, host: &Host, kind: Option<&ConnectionKind>, mark: Option<u32>) -> Dial {
        let model = &self.cluster.model;
        let tls = self.tls(host).map(|tls| {
            let config: &Arc<ClientConfig> = match kind {
                Some(ConnectionKind { http2: Some(true), mesh: true, .. }) => &tls.mesh_http2,
                Some(ConnectionKind { http2: Some(true), .. }) => &tls.http2,
                Some(ConnectionKind { http2: Some(false), mesh: true, .. }) => &tls.http1,
                None | Some(ConnectionKind { http2: Some(false), .. }) => &tls.plain,
                Some(ConnectionKind { http2: None, .. }) => &tls.any_http,
            };
            let requested = kind.and_then(|kind| kind.name.as_deref());
            (config.clone(), crate::credentials::server_name(&tls.model, requested, host.address.ip()))
        });
        Dial {
            keeps_certificates: false,
            address: host.address,
            tls,
            bind: model.bind,
            mark,
            keepalive: model.keepalive,
            timeout: model.connect_timeout,
        }
    }

    /// The kind of connections that can serve a request of a client with this HTTP version.
    pub(super) fn connection_kind(
        &self,
        host: &Host,
        client_http2: bool,
        mesh: bool,
        authority: &str,
    ) -> ConnectionKind {
        let tls = self.tls(host);
        let http2 = match self.cluster.model.http {
            UpstreamHttp::Http1 => Some(false),
            UpstreamHttp::Http2 => Some(true),
            UpstreamHttp::SameAsClient => Some(client_http2),
            UpstreamHttp::Negotiated => {
                if tls.is_some() {
                    None
                } else {
                    Some(false)
                }
            }
        };
        let by_name =
            tls.filter(|tls| tls.model.sni.is_empty() && (tls.model.auto_sni || tls.model.auto_san));
        ConnectionKind { http2, mesh: mesh && tls.is_some(), name: by_name.map(|_| authority.into()) }
    }

    /// The TLS settings for an endpoint; `None`: plaintext.
    pub(super) fn tls(&self, host: &Host) -> Option<&crate::snapshot::cluster::Tls> {
        let offered = host.target.as_ref().is_some_and(|t| t.model.mtls);
        self.cluster.tls.as_deref().filter(|tls| !tls.when_offered || offered)
    }

    /// Records the outcome of a request to an endpoint, and ejects it if the outlier rules say so.
    pub(super) fn record_verdict(&self, host: &Host, verdict: Verdict) {
        let (Some(rules), Some(target)) = (&self.cluster.model.outlier, &host.target) else { return };
        if !target.health.note(verdict, rules) {
            return;
        }
        let time = uptime(now());
        let Some(endpoints) = &self.endpoints else { return };
        let ejected = endpoints.list.iter().filter(|t| t.health.ejected(time)).count();
        if may_eject(ejected, endpoints.list.len(), rules) && !target.health.ejected(time) {
            target.health.eject(time, rules);
            endpoints.ejections.add();
            self.stats.outlier_ejections.add(1);
        }
    }

    /// Records how a request to an endpoint ended.
    pub(super) fn record_outcome(&self, host: Option<&Host>, outcome: Outcome) {
        if let Outcome::Response(code, _) = outcome {
            self.stats.response(code);
        }
        let verdict = match outcome {
            Outcome::Response(code, _) => Verdict::of_code(code),
            Outcome::Refused => Verdict::Good,
            Outcome::ConnectFailed | Outcome::Reset { .. } | Outcome::TimedOut => Verdict::GatewayError,
        };
        if let Some(host) = host {
            self.record_verdict(host, verdict);
        }
    }

    /// Takes a unit of one of the limits; `None`: the limit is reached.
    pub(super) fn permit(&self, limit: u32, of: SelectGauge) -> Option<Permit> {
        if limit == u32::MAX {
            return Some(Permit(None));
        }
        of(&self.cluster.gauges).take(limit).then(|| Permit(Some((self.cluster.gauges.clone(), of))))
    }

    /// Closes idle connections and removes unused original-destination hosts.
    pub(super) fn sweep(&self, now: Instant) {
        self.hosts.iter().for_each(|host| host.pool.sweep(now));
        self.original.borrow_mut().retain(|_, host| {
            host.pool.sweep(now);
            host.active.get() > 0 || !host.pool.is_empty() || Rc::strong_count(host) > 1
        });
    }
}

impl Host {
    /// Counts a request (or an opaque connection) as active until the returned guard is dropped.
    pub(super) fn begin(self: &Rc<Self>, upstream: &Upstream, http: bool) -> ActiveGuard {
        self.active.set(self.active.get() + 1);
        if http {
            upstream.stats.upstream_rq_active.add(1);
            upstream.stats.upstream_rq_total.add(1);
        }
        ActiveGuard { host: self.clone(), stats: upstream.stats.clone(), http, connected: None }
    }
}

impl ActiveGuard {
    /// Keeps the count of a dedicated connection for as long as this is busy.
    pub(super) fn keep(&mut self, connected: OpenConnection) {
        self.connected = Some(connected);
    }
}

impl Drop for ActiveGuard {
    fn drop(&mut self) {
        self.host.active.set(self.host.active.get().saturating_sub(1));
        if self.http {
            self.stats.upstream_rq_active.subtract(1);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some((gauges, of)) = &self.0 {
            of(gauges).release();
        }
    }
}

/// Counts an upstream connection as open until dropped.
pub(super) struct OpenConnection {
    stats: Arc<ClusterStats>,
    _permit: Permit,
}

impl OpenConnection {
    pub(super) fn new(upstream: &Upstream, permit: Permit) -> Self {
        upstream.stats.upstream_cx_active.add(1);
        upstream.stats.upstream_cx_total.add(1);
        Self { stats: upstream.stats.clone(), _permit: permit }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.stats.upstream_cx_active.subtract(1);
    }
}

fn settings(cluster: &Cluster) -> Settings {
    Settings {
        max_requests: cluster.model.max_requests_per_connection,
        idle_timeout: cluster.model.idle_timeout,
    }
}

/// The service number in metrics. A cluster without a service uses its own name, as in Istio for `PassthroughCluster`.
fn service(cluster: &Cluster, thread: &Local) -> u32 {
    if let Some(service) = &cluster.model.service {
        return thread.telemetry.service(service);
    }
    let (host, name) = match cluster.name.parse() {
        Ok(api::name::ClusterName::Outbound { host, .. }) => {
            let name = host.split('.').next().unwrap_or_default().to_owned();
            (host, name)
        }
        Ok(api::name::ClusterName::Inbound { .. }) => return 0,
        Err(_) => (cluster.name.to_string(), cluster.name.to_string()),
    };
    thread.telemetry.service(&api::model::cluster::ClusterService { host, name, namespace: String::new() })
}
