//! A worker of the data plane in the test's own thread, scripted upstreams, and raw clients.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    reason = "each test file uses its own part, and a failure is a failed test"
)]

use api::model::Resource;
use api::model::cluster::{Balancer, Cluster, Discovery, Limits};
use api::model::endpoint::{Endpoint, EndpointAddress, Health, LoadAssignment, LocalityEndpoints};
use api::model::listener::{
    ChainMatch, Direction, FilterChain, HttpConnection, Inspect, Listener, Protocol, RouteSource, TcpProxy,
};
use api::model::matcher::HeaderMutations;
use api::model::route::{
    ClusterChoice, Forward, Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost,
};
use proxy::credentials::Store;
use proxy::flow::node::Node;
use proxy::pipeline::bound::Bound;
use proxy::pipeline::drain::{Drainer, drain};
use proxy::pipeline::{Worker, serve};
use proxy::snapshot::{Snapshot, Update};
use proxy::telemetry::Telemetry;
use proxy::telemetry::peers::Peers;
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, LocalSet};

/// Runs a test on a single-threaded runtime, and fails it when it hangs.
pub fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        tokio::time::timeout(Duration::from_secs(60), test).await.expect("the test hangs");
    });
}

pub struct Proxy {
    pub telemetry: Arc<Telemetry>,
    pub bound: Bound,
    pub drainer: Drainer,
    pub worker: JoinHandle<()>,
    snapshot: watch::Sender<Arc<Snapshot>>,
    store: Arc<Store>,
}

impl Proxy {
    pub fn start(resources: Vec<Resource>) -> Self {
        Self::with_store(resources, Store::new(), Node::anonymous())
    }

    pub fn with_store(resources: Vec<Resource>, store: Arc<Store>, node: Node) -> Self {
        let node = Arc::new(node);
        let telemetry = Telemetry::new(node.clone(), Peers::new().0);
        let (snapshot, receiver) = watch::channel(Arc::new(Snapshot::empty()));
        let (drainer, drain) = drain();
        let bound = Bound::default();
        let worker = Worker {
            index: 0,
            snapshot: receiver,
            telemetry: telemetry.sink(0),
            credentials: store.clone(),
            node,
            drain,
            socket_mark: None,
            bound: bound.clone(),
        };
        let worker = tokio::task::spawn_local(serve(worker));
        let proxy = Self { telemetry, bound, drainer, worker, snapshot, store };
        proxy.apply(resources);
        proxy
    }

    pub fn apply(&self, upsert: Vec<Resource>) {
        self.update(Update { upsert, remove: vec![] });
    }

    pub fn update(&self, update: Update) {
        let (next, rejected) = self.snapshot.borrow().apply(update, &self.store);
        assert_eq!(rejected, []);
        self.snapshot.send_replace(Arc::new(next));
    }

    pub async fn address(&self, listener: &str) -> SocketAddr {
        self.bound.wait_for(listener).await.unwrap()
    }

    pub async fn connect(&self) -> Client {
        Client(TcpStream::connect(self.address("in").await).await.unwrap())
    }

