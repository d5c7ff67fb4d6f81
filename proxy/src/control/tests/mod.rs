//! Control against a scripted control plane and a scripted authority, both in this process and on real sockets.
#![allow(clippy::disallowed_methods, reason = "tests are a shell")]

mod garbage;

use super::certificate;
use super::xds::{Server, Subscriptions, run};
use super::{Seams, Status};
use crate::config::Discovery;
use crate::credentials::Store;
use crate::flow::node::Node;
use crate::telemetry::Telemetry;
use crate::telemetry::peers::Peers;
use api::certificate::{CertificateService, IstioCertificateRequest, IstioCertificateResponse};
use api::model::cluster::{Cluster, Discovery as Found};
use api::model::endpoint::LoadAssignment;
use api::model::listener::{
    Direction, FilterChain, HttpConnection, Inspect, Listener, Protocol, RouteSource,
};
use api::model::route::RouteConfiguration;
use api::model::secret::SecretContent;
use api::model::workload::{NameInfo, NameTable, Workload};
use api::model::{Kind, Resource};
use api::process::enroll::Authority;
use api::process::tls::expected::Expected;
use api::process::{serve, tls};
use api::wire::xds::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer, Any, DeltaDiscoveryRequest,
    DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, NodeInfo,
};
use api::wire::{self, Target};
use api::xds::offer::Resources;
use api::xds::server::{Mode, Request as XdsRequest, Response as XdsResponse, Session};
use api::xds::table::Offered;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status as Grpc, Streaming};

/// A control plane whose resources the test changes.
#[derive(Clone)]
struct ControlPlane {
    offer: watch::Sender<Resources>,
    requests: Arc<Mutex<Vec<DeltaDiscoveryRequest>>>,
    /// Each increment ends every stream.
    outages: watch::Sender<u32>,
    /// The token and identity of each client.
    clients: Arc<Mutex<Vec<ClientIdentity>>>,
}

/// The token and identity of a client.
type ClientIdentity = (Option<String>, Option<String>);

type Reply<T> = Pin<Box<dyn futures_util::Stream<Item = Result<T, Grpc>> + Send>>;

#[tonic::async_trait]
impl AggregatedDiscoveryService for ControlPlane {
    type StreamAggregatedResourcesStream = Reply<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Reply<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        _: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Grpc> {
        Err(Grpc::unimplemented("the proxy uses the delta protocol"))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Grpc> {
        let token = request.metadata().get("authorization").map(|value| value.to_str().unwrap().to_owned());
        let peer = request.extensions().get::<serve::Peer>().and_then(|peer| peer.identity.as_ref());
        self.clients.lock().unwrap().push((token, peer.map(ToString::to_string)));
        let mut requests = request.into_inner();
        let (sender, receiver) = mpsc::unbounded_channel();
        let plane = self.clone();
        tokio::spawn(async move {
            let mut session = Session::new(Mode::Delta);
            let (mut offers, mut outages) = (plane.offer.subscribe(), plane.outages.subscribe());
            loop {
                let responses = tokio::select! {
                    request = requests.message() => {
                        let Ok(Some(request)) = request else { return };
                        plane.requests.lock().unwrap().push(request.clone());
                        session.request(XdsRequest::Delta(request), &*offers.borrow())
                    }
                    _ = outages.changed() => return,
                    Ok(()) = offers.changed() => session.push(&*offers.borrow_and_update()),
                };
                for response in responses.into_iter().filter_map(XdsResponse::into_delta) {
                    let _ = sender.send(Ok(response));
                }
            }
        });
        Ok(Response::new(Box::pin(UnboundedReceiverStream::new(receiver))))
    }
}

impl ControlPlane {
    fn new(resources: &[Resource]) -> Self {
        Self::offering(offer(resources))
    }

    fn offering(offer: Resources) -> Self {
        Self {
            offer: watch::Sender::new(offer),
            requests: Arc::default(),
            outages: watch::Sender::new(0),
            clients: Arc::default(),
        }
    }

