//! Turns records into metrics and access logs. Each worker thread owns a `Sink` whose counters only it writes, so
//! recording takes no lock and allocates nothing once a series exists; a reader sums over the threads. Labels are
//! small numbers until a scrape needs their text.

mod render;

pub mod access_log;

mod labels;

pub mod peers;
pub mod stats;
pub mod series;

mod held;

use crate::flow::node::Node;
use crate::flow::record::{Key, Record, Traffic};
use access_log::{Log, LogBuffers};
use api::model::cluster::ClusterService;
use api::model::endpoint::EndpointWorkload;
use foldhash::HashMap;
use held::held;
use labels::Labels;
use peers::Peers;
use series::{Count, HttpSeries, Series, TcpSeries};
use smallvec::SmallVec;
use stats::{ClusterStats, ListenerStats};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// All metrics of the proxy. Shared by every thread; the request path only touches its own `Sink`.
pub struct Telemetry {
    node: Arc<Node>,
    labels: Mutex<Labels>,
    peers: Arc<Peers>,
    shards: Mutex<Vec<Arc<Shard>>>,
    named: Mutex<BTreeMap<&'static str, Arc<AtomicU64>>>,
}

/// The counters of one thread.
#[derive(Default)]
struct Shard {
    series: Mutex<Vec<(Key, Arc<Series>)>>,
    clusters: Mutex<Vec<(Arc<str>, Arc<ClusterStats>)>>,
    listeners: Mutex<Vec<(Arc<str>, Arc<ListenerStats>)>>,
    filters: Mutex<Vec<(Counted, Arc<Count>)>>,
}

