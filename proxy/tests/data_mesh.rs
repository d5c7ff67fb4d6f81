//! HTTP/2, gRPC and mutual TLS through one and through two workers' listeners, as between two sidecars.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test sets its own time and may fail")]

mod data;

use api::model::Resource;
use api::model::cluster::{Cluster, ClusterService, ClusterTls, Discovery, Limits, UpstreamHttp};
use api::model::endpoint::{EndpointWorkload, LoadAssignment, LocalityEndpoints};
use api::model::filter::{Filter, HttpFilter};
use api::model::listener::{
    Direction, ForwardClientCertificate, ForwardMode, Inspect, Listener, Protocol, Transport,
};
use api::model::matcher::{Pattern, StringMatch};
use api::model::secret::SecretContent;
use api::model::tls::{
    CertificateSource, DownstreamTls, RootSource, SanKind, SanMatch, TlsParameters, UpstreamTls, Validation,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use data::*;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use proxy::credentials::Store;
use proxy::flow::node::Node;
use rcgen::{
    CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType,
};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

type Body = StreamBody<futures_util::stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>>>;

fn body(frames: Vec<Frame<Bytes>>) -> Body {
    StreamBody::new(futures_util::stream::iter(frames.into_iter().map(Ok).collect::<Vec<_>>()))
}

fn grpc_status(status: &'static str) -> Frame<Bytes> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", http::HeaderValue::from_static(status));
    Frame::trailers(trailers)
}

/// An HTTP/2 server that responds to each request with its body and a gRPC status; the path `/fail` gets status 13.
async fn grpc_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::task::spawn_local(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let service = hyper::service::service_fn(|request: Request<Incoming>| async move {
                let status = if request.uri().path() == "/fail" { "13" } else { "0" };
                let xfcc = request.headers().get("x-forwarded-client-cert").cloned();
                let authority = request.uri().authority().map(ToString::to_string).unwrap_or_default();
                let data = request.into_body().collect().await.unwrap().to_bytes();
                // hyper treats many empty DATA frames as an attack.
                let data = Some(Frame::data(data)).filter(|f| f.data_ref().is_some_and(|d| !d.is_empty()));
                let frames = data.into_iter().chain([grpc_status(status)]).collect();
                let mut response = Response::new(body(frames));
                response.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
                response.headers_mut().insert("x-authority", authority.parse().unwrap());
                if let Some(xfcc) = xfcc {
                    response.headers_mut().insert("x-seen", xfcc);
                }
                Ok::<_, Infallible>(response)
            });
            tokio::task::spawn_local(async move {
                let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                let _ = serving.serve_connection(TokioIo::new(socket), service).await;
            });
        }
    });
    address
}

async fn http2_client(address: SocketAddr) -> http2::SendRequest<Body> {
    let socket = TcpStream::connect(address).await.unwrap();
    let (client, connection) =
        http2::Builder::new(TokioExecutor::new()).handshake(TokioIo::new(socket)).await.unwrap();
    tokio::task::spawn_local(async move {
        let _ = connection.await;
    });
    client
}

