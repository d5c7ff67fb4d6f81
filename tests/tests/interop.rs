//! An unmodified Envoy as a client of our pilot: it must accept everything it is sent, and carry traffic by it.
//! These tests fetch Envoy the first time, so they run only when asked for: `make interop`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::program::{self, Running};
use tests::report::Report;
use tests::{wait, wire};

const PROBE: &str = env!("CARGO_BIN_EXE_probe");
const PILOT: &str = "http://127.0.0.1:15014";
const ENVOY: &str = "http://127.0.0.1:15000";

#[test]
#[ignore = "fetches Envoy"]
fn a_sidecar_envoy_accepts_all_of_bookinfo_over_delta() {
    sidecar("DELTA_GRPC");
}

#[test]
#[ignore = "fetches Envoy"]
fn a_sidecar_envoy_accepts_all_of_bookinfo_over_state_of_the_world() {
    sidecar("GRPC");
}

#[test]
#[ignore = "fetches Envoy"]
fn a_gateway_envoy_carries_requests_to_the_page() {
    let plane = Plane::start();
    let page = program::path("echo");
    let server = wire::enter(plane.node(), &page, &["server", "--address", "127.1.0.1", "--http", "9080"]);
    let metadata = json!({"NAMESPACE": "istio-system", "LABELS": {"istio": "ingressgateway", "app": "istio-ingressgateway"}});
    let envoy = plane.envoy(
        "router~127.1.0.9~gateway.istio-system~istio-system.svc.cluster.local",
        &metadata,
        "DELTA_GRPC",
    );
    plane.until_accepted("gateway.istio-system");
    wait::until("the page is there", Duration::from_secs(10), || {
        let text = plane.fetch_if_there("http://127.0.0.1:8080/productpage")?;
        if text.contains("\"path\":\"/productpage\"") { Ok(()) } else { Err(text) }
    });
    envoy.end();
    server.end();
}

#[test]
#[ignore = "fetches Envoy"]
fn one_file_drives_envoy_and_ostria_proxy_alike() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = folder.path().join("static.json");
    std::fs::write(&file, static_file().to_string()).expect("the folder can be written");
    let file = file.display().to_string();
    let ports = ["server", "--http", "9080", "--tcp", "9000", "--tcp-server-first", "9001"];
    let server = wire::alone(&program::path("echo"), &ports);
    let node = server.pid();
    let envoy = program::run(&program::repository("deploy/tools/envoy"), &[] as &[&str]).text();
    let line = ["-c", &file, "--disable-hot-restart", "--concurrency", "1", "-l", "warning"];
    let expected = answers(node, wire::enter(node, Path::new(envoy.trim()), &line));
    let line = ["run", "--bootstrap", &file, "--concurrency", "1"];
    let own = answers(node, wire::enter(node, &program::path("ostria-proxy"), &line));
    let pairs = expected.iter().zip(&own);
    let differences: Vec<String> = pairs
        .filter(|(expected, own)| expected != own)
        .map(|(expected, own)| format!("{:?}\n Envoy {}\n ours  {}", expected.0, expected.1, own.1))
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    server.end();
}

