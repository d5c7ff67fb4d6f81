//! Streams before the first configuration, and while they hold part of it back; and what clients get that claim a
//! false identity or request too much.

use super::connections::Connections;
use super::quota::Quota;
use super::*;
use crate::catalog::Catalog;
use crate::flow::Fact;
use crate::metrics::Metrics;
use crate::offer::Offers;
use crate::replica::Replicas;
use crate::revision::Revision;
use crate::snapshot::Snapshot;
use crate::validate;
use crate::verdict::Channel;
use api::model::Kind;
use api::process::serve::{self, CloseCause};
use api::process::tls;
use api::resource::parse;
use api::wire::xds::{DeltaDiscoveryRequest, Node, NodeInfo};
use api::xds::server::{Mode, Request};
use futures_util::StreamExt;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

fn snapshot(generation: u64, yaml: &str) -> Arc<Snapshot> {
    #[expect(clippy::disallowed_methods, reason = "a test's own clock")]
    let now = Instant::now();
    let catalog = Catalog::default();
    let facts = parse::parse("test.yaml", yaml).documents.into_iter().map(Fact::Upsert).collect();
    let (changes, _) = validate::judge(facts, catalog.mesh());
    Arc::new(Snapshot::new(Arc::new(catalog.apply(changes).0), generation, now))
}

fn discovery(snapshots: watch::Receiver<Arc<Snapshot>>) -> Discovery {
    let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
    Discovery {
        snapshots: snapshots.clone(),
        replicas: Replicas::new(snapshots.clone(), "istio-system", ("pilot", Revision::default())),
        offers: Offers::new(snapshots, metrics.clone()),
        verdicts: Channel::default(),
        connections: Connections::default(),
        quota: Quota::default(),
        metrics,
        identities: false,
        pods: false,
        drain: CancellationToken::new(),
    }
}