fn grpc_request(path: &str, frames: Vec<Frame<Bytes>>) -> Request<Body> {
    Request::post(format!("http://svc.example{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(body(frames))
        .unwrap()
}

fn message(text: &str) -> Frame<Bytes> {
    Frame::data([&[0, 0, 0, 0, text.len() as u8][..], text.as_bytes()].concat().into())
}

fn grpc_cluster(address: SocketAddr) -> Cluster {
    let mut cluster = cluster("c", &[address]);
    cluster.http = UpstreamHttp::Http2;
    cluster
}

#[test]
fn grpc_streams_keep_their_trailers_and_share_one_connection() {
    run(async {
        let mut settings = http(routes(vec![route(forward("c"))]));
        settings.filters = [Filter::GrpcStats, Filter::Router].map(HttpFilter::from).into();
        let proxy = Proxy::start(simple(settings, grpc_cluster(grpc_server().await)));
        let client = http2_client(proxy.address("in").await).await;
        let calls = (0..40).map(|n| {
            let mut client = client.clone();
            async move {
                let path = if n == 7 { "/fail" } else { "/ok" };
                let frames = vec![message("one"), message("two")];
                let response = client.send_request(grpc_request(path, frames)).await.unwrap();
                assert_eq!(response.headers()["x-authority"], "svc.example");
                let collected = response.into_body().collect().await.unwrap();
                let status = collected.trailers().unwrap()["grpc-status"].clone();
                assert_eq!(status, if n == 7 { "13" } else { "0" });
                assert_eq!(collected.to_bytes().len(), 16);
            }
        });
        futures_util::future::join_all(calls).await;
        proxy
            .metric(&[
                "istio_requests_total",
                "request_protocol=\"grpc\"",
                "grpc_response_status=\"13\"",
                " 1",
            ])
            .await;
        proxy.metric(&["istio_request_messages_total", "grpc_response_status=\"0\"", " 78"]).await;
        assert!(proxy.telemetry.render().contains("upstream_cx_total{cluster_name=\"c\"} 1\n"));
    });
}

#[test]
fn grpc_web_is_grpc_behind_the_proxy_and_its_trailers_come_in_the_body() {
    run(async {
        let mut settings = http(routes(vec![route(forward("c"))]));
        settings.filters = [Filter::GrpcWeb, Filter::Router].map(HttpFilter::from).into();
        let proxy = Proxy::start(simple(settings, grpc_cluster(grpc_server().await)));
        let mut client = http2_client(proxy.address("in").await).await;
        let sent = ["one", "five!"].map(|text| message(text).into_data().unwrap());
        let last = b"\x80\0\0\0\x0fgrpc-status:0\r\n";
        let plain = [&sent[0][..], &sent[1][..], last].concat();
        for (kind, text) in [("application/grpc-web+proto", false), ("application/grpc-web-text+proto", true)]
        {
            let written = |data: &[u8]| if text { STANDARD.encode(data).into_bytes() } else { data.to_vec() };
            // Each message is encoded separately, and may be cut at any byte.
            let all = sent.iter().flat_map(|data| written(data)).collect::<Vec<u8>>();
            let pieces = all.chunks(7).map(|piece| Frame::data(Bytes::copy_from_slice(piece))).collect();
            let request =
                Request::post("http://svc.example/a.B/C").header("content-type", kind).header("accept", kind);
            let response = client.send_request(request.body(body(pieces)).unwrap()).await.unwrap();
            assert_eq!(response.headers()["content-type"], kind);
            let collected = response.into_body().collect().await.unwrap();
            assert_eq!(collected.trailers(), None, "{kind}");
            let expected: Vec<u8> = if text {
                [&sent[0][..], &sent[1][..], last].into_iter().flat_map(written).collect()
            } else {
                plain.clone()
            };
            assert_eq!(collected.to_bytes(), expected, "{kind}");
        }
        let called =
            ["istio_requests_total", "request_protocol=\"grpc\"", "grpc_response_status=\"0\"", " 2"];
        proxy.metric(&called).await;
        proxy.metric(&["envoy_cluster_grpc_web_a_B_C_success", "cluster_name=\"c\"} 2"]).await;
    });
}

#[test]
fn http1_clients_reach_http2_upstreams_and_back() {
    run(async {
        let proxy =
            Proxy::start(simple(http(routes(vec![route(forward("c"))])), grpc_cluster(grpc_server().await)));
        let mut client = proxy.connect().await;
        client
            .send("POST /x HTTP/1.1\r\nhost: some.host\r\nte: trailers\r\ncontent-length: 3\r\n\r\nabc")
            .await;
        let response = client.response().await;
        assert_eq!((response.status, response.header("x-authority")), (200, Some("some.host")));
        assert!(response.body.starts_with("abc"), "{}", response.body);
        let proxy = in_front_of(echo().await);
        let mut client = http2_client(proxy.address("in").await).await;
        let request = Request::get("http://h2.example/path").body(body(vec![])).unwrap();
        let response = client.send_request(request).await.unwrap();
        let text = response.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&text).to_ascii_lowercase();
        assert!(text.contains("get /path http/1.1") && text.contains("host: h2.example"), "{text}");
    });
}

#[test]
fn draining_sends_goaway_and_loses_no_stream() {
    run(async {
        let proxy =
            Proxy::start(simple(http(routes(vec![route(forward("c"))])), grpc_cluster(grpc_server().await)));
        let mut client = http2_client(proxy.address("in").await).await;
        client.send_request(grpc_request("/a", vec![])).await.unwrap();
        let (sender, frames) = tokio::sync::mpsc::channel::<Result<Frame<Bytes>, Infallible>>(1);
        let open = StreamBody::new(tokio_stream::wrappers::ReceiverStream::new(frames));
        drop(client);
        let socket = TcpStream::connect(proxy.address("in").await).await.unwrap();
        let (mut client, connection) =
            http2::Builder::new(TokioExecutor::new()).handshake(TokioIo::new(socket)).await.unwrap();
        let ended = tokio::task::spawn_local(connection);
        let request = Request::post("http://a/b").body(open).unwrap();
        let answer = tokio::task::spawn_local(async move { client.send_request(request).await.unwrap() });
        sender.send(Ok(message("x"))).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        proxy.drainer.start(Instant::now() + Duration::from_secs(10), false);
        tokio::time::sleep(Duration::from_millis(50)).await;
        sender.send(Ok(message("y"))).await.unwrap();
        drop(sender);
        let data = answer.await.unwrap().into_body().collect().await.unwrap().to_bytes();
        assert_eq!(data.len(), 12);
        ended.await.unwrap().unwrap();
        proxy.worker.await.unwrap();
    });
}

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A store with a workload's certificate and the roots.
    fn store(&self, account: &str) -> Arc<Store> {
        let mut params = CertificateParams::default();
        let id = format!("spiffe://cluster.local/ns/default/sa/{account}");
        params.subject_alt_names = vec![SanType::URI(id.try_into().unwrap())];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let chain = params.signed_by(&key, &self.0).unwrap().pem();
        let store = Store::new();
        store.set("default", &SecretContent::Certificate { chain, key: key.serialize_pem() }).unwrap();
        store.set("ROOTCA", &SecretContent::Roots { bundle: self.0.pem() }).unwrap();
        store
    }
}

