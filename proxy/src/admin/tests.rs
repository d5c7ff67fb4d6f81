//! The admin pages, requested as tools request them.
#![allow(clippy::disallowed_methods, reason = "tests are a shell")]

use super::*;
use crate::config::{Prober, Scrape};
use crate::control::removal::Departure;
use crate::control::{Seams, Version};
use crate::credentials::Store;
use crate::flow::node::Node;
use crate::pipeline::bound::Bound;
use crate::snapshot::{Snapshot, Update};
use crate::telemetry::Telemetry;
use crate::telemetry::peers::Peers;
use api::model::cluster::{Cluster, Discovery, Outlier};
use api::model::endpoint::{Endpoint, EndpointAddress, Health, LoadAssignment, LocalityEndpoints};
use api::model::secret::SecretContent;
use api::model::{Kind, Resource};
use api::process::log;
use api::process::serve::Peer;
use api::wire::json::Bootstrap;
use api::wire::xds::NodeInfo;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower_service::Service;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

struct Fixture {
    admin: Admin,
    commands: UnboundedReceiver<Command>,
}

/// A proxy in a mesh that has received no configuration yet.
fn fixture(probers: BTreeMap<String, Prober>, scrape: Vec<Scrape>) -> Fixture {
    let (peers, _callers) = Peers::new();
    let telemetry = Telemetry::new(Arc::new(Node::anonymous()), peers);
    let (commands, received) = mpsc::unbounded_channel();
    let seams = Seams::new(Store::new(), telemetry);
    let departure = Departure::new(None, NodeInfo::default(), seams.clone(), Duration::ZERO);
    let admin = Admin::new(Shared {
        seams,
        departure,
        bound: Bound::default(),
        log: log::init("info", log::Format::Text),
        node: NodeInfo { id: "sidecar~10.0.0.1~a.b~b.svc.cluster.local".into(), ..NodeInfo::default() },
        concurrency: 2,
        started: Instant::now(),
        needs: Needs { certificate: true, discovery: true },
        probers,
        scrape,
        address: LOOPBACK,
        bootstrap: Bootstrap::default(),
        capture: watch::Sender::new(None),
        draining: AtomicBool::new(false),
        commands,
    });
    Fixture { admin, commands: received }
}

fn certificate(name: &str) -> (SecretContent, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
    let id = format!("spiffe://cluster.local/ns/b/sa/{name}");
    params.subject_alt_names = vec![rcgen::SanType::URI(id.as_str().try_into().unwrap())];
    params.serial_number = Some(vec![1, 0xab].into());
    params.not_before = rcgen::date_time_ymd(2026, 1, 1);
    params.not_after = rcgen::date_time_ymd(2026, 1, 31);
    let chain = params.self_signed(&key).unwrap().pem();
    let secret = key.serialize_pem();
    (SecretContent::Certificate { chain, key: secret.clone() }, secret)
}

impl Fixture {
    fn become_ready(&self) {
        let seams = &self.admin.shared.seams;
        seams.credentials.set("default", &certificate("a").0).unwrap();
        seams.status.send_modify(|status| (status.clusters, status.listeners) = (true, true));
    }

    /// Applies one cluster with one endpoint, as if a control plane had sent them.
    fn configure(&self) {
        let seams = &self.admin.shared.seams;
        let name = "outbound|80||a.example.com";
        let outlier = Outlier {
            consecutive_5xx: Some(5),
            consecutive_gateway: None,
            interval: Duration::from_secs(10),
            base_ejection: Duration::from_secs(30),
            max_ejection: Duration::from_secs(300),
            max_percent: 100,
        };
        let cluster = Cluster { outlier: Some(outlier), ..Cluster::new(name, Discovery::Eds(name.into())) };
        let endpoint = Endpoint {
            address: EndpointAddress::Socket("10.0.0.9:8080".parse().unwrap()),
            health: Health::Draining,
            hostname: "a-0".into(),
            weight: 3,
            mtls: true,
            workload: None,
        };
        let locality = LocalityEndpoints { endpoints: vec![endpoint], ..LocalityEndpoints::default() };
        let assignment = LoadAssignment { cluster: name.into(), localities: vec![locality] };
        let update = Update {
            upsert: vec![Resource::Cluster(Box::new(cluster)), Resource::Endpoints(assignment)],
            remove: vec![],
        };
        let (snapshot, refused) = Snapshot::empty().apply(update, &seams.credentials);
        assert!(refused.is_empty(), "{refused:?}");
        seams.snapshot.send_replace(Arc::new(snapshot));
        let version = Version { text: "v7".into(), updated: SystemTime::UNIX_EPOCH };
        seams.status.send_modify(|status| {
            for kind in [Kind::Cluster, Kind::Endpoints] {
                status.versions.entry(kind).or_default().insert(name.into(), version.clone());
            }
        });
    }