fn subscribe(kind: Kind, names: &[&str]) -> DeltaDiscoveryRequest {
    let node =
        NodeInfo { id: "sidecar~10.0.0.1~a.shop~shop.svc.cluster.local".into(), ..NodeInfo::default() };
    DeltaDiscoveryRequest {
        node: Some(Node::from(&node)),
        type_url: kind.type_url().into(),
        resource_names_subscribe: names.iter().map(ToString::to_string).collect(),
        ..DeltaDiscoveryRequest::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_connects_before_the_folder_is_read_gets_no_removals() {
    let (publish, snapshots) = watch::channel(snapshot(0, ""));
    let first = DeltaDiscoveryRequest {
        initial_resource_versions: [("held".to_owned(), "1".to_owned())].into(),
        ..subscribe(Kind::Cluster, &[])
    };
    let (send, mut responses) = mpsc::channel(QUEUE);
    let requests =
        futures_util::stream::iter([Ok(Request::Delta(first))]).chain(futures_util::stream::pending());
    let session = Session::new(Mode::Delta, None, discovery(snapshots), send);
    tokio::spawn(Box::new(session).run(requests.boxed()));
    let early = tokio::time::timeout(Duration::from_secs(60), responses.recv()).await;
    assert!(early.is_err(), "sent {early:?}");
    publish.send_replace(snapshot(1, ""));
    let response = responses.recv().await.unwrap().unwrap().into_delta().unwrap();
    assert!(response.resources.iter().any(|resource| resource.name == "BlackHoleCluster"), "{response:?}");
}

#[tokio::test]
async fn the_task_of_a_stream_is_small() {
    let (_publish, snapshots) = watch::channel(snapshot(0, ""));
    let (send, _responses) = mpsc::channel(QUEUE);
    let requests = futures_util::stream::pending().boxed();
    let session = Session::new(Mode::Delta, None, discovery(snapshots), send);
    let size = size_of_val(&session) + size_of_val(&Box::new(session).run(requests));
    assert!(size <= 4096, "{size} bytes");
}

/// A proxy that follows the test step by step, one request at a time.
struct Client {
    requests: mpsc::Sender<Result<Request, Status>>,
    responses: ResponseStream,
    connections: Connections,
}

impl Client {
    fn new(discovery: Discovery) -> Self {
        Self::from(discovery, None)
    }

    fn from(discovery: Discovery, peer: Option<Peer>) -> Self {
        let (requests, inbound) = mpsc::channel(QUEUE);
        let (send, responses) = mpsc::channel(QUEUE);
        let connections = discovery.connections.clone();
        let inbound = ReceiverStream::new(inbound).boxed();
        tokio::spawn(Box::new(Session::new(Mode::Delta, peer, discovery, send)).run(inbound));
        Self { requests, responses, connections }
    }

    /// Requests resources, receives the response and acknowledges it.
    async fn take(&mut self, kind: Kind, names: &[&str]) {
        self.requests.send(Ok(Request::Delta(subscribe(kind, names)))).await.unwrap();
        let response = self.responses.recv().await.unwrap().unwrap().into_delta().unwrap();
        assert_eq!(response.type_url, kind.type_url());
        let ack = DeltaDiscoveryRequest { response_nonce: response.nonce, ..subscribe(kind, &[]) };
        self.requests.send(Ok(Request::Delta(ack))).await.unwrap();
    }

    /// Whether the debug pages show the proxy in step, once pilot is idle.
    async fn is_in_step(&self, generation: u64) -> bool {
        tokio::time::sleep(Duration::from_millis(1)).await;
        let list = self.connections.list();
        let connection = list.first().expect("it is connected");
        let all_acked = connection.status.values().all(|status| status.nonce_sent == status.nonce_acked);
        assert!(all_acked, "{:?}", connection.status);
        connection.is_in_step(generation)
    }
}

#[tokio::test(start_paused = true)]
async fn a_proxy_with_deferred_resources_is_not_in_sync_even_if_it_acknowledged_all() {
    let service = "
apiVersion: v1
kind: Service
metadata: {name: a, namespace: shop}
spec: {clusterIP: 10.0.0.1, selector: {app: a}, ports: [{port: 80, name: http}]}
";
    let (_publish, snapshots) = watch::channel(snapshot(1, service));
    let mut client = Client::new(discovery(snapshots));
    client.take(Kind::Endpoints, &["of-no-cluster"]).await;
    client.take(Kind::Cluster, &["*"]).await;
    // Listeners and routes wait until the proxy has the endpoints of the new clusters.
    assert!(!client.is_in_step(1).await);
    client.take(Kind::Endpoints, &["outbound|80||a.shop.svc.cluster.local"]).await;
    assert!(client.is_in_step(1).await);
}

/// Objects of a namespace: the Pods of a gateway and of an application, a Gateway, and two Secrets, one of which the
/// Gateway names.
const GATES: &str = "
apiVersion: v1
kind: Pod
metadata: {name: gate, namespace: gates, labels: {istio: ingressgateway}}
spec: {serviceAccountName: gate, containers: [{name: istio-proxy, args: [proxy, router]}]}
status: {podIP: 10.0.0.3, phase: Running}
---
apiVersion: v1
kind: Pod
metadata: {name: app, namespace: gates, labels: {app: app}}
spec: {serviceAccountName: app, containers: [{name: c, command: [x]}, {name: istio-proxy, args: [proxy, sidecar]}]}
status: {podIP: 10.0.0.4, phase: Running}
---
apiVersion: v1
kind: Pod
metadata: {name: twin, namespace: gates, labels: {app: twin}}
spec: {serviceAccountName: gate, containers: [{name: c, command: [x]}]}
status: {podIP: 10.0.0.5, phase: Running}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: front, namespace: gates}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 443, name: https, protocol: HTTPS}, hosts: ['*'], tls: {mode: SIMPLE, credentialName: named}}]
---
apiVersion: v1
kind: Secret
metadata: {name: named, namespace: gates}
stringData: {tls.crt: '-----BEGIN CERTIFICATE-----', tls.key: '-----BEGIN PRIVATE KEY-----'}
---
apiVersion: v1
kind: Secret
metadata: {name: other, namespace: gates}
stringData: {tls.crt: '-----BEGIN CERTIFICATE-----', tls.key: '-----BEGIN PRIVATE KEY-----'}
";