fn parameters(alpn: &[&str], sans: &[&str]) -> TlsParameters {
    TlsParameters {
        alpn: alpn.iter().map(|a| (*a).to_owned()).collect(),
        certificates: vec![CertificateSource::Sds("default".into())],
        validation: Some(Validation {
            roots: RootSource::Sds("ROOTCA".into()),
            subject_alt_names: sans
                .iter()
                .map(|san| SanMatch {
                    kind: Some(SanKind::Uri),
                    value: StringMatch { pattern: Pattern::Exact((*san).into()), ignore_case: false },
                })
                .collect(),
        }),
        ..TlsParameters::default()
    }
}

fn node(account: &str) -> Node {
    let mut node = Node::anonymous();
    node.workload.namespace = "default".into();
    node.workload.service_account = account.into();
    node.workload.workload_name = format!("{account}-v1");
    node
}

fn inbound(address: SocketAddr, upstream_http: UpstreamHttp) -> Vec<Resource> {
    let mut http = http(routes(vec![route(forward("inbound|80||"))]));
    http.server_name = Some("istio-envoy".into());
    http.client_certificate = ForwardClientCertificate {
        mode: ForwardMode::AppendForward,
        subject: true,
        uri: true,
        dns: true,
        ..Default::default()
    };
    let mut listener: Listener = listener(Protocol::Http(Box::new(http)));
    listener.direction = Direction::Inbound;
    listener.chains[0].tls = Some(DownstreamTls {
        common: parameters(&["h2", "http/1.1"], &[]),
        require_client_certificate: true,
    });
    let mut cluster = cluster("inbound|80||", &[address]);
    cluster.http = upstream_http;
    cluster.service = Some(service());
    vec![Resource::Cluster(Box::new(cluster)), Resource::Listener(listener)]
}

