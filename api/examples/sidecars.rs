//! Simulated sidecars for `deploy/bench/control`: each opens a connection to a control plane, asks over delta ADS in the
//! order that Envoy asks in, and acknowledges what it gets. No configuration is kept, so that thousands fit a process.
//!
//! It says on standard output when all are served (`synced`). For each line on standard input it says when every sidecar has
//! got endpoints since (`served`). It ends with standard input.

use anyhow::{Context, Result, anyhow, bail};
use api::model::cluster::Discovery;
use api::model::listener::{Protocol, RouteSource};
use api::model::{Kind, Resource};
use api::wire;
use api::wire::xds::{
    AggregatedDiscoveryServiceClient, Any, DeltaDiscoveryRequest, DeltaDiscoveryResponse, Node, NodeInfo,
};
use clap::Parser;
use prost::Message;
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tonic::transport::Endpoint;

/// What is simulated.
#[derive(Parser)]
struct Options {
    /// Sidecars.
    #[arg(long, default_value_t = 200)]
    count: usize,
    /// The control plane's plaintext port.
    #[arg(long, default_value = "127.0.0.1:15010")]
    address: String,
    /// Namespaces that they are spread over; the first is `default`.
    #[arg(long, default_value_t = 1)]
    namespaces: usize,
}

/// How far all of them are.
#[derive(Default)]
struct Board {
    synced: AtomicUsize,
    /// The change that is looked for, from 1 on.
    change: AtomicU64,
    served: AtomicUsize,
    bytes: AtomicU64,
    news: Notify,
}

impl Board {
    async fn until(&self, counter: &AtomicUsize, count: usize) {
        while counter.load(Ordering::SeqCst) < count {
            let news = self.news.notified();
            if counter.load(Ordering::SeqCst) < count {
                // Counting does not wait for who looks: a missed notice is made up for.
                let _ = tokio::time::timeout(Duration::from_millis(20), news).await;
            }
        }
    }

    fn count(&self, counter: &AtomicUsize) {
        counter.fetch_add(1, Ordering::SeqCst);
        self.news.notify_one();
    }
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<()> {
    let options = Options::parse();
    let board = Arc::new(Board::default());
    for number in 0..options.count {
        let (own, address) = (board.clone(), options.address.clone());
        let namespace = match number % options.namespaces.max(1) {
            0 => "default".to_owned(),
            other => format!("namespace-{other}"),
        };
        tokio::spawn(async move {
            let mut progress = Progress::default();
            // On a busy machine a connection may take too long to begin. Like a proxy, it is made again.
            loop {
                let Err(error) = sidecar(number, &namespace, &address, &own, &mut progress).await;
                eprintln!("sidecar {number}: {error:#}");
                tokio::time::sleep(AGAIN).await;
            }
        });
        // A client that is slower than the control plane would be taken for a client that does not respond.
        board.until(&board.synced, (number + 1).saturating_sub(AT_ONCE)).await;
        if number % 20 == 19 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    board.until(&board.synced, options.count).await;
    println!("synced {} bytes", board.bytes.load(Ordering::SeqCst));
    let (send, mut lines) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if send.blocking_send(line).is_err() {
                return;
            }
        }
    });
    while lines.recv().await.is_some() {
        board.bytes.store(0, Ordering::SeqCst);
        board.served.store(0, Ordering::SeqCst);
        board.change.fetch_add(1, Ordering::SeqCst);
        println!("waiting");
        board.until(&board.served, options.count).await;
        println!("served {} bytes", board.bytes.load(Ordering::SeqCst));
    }
    Ok(())
}

/// Sidecars that are served their first configuration at the same time.
const AT_ONCE: usize = 50;

/// How long a sidecar waits before it connects again.
const AGAIN: Duration = Duration::from_secs(1);

/// The kinds in the order in which they are requested: each after the response to the one before.
const ORDER: [Kind; 4] = [Kind::Cluster, Kind::Endpoints, Kind::Listener, Kind::Route];

/// What a sidecar has counted so far, on all of its connections.
#[derive(Default)]
struct Progress {
    synced: bool,
    /// The last change that it was served.
    served: u64,
}