/// A client with a certificate of namespace `gates`.
fn peer(account: &str, address: &str) -> Peer {
    Peer {
        address: format!("{address}:40000").parse().unwrap(),
        certificates: Arc::default(),
        identity: Some(format!("spiffe://cluster.local/ns/gates/sa/{account}").parse().unwrap()),
    }
}

fn secure(snapshots: watch::Receiver<Arc<Snapshot>>) -> Discovery {
    Discovery { identities: true, ..discovery(snapshots) }
}

/// The first request of a proxy that claims to be this pod of namespace `gates`, with the labels of the gateway.
fn ask_as(role: &str, pod: &str, kind: Kind, names: &[&str]) -> DeltaDiscoveryRequest {
    let metadata = serde_json::json!({"NAMESPACE": "gates", "LABELS": {"istio": "ingressgateway"}});
    let info = NodeInfo {
        id: format!("{role}~10.0.0.3~{pod}.gates~gates.svc.cluster.local"),
        metadata: metadata.as_object().unwrap().clone(),
        ..NodeInfo::default()
    };
    DeltaDiscoveryRequest { node: Some(Node::from(&info)), ..subscribe(kind, names) }
}

impl Client {
    async fn send(&mut self, request: DeltaDiscoveryRequest) {
        self.requests.send(Ok(Request::Delta(request))).await.unwrap();
    }

    /// The next response in short, acknowledged: `+name` and `-name`; or why the stream ends.
    async fn next(&mut self) -> Vec<String> {
        match *self.responses.recv().await.expect("there is a response or a reason") {
            Ok(response) => {
                let response = response.into_delta().unwrap();
                let added = response.resources.iter().map(|r| format!("+{}", r.name));
                let shown =
                    added.chain(response.removed_resources.iter().map(|name| format!("-{name}"))).collect();
                let ack = DeltaDiscoveryRequest {
                    type_url: response.type_url,
                    response_nonce: response.nonce,
                    ..DeltaDiscoveryRequest::default()
                };
                self.send(ack).await;
                shown
            }
            Err(status) => vec![format!("{:?}", status.code())],
        }
    }
}

const NAMED: &str = "kubernetes://named";
const OTHER: &str = "kubernetes://other";

#[tokio::test(start_paused = true)]
async fn a_gateway_gets_a_secret_only_while_a_gateway_object_that_selects_its_pod_names_it() {
    let (publish, snapshots) = watch::channel(snapshot(1, GATES));
    let mut client = Client::from(secure(snapshots), Some(peer("gate", "10.0.0.3")));
    client.send(ask_as("router", "gate", Kind::Secret, &[NAMED, OTHER])).await;
    assert_eq!(client.next().await, ["+kubernetes://named", "-kubernetes://other"]);
    let changes = [
        (
            "credentialName: named",
            "credentialName: other",
            vec!["+kubernetes://other", "-kubernetes://named"],
        ),
        ("kind: Gateway", "kind: Sidecar", vec!["-kubernetes://named"]),
        ("selector: {istio: ingressgateway}", "selector: {istio: another}", vec!["-kubernetes://named"]),
        ("labels: {istio: ingressgateway}", "labels: {istio: another}", vec!["-kubernetes://named"]),
        ("{name: gate, namespace", "{name: gone, namespace", vec!["-kubernetes://named"]),
        ("{name: named, namespace: gates}", "{name: named, namespace: shop}", vec!["-kubernetes://named"]),
        ("mode: SIMPLE, credentialName: named", "mode: PASSTHROUGH", vec!["-kubernetes://named"]),
    ];
    for (number, (before, after, expected)) in (2_u64..).step_by(2).zip(changes) {
        let changed = GATES.replace(before, after);
        assert_ne!(changed, GATES);
        publish.send_replace(snapshot(number, &changed));
        let mut pushed = client.next().await;
        pushed.sort();
        assert_eq!(pushed, expected, "{before} -> {after}");
        publish.send_replace(snapshot(number + 1, GATES));
        assert!(client.next().await.contains(&"+kubernetes://named".to_owned()), "{before} again");
    }
}