    /// Serves until cancelled.
    async fn serve(&self, address: &str) -> (SocketAddr, CancellationToken) {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = tonic::service::Routes::new(AggregatedDiscoveryServiceServer::new(self.clone()));
        let closing = CancellationToken::new();
        let (server, closed) =
            (serve::http(listener, router.into_axum_router(), CancellationToken::new()), closing.clone());
        tokio::spawn(async move { closed.run_until_cancelled(server).await });
        (address, closing)
    }
}

fn offer(resources: &[Resource]) -> Resources {
    let mut offer = Resources::new("push");
    for resource in resources {
        let any = wire::encode(resource, &Target { istio_extensions: true });
        offer.insert(resource.kind(), resource.name(), Offered::new(&any));
    }
    offer
}

fn cluster(name: &str) -> Resource {
    Resource::Cluster(Box::new(Cluster::new(name, Found::Eds(name.into()))))
}

fn endpoints(name: &str) -> Resource {
    Resource::Endpoints(LoadAssignment { cluster: name.into(), localities: vec![] })
}

fn route(name: &str) -> Resource {
    Resource::Route(RouteConfiguration { name: name.into(), ..RouteConfiguration::default() })
}

fn listener(name: &str, routes: &str) -> Resource {
    let http = HttpConnection::new("test", RouteSource::Rds(routes.into()));
    let chain = FilterChain {
        name: String::new(),
        criteria: api::model::listener::ChainMatch::default(),
        tls: None,
        authorization: vec![],
        protocol: Protocol::Http(Box::new(http)),
    };
    Resource::Listener(Listener {
        name: name.into(),
        address: "127.0.0.1:0".parse().unwrap(),
        bind_to_port: false,
        direction: Direction::Outbound,
        use_original_destination: false,
        inspect: Inspect::default(),
        chains: vec![chain],
        default_chain: None,
    })
}

struct Proxy {
    seams: Seams,
    snapshot: watch::Receiver<Arc<crate::snapshot::Snapshot>>,
    status: watch::Receiver<Status>,
}

/// Starts control with the server at an address; runs within the `LocalSet` of the test.
fn start(address: SocketAddr) -> Proxy {
    let (roots, token, server) = (PathBuf::new(), PathBuf::new(), Expected::default());
    start_with(Discovery { address: address.to_string(), tls: false, server, roots, token }, Store::new())
}

fn start_with(discovery: Discovery, store: Arc<Store>) -> Proxy {
    let (peers, clients) = Peers::new();
    let telemetry = Telemetry::new(Arc::new(Node::anonymous()), peers);
    let seams = Seams::new(store, telemetry);
    let server = Server::Mesh { discovery, cluster_id: "Kubernetes".into() };
    let node = NodeInfo { id: "sidecar~10.0.0.1~a.b~b.svc.cluster.local".into(), ..NodeInfo::default() };
    let subscriptions = Subscriptions { node, wildcards: vec![Kind::Cluster, Kind::Listener, Kind::Names] };
    let (snapshot, status) = (seams.snapshot.subscribe(), seams.status.subscribe());
    tokio::task::spawn_local(run(server, subscriptions, seams.clone(), clients));
    Proxy { seams, snapshot, status }
}

impl Proxy {
    async fn until(&mut self, what: &str, holds: impl Fn(&crate::snapshot::Snapshot) -> bool) {
        let wait = self.snapshot.wait_for(|snapshot| holds(snapshot));
        assert!(tokio::time::timeout(LIMIT, wait).await.is_ok(), "no snapshot with {what}");
    }

