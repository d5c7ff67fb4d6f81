//! A control plane for an Envoy: our pilot, the agent that serves certificates, and the bootstrap that Istio's
//! agent would write.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::program::{self, Running};
use tests::{wait, wire};

use crate::PROBE;

/// A pilot in its own network, where every port is free.
pub(crate) struct Plane {
    pilot: Option<Running>,
    // Its process ends when dropped.
    agent: Option<Running>,
    /// The folder of YAML that pilot reads.
    pub(crate) config: PathBuf,
    folder: TempDir,
}

impl Plane {
    /// Starts a pilot with bookinfo, whose pods have the addresses from 127.1.0.1 on.
    pub(crate) fn bookinfo() -> Self {
        let sample = program::repository("samples/bookinfo");
        let names = ["namespace", "bookinfo", "bookinfo-gateway", "destination-rule-all"];
        let files: Vec<PathBuf> = names.iter().map(|name| sample.join(format!("{name}.yaml"))).collect();
        let pods: Vec<Value> = (1_u8..).zip(PODS).map(|(number, name)| pod(name, number)).collect();
        Self::start(&files, &pods, &[])
    }

    /// Starts a pilot with these files and pods, and a gateway pod. `certificate`: folder and name of the agent's
    /// certificate; empty: it generates one.
    pub(crate) fn start(files: &[PathBuf], pods: &[Value], certificate: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let config = folder.path().join("config");
        std::fs::create_dir(&config).expect("the folder can be written");
        for file in files {
            let name = file.file_name().expect("files have names");
            std::fs::copy(file, config.join(name)).expect("the file is there");
        }
        let pods: Vec<Value> = pods.iter().cloned().chain([gateway()]).collect();
        let list = json!({"apiVersion": "v1", "kind": "List", "items": pods});
        std::fs::write(config.join("pods.json"), list.to_string()).expect("the folder can be written");
        let shown = config.display().to_string();
        let line = ["--config-dir", &shown, "--address", "0.0.0.0", "--grpc-port", "15010"];
        let pilot = Some(wire::alone(&program::path("ostria-pilot"), &line));
        let mut plane = Self { pilot, agent: None, config, folder };
        wait::until("pilot is ready", Duration::from_secs(10), || {
            plane.fetch_if_there(&format!("{PILOT}/readyz"))
        });
        plane.agent = Some(wire::enter(
            plane.node(),
            Path::new(PROBE),
            &[&["agent", "15099"][..], certificate].concat(),
        ));
        plane
    }

    /// A process in pilot's network.
    pub(crate) fn node(&self) -> u32 {
        self.pilot.as_ref().expect("pilot runs").pid()
    }

    /// Starts an Envoy in pilot's network.
    pub(crate) fn envoy(&self, id: &str, metadata: &Value, protocol: &str) -> Running {
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
        wire::enter(self.node(), &crate::envoy(), &line)
    }

    /// Waits until the proxy has acknowledged everything that pilot sends it; fails the test if it refuses anything.
    pub(crate) fn until_accepted(&self, proxy: &str) {
        wait::until("Envoy has accepted everything", Duration::from_secs(20), || {
            let rows = self.fetch_if_there(&format!("{PILOT}/debug/syncz"))?;
            let rows: Vec<Value> = serde_json::from_str(&rows).map_err(|error| error.to_string())?;
            let row = rows.iter().find(|row| row["proxy"] == proxy).ok_or("it is not connected")?;
            assert_eq!(row["refusals"], json!([]), "Envoy refuses what it is sent");
            let same = |kind: &str| {
                let (sent, acked) = (&row[format!("{kind}_sent")], &row[format!("{kind}_acked")]);
                sent.as_str().is_some_and(|sent| !sent.is_empty()) && sent == acked
            };
            let all = ["cluster", "listener"].into_iter().all(same);
            let asked = |kind: &&str| row[format!("{kind}_sent")] != row[format!("{kind}_acked")];
            let behind = ["route", "endpoint"].iter().find(|kind| asked(kind));
            if all && behind.is_none() { Ok(()) } else { Err(row.to_string()) }
        });
        let stats = self.fetch(&format!("{ENVOY}/stats?filter=update_rejected"));
        let refused: Vec<&str> = stats.lines().filter(|line| !line.ends_with(": 0")).collect();
        assert!(refused.is_empty() && !stats.is_empty(), "Envoy refused updates: {refused:?}");
    }

    /// Fetches a page.
    pub(crate) fn fetch(&self, url: &str) -> String {
        wire::fetch(self.node(), Path::new(PROBE), url)
    }

    /// Fetches a page, or returns why it cannot.
    pub(crate) fn fetch_if_there(&self, url: &str) -> Result<String, String> {
        let outcome = wire::enter(self.node(), Path::new(PROBE), &["get", url]).finish(program::TIMEOUT);
        if outcome.code == 0 { Ok(outcome.text()) } else { Err(outcome.to_string()) }
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        // A second panic would hide the first; in that case the process ends when its handle is dropped.
        if let Some(pilot) = self.pilot.take()
            && !std::thread::panicking()
        {
            assert_eq!(pilot.end().code, 0, "pilot does not end well");
        }
    }
}

/// A running pod without a sidecar, as a kubelet would report it.
pub(crate) fn pod(name: &str, number: u8) -> Value {
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

/// The gateway's pod, whose labels select the Gateway objects that apply to it.
fn gateway() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "gateway", "namespace": "istio-system",
            "labels": {"istio": "ingressgateway", "app": "istio-ingressgateway"},
        },
        "spec": {"containers": [{"name": "istio-proxy", "args": ["proxy", "router"]}]},
        "status": {"phase": "Running", "podIP": "127.1.0.9", "podIPs": [{"ip": "127.1.0.9"}]},
    })
}

/// An Envoy bootstrap as Istio's agent writes it.
pub(crate) fn bootstrap(id: &str, metadata: &Value, protocol: &str) -> Value {
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

/// Bookinfo's pods in the order of their addresses.
pub(crate) const PODS: [&str; 6] =
    ["productpage-v1", "details-v1", "reviews-v1", "reviews-v2", "reviews-v3", "ratings-v1"];
const PILOT: &str = "http://127.0.0.1:15014";
pub(crate) const ENVOY: &str = "http://127.0.0.1:15000";