fn service() -> ClusterService {
    ClusterService {
        host: "reviews.default.svc.cluster.local".into(),
        name: "reviews".into(),
        namespace: "default".into(),
    }
}

fn outbound(address: SocketAddr, http_version: UpstreamHttp, san: &str) -> Vec<Resource> {
    let mut endpoint = endpoint(address);
    endpoint.mtls = true;
    endpoint.workload = Some(EndpointWorkload { name: "reviews-v2".into(), ..Default::default() });
    let assignment = LoadAssignment {
        cluster: "outbound".into(),
        localities: vec![LocalityEndpoints { endpoints: vec![endpoint], ..Default::default() }],
    };
    let mut cluster = Cluster::new("outbound", Discovery::Eds("outbound".into()));
    cluster.http = http_version;
    cluster.service = Some(service());
    cluster.limits = Limits::UNLIMITED;
    cluster.tls = ClusterTls::WhenOffered(Box::new(UpstreamTls {
        common: parameters(&["istio-peer-exchange", "istio"], &[san]),
        sni: "outbound_.80_._.reviews.default.svc.cluster.local".into(),
        ..UpstreamTls::default()
    }));
    let mut http = http(routes(vec![route(forward("outbound"))]));
    http.filters = [Filter::Alpn, Filter::Router].map(HttpFilter::from).into();
    let mut listener = listener(Protocol::Http(Box::new(http)));
    listener.direction = Direction::Outbound;
    vec![Resource::Cluster(Box::new(cluster)), Resource::Endpoints(assignment), Resource::Listener(listener)]
}

const REVIEWS: &str = "spiffe://cluster.local/ns/default/sa/reviews";

#[test]
fn two_sidecars_authenticate_each_other_with_mutual_tls() {
    run(async {
        let authority = Authority::new();
        let server = Proxy::with_store(
            inbound(echo().await, UpstreamHttp::Http1),
            authority.store("reviews"),
            node("reviews"),
        );
        let resources = outbound(server.address("in").await, UpstreamHttp::Http1, REVIEWS);
        let client = Proxy::with_store(resources, authority.store("productpage"), node("productpage"));
        let mut connection = client.connect().await;
        for _ in 0..3 {
            let response = connection.get("/").await;
            assert_eq!(response.status, 200, "{}", response.body);
            let seen = &response.body;
            assert!(seen.contains("By=spiffe://cluster.local/ns/default/sa/reviews;Hash="), "{seen}");
            assert!(seen.contains("URI=spiffe://cluster.local/ns/default/sa/productpage"), "{seen}");
        }
        let source = "source_principal=\"spiffe://cluster.local/ns/default/sa/productpage\"";
        let destination = "destination_principal=\"spiffe://cluster.local/ns/default/sa/reviews\"";
        let service = "destination_service=\"reviews.default.svc.cluster.local\"";
        let workload = "destination_workload=\"reviews-v2\"";
        client
            .metric(&[
                "istio_requests_total",
                "reporter=\"source\"",
                source,
                destination,
                service,
                workload,
                " 3",
            ])
            .await;
        let policy = "connection_security_policy=\"mutual_tls\"";
        server
            .metric(&[
                "istio_requests_total",
                "reporter=\"destination\"",
                source,
                destination,
                service,
                policy,
                " 3",
            ])
            .await;
        assert!(client.telemetry.render().contains("upstream_cx_total{cluster_name=\"outbound\"} 1\n"));
    });
}