/// A filter's counter: its group (`http` or `cluster`), the name of the group's owner, and its own name.
type Counted = (&'static str, Box<str>, Box<str>);

impl Telemetry {
    /// Creates empty metrics.
    pub fn new(node: Arc<Node>, peers: Arc<Peers>) -> Arc<Self> {
        Arc::new(Self {
            node,
            labels: Mutex::default(),
            peers,
            shards: Mutex::default(),
            named: Mutex::default(),
        })
    }

    /// Creates the sink of one worker thread.
    pub fn sink(self: &Arc<Self>, _thread: usize) -> Sink {
        let shard = Arc::new(Shard::default());
        held(&self.shards).push(shard.clone());
        Sink {
            telemetry: self.clone(),
            shard,
            series: RefCell::default(),
            peers: RefCell::default(),
            peers_version: Cell::new(0),
            principals: RefCell::default(),
            clusters: RefCell::default(),
            listeners: RefCell::default(),
            filters: RefCell::default(),
            logs: RefCell::default(),
        }
    }

    /// The table of workloads by address.
    pub fn peers(&self) -> &Arc<Peers> {
        &self.peers
    }

    /// A counter or gauge of the whole process under Envoy's dotted name, such as `server.state`.
    pub fn named(&self, name: &'static str) -> Arc<AtomicU64> {
        held(&self.named).entry(name).or_default().clone()
    }

    /// Envoy's counters and gauges by dotted name, summed over threads.
    pub fn stats(&self) -> BTreeMap<String, u64> {
        let mut out = BTreeMap::new();
        for (name, value) in held(&self.named).iter() {
            out.insert((*name).to_owned(), value.load(Ordering::Relaxed));
        }
        for shard in held(&self.shards).iter() {
            for (name, cluster) in held(&shard.clusters).iter() {
                cluster
                    .each(|stat, value| *out.entry(format!("cluster.{name}.{stat}")).or_default() += value);
            }
            for (name, listener) in held(&shard.listeners).iter() {
                listener
                    .each(|stat, value| *out.entry(format!("listener.{name}.{stat}")).or_default() += value);
            }
            for ((of, owner, name), count) in held(&shard.filters).iter() {
                *out.entry(format!("{of}.{owner}.{name}")).or_default() += count.value();
            }
        }
        out
    }

    /// The number of open client connections on all threads.
    pub fn downstream_active(&self) -> u64 {
        let shards = held(&self.shards);
        shards
            .iter()
            .flat_map(|s| held(&s.listeners).iter().map(|(_, l)| l.cx_active()).collect::<Vec<_>>())
            .sum()
    }

    /// The number of requests that the application of this pod has not responded to yet, on all threads.
    pub fn inbound_requests(&self) -> u64 {
        let shards = held(&self.shards);
        let of_shard = |shard: &Arc<Shard>| -> u64 {
            let clusters = held(&shard.clusters);
            let inbound = clusters.iter().filter(|(name, _)| is_inbound(name));
            inbound.map(|(_, cluster)| cluster.upstream_rq_active.value()).sum()
        };
        shards.iter().map(of_shard).sum()
    }
}

/// Whether a cluster is the application of this pod.
fn is_inbound(cluster: &str) -> bool {
    cluster.starts_with("inbound|") || cluster == "InboundPassthroughCluster"
}

/// The counters of one worker thread. Not shared; it may be created on any thread and moved to its own.
pub struct Sink {
    telemetry: Arc<Telemetry>,
    shard: Arc<Shard>,
    series: RefCell<HashMap<Key, Arc<Series>>>,
    peers: RefCell<HashMap<IpAddr, u32>>,
    peers_version: Cell<u64>,
    principals: RefCell<HashMap<Box<str>, u32>>,
    clusters: RefCell<HashMap<Arc<str>, Arc<ClusterStats>>>,
    listeners: RefCell<HashMap<Arc<str>, Arc<ListenerStats>>>,
    filters: RefCell<HashMap<Box<str>, Arc<Count>>>,
    logs: RefCell<LogBuffers>,
}

impl Sink {
    /// Counts a finished HTTP request.
    pub fn record(&self, record: &Record) {
        self.with_series(record.key, |series| {
            if let Series::Http(http) = series {
                http.add(record);
            }
        });
    }

    /// Counts an opened TCP connection.
    pub fn tcp_opened(&self, key: Key) {
        self.with_tcp(key, TcpSeries::open);
    }

    /// Adds bytes of a TCP connection since the last call: to the client (`sent`) and from it.
    pub fn tcp_bytes(&self, key: Key, sent: u64, received: u64) {
        self.with_tcp(key, |tcp| tcp.move_bytes(sent, received));
    }

    /// Counts a closed TCP connection.
    pub fn tcp_closed(&self, key: Key) {
        self.with_tcp(key, TcpSeries::close);
    }

    /// Writes a line to a log's buffer.
    pub fn log(&self, log: &Log, record: &Record) {
        self.logs.borrow_mut().write(log, record);
    }

    /// Passes buffered log lines to their files. Called every 100 ms.
    pub fn flush_logs(&self) {
        self.logs.borrow_mut().flush();
    }

    /// The number that stands for a client's address in a series key. Requests its workload if that is unknown.
    pub fn peer(&self, address: IpAddr) -> u32 {
        let version = self.telemetry.peers.version();
        if self.peers_version.replace(version) != version {
            self.peers.borrow_mut().clear();
        }
        *self.peers.borrow_mut().entry(address).or_insert_with(|| self.telemetry.peers.index(address))
    }

    /// The number that stands for a principal (a SPIFFE ID without its scheme) in a series key.
    pub fn principal(&self, principal: &str) -> u32 {
        if let Some(known) = self.principals.borrow().get(principal) {
            return *known;
        }
        let id = held(&self.telemetry.labels).principal(principal);
        self.principals.borrow_mut().insert(principal.into(), id);
        id
    }

    /// The number that stands for an endpoint's workload in a series key.
    pub fn workload(&self, workload: &EndpointWorkload) -> u32 {
        held(&self.telemetry.labels).workload(workload)
    }

    /// The number that stands for a service in a series key.
    pub fn service(&self, service: &ClusterService) -> u32 {
        held(&self.telemetry.labels).service(service)
    }

    /// The counters of a cluster.
    pub fn cluster(&self, name: &Arc<str>) -> Arc<ClusterStats> {
        let mut clusters = self.clusters.borrow_mut();
        clusters
            .entry(name.clone())
            .or_insert_with(|| {
                let stats = Arc::new(ClusterStats::default());
                held(&self.shard.clusters).push((name.clone(), stats.clone()));
                stats
            })
            .clone()
    }

    /// The counters of a listener.
    pub fn listener(&self, name: &Arc<str>) -> Arc<ListenerStats> {
        let mut listeners = self.listeners.borrow_mut();
        listeners
            .entry(name.clone())
            .or_insert_with(|| {
                let stats = Arc::new(ListenerStats::default());
                held(&self.shard.listeners).push((name.clone(), stats.clone()));
                stats
            })
            .clone()
    }

    /// Increments a counter of a filter. Its name may come from a request, so the number of names is limited.
    pub fn count(&self, (of, owner): (&'static str, &str), name: &str) {
        let mut key: SmallVec<[u8; 96]> = SmallVec::new();
        for part in [of, ".", owner, ".", name] {
            key.extend_from_slice(part.as_bytes());
        }
        let Ok(key) = std::str::from_utf8(&key) else { return };
        let mut counts = self.filters.borrow_mut();
        if let Some(count) = counts.get(key) {
            return count.add(1);
        }
        if counts.len() < MOST_COUNTED {
            let count = Arc::new(Count::default());
            count.add(1);
            held(&self.shard.filters).push(((of, owner.into(), name.into()), count.clone()));
            counts.insert(key.into(), count);
        }
    }

    /// Removes clusters that the configuration does not have, so that their counters do not accumulate.
    pub fn retain_clusters(&self, keep: impl Fn(&str) -> bool) {
        self.clusters.borrow_mut().retain(|name, _| keep(name));
        held(&self.shard.clusters).retain(|(name, _)| keep(name));
    }

    fn with_tcp(&self, key: Key, count: impl FnOnce(&TcpSeries)) {
        self.with_series(key, |series| {
            if let Series::Tcp(tcp) = series {
                count(tcp);
            }
        });
    }

    fn with_series(&self, key: Key, count: impl FnOnce(&Series)) {
        if let Some(series) = self.series.borrow().get(&key) {
            return count(series);
        }
        let series = Arc::new(match key.traffic {
            Traffic::Tcp => Series::Tcp(TcpSeries::default()),
            Traffic::Http | Traffic::Grpc => Series::Http(Box::<HttpSeries>::default()),
        });
        count(&series);
        held(&self.shard.series).push((key, series.clone()));
        self.series.borrow_mut().insert(key, series);
    }
}

/// The most filter counters on one thread; further names are not counted.
const MOST_COUNTED: usize = 4096;

#[cfg(test)]
mod tests;
