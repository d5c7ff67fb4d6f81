//! The proxies of the test, and the control plane that they are under: istiod, or a recording of what it sent.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tests::program::{self, Running};
use tests::{wait, wire};

/// What configures the proxies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plane {
    /// What istiod sent when it was recorded.
    Recording,
    /// An istiod.
    Istiod,
}

/// A proxy of the test.
pub(crate) struct Proxy {
    /// `sidecar` or `router`.
    role: &'static str,
    app: &'static str,
    namespace: &'static str,
    account: &'static str,
    address: &'static str,
    /// The name of its certificate's files.
    certificate: &'static str,
    /// `GRPC` or `DELTA_GRPC`.
    protocol: &'static str,
    admin: u16,
    /// The port of its recording's server.
    port: u16,
}

pub(crate) const PAGE: Proxy = Proxy {
    role: "sidecar",
    app: "productpage",
    namespace: "default",
    account: "bookinfo-productpage",
    address: PAGE_ADDRESS,
    certificate: "page",
    protocol: "DELTA_GRPC",
    admin: 15000,
    port: 15010,
};

pub(crate) const REVIEWS: Proxy = Proxy {
    app: "reviews",
    account: "bookinfo-reviews",
    address: REVIEWS_ADDRESS,
    certificate: "reviews",
    protocol: "GRPC",
    ..PAGE
};

/// A sidecar whose Sidecar object names its ports and destinations; it only has to accept what it gets.
pub(crate) const RATINGS: Proxy = Proxy {
    app: "ratings",
    account: "bookinfo-ratings",
    address: "10.9.0.5",
    admin: 15200,
    port: 15012,
    ..REVIEWS
};

pub(crate) const GATEWAY: Proxy = Proxy {
    role: "router",
    app: "ingressgateway",
    namespace: "istio-system",
    account: "gateway",
    address: REVIEWS_ADDRESS,
    certificate: "gateway",
    protocol: "DELTA_GRPC",
    admin: 15100,
    port: 15011,
};

impl Plane {
    /// Starts istiod in the network of a process, if this is one.
    pub(crate) fn start(self, node: u32, folder: &Path) -> Option<Istiod> {
        (self == Self::Istiod).then(|| Istiod::start(node, folder))
    }

    /// Starts a proxy, and the server of its recording.
    pub(crate) fn proxy(self, proxy: &Proxy, node: u32, folder: &Path) -> (Running, Option<Running>) {
        let (address, server) = match self {
            Self::Istiod => ((PAGE_ADDRESS, 15010), None),
            Self::Recording => {
                let line = ["replay", &proxy.port.to_string(), &proxy.recording().display().to_string()];
                (("127.0.0.1", proxy.port), Some(wire::enter(node, Path::new(PROBE), &line)))
            }
        };
        let file = folder.join(format!("{}.json", proxy.app));
        let text = bootstrap(proxy, address, folder).to_string();
        std::fs::write(&file, text).expect("the folder can be written");
        let path = file.display().to_string();
        // Without Istio's filter the Envoy offers no ALPN of HTTP, so what it keeps open to the port without a protocol is
        // opaque, and is closed only when the time is over.
        let line = ["run", "--bootstrap", &path, "--concurrency", "1", "--drain-time-s", "5"];
        (wire::enter(node, &program::path("ostria-proxy"), &line), server)
    }

    /// Starts an unmodified Envoy under a proxy's recording, with the servers of its recording and certificate.
    pub(crate) fn envoy(proxy: &Proxy, node: u32, folder: &Path) -> [Running; 3] {
        let tool = program::repository("deploy/tools/envoy");
        let binary = Running::start(&tool, &[] as &[&str], &[]).finish(BUILD).text();
        let from = proxy.recording().display().to_string();
        let server =
            wire::enter(node, Path::new(PROBE), &["replay", &proxy.port.to_string(), &from, "stock"]);
        let shown = folder.display().to_string();
        let agent = wire::enter(node, Path::new(PROBE), &["agent", "15099", &shown, proxy.certificate]);
        let file = folder.join("envoy.json");
        let mut text = bootstrap(proxy, ("127.0.0.1", proxy.port), folder);
        // Envoy's static secrets are not those of SDS.
        let fixed = &mut text["static_resources"];
        fixed["secrets"] = json!([]);
        let mut source = fixed["clusters"][0].clone();
        source["name"] = json!("sds-grpc");
        source["load_assignment"] = assignment("sds-grpc", ("127.0.0.1", 15099));
        fixed["clusters"].as_array_mut().expect("it is a list").push(source);
        std::fs::write(&file, text.to_string()).expect("the folder can be written");
        let path = file.display().to_string();
        let line = ["-c", &path, "--disable-hot-restart", "--concurrency", "1", "-l", "warning"];
        [wire::enter(node, Path::new(binary.trim()), &line), server, agent]
    }