    async fn envoy(&self, method: &str, path: &str) -> (StatusCode, String) {
        call(envoy(self.admin.clone()), method, path, LOOPBACK).await
    }

    async fn agent(&self, method: &str, path: &str) -> (StatusCode, String) {
        call(agent(self.admin.clone()), method, path, LOOPBACK).await
    }
}

async fn call(mut router: Router, method: &str, path: &str, from: IpAddr) -> (StatusCode, String) {
    let mut request = Request::new(Body::empty());
    *request.method_mut() = method.parse::<Method>().unwrap();
    *request.uri_mut() = path.parse().unwrap();
    let peer = Peer { address: SocketAddr::new(from, 1), certificates: Arc::default(), identity: None };
    request.extensions_mut().insert(peer);
    let response = router.call(request).await.unwrap();
    let status = response.status();
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// Starts a server for the application.
async fn application(router: Router) -> (u16, CancellationToken) {
    let listener = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let closing = CancellationToken::new();
    tokio::spawn(api::process::serve::http(listener, router, closing.clone()));
    (port, closing)
}

#[tokio::test]
async fn the_proxy_is_ready_once_certificate_clusters_and_listeners_are_there_and_not_while_it_ends() {
    let fixture = fixture(BTreeMap::new(), vec![]);
    assert_eq!(
        fixture.envoy("GET", "/ready").await,
        (StatusCode::SERVICE_UNAVAILABLE, "PRE_INITIALIZING\n".into())
    );
    let (status, reason) = fixture.agent("GET", "/healthz/ready").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    for part in ["certificate", "clusters", "listeners"] {
        assert!(reason.contains(part), "{reason}");
    }
    fixture.become_ready();
    assert_eq!(fixture.envoy("GET", "/ready").await, (StatusCode::OK, "LIVE\n".into()));
    assert_eq!(fixture.agent("GET", "/healthz/ready").await.0, StatusCode::OK);
    assert_eq!(
        call(health(fixture.admin.clone()), "GET", "/healthz/ready", LOOPBACK).await.0,
        StatusCode::OK
    );
    fixture.admin.drain();
    assert_eq!(fixture.envoy("GET", "/ready").await, (StatusCode::SERVICE_UNAVAILABLE, "DRAINING\n".into()));
}

#[tokio::test]
async fn errors_for_unknown_pages_and_methods_list_the_valid_ones() {
    let fixture = fixture(BTreeMap::new(), vec![]);
    let (status, body) = fixture.envoy("GET", "/nothing").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(body.contains("/config_dump:"), "{body}");
    for (method, path, right) in
        [("GET", "/quitquitquit", "POST"), ("GET", "/logging", "POST"), ("POST", "/certs", "GET")]
    {
        let (status, body) = fixture.envoy(method, path).await;
        assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
        assert!(body.contains(&format!("use {right} for {path}")), "{body}");
    }
}

#[tokio::test]
async fn counters_that_health_checks_read_are_shown_in_every_form() {
    let fixture = fixture(BTreeMap::new(), vec![]);
    fixture.become_ready();
    let telemetry = &fixture.admin.shared.seams.telemetry;
    telemetry.named("cluster_manager.cds.update_success").store(3, Ordering::Relaxed);
    telemetry.named("http.unused").store(0, Ordering::Relaxed);
    let (_, text) = fixture
        .envoy("GET", "/stats?usedonly&filter=^(server.state|cluster_manager.cds.update_success|http)")
        .await;
    assert_eq!(text, "cluster_manager.cds.update_success: 3\nserver.state: 0\n");
    let (_, text) = fixture.envoy("GET", "/stats?filter=server.state&format=json").await;
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["stats"][0], serde_json::json!({"name": "server.state", "value": 0}));
    assert_eq!(fixture.envoy("GET", "/stats?format=prometheus").await.0, StatusCode::OK);
    assert_eq!(fixture.envoy("GET", "/stats?filter=(").await.0, StatusCode::BAD_REQUEST);
}

