//! Pure. Redirects probes and hooks over the network to the sidecar's status port; the sidecar, which gets the
//! originals, performs them. The kubelet has no mesh certificate, so under strict mTLS its own probes would be refused.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        Container, GRPCAction, HTTPGetAction, LifecycleHandler, PodSpec, Probe, TCPSocketAction,
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use serde::Serialize;

use crate::render::context::{INIT_NAME, PROXY_NAME};

/// The kubelet's original probe, for the sidecar.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Prober {
    #[serde(skip_serializing_if = "Option::is_none")]
    http_get: Option<HTTPGetAction>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tcp_socket: Option<TCPSocketAction>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grpc: Option<GRPCAction>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_seconds: Option<i32>,
}

/// Redirects the application's probes and hooks to `status_port`. Returns the originals, as the value of
/// `ISTIO_KUBE_APP_PROBERS`; `None` if there are none.
pub fn rewrite(spec: &mut PodSpec, status_port: u16) -> Option<String> {
    let mut probers = BTreeMap::new();
    for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
        if container.name != PROXY_NAME && container.name != INIT_NAME {
            Rewriter::new(container, status_port, &mut probers).rewrite(container);
        }
    }
    let text = || serde_json::to_string(&probers).expect("probes of a parsed pod are plain JSON");
    (!probers.is_empty()).then(text)
}

struct Rewriter<'a> {
    container: String,
    ports: BTreeMap<String, i32>,
    status_port: i32,
    probers: &'a mut BTreeMap<String, Prober>,
}

impl<'a> Rewriter<'a> {
    fn new(container: &Container, status_port: u16, probers: &'a mut BTreeMap<String, Prober>) -> Self {
        let ports = container.ports.iter().flatten();
        let ports = ports.filter_map(|port| Some((port.name.clone()?, port.container_port))).collect();
        Self { container: container.name.clone(), ports, status_port: status_port.into(), probers }
    }

    fn rewrite(&mut self, container: &mut Container) {
        self.probe(container.readiness_probe.as_mut(), "readyz");
        self.probe(container.liveness_probe.as_mut(), "livez");
        self.probe(container.startup_probe.as_mut(), "startupz");
        if let Some(lifecycle) = &mut container.lifecycle {
            self.hook(lifecycle.pre_stop.as_mut(), "prestopz");
            self.hook(lifecycle.post_start.as_mut(), "poststartz");
        }
    }

    fn probe(&mut self, probe: Option<&mut Probe>, name: &str) {
        let Some(probe) = probe else { return };
        let path = format!("/app-health/{}/{name}", self.container);
        let original = Prober {
            http_get: probe.http_get.clone(),
            tcp_socket: probe.tcp_socket.clone(),
            grpc: probe.grpc.clone(),
            timeout_seconds: probe.timeout_seconds,
        };
        if let Some(action) = self.redirected(path, original) {
            (probe.http_get, probe.tcp_socket, probe.grpc) = (Some(action), None, None);
        }
    }

    fn hook(&mut self, hook: Option<&mut LifecycleHandler>, name: &str) {
        let Some(hook) = hook else { return };
        let path = format!("/app-lifecycle/{}/{name}", self.container);
        let original = Prober {
            http_get: hook.http_get.clone(),
            tcp_socket: hook.tcp_socket.clone(),
            ..Prober::default()
        };
        if let Some(action) = self.redirected(path, original) {
            (hook.http_get, hook.tcp_socket) = (Some(action), None);
        }
    }

    /// Stores the original under `path` and returns the action that the kubelet performs instead. `None` if the
    /// original does not use the network, is stored already, or names a port that the container does not have.
    fn redirected(&mut self, path: String, mut original: Prober) -> Option<HTTPGetAction> {
        let action = if let Some(http) = &mut original.http_get {
            http.port = IntOrString::Int(self.resolved(&http.port)?);
            // The sidecar uses HTTPS to the application if the original does; the kubelet uses HTTP to the sidecar.
            let scheme = http.scheme.clone().map(|_| "HTTP".to_owned());
            HTTPGetAction { scheme, ..http.clone() }
        } else if let Some(tcp) = &mut original.tcp_socket {
            tcp.port = IntOrString::Int(self.resolved(&tcp.port)?);
            HTTPGetAction::default()
        } else {
            original.grpc.as_ref().filter(|grpc| grpc.port != self.status_port)?;
            HTTPGetAction::default()
        };
        self.probers.insert(path.clone(), original);
        Some(HTTPGetAction { path: Some(path), port: IntOrString::Int(self.status_port), ..action })
    }

    fn resolved(&self, port: &IntOrString) -> Option<i32> {
        let port = match port {
            IntOrString::Int(port) => *port,
            IntOrString::String(name) => self.ports.get(name).copied().or_else(|| name.parse().ok())?,
        };
        (port != self.status_port).then_some(port)
    }
}