/// What clients and the server behind a proxy see of a list of requests.
fn answers(node: u32, proxy: Running) -> Vec<(Vec<&'static str>, Value)> {
    let call = |line: &[&str]| {
        let line = [&["client", "--allow-failures", "--show"][..], line].concat();
        Report::of(&wire::enter(node, &program::path("echo"), &line).finish(Duration::from_secs(20)))
    };
    wait::until("the proxy listens", Duration::from_secs(10), || {
        let report = call(&["http://127.0.0.1:8000/"]);
        if report.ok == 1 { Ok(()) } else { Err(format!("{report:?}")) }
    });
    let requests: Vec<Vec<&str>> = vec![
        vec!["http://127.0.0.1:8000/"],
        vec!["http://127.0.0.1:8000/", "--http2"],
        vec!["http://127.0.0.1:8000/plain?x=1", "-d", "body", "-X", "PUT"],
        vec!["http://127.0.0.1:8000/old/place"],
        vec!["http://127.0.0.1:8000/direct"],
        vec!["http://127.0.0.1:8000/prefix/rest"],
        vec!["http://127.0.0.1:8000/", "-H", "x-kind: other"],
        vec!["http://127.0.0.1:8000/late?delay=5s"],
        vec!["http://127.0.0.1:8000/gone"],
        vec!["http://127.0.0.1:8000/missing"],
        vec!["http://127.0.0.1:8000/status?status=503"],
        vec!["http://127.0.0.1:8000/", "-H", "host: unknown.example"],
        vec!["tcp://127.0.0.1:8001", "--new-connection", "--stream", "3"],
        vec!["tcp+first://127.0.0.1:8002", "--new-connection", "--stream", "3"],
    ];
    let all = requests.into_iter().map(|request| {
        let report = call(&request);
        let mut headers: Vec<&str> = report.first_answer["headers"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|pair| pair[0].as_str())
            .collect();
        headers.sort_unstable();
        let answer = &report.first_answer;
        // How a connection failed below is told in each proxy's own words.
        let text = answer.as_str().and_then(|text| text.split(", transport failure").next()).unwrap_or_default();
        let seen = json!({
            "status": report.by_status, "errors": report.errors.len(), "text": text, "headers": headers,
            "path": answer["path"], "method": answer["method"], "query": answer["query"],
            "authority": answer["authority"], "kind": report.seen_header("x-kind"), "set": report.seen_header("x-set"),
        });
        (request, seen)
    });
    let all = all.collect();
    proxy.end();
    all
}

/// A file with listeners, routes and clusters of many kinds.
fn static_file() -> Value {
    let cluster = |name: &str, port: u16| {
        let address = json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
        json!({"name": name, "type": "STATIC", "connect_timeout": "1s", "load_assignment": {
            "cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}]}})
    };
    let typed = |kind: &str, mut value: Value| {
        value["@type"] = json!(format!("type.googleapis.com/envoy.extensions.filters.{kind}"));
        value
    };
    let listener = |name: &str, port: u16, filter: &str, config: Value| {
        json!({"name": name, "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
            "filter_chains": [{"filters": [{"name": filter, "typed_config": config}]}]})
    };
    let tcp = |name: &str, port: u16, cluster: &str| {
        let config = json!({"stat_prefix": name, "cluster": cluster});
        listener(
            name,
            port,
            "envoy.filters.network.tcp_proxy",
            typed("network.tcp_proxy.v3.TcpProxy", config),
        )
    };
    let router = json!([{"name": "envoy.filters.http.router", "typed_config": typed("http.router.v3.Router", json!({}))}]);
    let to = |cluster: &str| json!({"cluster": cluster});
    let routes = json!([
        {"match": {"prefix": "/old/"}, "redirect": {"path_redirect": "/new", "response_code": "FOUND"}},
        {"match": {"path": "/direct"}, "direct_response": {"status": 418, "body": {"inline_string": "short and stout"}}},
        {"match": {"prefix": "/prefix/"}, "route": {"cluster": "web", "prefix_rewrite": "/other/", "host_rewrite_literal": "rewritten.example"}},
        {"match": {"prefix": "/", "headers": [{"name": "x-kind", "string_match": {"exact": "other"}}]}, "route": to("web"),
            "request_headers_to_add": [{"header": {"key": "x-set", "value": "by-route"}}], "request_headers_to_remove": ["x-kind"]},
        {"match": {"prefix": "/late"}, "route": {"cluster": "web", "timeout": "0.5s"}},
        {"match": {"prefix": "/gone"}, "route": to("gone")},
        {"match": {"prefix": "/missing"}, "route": to("no-such-cluster")},
        {"match": {"prefix": "/"}, "route": to("web")},
    ]);
    let hosts = json!([{"name": "known", "domains": ["127.0.0.1", "127.0.0.1:*"], "routes": routes}]);
    let http = json!({"stat_prefix": "http", "http_filters": router,
        "route_config": {"name": "local", "virtual_hosts": hosts, "validate_clusters": false}});
    let manager = typed("network.http_connection_manager.v3.HttpConnectionManager", http);
    json!({
        "node": {"id": "one", "cluster": "one"},
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 15000}}},
        "static_resources": {
            "listeners": [
                listener("web", 8000, "envoy.filters.network.http_connection_manager", manager),
                tcp("client-first", 8001, "tcp"),
                tcp("server-first", 8002, "tcp-first"),
            ],
            "clusters": [cluster("web", 9080), cluster("tcp", 9000), cluster("tcp-first", 9001), cluster("gone", 1)],
        },
    })
}