#[test]
fn http2_between_sidecars_keeps_trailers() {
    run(async {
        let authority = Authority::new();
        let server = Proxy::with_store(
            inbound(grpc_server().await, UpstreamHttp::SameAsClient),
            authority.store("reviews"),
            node("reviews"),
        );
        let resources = outbound(server.address("in").await, UpstreamHttp::Http2, REVIEWS);
        let client = Proxy::with_store(resources, authority.store("productpage"), node("productpage"));
        let mut caller = http2_client(client.address("in").await).await;
        let response = caller.send_request(grpc_request("/fail", vec![message("abc")])).await.unwrap();
        assert!(response.headers()["x-seen"].to_str().unwrap().contains("sa/productpage"));
        let collected = response.into_body().collect().await.unwrap();
        assert_eq!(collected.trailers().unwrap()["grpc-status"], "13");
    });
}

#[test]
fn a_server_with_a_wrong_identity_gets_no_request() {
    run(async {
        let authority = Authority::new();
        let address = upstream(|_, _| async { panic!("the application is reached") }).await;
        let server = Proxy::with_store(
            inbound(address, UpstreamHttp::Http1),
            authority.store("imposter"),
            node("imposter"),
        );
        let resources = outbound(server.address("in").await, UpstreamHttp::Http1, REVIEWS);
        let client = Proxy::with_store(resources, authority.store("productpage"), node("productpage"));
        let response = client.connect().await.get("/").await;
        assert_eq!(response.status, 503);
        assert!(response.body.contains("remote connection failure"), "{}", response.body);
        client.metric(&["istio_requests_total", "response_flags=\"UF\""]).await;
    });
}

#[test]
fn plaintext_and_unauthenticated_clients_are_refused_by_a_strict_chain() {
    run(async {
        let authority = Authority::new();
        let address = upstream(|_, _| async { panic!("the application is reached") }).await;
        let server = Proxy::with_store(
            inbound(address, UpstreamHttp::Http1),
            authority.store("reviews"),
            node("reviews"),
        );
        let mut plain = server.connect().await;
        plain.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert!(!plain.rest().await.contains("HTTP"));
        let resources = outbound(server.address("in").await, UpstreamHttp::Http1, REVIEWS);
        let mut store = Authority::new().store("outsider");
        store.set("ROOTCA", &SecretContent::Roots { bundle: authority.0.pem() }).unwrap();
        let outsider = Proxy::with_store(resources, std::mem::take(&mut store), node("outsider"));
        assert_eq!(outsider.connect().await.get("/").await.status, 503);
    });
}

/// The resources of a sidecar whose port waits only briefly for first bytes, and accepts mutual TLS, and plaintext
/// if `permissive`.
fn inspecting(address: SocketAddr, permissive: bool, idle: Option<Duration>) -> Vec<Resource> {
    let mut resources = inbound(address, UpstreamHttp::Http1);
    let Resource::Listener(listener) = &mut resources[1] else { panic!("a listener") };
    let timeout = Some(BRIEF);
    listener.inspect = Inspect {
        original_destination: false.into(),
        tls: true.into(),
        http: true.into(),
        timeout,
        continue_on_timeout: true,
    };
    let Protocol::Http(http) = &mut listener.chains[0].protocol else { panic!("HTTP") };
    http.idle_timeout = idle;
    let mut plain = chain("plain", listener.chains[0].protocol.clone());
    plain.criteria.transport = Some(Transport::Raw);
    listener.chains[0].criteria.transport = Some(Transport::Tls);
    listener.chains.extend(Some(plain).filter(|_| permissive));
    resources
}

fn inspected(address: SocketAddr, permissive: bool, idle: Option<Duration>) -> Proxy {
    reviews(inspecting(address, permissive, idle))
}

/// The sidecar of `reviews`, with an authority that no other workload uses.
fn reviews(resources: Vec<Resource>) -> Proxy {
    Proxy::with_store(resources, Authority::new().store("reviews"), node("reviews"))
}