#[test]
fn certificates_are_shown_with_names_and_dates_in_envoys_form() {
    let store = Store::new();
    store.set("default", &certificate("a").0).unwrap();
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600 + 86_400);
    let json = certs::json(&store.dump(), now);
    let expected = serde_json::json!({"certificates": [{"ca_cert": [], "cert_chain": [{
        "path": "secret: default",
        "serial_number": "01ab",
        "subject_alt_names": [{"uri": "spiffe://cluster.local/ns/b/sa/a"}],
        "days_until_expiration": "29",
        "valid_from": "2026-01-01T00:00:00Z",
        "expiration_time": "2026-01-31T00:00:00Z",
    }]}]});
    assert_eq!(json, expected);
}

#[tokio::test]
async fn clusters_are_shown_with_their_endpoints_and_health() {
    let fixture = fixture(BTreeMap::new(), vec![]);
    fixture.configure();
    let (_, text) = fixture.envoy("GET", "/clusters").await;
    for line in [
        "outbound|80||a.example.com::10.0.0.9:8080::hostname::a-0",
        "outbound|80||a.example.com::default_priority::max_connections::1024",
        "outbound|80||a.example.com::10.0.0.9:8080::health_flags::/eds_status_draining",
        "outbound|80||a.example.com::10.0.0.9:8080::weight::3",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
    let (_, text) = fixture.envoy("GET", "/clusters?format=json").await;
    let json: Value = serde_json::from_str(&text).unwrap();
    let host = &json["cluster_statuses"][0]["host_statuses"][0];
    assert_eq!(host["address"]["socket_address"]["port_value"], 8080);
    assert_eq!(host["health_status"], json!({"eds_health_status": "DRAINING"}));
}

#[tokio::test]
async fn an_ejected_endpoint_is_shown_as_such_until_it_is_back() {
    let fixture = fixture(BTreeMap::new(), vec![]);
    fixture.configure();
    let name = "outbound|80||a.example.com";
    let snapshot = fixture.admin.shared.seams.snapshot.borrow().clone();
    let cluster = snapshot.cluster(name).unwrap().clone();
    let rules = cluster.model.outlier.unwrap();
    cluster.endpoints.as_ref().unwrap().list[0].health.eject(Duration::from_secs(100), &rules);
    for (second, flags, failed) in [
        (101, "/failed_outlier_check/eds_status_draining", json!(true)),
        (131, "/eds_status_draining", Value::Null),
    ] {
        let statuses = clusters::statuses(&snapshot, &BTreeMap::new(), Duration::from_secs(second));
        let line = format!("{name}::10.0.0.9:8080::health_flags::{flags}\n");
        assert!(clusters::text(&statuses).contains(&line), "{second}");
        let json = clusters::json(&statuses);
        let host = &json["cluster_statuses"][0]["host_statuses"][0];
        assert_eq!(host["health_status"]["failed_outlier_check"], failed, "{second}");
    }
}

#[tokio::test]
async fn a_dns_cluster_shows_the_addresses_of_its_names_and_their_health() {
    let fixture = fixture(BTreeMap::new(), vec![]);
    let assignment = |addresses: &[EndpointAddress]| {
        let endpoint = |address: &EndpointAddress| Endpoint {
            address: address.clone(),
            health: Health::Degraded,
            hostname: "a.test".into(),
            weight: 1,
            mtls: false,
            workload: None,
        };
        let endpoints = addresses.iter().map(endpoint).collect();
        let locality = LocalityEndpoints { endpoints, ..LocalityEndpoints::default() };
        LoadAssignment { cluster: "names".into(), localities: vec![locality] }
    };
    let given = assignment(&[EndpointAddress::Dns("a.test".into(), 80)]);
    for discovery in [Discovery::StrictDns(given.clone()), Discovery::LogicalDns(given)] {
        let seams = &fixture.admin.shared.seams;
        let rules = Outlier {
            consecutive_5xx: Some(5),
            consecutive_gateway: None,
            interval: Duration::from_secs(10),
            base_ejection: Duration::from_secs(30),
            max_ejection: Duration::from_secs(300),
            max_percent: 100,
        };
        let cluster = Cluster { outlier: Some(rules), ..Cluster::new("names", discovery) };
        let update = Update { upsert: vec![Resource::Cluster(Box::new(cluster))], remove: vec![] };
        let (snapshot, _) = Snapshot::empty().apply(update, &seams.credentials);
        let statuses = || clusters::statuses(&snapshot, &BTreeMap::new(), Duration::from_secs(101));
        let compiled = snapshot.cluster("names").unwrap();
        assert!(!clusters::text(&statuses()).contains("::weight::"), "no address is known yet");
        let addresses = ["10.0.0.1:80", "[fd00::1]:80"].map(|a| EndpointAddress::Socket(a.parse().unwrap()));
        let found = compiled.resolved.replace(assignment(&addresses));
        assert!(Arc::ptr_eq(&found, &compiled.resolved.replace(assignment(&addresses))));
        found.list[1].health.eject(Duration::from_secs(100), &rules);
        let text = clusters::text(&statuses());
        for line in [
            "names::10.0.0.1:80::hostname::a.test",
            "names::10.0.0.1:80::health_flags::/degraded_eds_health",
            "names::[fd00::1]:80::health_flags::/failed_outlier_check/degraded_eds_health",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
        let json = clusters::json(&statuses());
        let hosts = &json["cluster_statuses"][0]["host_statuses"];
        assert_eq!(hosts[0]["health_status"], json!({"eds_health_status": "DEGRADED"}));
        assert_eq!(hosts[0]["address"]["socket_address"], json!({"address": "10.0.0.1", "port_value": 80}));
        assert_eq!(hosts.as_array().unwrap().len(), 2);
    }
}

#[tokio::test]
async fn the_dump_has_versions_but_no_keys_and_can_be_filtered() {
    let fixture = fixture(BTreeMap::new(), vec![]);
    fixture.configure();
    let (content, key) = certificate("a");
    fixture.admin.shared.seams.credentials.set("default", &content).unwrap();
    let (status, text) = fixture.envoy("GET", "/config_dump?include_eds").await;
    assert_eq!(status, StatusCode::OK);
    let dump: Value = serde_json::from_str(&text).unwrap();
    let part = |name: &str| {
        let kind = format!("type.googleapis.com/envoy.admin.v3.{name}");
        dump["configs"].as_array().unwrap().iter().find(|config| config["@type"] == kind).unwrap().clone()
    };
    let cluster = &part("ClustersConfigDump")["dynamic_active_clusters"][0];
    assert_eq!(
        (cluster["version_info"].as_str(), cluster["cluster"]["name"].as_str()),
        (Some("v7"), Some("outbound|80||a.example.com"))
    );
    assert_eq!(part("SecretsConfigDump")["dynamic_active_secrets"][0]["name"], "default");
    assert!(part("EndpointsConfigDump")["dynamic_endpoint_configs"].is_array());
    let secret: Vec<&str> = key.lines().filter(|line| !line.starts_with("---")).collect();
    assert!(!secret.is_empty() && secret.iter().all(|line| !text.contains(line)), "the key is shown");

    let (_, text) = fixture.envoy("GET", "/config_dump?resource=dynamic_active_clusters").await;
    let list: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        list["configs"][0]["@type"],
        "type.googleapis.com/envoy.admin.v3.ClustersConfigDump.DynamicCluster"
    );
    let (_, text) =
        fixture.envoy("GET", "/config_dump?name_regex=nothing&resource=dynamic_active_clusters").await;
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["configs"], serde_json::json!([]));
    for (wrong, status) in [("resource=x", StatusCode::NOT_FOUND), ("mask=x", StatusCode::BAD_REQUEST)] {
        assert_eq!(fixture.envoy("GET", &format!("/config_dump?{wrong}")).await.0, status);
    }
}

