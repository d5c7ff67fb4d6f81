//! Configuration recorded from a control plane: `record` asks for all that it sends to a proxy, `replay` serves it
//! again. So a test without that control plane sees what it sends, byte by byte.

mod stock;

mod recording;

pub use recording::{Recording, load};
pub use stock::for_stock_envoy;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use api::model::cluster::Discovery;
use api::model::listener::{Protocol, RouteSource};
use api::model::{Kind, Resource as Model};
use api::process::channel;
use api::wire::decode;
use api::wire::xds::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer, DeltaDiscoveryRequest,
    DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, NodeInfo, Resource,
};
use api::xds::client::Client;
use api::xds::connect::Stream;
use api::xds::offer::Resources;
use api::xds::server::{Mode, Request as Asked, Response as Answer, Session};
use api::xds::table::Offered;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use serde_json::Value;
use tokio::net::TcpListener;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};
use tower_service::Service;

/// Records what a control plane sends to a node, whose file has the fields `id`, `cluster` and `metadata`. Prints the
/// reason for each resource that this proxy would refuse.
pub fn record(address: &str, node: &Path, to: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let recording = runtime.expect("a runtime can be made").block_on(receive(address, info(node)));
    let responses = recording.iter().map(|(kind, resources)| DeltaDiscoveryResponse {
        type_url: kind.type_url().to_owned(),
        resources: resources
            .iter()
            .map(|(name, body)| Resource {
                name: name.clone(),
                resource: Some(body.clone()),
                ..Resource::default()
            })
            .collect(),
        ..DeltaDiscoveryResponse::default()
    });
    let bytes: Vec<u8> = responses.flat_map(|response| response.encode_length_delimited_to_vec()).collect();
    std::fs::write(to, bytes).expect("the file can be written");
}

/// Serves a recording over both forms of the protocol, until the process ends.
pub fn replay(port: u16, recording: &Recording) {
    let mut offer = Resources::new("recorded");
    for (kind, resources) in recording {
        for (name, body) in resources {
            offer.insert(*kind, name.as_str(), Offered::new(body));
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime can be made").block_on(accept(port, Plane(Arc::new(offer))));
}

fn info(file: &Path) -> NodeInfo {
    let text = std::fs::read_to_string(file).expect("the file is there");
    let value: Value = serde_json::from_str(&text).expect("the node is JSON");
    let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
    NodeInfo {
        id: text("id"),
        cluster: text("cluster"),
        metadata: value["metadata"].as_object().cloned().unwrap_or_default(),
        ..NodeInfo::default()
    }
}

/// Subscribes to everything, until nothing has arrived for a while.
async fn receive(address: &str, node: NodeInfo) -> Recording {
    let mut client = Client::new(node, &[Kind::Cluster, Kind::Listener, Kind::Names]);
    let channel = channel::lazy(address, None).expect("the address is one");
    let stream = Stream::open(channel, MetadataMap::new(), client.connected(), Mode::Delta).await;
    let mut stream = stream.expect("the control plane accepts the stream");
    let mut recording = Recording::new();
    while let Ok(response) = tokio::time::timeout(QUIET, stream.next()).await {
        let response = response.expect("the stream goes on").expect("the stream goes on");
        let Some(received) = client.receive(response) else { continue };
        let table = recording.entry(received.kind).or_default();
        table.extend(received.upserts.iter().cloned());
        for (kind, names) in references(&recording) {
            if let Some(request) = client.subscribe(kind, &names) {
                stream.send(request);
            }
        }
        stream.send(client.acknowledge(&received, &[]));
    }
    for (kind, resources) in &recording {
        for (name, body) in resources {
            if let Err(refusal) = decode(body) {
                eprintln!("{kind:?} {name}: {refusal}");
            }
        }
    }
    recording
}

/// The endpoints and routes that the clusters and listeners name.
fn references(recording: &Recording) -> [(Kind, BTreeSet<String>); 2] {
    let (mut endpoints, mut routes) = (BTreeSet::new(), BTreeSet::new());
    for body in recording.values().flat_map(BTreeMap::values) {
        match decode(body) {
            Ok(Model::Cluster(cluster)) => {
                if let Discovery::Eds(name) = cluster.discovery {
                    endpoints.insert(name);
                }
            }
            Ok(Model::Listener(listener)) => {
                for chain in listener.chains.iter().chain(&listener.default_chain) {
                    if let Protocol::Http(http) = &chain.protocol
                        && let RouteSource::Rds(name) = &http.routes
                    {
                        routes.insert(name.clone());
                    }
                }
            }
            _ => {}
        }
    }
    [(Kind::Endpoints, endpoints), (Kind::Route, routes)]
}

async fn accept(port: u16, plane: Plane) {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await.expect("the port is free");
    let server = AggregatedDiscoveryServiceServer::new(plane);
    loop {
        let (stream, _) = listener.accept().await.expect("connections can be accepted");
        let server = server.clone();
        let service = service_fn(move |request| {
            let mut server = server.clone();
            async move { Ok::<_, Infallible>(server.call(request).await.unwrap_or_else(|never| match never {})) }
        });
        let connection =
            http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service);
        // A proxy may close connections at any time.
        tokio::spawn(async move { drop(connection.await) });
    }
}

/// A control plane whose resources never change.
#[derive(Clone)]
struct Plane(Arc<Resources>);

type Answers<T> = Pin<Box<dyn futures_util::Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl AggregatedDiscoveryService for Plane {
    type StreamAggregatedResourcesStream = Answers<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Answers<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        Ok(Response::new(self.answers(request.into_inner(), Mode::Sotw, Asked::Sotw, Answer::into_sotw)))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        Ok(Response::new(self.answers(request.into_inner(), Mode::Delta, Asked::Delta, Answer::into_delta)))
    }
}

impl Plane {
    fn answers<Q: Refusal + Send + 'static, A: Send + 'static>(
        &self,
        requests: Streaming<Q>,
        mode: Mode,
        asked: fn(Q) -> Asked,
        answer: fn(Answer) -> Option<A>,
    ) -> Answers<A> {
        use futures_util::StreamExt;
        let (offer, mut session) = (Arc::clone(&self.0), Session::new(mode));
        let answers = requests.flat_map(move |request| {
            let answers = request.map_or(vec![], |request| {
                if let Some(reason) = request.refusal() {
                    eprintln!("refused: {reason}");
                }
                session.request(asked(request), &*offer)
            });
            futures_util::stream::iter(answers.into_iter().filter_map(answer).map(Ok).collect::<Vec<_>>())
        });
        Box::pin(answers)
    }
}

/// The reason for which a request refuses a response.
trait Refusal {
    fn refusal(&self) -> Option<&str>;
}

impl Refusal for DeltaDiscoveryRequest {
    fn refusal(&self) -> Option<&str> {
        self.error_detail.as_ref().map(|detail| detail.message.as_str())
    }
}

impl Refusal for DiscoveryRequest {
    fn refusal(&self) -> Option<&str> {
        self.error_detail.as_ref().map(|detail| detail.message.as_str())
    }
}

/// How long nothing arrives after everything has.
const QUIET: Duration = Duration::from_secs(3);