    /// Records what istiod sends to these proxies.
    pub(crate) fn record(proxies: &[&Proxy]) {
        let holder = wire::alone(Path::new("sleep"), &["600"]);
        let folder = tempfile::tempdir().expect("a folder can be made");
        let istiod = Istiod::start(holder.pid(), folder.path());
        for proxy in proxies {
            let file = folder.path().join("node.json");
            std::fs::write(&file, proxy.node().to_string()).expect("the folder can be written");
            let (node, to) = (file.display().to_string(), proxy.recording().display().to_string());
            let outcome =
                wire::enter(holder.pid(), Path::new(PROBE), &["record", "127.0.0.1:15010", &node, &to])
                    .finish(program::TIMEOUT);
            assert_eq!((outcome.code, outcome.err.as_str()), (0, ""), "{outcome}");
        }
        istiod.end();
        holder.end();
    }
}

impl Proxy {
    /// Waits until the proxy has accepted clusters, listeners and what these need, and fails the test if it refuses
    /// anything.
    pub(crate) fn until_configured(&self, node: u32) {
        wait::until("the proxy is configured", Duration::from_secs(30), || {
            let stats = page(node, &format!("http://127.0.0.1:{}/stats", self.admin))?;
            let refused: Vec<&str> = stats
                .lines()
                .filter(|line| line.contains("update_rejected") && !line.ends_with(": 0"))
                .collect();
            assert_eq!(refused, [""; 0], "{} refuses what it is sent: its log says what", self.app);
            let value = |name: &str| stats.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
            let arrived = ["cluster_manager.cds.update_success", "listener_manager.lds.update_success"]
                .iter()
                .all(|name| value(name).is_some_and(|count| count != "0"));
            if arrived { Ok(()) } else { Err(stats) }
        });
    }

    fn recording(&self) -> PathBuf {
        program::repository(&format!("tests/tests/istio/recorded/{}.xds", self.app))
    }

    fn node(&self) -> Value {
        let Self { role, app, namespace, account, address, .. } = *self;
        let mut labels = json!({"app": app, "version": "v1", "security.istio.io/tlsMode": "istio"});
        if role == "router" {
            labels = json!({"app": "istio-ingressgateway", "istio": "ingressgateway"});
        }
        json!({
            "id": format!("{role}~{address}~{app}-v1.{namespace}~{namespace}.svc.cluster.local"),
            "cluster": format!("{app}.{namespace}"),
            "metadata": {
                "NAMESPACE": namespace, "LABELS": labels, "SERVICE_ACCOUNT": account, "CLUSTER_ID": "Kubernetes",
                "INSTANCE_IPS": address, "INTERCEPTION_MODE": "REDIRECT", "DNS_CAPTURE": "true",
                "NAME": format!("{app}-v1"), "WORKLOAD_NAME": format!("{app}-v1"),
            },
        })
    }
}