#[tokio::test]
async fn admin_commands_take_effect_and_quitting_is_limited_to_the_same_machine() {
    let mut fixture = fixture(BTreeMap::new(), vec![]);
    fixture.envoy("POST", "/drain_listeners?inboundonly&graceful").await;
    assert_eq!(
        fixture.commands.try_recv(),
        Ok(Command::Drain { inbound_only: true, graceful: true, departs: false })
    );
    fixture.agent("POST", "/drain?inboundonly&departs").await;
    assert_eq!(
        fixture.commands.try_recv(),
        Ok(Command::Drain { inbound_only: true, graceful: true, departs: true })
    );
    fixture.envoy("POST", "/quitquitquit").await;
    assert_eq!(fixture.commands.try_recv(), Ok(Command::Quit));
    let far = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 9));
    for path in ["/quitquitquit", "/drain"] {
        assert_eq!(call(agent(fixture.admin.clone()), "POST", path, far).await.0, StatusCode::FORBIDDEN);
        assert!(fixture.commands.try_recv().is_err());
        assert_eq!(fixture.agent("POST", path).await.0, StatusCode::OK);
        assert!(fixture.commands.try_recv().is_ok());
    }
    assert_eq!(fixture.envoy("POST", "/logging?level=loud").await.0, StatusCode::BAD_REQUEST);
    assert!(fixture.envoy("POST", "/logging").await.1.contains("info"));
}