#[tokio::test(start_paused = true)]
async fn only_the_gateway_gets_its_secrets() {
    let denied = vec!["PermissionDenied".to_owned()];
    let nothing = vec![format!("-{NAMED}"), format!("-{OTHER}")];
    let cases = [
        // A sidecar that claims to be a gateway, the gateway, or an unknown pod.
        ("router", "app", peer("app", "10.0.0.4"), &denied),
        ("router", "gate", peer("app", "10.0.0.4"), &denied),
        ("router", "ghost", peer("app", "10.0.0.4"), &nothing),
        ("sidecar", "app", peer("app", "10.0.0.4"), &nothing),
        // A pod with the same account as the gateway.
        ("router", "gate", peer("gate", "10.0.0.5"), &denied),
        ("router", "twin", peer("gate", "10.0.0.5"), &nothing),
        ("router", "ghost", peer("gate", "10.0.0.5"), &nothing),
        // The gateway's pod runs no sidecar.
        ("sidecar", "gate", peer("gate", "10.0.0.3"), &denied),
    ];
    for (role, pod, peer, expected) in cases {
        let (_publish, snapshots) = watch::channel(snapshot(1, GATES));
        let from = format!("{role} {pod} from {peer:?}");
        let mut client = Client::from(secure(snapshots), Some(peer));
        client.send(ask_as(role, pod, Kind::Secret, &[NAMED, OTHER])).await;
        assert_eq!(client.next().await, *expected, "{from}");
    }
    // The plaintext port, for any client.
    for (address, expected) in [("10.0.0.3", &nothing), ("127.0.0.1", &nothing), ("10.0.0.4", &denied)] {
        let (_publish, snapshots) = watch::channel(snapshot(1, GATES));
        let mut client = Client::from(discovery(snapshots), Some(peer("gate", address)));
        client.send(ask_as("router", "gate", Kind::Secret, &[NAMED, OTHER])).await;
        assert_eq!(client.next().await, *expected, "{address}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_connects_before_its_pod_is_known_waits_for_it() {
    let (publish, snapshots) = watch::channel(snapshot(1, ""));
    let mut client = Client::from(secure(snapshots), Some(peer("gate", "10.0.0.3")));
    client.send(ask_as("router", "gate", Kind::Secret, &[NAMED])).await;
    assert!(tokio::time::timeout(Duration::from_secs(1), client.next()).await.is_err());
    publish.send_replace(snapshot(2, GATES));
    assert_eq!(client.next().await, [format!("+{NAMED}")]);
    assert!(client.connections.list()[0].scope.proven);
}

#[tokio::test(start_paused = true)]
async fn a_proxy_of_an_unknown_pod_gets_secrets_only_once_the_pod_is_known() {
    let without = GATES.replace("{name: gate, namespace", "{name: gone, namespace");
    let (publish, snapshots) = watch::channel(snapshot(1, &without));
    // No pod has this address; otherwise the connection would be attributed to that pod.
    let mut client = Client::from(secure(snapshots), Some(peer("gate", "10.0.0.9")));
    client.send(ask_as("router", "gate", Kind::Secret, &[NAMED])).await;
    assert_eq!(client.next().await, [format!("-{NAMED}")]);
    publish.send_replace(snapshot(2, GATES));
    assert_eq!(client.next().await, [format!("+{NAMED}")]);
    assert!(client.connections.list()[0].scope.proven, "the debug pages show it");
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_when_its_pod_changes_its_identity() {
    let (publish, snapshots) = watch::channel(snapshot(1, GATES));
    let mut client = Client::from(secure(snapshots), Some(peer("gate", "10.0.0.3")));
    client.send(ask_as("router", "gate", Kind::Secret, &[NAMED])).await;
    client.next().await;
    publish.send_replace(snapshot(2, &GATES.replace("serviceAccountName: gate", "serviceAccountName: next")));
    assert_eq!(client.next().await, ["PermissionDenied"]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_with_too_many_names_or_no_request_ends() {
    let (_publish, snapshots) = watch::channel(snapshot(1, ""));
    let mut client = Client::new(discovery(snapshots.clone()));
    client.take(Kind::Cluster, &["*"]).await;
    let names: Vec<String> = (0..=100_000).map(|number| number.to_string()).collect();
    client
        .send(DeltaDiscoveryRequest { resource_names_subscribe: names, ..subscribe(Kind::Workload, &[]) })
        .await;
    assert_eq!(client.next().await, ["ResourceExhausted"]);
    let mut long = Client::new(discovery(snapshots.clone()));
    long.send(subscribe(Kind::Endpoints, &[&"x".repeat(2_000)])).await;
    assert_eq!(long.next().await, ["ResourceExhausted"]);
    let mut silent = Client::new(discovery(snapshots));
    assert_eq!(silent.next().await, ["DeadlineExceeded"]);
}

#[tokio::test(start_paused = true)]
async fn a_pod_has_a_limited_number_of_streams() {
    let (_publish, snapshots) = watch::channel(snapshot(1, GATES));
    let discovery = secure(snapshots);
    let mut clients = vec![];
    for number in 0..17 {
        let mut client = Client::from(discovery.clone(), Some(peer("gate", "10.0.0.3")));
        client.send(ask_as("router", "gate", Kind::Secret, &[NAMED])).await;
        let expected = if number < 16 { format!("+{NAMED}") } else { "ResourceExhausted".to_owned() };
        assert_eq!(client.next().await, [expected], "{number}");
        clients.push(client);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_with_the_certificate_that_opened_it() {
    let (_publish, snapshots) = watch::channel(snapshot(1, ""));
    let discovery = discovery(snapshots);
    let connections = discovery.connections.clone();
    let (send, mut responses) = mpsc::channel(QUEUE);
    let requests = futures_util::stream::iter([Ok(Request::Delta(subscribe(Kind::Cluster, &["*"])))])
        .chain(futures_util::stream::pending());
    let at = tokio::time::Instant::now() + Duration::from_hours(1);
    let parting = CloseAt { at, cause: CloseCause::Certificate };
    let session = Session::new(Mode::Delta, None, discovery, send).until(Some(parting));
    tokio::spawn(Box::new(session).run(requests.boxed()));
    responses.recv().await.unwrap().unwrap();
    // The time spent waiting for the proxy's Pod counts too.
    let early = tokio::time::timeout(Duration::from_secs(3590), responses.recv()).await;
    assert!(early.is_err(), "{early:?}");
    let end = responses.recv().await.unwrap().unwrap_err();
    assert_eq!(end.code(), tonic::Code::Unavailable);
    assert!(end.message().contains("certificate of this stream"), "{end}");
    assert!(responses.recv().await.is_none() && connections.list().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_without_an_error_at_its_maximum_age_and_another_replica_sends_nothing_again() {
    let service = "
apiVersion: v1
kind: Service
metadata: {name: a, namespace: shop}
spec: {clusterIP: 10.0.0.1, selector: {app: a}, ports: [{port: 80, name: http}]}
";
    let (_publish, snapshots) = watch::channel(snapshot(1, service));
    let (send, mut responses) = mpsc::channel(QUEUE);
    let requests = futures_util::stream::iter([Ok(Request::Delta(subscribe(Kind::Cluster, &["*"])))])
        .chain(futures_util::stream::pending());
    let at = tokio::time::Instant::now() + Duration::from_mins(30);
    let discovery_of_first = discovery(snapshots);
    let connections = discovery_of_first.connections.clone();
    let session = Session::new(Mode::Delta, None, discovery_of_first, send)
        .until(Some(CloseAt { at, cause: CloseCause::Age }));
    tokio::spawn(Box::new(session).run(requests.boxed()));
    let first = responses.recv().await.unwrap().unwrap().into_delta().unwrap();
    assert!(!first.resources.is_empty());
    assert!(responses.recv().await.is_none(), "it ends without a status");
    assert_eq!((tokio::time::Instant::now() - at).as_secs(), 0);
    assert!(connections.list().is_empty());

    // The other replica has counted other generations.
    let (_publish, snapshots) = watch::channel(snapshot(7, service));
    let held = first.resources.iter().map(|r| (r.name.clone(), r.version.clone())).collect();
    let back = DeltaDiscoveryRequest { initial_resource_versions: held, ..subscribe(Kind::Cluster, &["*"]) };
    let mut client = Client::new(discovery(snapshots));
    client.send(back).await;
    let again = tokio::time::timeout(Duration::from_secs(60), client.responses.recv()).await;
    assert!(again.is_err(), "sent again: {again:?}");
    assert_eq!(client.connections.list().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn in_a_cluster_a_proxy_is_served_only_if_its_pod_exists() {
    let (publish, snapshots) = watch::channel(snapshot(1, GATES));
    for (pods, pod, expected) in [
        (true, "gate", format!("+{NAMED}")),
        (true, "gone", "PermissionDenied".to_owned()),
        (false, "gone", format!("-{NAMED}")),
    ] {
        let discovery = Discovery { pods, ..secure(snapshots.clone()) };
        let mut client = Client::from(discovery, Some(peer("gate", "10.0.0.3")));
        client.send(ask_as("router", pod, Kind::Secret, &[NAMED])).await;
        if pod == "gone" {
            publish.send_replace(snapshot(2, &GATES.replace("podIP: 10.0.0.3", "podIP: 10.0.0.9")));
        }
        assert_eq!(client.next().await, [expected], "{pods} {pod}");
    }
}

/// A root of the mesh.
struct Root(rcgen::CertifiedIssuer<'static, rcgen::KeyPair>);

impl Root {
    fn new() -> Self {
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
        let key = rcgen::KeyPair::generate().unwrap();
        Self(rcgen::CertifiedIssuer::self_signed(params, key).unwrap())
    }

    fn leaf(&self, account: &str) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let mut params = rcgen::CertificateParams::default();
        let uri = format!("spiffe://cluster.local/ns/shop/sa/{account}");
        params.subject_alt_names = vec![rcgen::SanType::URI(uri.try_into().unwrap())];
        params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (vec![certificate.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
    }

    /// The TLS settings of pilot with a certificate of this root, which verifies clients by `trusted`.
    fn pilot(&self, trusted: &[&Root]) -> Arc<tls::Serving> {
        let pem: String = trusted.iter().map(|root| root.0.pem()).collect();
        let roots = tls::roots_from_pem(pem.as_bytes()).unwrap();
        let clients =
            tls::mesh_clients(roots, "cluster.local".parse().unwrap(), tls::ClientAuth::Required).unwrap();
        let (chain, key) = self.leaf("ostria-pilot");
        tls::server_config(chain, key, Some(clients)).unwrap()
    }

    /// Opens a stream with a certificate of this root to pilot, which has one of `server`.
    async fn open(&self, address: std::net::SocketAddr, server: &Root) -> api::xds::connect::Stream {
        let roots = tls::roots_from_pem(server.0.pem().as_bytes()).unwrap();
        let servers = tls::verifier::servers(move |presented| presented.leads_to(&roots));
        let config = tls::client_config(servers, Some(self.leaf("a"))).unwrap();
        let channel = api::process::channel::lazy(&address.to_string(), Some(config)).unwrap();
        let first = vec![subscribe(Kind::Cluster, &["*"])];
        let metadata = tonic::metadata::MetadataMap::new();
        let mut stream =
            api::xds::connect::Stream::open(channel, metadata, first, Mode::Delta).await.unwrap();
        assert!(stream.next().await.unwrap().is_some());
        stream
    }
}

#[tokio::test]
async fn streams_of_a_removed_root_end_and_others_stay() {
    let (old, new) = (Root::new(), Root::new());
    let (_publish, snapshots) = watch::channel(snapshot(1, ""));
    let discovery = secure(snapshots);
    let connections = discovery.connections.clone();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (change, serving) = watch::channel(new.pilot(&[&old, &new]));
    tokio::spawn(serve::https(listener, discovery.router(), serving, CancellationToken::new()));
    let mut of_old = old.open(address, &new).await;
    let mut of_new = new.open(address, &new).await;
    assert_eq!(connections.list().len(), 2);
    change.send_replace(new.pilot(&[&new]));
    let ended = tokio::time::timeout(Duration::from_secs(10), of_old.next()).await;
    assert!(ended.expect("the stream of the removed root is still open").is_err());
    let gone = async {
        while connections.list().len() != 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone).await.expect("its session ends too");
    let silent = tokio::time::timeout(Duration::from_millis(200), of_new.next()).await;
    assert!(silent.is_err(), "the other stream is still open");
}