/// Forwards bytes to an address: the first few at once, the others only after the port there has waited for long.
async fn slowly(address: SocketAddr, first: usize) -> SocketAddr {
    upstream(move |_, mut client| async move {
        let mut server = TcpStream::connect(address).await.unwrap();
        let mut bytes = vec![0; first];
        client.0.read_exact(&mut bytes).await.unwrap();
        server.write_all(&bytes).await.unwrap();
        tokio::time::sleep(BRIEF * 5).await;
        let _ = tokio::io::copy_bidirectional(&mut client.0, &mut server).await;
    })
    .await
}

#[test]
fn a_late_client_hello_is_awaited_unless_a_server_may_send_first() {
    run(async {
        for (permissive, first) in [(true, 0), (true, 3), (false, 0), (false, 3)] {
            let authority = Authority::new();
            let resources = inspecting(echo().await, permissive, None);
            let server = Proxy::with_store(resources, authority.store("reviews"), node("reviews"));
            let address = slowly(server.address("in").await, first).await;
            let resources = outbound(address, UpstreamHttp::Http1, REVIEWS);
            let client = Proxy::with_store(resources, authority.store("productpage"), node("productpage"));
            let response = client.connect().await.get("/").await;
            assert_eq!(response.status, 200, "permissive: {permissive}, {first} bytes: {}", response.body);
            assert!(response.body.contains("sa/productpage"), "{}", response.body);
        }
    });
}

#[test]
fn plaintext_that_is_late_is_taken_or_refused_as_if_it_were_not() {
    run(async {
        let address = echo().await;
        for half in ["", "GET"] {
            for permissive in [true, false] {
                let proxy = inspected(address, permissive, None);
                let mut client = proxy.connect().await;
                client.send(half).await;
                tokio::time::sleep(BRIEF * 5).await;
                let rest = &b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"[half.len()..];
                // The connection may already be reset, because half of the request was not accepted.
                let _ = client.0.write_all(rest).await;
                if permissive {
                    assert_eq!(client.response().await.status, 200);
                } else {
                    assert_eq!(client.rest().await, "");
                    proxy.metric(&["no_filter_chain_match", " 1"]).await;
                }
            }
        }
    });
}

#[test]
fn silence_selects_a_chain_soon_if_a_server_may_send_first() {
    run(async {
        let address = upstream(|_, mut client| async move { client.send("220 ready").await }).await;
        for (permissive, answer) in [(true, "220 ready"), (false, "")] {
            let mut resources = inspecting(address, permissive, None);
            let Resource::Listener(listener) = &mut resources[1] else { panic!("a listener") };
            listener.chains.iter_mut().for_each(|chain| chain.protocol = tcp("inbound|80||"));
            assert_eq!(reviews(resources).connect().await.rest().await, answer);
        }
    });
}

/// Like `inspecting`, with another timeout for first bytes.
fn waiting(address: SocketAddr, permissive: bool, timeout: Duration) -> Vec<Resource> {
    let mut resources = inspecting(address, permissive, None);
    let Resource::Listener(listener) = &mut resources[1] else { panic!("a listener") };
    listener.inspect.timeout = Some(timeout);
    resources
}

#[test]
fn a_connection_uses_the_configuration_at_its_first_byte() {
    run(async {
        let address = echo().await;
        for timeout in [BRIEF, LONG] {
            let proxy = reviews(waiting(address, true, timeout));
            let mut client = proxy.connect().await;
            proxy.metric(&["listener_downstream_cx_total", " 1"]).await;
            tokio::time::sleep(BRIEF * 3).await;
            proxy.apply(waiting(address, false, timeout));
            tokio::time::sleep(BRIEF).await;
            client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
            assert_eq!(client.rest().await, "");
        }
    });
}