async fn sidecar(
    number: usize,
    namespace: &str,
    address: &str,
    board: &Board,
    progress: &mut Progress,
) -> Result<std::convert::Infallible> {
    let channel =
        Endpoint::from_shared(format!("http://{address}"))?.connect().await.context("connecting")?;
    let mut client = AggregatedDiscoveryServiceClient::new(channel).max_decoding_message_size(usize::MAX);
    let (send, mut requests) = mpsc::channel(8);
    let first = ask(Kind::Cluster, BTreeSet::new());
    send.send(DeltaDiscoveryRequest { node: Some(node(number, namespace)), ..first }).await?;
    let requests = futures_util::stream::poll_fn(move |cx| requests.poll_recv(cx));
    let mut responses = client.delta_aggregated_resources(requests).await?.into_inner();
    let mut asked = 1;
    let mut names = [const { BTreeSet::new() }; 4];
    while let Some(response) = responses.message().await? {
        let kind = Kind::from_type_url(&response.type_url).ok_or_else(|| anyhow!("{}", response.type_url))?;
        board.bytes.fetch_add(response.encoded_len() as u64, Ordering::SeqCst);
        send.send(DeltaDiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            ..DeltaDiscoveryRequest::default()
        })
        .await?;
        match kind {
            Kind::Cluster if asked == 1 => names[1] = named(&response, cluster_endpoints)?,
            Kind::Listener if asked == 3 => names[3] = named(&response, listener_routes)?,
            Kind::Endpoints if asked > ORDER.len() => {
                let change = board.change.load(Ordering::SeqCst);
                if std::mem::replace(&mut progress.served, change) < change {
                    board.count(&board.served);
                }
            }
            _ => {}
        }
        if asked <= ORDER.len() && kind == ORDER[asked - 1] {
            match ORDER.get(asked) {
                Some(next) => send.send(ask(*next, std::mem::take(&mut names[asked]))).await?,
                None if std::mem::replace(&mut progress.synced, true) => {}
                None => board.count(&board.synced),
            }
            asked += 1;
        }
    }
    bail!("the stream has ended")
}

fn node(number: usize, namespace: &str) -> Node {
    let metadata =
        json!({"NAMESPACE": namespace, "ISTIO_VERSION": "1.31.0", "LABELS": {"app": format!("c{number}")}});
    let (high, low) = (number / 250, number % 250 + 1);
    Node::from(&NodeInfo {
        id: format!("sidecar~10.200.{high}.{low}~c{number}.{namespace}~{namespace}.svc.cluster.local"),
        cluster: format!("c{number}.{namespace}"),
        metadata: metadata.as_object().cloned().unwrap_or_default(),
        ..NodeInfo::default()
    })
}

fn ask(kind: Kind, names: BTreeSet<String>) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        type_url: kind.type_url().to_owned(),
        resource_names_subscribe: names.into_iter().collect(),
        ..DeltaDiscoveryRequest::default()
    }
}

/// What the resources of a response refer to.
fn named(response: &DeltaDiscoveryResponse, of: fn(&Any) -> Result<Vec<String>>) -> Result<BTreeSet<String>> {
    let bodies = response.resources.iter().filter_map(|resource| resource.resource.as_ref());
    let names: Vec<Vec<String>> = bodies.map(of).collect::<Result<_>>()?;
    Ok(names.into_iter().flatten().collect())
}

fn cluster_endpoints(any: &Any) -> Result<Vec<String>> {
    let Resource::Cluster(cluster) = wire::decode(any)? else { bail!("not a cluster: {}", any.type_url) };
    Ok(match cluster.discovery {
        Discovery::Eds(name) => vec![name],
        _ => vec![],
    })
}

fn listener_routes(any: &Any) -> Result<Vec<String>> {
    let Resource::Listener(listener) = wire::decode(any)? else { bail!("not a listener: {}", any.type_url) };
    let chains = listener.chains.iter().chain(&listener.default_chain);
    let routes = chains.filter_map(|chain| match &chain.protocol {
        Protocol::Http(connection) => Some(&connection.routes),
        Protocol::Tcp(_) => None,
    });
    Ok(routes
        .filter_map(|routes| match routes {
            RouteSource::Rds(name) => Some(name.clone()),
            RouteSource::Inline(_) => None,
        })
        .collect())
}
