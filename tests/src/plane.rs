//! Pilot and proxies in their own network, without a mesh around them. Measurements cover only these processes, and
//! a configuration may name thousands of pods that do not run.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::metrics::Metrics;
use crate::program::{self, Outcome, Running};
use crate::remains::resident;
use crate::{wait, wire};

/// A running pilot, with the folder that it reads.
#[derive(Debug)]
pub struct Plane {
    // Its process ends when dropped.
    pilot: Option<Running>,
    probe: PathBuf,
    config: PathBuf,
    folder: TempDir,
}

/// A proxy that gets its configuration from pilot.
#[derive(Debug)]
pub struct Proxy {
    running: Running,
    /// Pod name and namespace, as on pilot's pages.
    pub name: String,
}

impl Plane {
    /// Starts pilot with an empty folder.
    pub fn start(probe: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder for temporary files can be made");
        let config = folder.path().join("config");
        fs::create_dir(&config).expect("the test's folder can be written");
        let shown = config.display().to_string();
        let line = ["--config-dir", &shown, "--address", "127.0.0.1", "--grpc-port", "15010"];
        let pilot = Some(wire::alone(&program::path("ostria-pilot"), &line));
        let plane = Self { pilot, probe: probe.into(), config, folder };
        wait::until("pilot is ready", Duration::from_secs(10), || plane.page(&format!("{PILOT}/readyz")));
        plane
    }

    /// Writes a file of objects atomically.
    pub fn write(&self, name: &str, objects: &[Value]) {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
        let draft = self.config.join(".draft");
        let write = fs::write(&draft, list).and_then(|()| fs::rename(&draft, self.config.join(name)));
        write.expect("the test's folder can be written");
    }

    /// Removes files of objects.
    pub fn remove(&self, names: &[String]) {
        for name in names {
            fs::remove_file(self.config.join(name)).expect("the file was written");
        }
    }

    /// Starts a proxy for a pod, which it adds to the configuration: `role` is `sidecar` or `router`.
    pub fn proxy(&self, role: &str, pod: &str, namespace: &str, labels: &Value, admin: u16) -> Proxy {
        let own = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": pod, "namespace": namespace, "labels": labels},
            "spec": {"containers": [{"name": "istio-proxy", "args": ["proxy", role]}]},
            "status": {"phase": "Running", "podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}]},
        });
        self.write(&format!("proxy-{pod}.json"), &[own]);
        let id = format!("{role}~127.0.0.1~{pod}.{namespace}~{namespace}.svc.cluster.local");
        let metadata = json!({"NAMESPACE": namespace, "LABELS": labels, "INSTANCE_IPS": "127.0.0.1"});
        let file = self.folder.path().join(format!("{pod}.json"));
        fs::write(&file, bootstrap(&id, &metadata, admin).to_string())
            .expect("the test's folder can be written");
        let shown = file.display().to_string();
        let line = ["run", "--bootstrap", &shown, "--concurrency", "2", "--log-level", "warn"];
        let running = self.run("ostria-proxy", &line);
        Proxy { running, name: format!("{pod}.{namespace}") }
    }

    /// Starts a program in pilot's network.
    pub fn run(&self, name: &str, line: &[&str]) -> Running {
        wire::enter(self.id(), &program::path(name), line)
    }

    /// Waits until the proxies have acknowledged everything that pilot sends them; fails the test if one of them
    /// refuses anything.
    pub fn until_in_step(&self, proxies: &[&Proxy], timeout: Duration) {
        wait::until("the proxies are in step", timeout, || {
            let page = self.page(&format!("{PILOT}/debug/syncz"))?;
            let rows: Vec<Value> = serde_json::from_str(&page).map_err(|error| error.to_string())?;
            for proxy in proxies {
                let row = rows.iter().find(|row| row["proxy"] == *proxy.name).ok_or("it is not connected")?;
                assert_eq!(row["refusals"], json!([]), "{} refuses what it is sent", proxy.name);
                if row["in_step"] != true || row["cluster_acked"] == "" || row["listener_acked"] == "" {
                    return Err(row.to_string());
                }
            }
            Ok(())
        });
    }

    /// Pilot's metrics.
    pub fn metrics(&self) -> Metrics {
        let page = self.page(&format!("{PILOT}/metrics"));
        Metrics::parse(&page.unwrap_or_else(|reason| panic!("pilot's metrics: {reason}")))
    }

    /// Fetches a page from a program in pilot's network.
    pub fn page(&self, url: &str) -> Result<String, String> {
        let outcome: Outcome = wire::enter(self.id(), &self.probe, &["get", url]).finish(program::TIMEOUT);
        if outcome.code == 0 { Ok(outcome.text()) } else { Err(outcome.to_string()) }
    }

    /// Pilot's process id.
    pub fn id(&self) -> u32 {
        self.pilot.as_ref().expect("pilot runs").pid()
    }

    /// Pilot's resident memory in MiB.
    pub fn memory(&self) -> f64 {
        resident(self.id()).expect("pilot runs")
    }

    /// The folder of this test's files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
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