fn sidecar(protocol: &str) {
    let plane = Plane::start();
    let metadata = json!({
        "NAMESPACE": "default", "LABELS": {"app": "productpage", "version": "v1"},
        "SERVICE_ACCOUNT": "bookinfo-productpage", "CLUSTER_ID": "Kubernetes", "INSTANCE_IPS": "127.1.0.1",
    });
    let id = "sidecar~127.1.0.1~productpage-v1.default~default.svc.cluster.local";
    let envoy = plane.envoy(id, &metadata, protocol);
    plane.until_accepted("productpage-v1.default");
    let clusters = plane.fetch(&format!("{ENVOY}/clusters"));
    for name in ["reviews", "details", "ratings"] {
        let name = format!("outbound|9080||{name}.default.svc.cluster.local");
        assert!(clusters.contains(&name), "Envoy has no cluster {name}");
    }
    // Each file of rules changes what Envoy has, and each change must be accepted too.
    let rules = program::repository("samples/bookinfo/networking");
    for file in std::fs::read_dir(&rules).expect("the sample has rules").flatten() {
        std::fs::copy(file.path(), plane.config.join("rule.yaml")).expect("the folder can be written");
        wait::pause(Duration::from_millis(300));
        plane.until_accepted("productpage-v1.default");
    }
    envoy.end();
}

/// A pilot with bookinfo, in a network of its own, where every port is free.
struct Plane {
    pilot: Option<Running>,
    // Ends when dropped.
    agent: Option<Running>,
    config: PathBuf,
    folder: TempDir,
}