    async fn until_status(&mut self, what: &str, holds: impl Fn(&Status) -> bool) {
        let wait = self.status.wait_for(|status| holds(status));
        assert!(tokio::time::timeout(LIMIT, wait).await.is_ok(), "never {what}");
    }
}

const LIMIT: Duration = Duration::from_secs(20);

async fn local(test: impl Future<Output = ()>) {
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn the_proxy_is_ready_when_the_configuration_is_complete() {
    local(async {
        let names = NameTable { hosts: [("a.example.com".to_owned(), NameInfo::default())].into() };
        let all = [cluster("a"), endpoints("a"), listener("l", "r"), route("r"), Resource::Names(names)];
        let plane = ControlPlane::new(&all);
        let (address, _closing) = plane.serve("127.0.0.1:0").await;
        let mut proxy = start(address);
        proxy.until_status("published", |status| status.published && status.connected).await;
        let snapshot = proxy.snapshot.borrow().clone();
        assert!(snapshot.missing().is_empty());
        assert_eq!(
            (snapshot.clusters().len(), snapshot.listeners().len(), snapshot.routes().len()),
            (1, 1, 1)
        );
        let mut names = proxy.seams.names.subscribe();
        let arrived = names.wait_for(|names| names.hosts.contains_key("a.example.com"));
        assert!(tokio::time::timeout(LIMIT, arrived).await.is_ok());
        let node = plane.requests.lock().unwrap()[0].node.clone().unwrap();
        assert!(node.id.starts_with("sidecar~"));
    })
    .await;
}

#[tokio::test]
async fn a_bad_resource_is_refused_by_name_and_its_last_good_version_stays() {
    local(async {
        let plane = ControlPlane::new(&[cluster("a"), endpoints("a"), cluster("b"), endpoints("b")]);
        let (address, _closing) = plane.serve("127.0.0.1:0").await;
        let mut proxy = start(address);
        proxy.until("two clusters", |snapshot| snapshot.clusters().len() == 2).await;
        let garbage = Any { type_url: Kind::Cluster.type_url().to_owned(), value: vec![0xff; 9] };
        let mut next = offer(&[endpoints("a"), endpoints("b"), cluster("b"), cluster("c"), endpoints("c")]);
        next.insert(Kind::Cluster, "a", Offered::new(&garbage));
        plane.offer.send_replace(next);
        proxy.until("the third cluster", |snapshot| snapshot.clusters().len() == 3).await;
        proxy
            .until_status("refused", |status| status.refused.contains_key(&(Kind::Cluster, "a".to_owned())))
            .await;
        let nack =
            plane.requests.lock().unwrap().iter().find_map(|request| request.error_detail.clone()).unwrap();
        assert!(nack.message.starts_with("a: "), "{}", nack.message);
    })
    .await;
}

#[tokio::test]
async fn an_outage_keeps_the_configuration_and_a_reconnect_gets_only_differences() {
    local(async {
        let plane = ControlPlane::new(&[cluster("a"), endpoints("a")]);
        let (address, closing) = plane.serve("127.0.0.1:0").await;
        let mut proxy = start(address);
        proxy.until("a cluster", |snapshot| snapshot.clusters().len() == 1).await;
        closing.cancel();
        plane.outages.send_modify(|count| *count += 1);
        proxy.until_status("disconnected", |status| !status.connected).await;
        assert_eq!(proxy.snapshot.borrow().clusters().len(), 1);
        plane.requests.lock().unwrap().clear();
        plane.offer.send_replace(offer(&[cluster("a"), endpoints("a"), cluster("b"), endpoints("b")]));
        let (_, _closing) = plane.serve(&address.to_string()).await;
        proxy.until("both clusters", |snapshot| snapshot.clusters().len() == 2).await;
        let requests = plane.requests.lock().unwrap().clone();
        let first = requests.iter().find(|request| request.type_url == Kind::Cluster.type_url()).unwrap();
        assert!(first.initial_resource_versions.contains_key("a"), "{first:?}");
    })
    .await;
}

#[tokio::test]
async fn a_stream_that_ends_in_order_is_reopened_at_once_and_the_proxy_stays_connected() {
    local(async {
        let plane = ControlPlane::new(&[cluster("a"), endpoints("a")]);
        let (address, _closing) = plane.serve("127.0.0.1:0").await;
        let mut proxy = start(address);
        proxy.until_status("connected", |status| status.connected).await;
        proxy.until("a cluster", |snapshot| snapshot.clusters().len() == 1).await;
        plane.outages.send_modify(|count| *count += 1);
        let resumed = |request: &DeltaDiscoveryRequest| request.initial_resource_versions.contains_key("a");
        let again = async {
            while !plane.requests.lock().unwrap().iter().any(resumed) {
                tokio::time::sleep(Duration::from_millis(5)).await;
                assert!(proxy.status.borrow().connected);
            }
        };
        assert!(tokio::time::timeout(LIMIT, again).await.is_ok());
    })
    .await;
}

#[tokio::test]
async fn an_unknown_peer_is_requested_by_its_address() {
    local(async {
        let caller: IpAddr = "10.0.0.7".parse().unwrap();
        let workload = Workload {
            uid: "Kubernetes//Pod/b/caller".into(),
            addresses: vec![caller],
            ..Workload::default()
        };
        let mut resources = offer(&[]);
        let any = wire::encode(&Resource::Workload(workload), &Target { istio_extensions: true });
        resources.insert(Kind::Workload, "/10.0.0.7", Offered::new(&any));
        let plane = ControlPlane::offering(resources);
        let (address, _closing) = plane.serve("127.0.0.1:0").await;
        let mut proxy = start(address);
        proxy.until_status("connected", |status| status.connected).await;
        let peers = proxy.seams.telemetry.peers().clone();
        let (known, unknown) = (peers.index(caller), peers.index("10.0.0.8".parse().unwrap()));
        let arrived = async {
            while peers.workload(known).is_none() {
                tokio::task::yield_now().await;
            }
        };
        assert!(tokio::time::timeout(LIMIT, arrived).await.is_ok());
        assert_eq!(peers.workload(known).unwrap().uid, "Kubernetes//Pod/b/caller");
        assert!(peers.workload(unknown).is_none());
    })
    .await;
}

/// An authority that first issues short-lived certificates and later refuses tokens.
struct Ca {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    root: String,
    calls: Arc<Mutex<Vec<String>>>,
    changed: watch::Sender<usize>,
}

#[tonic::async_trait]
impl CertificateService for Ca {
    async fn create_certificate(
        &self,
        request: Request<IstioCertificateRequest>,
    ) -> Result<Response<IstioCertificateResponse>, Grpc> {
        let token = request.metadata().get("authorization").map(|value| value.to_str().unwrap().to_owned());
        let peer = request.extensions().get::<serve::Peer>().and_then(|peer| peer.identity.clone());
        let proof = match (&token, &peer) {
            (Some(token), _) => token.clone(),
            (None, Some(peer)) => peer.to_string(),
            (None, None) => return Err(Grpc::unauthenticated("no proof")),
        };
        let count = {
            let mut calls = self.calls.lock().unwrap();
            calls.push(proof);
            calls.len()
        };
        self.changed.send_replace(count);
        if count > 1 && token.is_some() {
            return Err(Grpc::unauthenticated("the token is refused"));
        }
        let csr = rcgen::CertificateSigningRequestParams::from_pem(&request.get_ref().csr).unwrap();
        let life = if count == 1 { (10, 2) } else { (10, 86_400) };
        let leaf = leaf("spiffe://cluster.local/ns/b/sa/a", life, &self.issuer, &csr.public_key);
        Ok(Response::new(IstioCertificateResponse { cert_chain: vec![leaf, self.root.clone()] }))
    }
}

fn leaf(
    id: &str,
    (before, after): (u64, u64),
    issuer: &rcgen::Issuer<'_, rcgen::KeyPair>,
    key: &impl rcgen::PublicKeyData,
) -> String {
    let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
    params.subject_alt_names = vec![rcgen::SanType::URI(id.try_into().unwrap())];
    params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
    params.not_before = (SystemTime::now() - Duration::from_secs(before)).into();
    params.not_after = (SystemTime::now() + Duration::from_secs(after)).into();
    params.signed_by(key, issuer).unwrap().pem()
}

/// Creates a root certificate and its signer.
fn root() -> (rcgen::Issuer<'static, rcgen::KeyPair>, String) {
    let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    (rcgen::Issuer::new(params, key), pem)
}

/// The TLS configuration of a server of the mesh with this identity.
fn server_tls(
    id: &str,
    issuer: &rcgen::Issuer<'static, rcgen::KeyPair>,
    root: &str,
) -> watch::Receiver<Arc<tls::Serving>> {
    let own = rcgen::KeyPair::generate().unwrap();
    let chain = leaf(id, (10, 3600), issuer, &own);
    let roots = tls::roots_from_pem(root.as_bytes()).unwrap();
    let clients =
        tls::mesh_clients(roots, "cluster.local".parse().unwrap(), tls::ClientAuth::Optional).unwrap();
    let chain = tls::certificates_from_pem(chain.as_bytes()).unwrap();
    let own = tls::private_key_from_pem(own.serialize_pem().as_bytes()).unwrap();
    watch::Sender::new(tls::server_config(chain, own, Some(clients)).unwrap()).subscribe()
}

#[tokio::test]
async fn over_tls_the_proxy_sends_certificate_and_token_to_the_control_plane_only() {
    local(async {
        let (issuer, root) = root();
        let folder = tempfile::tempdir().unwrap();
        let (roots, token) = (folder.path().join("root-cert.pem"), folder.path().join("istio-token"));
        std::fs::write(&roots, &root).unwrap();
        std::fs::write(&token, "token-1\n").unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let own = "spiffe://cluster.local/ns/b/sa/a";
        let chain = leaf(own, (10, 3600), &issuer, &key);
        for (server, trusted) in [
            ("ns/istio-system/sa/istiod", true),
            ("ns/istio-system/sa/istio-ingressgateway-service-account", false),
            ("ns/other/sa/istiod", false),
        ] {
            let plane = ControlPlane::new(&[]);
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap().to_string();
            let service = tonic::service::Routes::new(AggregatedDiscoveryServiceServer::new(plane.clone()));
            let tls = server_tls(&format!("spiffe://cluster.local/{server}"), &issuer, &root);
            tokio::spawn(serve::https(listener, service.into_axum_router(), tls, CancellationToken::new()));
            let store = Store::new();
            let content = SecretContent::Certificate { chain: chain.clone(), key: key.serialize_pem() };
            store.set("default", &content).unwrap();
            let server = Expected::pilot(&"cluster.local".parse().unwrap()).unwrap();
            let discovery =
                Discovery { address, tls: true, server, roots: roots.clone(), token: token.clone() };
            let mut proxy = start_with(discovery, store);
            if trusted {
                proxy.until_status("connected", |status| status.connected).await;
                let expected = (Some("Bearer token-1".to_owned()), Some(own.to_owned()));
                assert_eq!(plane.clients.lock().unwrap()[0], expected);
            } else {
                let arrival = proxy.status.wait_for(|status| status.connected);
                assert!(tokio::time::timeout(Duration::from_millis(300), arrival).await.is_err());
                assert!(
                    plane.clients.lock().unwrap().is_empty(),
                    "the token was sent to an untrusted server"
                );
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_certificate_is_issued_renewed_at_half_its_life_and_renewed_by_itself_when_the_token_is_refused() {
    local(async {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let (issuer, root) = root();
        let tls = server_tls("spiffe://cluster.local/ns/istio-system/sa/citadel", &issuer, &root);

        let calls: Arc<Mutex<Vec<String>>> = Arc::default();
        let changed = watch::Sender::new(0);
        let mut counted = changed.subscribe();
        let ca = Ca { issuer, root: root.clone(), calls: calls.clone(), changed };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let router = tonic::service::Routes::new(api::certificate::server(ca, 100_000)).into_axum_router();
        tokio::spawn(serve::https(listener, router, tls, CancellationToken::new()));

        let store = Store::new();
        let authority = Authority {
            address,
            roots: file("root-cert.pem", &root),
            token: Some(file("istio-token", "token-1\n")),
            server: Expected::citadel(&"cluster.local".parse().unwrap()).unwrap(),
            cluster_id: "Kubernetes".into(),
            validity: None,
        };
        let (peers, _callers) = Peers::new();
        let seams = Seams::new(store.clone(), Telemetry::new(Arc::new(Node::anonymous()), peers));
        tokio::task::spawn_local(certificate::run(authority, seams));
        let counted = tokio::time::timeout(LIMIT, counted.wait_for(|count| *count >= 3)).await;
        assert!(counted.is_ok(), "{:?}", calls.lock().unwrap());
        let long = async {
            while store
                .expiry("default")
                .is_none_or(|end| end < SystemTime::now() + Duration::from_secs(3600))
            {
                tokio::task::yield_now().await;
            }
        };
        assert!(tokio::time::timeout(LIMIT, long).await.is_ok());
        let expected = ["Bearer token-1", "Bearer token-1", "spiffe://cluster.local/ns/b/sa/a"];
        assert_eq!(*calls.lock().unwrap(), expected);
        assert!(store.contains("ROOTCA"));
    })
    .await;
}