impl Proxy {
    /// Resident memory in MiB.
    pub fn memory(&self) -> f64 {
        resident(self.running.pid()).expect("the proxy runs")
    }

    /// The number of open files, including connections.
    pub fn files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.running.pid())).expect("the proxy runs").count()
    }

    /// Processor time used so far, in seconds.
    pub fn processor(&self) -> f64 {
        crate::remains::processor(self.running.pid()).expect("the proxy runs")
    }

    /// Ends the proxy as its supervisor would.
    pub fn end(self) {
        assert_eq!(self.running.end().code, 0, "the proxy does not end well");
    }
}

/// A Service that selects pods by the label `app`, on port 80 for HTTP.
pub fn service(name: &str, namespace: &str, address: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "selector": {"app": name}, "clusterIP": address,
            "ports": [{"name": "http", "port": 80, "targetPort": 8080}],
        },
    })
}

/// A ready pod with a sidecar, as a kubelet would report it.
pub fn pod(name: &str, app: &str, namespace: &str, address: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": namespace,
            "labels": {"app": app, "version": "v1", "security.istio.io/tlsMode": "istio"},
        },
        "spec": {"serviceAccountName": app, "containers": [{"name": "app", "ports": [{"containerPort": 8080}]}]},
        "status": {
            "phase": "Running", "podIP": address, "podIPs": [{"ip": address}],
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    })
}

/// A web server at 127.1.0.1:8080 without a sidecar, and a gateway in front of it: port 8000 of the pods labelled
/// `istio: ingressgateway`.
pub fn front(namespace: &str) -> Vec<Value> {
    let route = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {"hosts": ["*"], "gateways": ["front"], "http": [{"route": [{"destination": {"host": "web"}}]}]},
    });
    let gateway = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "Gateway",
        "metadata": {"name": "front", "namespace": namespace},
        "spec": {"selector": {"istio": "ingressgateway"}, "servers": [
            {"port": {"number": 8000, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]},
        ]},
    });
    let mut web = pod("web-1", "web", namespace, "127.1.0.1");
    // The server has no sidecar that could accept mTLS.
    web["metadata"]["labels"] = json!({"app": "web"});
    vec![service("web", namespace, "10.96.0.1"), web, gateway, route]
}

/// A VirtualService for a service, with one rule.
pub fn routes(name: &str, namespace: &str, timeout: &str) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"hosts": [name], "http": [
            {"match": [{"uri": {"prefix": "/a"}}], "timeout": timeout, "route": [{"destination": {"host": name}}]},
            {"route": [{"destination": {"host": name}}]},
        ]},
    })
}

fn bootstrap(id: &str, metadata: &Value, admin: u16) -> Value {
    let source = json!({"ads": {}, "resource_api_version": "V3"});
    let address = |port: u16| json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
    json!({
        "node": {"id": id, "cluster": "scale", "metadata": metadata},
        "admin": {"address": address(admin)},
        "dynamic_resources": {
            "lds_config": source, "cds_config": source,
            "ads_config": {"api_type": "DELTA_GRPC", "transport_api_version": "V3",
                "grpc_services": [{"envoy_grpc": {"cluster_name": "xds-grpc"}}]},
        },
        "static_resources": {"clusters": [{
            "name": "xds-grpc", "type": "STATIC", "connect_timeout": "1s",
            "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}},
            }},
            "load_assignment": {"cluster_name": "xds-grpc", "endpoints": [
                {"lb_endpoints": [{"endpoint": {"address": address(15010)}}]},
            ]},
        }]},
    })
}

const PILOT: &str = "http://127.0.0.1:15014";