#[test]
fn a_first_request_during_draining_gets_one_response() {
    run(async {
        let proxy = reviews(waiting(echo().await, true, LONG));
        let mut client = proxy.connect().await;
        proxy.metric(&["listener_downstream_cx_total", " 1"]).await;
        let began = Instant::now();
        proxy.drainer.start(began + Duration::from_secs(50), false);
        tokio::time::sleep(BRIEF).await;
        let response = client.get("/").await;
        assert_eq!((response.status, response.header("connection")), (200, Some("close")));
        assert_eq!(client.rest().await, "");
        proxy.worker.await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(10));
    });
}

#[test]
fn a_silent_client_is_closed_like_an_idle_one() {
    run(async {
        let proxy = inspected(echo().await, true, Some(BRIEF * 10));
        let mut client = proxy.connect().await;
        let began = Instant::now();
        assert_eq!(client.rest().await, "");
        let waited = began.elapsed();
        assert!(waited >= BRIEF * 10 && waited < Duration::from_secs(10), "waited {waited:?}");
    });
}

#[test]
fn a_silent_client_does_not_delay_shutdown() {
    run(async {
        for permissive in [true, false] {
            let proxy = inspected(echo().await, permissive, None);
            let mut client = proxy.connect().await;
            tokio::time::sleep(BRIEF * 3).await;
            let began = Instant::now();
            proxy.drainer.start(began + Duration::from_secs(50), false);
            assert_eq!(client.rest().await, "");
            proxy.worker.await.unwrap();
            assert!(began.elapsed() < Duration::from_secs(10));
        }
    });
}

#[test]
fn a_client_that_stops_during_its_handshake_does_not_delay_shutdown() {
    run(async {
        let authority = Authority::new();
        let resources = inspecting(echo().await, false, None);
        let proxy = Proxy::with_store(resources, authority.store("reviews"), node("reviews"));
        let address = proxy.address("in").await;
        // Forwards the ClientHello alone.
        let stops = upstream(move |_, mut client| async move {
            let mut server = TcpStream::connect(address).await.unwrap();
            let mut hello = vec![0; 5];
            client.0.read_exact(&mut hello).await.unwrap();
            hello.resize(5 + usize::from(u16::from_be_bytes([hello[3], hello[4]])), 0);
            client.0.read_exact(&mut hello[5..]).await.unwrap();
            server.write_all(&hello).await.unwrap();
            std::future::pending::<()>().await;
        })
        .await;
        let resources = outbound(stops, UpstreamHttp::Http1, REVIEWS);
        let caller = Proxy::with_store(resources, authority.store("productpage"), node("productpage"));
        let mut client = caller.connect().await;
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        proxy.metric(&["listener_downstream_cx_total", " 1"]).await;
        tokio::time::sleep(BRIEF * 3).await;
        let began = Instant::now();
        proxy.drainer.start(began + Duration::from_secs(50), false);
        proxy.worker.await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(10));
    });
}

/// The timeout for first bytes.
const BRIEF: Duration = Duration::from_millis(40);
/// The timeout for first bytes in tests where they arrive in time.
const LONG: Duration = Duration::from_secs(600);

/// Istio's default retry policy.
fn mesh_retry() -> api::model::route::RetryPolicy {
    use api::model::route::RetryOn;
    api::model::route::RetryPolicy {
        on: vec![RetryOn::ConnectFailure, RetryOn::RefusedStream, RetryOn::GrpcUnavailable],
        status_codes: vec![],
        attempts: 2,
        per_try_timeout: None,
        back_off: api::model::matcher::BackOff {
            base: Duration::from_millis(25),
            max: Duration::from_millis(250),
        },
        avoid_previous_hosts: 5,
        headers: vec![],
        request_headers: vec![],
    }
}