impl Plane {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let config = folder.path().join("config");
        std::fs::create_dir(&config).expect("the folder can be written");
        let sample = program::repository("samples/bookinfo");
        for name in ["namespace", "bookinfo", "bookinfo-gateway", "destination-rule-all"] {
            let name = format!("{name}.yaml");
            std::fs::copy(sample.join(&name), config.join(&name)).expect("the sample has the file");
        }
        let pods = ["productpage-v1", "details-v1", "reviews-v1", "reviews-v2", "reviews-v3", "ratings-v1"];
        let pods: Vec<Value> = (1_u8..).zip(pods).map(|(number, name)| pod(name, number)).collect();
        let list = json!({"apiVersion": "v1", "kind": "List", "items": pods});
        std::fs::write(config.join("pods.json"), list.to_string()).expect("the folder can be written");
        let shown = config.display().to_string();
        let line = ["--config-dir", &shown, "--address", "127.0.0.1"];
        let pilot = Some(wire::alone(&program::path("ostria-pilot"), &line));
        let mut plane = Self { pilot, agent: None, config, folder };
        wait::until("pilot is ready", Duration::from_secs(10), || {
            plane.fetch_if_there(&format!("{PILOT}/readyz"))
        });
        plane.agent = Some(wire::enter(plane.node(), Path::new(PROBE), &["agent", "15099"]));
        plane
    }

    fn node(&self) -> u32 {
        self.pilot.as_ref().expect("pilot runs").pid()
    }

    /// Starts an Envoy beside pilot.
    fn envoy(&self, id: &str, metadata: &Value, protocol: &str) -> Running {
        let found = program::run(&program::repository("deploy/tools/envoy"), &[] as &[&str]).text();
        let file = self.folder.path().join("bootstrap.json");
        let text = bootstrap(id, metadata, protocol).to_string();
        std::fs::write(&file, text).expect("the folder can be written");
        let line = [
            "-c",
            &file.display().to_string(),
            "--disable-hot-restart",
            "--concurrency",
            "1",
            "-l",
            "warning",
        ];
        wire::enter(self.node(), Path::new(found.trim()), &line)
    }

    /// Waits until the proxy has taken all that pilot has for it; ends the test if it refuses anything.
    fn until_accepted(&self, proxy: &str) {
        wait::until("Envoy has accepted everything", Duration::from_secs(20), || {
            let rows = self.fetch_if_there(&format!("{PILOT}/debug/syncz"))?;
            let rows: Vec<Value> = serde_json::from_str(&rows).map_err(|error| error.to_string())?;
            let row = rows.iter().find(|row| row["proxy"] == proxy).ok_or("it is not connected")?;
            assert_eq!(row["refusals"], json!([]), "Envoy refuses what it is sent");
            let same = |kind: &str| {
                let (sent, acked) = (&row[format!("{kind}_sent")], &row[format!("{kind}_acked")]);
                sent.as_str().is_some_and(|sent| !sent.is_empty()) && sent == acked
            };
            let all = ["cluster", "listener", "route", "endpoint"].into_iter().all(same);
            if all { Ok(()) } else { Err(row.to_string()) }
        });
        let stats = self.fetch(&format!("{ENVOY}/stats?filter=update_rejected"));
        let refused: Vec<&str> = stats.lines().filter(|line| !line.ends_with(": 0")).collect();
        assert!(refused.is_empty() && !stats.is_empty(), "Envoy refused updates: {refused:?}");
    }

    fn fetch(&self, url: &str) -> String {
        wire::fetch(self.node(), Path::new(PROBE), url)
    }

    fn fetch_if_there(&self, url: &str) -> Result<String, String> {
        let outcome = wire::enter(self.node(), Path::new(PROBE), &["get", url]).finish(program::PATIENCE);
        if outcome.code == 0 { Ok(outcome.text()) } else { Err(outcome.to_string()) }
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        // A second panic would hide the first; then the end of the handle ends the process.
        if let Some(pilot) = self.pilot.take()
            && !std::thread::panicking()
        {
            assert_eq!(pilot.end().code, 0, "pilot does not end well");
        }
    }
}

/// A running pod without sidecar, as a kubelet would tell of it.
fn pod(name: &str, number: u8) -> Value {
    let (app, version) = name.split_once('-').expect("names end with a version");
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": app, "version": version}},
        "spec": {"serviceAccountName": format!("bookinfo-{app}"), "containers": [{"name": "app", "ports": [{"containerPort": 9080}]}]},
        "status": {
            "phase": "Running", "podIP": format!("127.1.0.{number}"), "podIPs": [{"ip": format!("127.1.0.{number}")}],
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    })
}

/// An Envoy bootstrap as Istio's agent writes it.
fn bootstrap(id: &str, metadata: &Value, protocol: &str) -> Value {
    let source = json!({"ads": {}, "resource_api_version": "V3"});
    let static_cluster = |name: &str, port: u16| {
        let address = json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
        json!({
            "name": name, "type": "STATIC", "connect_timeout": "1s",
            "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}},
            }},
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}]},
        })
    };
    json!({
        "node": {"id": id, "cluster": "interop", "metadata": metadata},
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 15000}}},
        "dynamic_resources": {
            "lds_config": source, "cds_config": source,
            "ads_config": {"api_type": protocol, "transport_api_version": "V3",
                "grpc_services": [{"envoy_grpc": {"cluster_name": "xds-grpc"}}]},
        },
        "static_resources": {"clusters": [static_cluster("xds-grpc", 15010), static_cluster("sds-grpc", 15099)]},
    })
}