/// The bootstrap of a proxy whose certificate is in files.
fn bootstrap(proxy: &Proxy, (address, port): (&str, u16), folder: &Path) -> Value {
    let source = json!({"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"});
    let socket =
        |address: &str, port: u16| json!({"socket_address": {"address": address, "port_value": port}});
    let file = |end: &str| json!({"filename": folder.join(format!("{}.{end}", proxy.certificate))});
    json!({
        "node": proxy.node(),
        "admin": {"address": socket("127.0.0.1", proxy.admin)},
        "dynamic_resources": {
            "lds_config": source, "cds_config": source,
            "ads_config": {"api_type": proxy.protocol, "transport_api_version": "V3",
                "set_node_on_first_message_only": true,
                "grpc_services": [{"envoy_grpc": {"cluster_name": "xds-grpc"}}]},
        },
        "static_resources": {
            "clusters": [{
                "name": "xds-grpc", "type": "STATIC", "connect_timeout": "1s",
                "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                    "explicit_http_config": {"http2_protocol_options": {}},
                }},
                "load_assignment": assignment("xds-grpc", (address, port)),
            }],
            "secrets": [
                {"name": "default", "tls_certificate":
                    {"certificate_chain": inline(&file("pem")), "private_key": inline(&file("key"))}},
                {"name": "ROOTCA", "validation_context":
                    {"trusted_ca": inline(&json!({"filename": folder.join("ca.pem")}))}},
            ],
        },
    })
}

fn socket(address: &str, port: u16) -> Value {
    json!({"socket_address": {"address": address, "port_value": port}})
}

fn assignment(cluster: &str, (address, port): (&str, u16)) -> Value {
    let endpoint = json!({"endpoint": {"address": socket(address, port)}});
    json!({"cluster_name": cluster, "endpoints": [{"lb_endpoints": [endpoint]}]})
}

/// The text of a file, for a name that only dynamic resources use.
fn inline(file: &Value) -> Value {
    let path = file["filename"].as_str().expect("it is a path");
    json!({"inline_string": std::fs::read_to_string(path).expect("the file is there")})
}

/// An istiod in the network of a process, with the API server without objects that it needs to start.
pub(crate) struct Istiod {
    istiod: Running,
    api_server: Running,
}

impl Istiod {
    fn start(node: u32, folder: &Path) -> Self {
        let tool = program::repository("deploy/tools/istiod");
        let binary = Running::start(&tool, &[] as &[&str], &[]).finish(BUILD).text();
        let at = |file: &str| program::repository("tests/tests/istio").join(file).display().to_string();
        let api_server = wire::enter(node, Path::new("python3"), &[&at("apiserver.py"), "6443"]);
        let access = folder.join("kubeconfig.json");
        std::fs::write(&access, kubeconfig().to_string()).expect("the folder can be written");
        let line = [
            "ENABLE_CA_SERVER=false",
            "POD_NAMESPACE=istio-system",
            binary.trim(),
            "discovery",
            "--kubeconfig",
            &access.display().to_string(),
            "--configDir",
            &at("config"),
            "--meshConfig",
            &at("mesh.yaml"),
            "--grpcAddr=0.0.0.0:15010",
            "--secureGRPCAddr=",
            "--httpsAddr=",
            "--httpAddr=127.0.0.1:8082",
            "--monitoringAddr=127.0.0.1:15014",
        ];
        wait::until("the API server listens", Duration::from_secs(20), || {
            page(node, "http://127.0.0.1:6443/version")
        });
        let istiod = wire::enter(node, Path::new("env"), &line);
        wait::until("istiod is ready", Duration::from_secs(60), || page(node, "http://127.0.0.1:8082/ready"));
        Self { istiod, api_server }
    }

    /// Ends both.
    pub(crate) fn end(self) {
        self.istiod.end();
        self.api_server.end();
    }
}

/// Fetches a page from the network of a process, or returns why it cannot.
fn page(node: u32, url: &str) -> Result<String, String> {
    let outcome = wire::enter(node, Path::new(PROBE), &["get", url]).finish(program::TIMEOUT);
    if outcome.code == 0 { Ok(outcome.text()) } else { Err(outcome.to_string()) }
}

fn kubeconfig() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "none",
        "clusters": [{"name": "none", "cluster": {"server": "http://127.0.0.1:6443"}}],
        "contexts": [{"name": "none", "context": {"cluster": "none", "user": "none"}}],
        "users": [{"name": "none", "user": {}}],
    })
}

const PROBE: &str = env!("CARGO_BIN_EXE_probe");
pub(crate) const PAGE_ADDRESS: &str = "10.9.0.1";
pub(crate) const REVIEWS_ADDRESS: &str = "10.9.0.2";
/// Go builds istiod the first time.
const BUILD: Duration = Duration::from_secs(1800);