async fn no_request_is_lost(http_version: UpstreamHttp, application: SocketAddr) {
    let authority = Authority::new();
    let sidecar = || {
        Proxy::with_store(
            inbound(application, UpstreamHttp::SameAsClient),
            authority.store("reviews"),
            node("reviews"),
        )
    };
    let (going, staying) = (sidecar(), sidecar());
    let addresses = [going.address("in").await, staying.address("in").await];
    let mut resources = outbound(addresses[0], http_version, REVIEWS);
    let endpoints = |addresses: &[SocketAddr]| {
        let mut assignment = assignment("outbound", addresses);
        for endpoint in &mut assignment.localities[0].endpoints {
            endpoint.mtls = true;
        }
        Resource::Endpoints(assignment)
    };
    resources[1] = endpoints(&addresses);
    let Resource::Listener(listener) = &mut resources[2] else { panic!("a listener") };
    let mut way = forward("outbound");
    way.retry = Some(mesh_retry());
    let Protocol::Http(http) = &mut listener.chains[0].protocol else { panic!("HTTP") };
    http.routes = api::model::listener::RouteSource::Inline(routes(vec![route(way)]));
    let caller = Proxy::with_store(resources, authority.store("productpage"), node("productpage"));
    let calls = (0..100).map(|_| async {
        let mut client = caller.connect().await;
        for _ in 0..25 {
            client.send("GET /x HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n").await;
            let response = client.response().await;
            assert_eq!(response.status, 200, "{}", response.body);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let leaving = async {
        tokio::time::sleep(Duration::from_millis(80)).await;
        going.drainer.start(Instant::now() + Duration::from_secs(5), false);
        tokio::time::sleep(Duration::from_millis(100)).await;
        caller.apply(vec![endpoints(&addresses[1..])]);
    };
    tokio::join!(futures_util::future::join_all(calls), leaving);
    let text = going.telemetry.render();
    assert!(text.contains("istio_requests_total"), "the one that goes has served: {text}");
}

#[test]
fn a_terminating_pod_fails_no_request_over_http1() {
    run(async {
        no_request_is_lost(UpstreamHttp::Http1, echo().await).await;
    });
}

#[test]
fn a_terminating_pod_fails_no_request_over_http2() {
    run(async {
        no_request_is_lost(UpstreamHttp::Http2, grpc_server().await).await;
    });
}

#[test]
fn two_workers_share_a_port_that_the_first_one_chose() {
    use proxy::pipeline::{Worker, bound::Bound, drain::drain, serve};
    use proxy::snapshot::{Snapshot, Update};
    use proxy::telemetry::{Telemetry, peers::Peers};
    run(async {
        let store = Store::new();
        let upsert = simple(http(routes(vec![route(forward("c"))])), cluster("c", &[echo().await]));
        let (snapshot, rejected) = Snapshot::empty().apply(Update { upsert, remove: vec![] }, &store);
        assert_eq!(rejected, []);
        let (_sender, receiver) = tokio::sync::watch::channel(Arc::new(snapshot));
        let node = Arc::new(Node::anonymous());
        let telemetry = Telemetry::new(node.clone(), Peers::new().0);
        let (_drainer, drain) = drain();
        let bound = Bound::default();
        let threads: Vec<_> = [1, 0]
            .into_iter()
            .map(|index| {
                let worker = Worker {
                    index,
                    snapshot: receiver.clone(),
                    telemetry: telemetry.sink(index),
                    credentials: store.clone(),
                    node: node.clone(),
                    drain: drain.clone(),
                    socket_mark: None,
                    bound: bound.clone(),
                };
                tokio::task::spawn_local(serve(worker))
            })
            .collect();
        let address = bound.wait_for("in").await.unwrap();
        let mut clients = vec![];
        for _ in 0..40 {
            let mut client = Client(TcpStream::connect(address).await.unwrap());
            assert_eq!(client.get("/").await.status, 200);
            clients.push(client);
        }
        let text = telemetry.render();
        assert!(text.contains("downstream_cx_total{listener_address=\"in\"} 40\n"), "{text}");
        threads.iter().for_each(JoinHandle::abort);
    });
}