fn prober(action: crate::config::Action) -> Prober {
    Prober { action, timeout: Duration::from_secs(5) }
}

async fn health_check() -> Response {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    let body = Full::from(vec![0, 0, 0, 0, 2, 8, 1]).with_trailers(async { Some(Ok(trailers)) });
    ([("content-type", "application/grpc")], Body::new(body)).into_response()
}

#[tokio::test]
async fn probes_are_done_in_the_kubelets_place() {
    use crate::config::{Action, HttpProbe};
    let pages = Router::new()
        .route(
            "/ok",
            get(async |headers: HeaderMap| if headers.contains_key("x-probe") { "ok" } else { "no header" }),
        )
        .route("/sick", get(async || StatusCode::IM_A_TEAPOT))
        .route("/slow", get(async || std::future::pending::<()>().await))
        .route("/grpc.health.v1.Health/Check", axum::routing::post(health_check));
    let (port, closing) = application(pages).await;
    let page = |path: &str| HttpProbe {
        host: None,
        port,
        path: path.into(),
        tls: false,
        headers: vec![("x-probe".into(), "1".into())],
    };
    let refusing = ::tests::port::Refusing::new();
    let closed = refusing.address.port();
    let slow = Prober { action: Action::Http(page("/slow")), timeout: Duration::from_millis(50) };
    let table = [
        ("ok", prober(Action::Http(page("/ok"))), 200),
        ("sick", prober(Action::Http(page("/sick"))), 418),
        ("slow", slow, 500),
        ("open", prober(Action::Tcp(None, port)), 200),
        ("closed", prober(Action::Tcp(None, closed)), 500),
        ("grpc", prober(Action::Grpc(port, String::new())), 200),
        ("no-grpc", prober(Action::Grpc(closed, String::new())), 500),
    ];
    let path = |name: &str| format!("/app-health/{name}/readyz");
    let probers = table.iter().map(|(name, prober, _)| (path(name), prober.clone())).collect();
    let fixture = fixture(probers, vec![]);
    for (name, _, expected) in table {
        let (status, reason) = fixture.agent("GET", &path(name)).await;
        assert_eq!(status.as_u16(), expected, "{name}: {reason}");
    }
    assert_eq!(fixture.agent("GET", "/app-health/other/livez").await.0, StatusCode::NOT_FOUND);
    closing.cancel();
}

#[tokio::test]
async fn metrics_pages_are_merged_in_order_and_a_failing_one_does_not_hide_others() {
    let slow = async || {
        tokio::time::sleep(Duration::from_millis(50)).await;
        "first 1"
    };
    let router = Router::new().route("/first", get(slow)).route("/third", get(async || "third 3\n"));
    let (port, closing) = application(router).await;
    let target = |path: &str| Scrape { port, path: path.into() };
    let all = vec![target("/first"), target("/missing"), target("/third")];
    let fixture = fixture(BTreeMap::new(), all);
    let (status, page) = fixture.agent("GET", "/stats/prometheus").await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.ends_with("first 1\nthird 3\n"), "{page}");
    let failures = fixture.admin.shared.seams.telemetry.named("agent.scrape_failures_total");
    assert_eq!(failures.load(Ordering::Relaxed), 1);
    closing.cancel();
}

#[tokio::test]
async fn the_applications_metrics_come_after_the_proxys_and_cannot_fail_the_scrape() {
    let (port, closing) = application(Router::new().route("/metrics", get(async || "app_metric 1\n"))).await;
    let with = fixture(BTreeMap::new(), vec![Scrape { port, path: "/metrics".into() }]);
    let (status, page) = with.agent("GET", "/stats/prometheus").await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.ends_with("app_metric 1\n"), "{page}");
    assert!(
        !call(metrics(with.admin.clone()), "GET", "/stats/prometheus", LOOPBACK)
            .await
            .1
            .contains("app_metric")
    );
    closing.cancel();

    let without = fixture(BTreeMap::new(), vec![Scrape { port, path: "/missing".into() }]);
    assert_eq!(without.agent("GET", "/stats/prometheus").await.0, StatusCode::OK);
    let failures = without.admin.shared.seams.telemetry.named("agent.scrape_failures_total");
    assert_eq!(failures.load(Ordering::Relaxed), 1);
}