    /// Waits until the metrics contain these parts: a record is only written once the last byte was sent.
    pub async fn metric(&self, parts: &[&str]) -> String {
        loop {
            let text = self.telemetry.render();
            if let Some(line) = text.lines().find(|line| parts.iter().all(|part| line.contains(part))) {
                return line.to_owned();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// A client that sends and receives raw bytes.
pub struct Client(pub TcpStream);

pub struct Response {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

impl Client {
    pub async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    pub async fn get(&mut self, target: &str) -> Response {
        self.send(&format!("GET {target} HTTP/1.1\r\nhost: app\r\n\r\n")).await;
        self.response().await
    }

    /// Reads a head up to its empty line.
    pub async fn head(&mut self) -> String {
        let mut head = vec![];
        while !head.ends_with(b"\r\n\r\n") {
            match self.0.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => break,
            }
        }
        String::from_utf8(head).unwrap()
    }

    pub async fn response(&mut self) -> Response {
        let head = self.head().await;
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok());
        let mut response = Response {
            status: status.unwrap_or_else(|| panic!("no status in {head:?}")),
            head,
            body: String::new(),
        };
        if let Some(length) = response.header("content-length") {
            let mut body = vec![0; length.parse().unwrap()];
            self.0.read_exact(&mut body).await.unwrap();
            response.body = String::from_utf8(body).unwrap();
        } else if response.header("transfer-encoding").is_some() {
            response.body = self.chunks().await;
        }
        response
    }

    /// Reads chunks as sent on the wire, with trailers.
    pub async fn chunks_for_test(&mut self) -> String {
        self.chunks().await
    }

    async fn chunks(&mut self) -> String {
        let mut text = String::new();
        loop {
            let mut line = String::new();
            while !line.ends_with("\r\n") {
                line.push(self.0.read_u8().await.unwrap() as char);
            }
            let length = usize::from_str_radix(line.trim_end(), 16).unwrap();
            if length == 0 {
                let mut trailers = String::new();
                while !trailers.ends_with("\r\n\r\n") && trailers != "\r\n" {
                    trailers.push(self.0.read_u8().await.unwrap() as char);
                }
                text.push_str(trailers.trim_end());
                return text;
            }
            let mut chunk = vec![0; length + 2];
            self.0.read_exact(&mut chunk).await.unwrap();
            text.push_str(std::str::from_utf8(&chunk[..length]).unwrap());
        }
    }

    /// Reads everything until the connection ends.
    pub async fn rest(&mut self) -> String {
        let mut text = vec![];
        let _ = self.0.read_to_end(&mut text).await;
        String::from_utf8_lossy(&text).into_owned()
    }
}

/// An upstream that handles each connection with a function.
pub async fn upstream<F, Fut>(serve: F) -> SocketAddr
where
    F: Fn(usize, Client) -> Fut + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::task::spawn_local(async move {
        let serve = Rc::new(serve);
        for number in 0.. {
            let Ok((socket, _)) = listener.accept().await else { return };
            let serve = serve.clone();
            tokio::task::spawn_local(async move { serve(number, Client(socket)).await });
        }
    });
    address
}

/// An upstream that responds to every request with its request line and the number of its connection.
pub async fn echo() -> SocketAddr {
    upstream(|number, mut client| async move {
        loop {
            let head = client.head().await;
            if head.is_empty() {
                return;
            }
            let mut length = 0;
            for line in head.lines().filter_map(|l| l.split_once(": ")) {
                if line.0.eq_ignore_ascii_case("content-length") {
                    length = line.1.parse().unwrap();
                }
            }
            let mut body = vec![0; length];
            client.0.read_exact(&mut body).await.unwrap();
            let text = format!("{number} {head}{}", String::from_utf8_lossy(&body));
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", text.len());
            client.send(&format!("{head}{text}")).await;
        }
    })
    .await
}

pub fn endpoint(address: SocketAddr) -> Endpoint {
    Endpoint {
        address: EndpointAddress::Socket(address),
        health: Health::Healthy,
        hostname: String::new(),
        weight: 1,
        mtls: false,
        workload: None,
    }
}

pub fn assignment(cluster: &str, addresses: &[SocketAddr]) -> LoadAssignment {
    LoadAssignment {
        cluster: cluster.into(),
        localities: vec![LocalityEndpoints {
            endpoints: addresses.iter().map(|a| endpoint(*a)).collect(),
            ..Default::default()
        }],
    }
}

pub fn cluster(name: &str, addresses: &[SocketAddr]) -> Cluster {
    let mut cluster = Cluster::new(name, Discovery::Static(assignment(name, addresses)));
    cluster.balancer = Balancer::RoundRobin;
    cluster.connect_timeout = Duration::from_secs(1);
    cluster.limits = Limits::UNLIMITED;
    cluster
}

pub fn forward(cluster: &str) -> Forward {
    Forward::to(cluster)
}

pub fn route(forward: Forward) -> Route {
    Route {
        name: "default".into(),
        criteria: RouteMatch::any(),
        action: RouteAction::Forward(Box::new(forward)),
        request_headers: HeaderMutations::default(),
        response_headers: HeaderMutations::default(),
        filters: vec![],
        origin: None,
    }
}

pub fn routes(routes: Vec<Route>) -> RouteConfiguration {
    RouteConfiguration {
        name: "routes".into(),
        virtual_hosts: vec![VirtualHost {
            name: "all".into(),
            domains: vec!["*".into()],
            routes,
            ..Default::default()
        }],
        ignore_port_in_host: true,
        ..Default::default()
    }
}

pub fn http(routes: RouteConfiguration) -> HttpConnection {
    HttpConnection::new("test", RouteSource::Inline(routes))
}

pub fn listener(protocol: Protocol) -> Listener {
    Listener {
        name: "in".into(),
        address: "127.0.0.1:0".parse().unwrap(),
        bind_to_port: true,
        direction: Direction::Unspecified,
        use_original_destination: false,
        inspect: Inspect::default(),
        chains: vec![chain("chain", protocol)],
        default_chain: None,
    }
}

pub fn chain(name: &str, protocol: Protocol) -> FilterChain {
    FilterChain {
        name: name.into(),
        criteria: ChainMatch::default(),
        tls: None,
        authorization: vec![],
        protocol,
    }
}

pub fn tcp(cluster: &str) -> Protocol {
    Protocol::Tcp(TcpProxy {
        stat_prefix: "test".into(),
        clusters: ClusterChoice::Single(cluster.into()),
        idle_timeout: None,
        max_connect_attempts: 1,
        access_log: vec![],
    })
}

/// A listener that routes everything to one cluster with these settings.
pub fn simple(http: HttpConnection, cluster: Cluster) -> Vec<Resource> {
    vec![Resource::Cluster(Box::new(cluster)), Resource::Listener(listener(Protocol::Http(Box::new(http))))]
}

/// A proxy in front of one upstream.
pub fn in_front_of(address: SocketAddr) -> Proxy {
    Proxy::start(simple(http(routes(vec![route(forward("c"))])), cluster("c", &[address])))
}
