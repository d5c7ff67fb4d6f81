//! Pure. Which pods stand behind a service's ports.

use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::{Pod, Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// A pod as services and names see it.
#[derive(Debug, Clone)]
pub struct Backend {
    /// The pod.
    pub pod: Pod,
    /// Its address.
    pub address: Ipv4Addr,
    /// Whether it takes traffic.
    pub ready: bool,
}

/// The virtual address of a service; none for a headless one.
pub fn virtual_address(service: &Service) -> Option<Ipv4Addr> {
    service.spec.as_ref()?.cluster_ip.as_deref()?.parse().ok()
}

/// Whether a service has no virtual address on purpose.
pub fn is_headless(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some("None")
}

/// The pods that a service selects in its namespace, ready ones only unless it publishes all.
pub fn selected<'a>(service: &'a Service, backends: &'a [Backend]) -> impl Iterator<Item = &'a Backend> {
    let spec = service.spec.as_ref();
    let selector = spec.and_then(|spec| spec.selector.as_ref()).filter(|selector| !selector.is_empty());
    let all = spec.and_then(|spec| spec.publish_not_ready_addresses) == Some(true);
    backends.iter().filter(move |backend| {
        let metadata = &backend.pod.metadata;
        let labels = metadata.labels.as_ref();
        let same = selector.is_some_and(|selector| {
            selector.iter().all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
        });
        same && metadata.namespace == service.metadata.namespace && (backend.ready || all)
    })
}

/// The port of a pod that a service's port means.
pub fn target_port(port: &ServicePort, pod: &Pod) -> Option<u16> {
    match &port.target_port {
        None => u16::try_from(port.port).ok(),
        Some(IntOrString::Int(number)) => u16::try_from(*number).ok(),
        Some(IntOrString::String(name)) => named_port(pod, name),
    }
}

/// The container port of this name.
pub fn named_port(pod: &Pod, name: &str) -> Option<u16> {
    let spec = pod.spec.as_ref()?;
    spec.containers
        .iter()
        .chain(spec.init_containers.iter().flatten())
        .flat_map(|container| container.ports.iter().flatten())
        .find(|port| port.name.as_deref() == Some(name))
        .and_then(|port| u16::try_from(port.container_port).ok())
}

/// The addresses and ports behind one port of a service.
pub fn endpoints(service: &Service, port: &ServicePort, backends: &[Backend]) -> Vec<(Ipv4Addr, u16)> {
    selected(service, backends)
        .filter_map(|backend| Some((backend.address, target_port(port, &backend.pod)?)))
        .collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    pub(crate) fn service(name: &str, spec: &serde_json::Value) -> Service {
        serde_json::from_value(json!({"metadata": {"name": name, "namespace": "default"}, "spec": spec}))
            .unwrap()
    }

    pub(crate) fn backend(name: &str, last: u8, ready: bool) -> Backend {
        let pod = json!({"metadata": {"name": name, "namespace": "default", "labels": {"app": "web"}},
            "spec": {"containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 9080}]}]}});
        Backend { pod: serde_json::from_value(pod).unwrap(), address: Ipv4Addr::new(10, 244, 0, last), ready }
    }

    #[test]
    fn ready_pods_with_the_labels_are_behind_a_named_port() {
        let service = service(
            "web",
            &json!({"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]}),
        );
        let backends = [backend("a", 2, true), backend("b", 3, false)];
        let port = &service.spec.as_ref().unwrap().ports.as_ref().unwrap()[0];
        assert_eq!(endpoints(&service, port, &backends), [(Ipv4Addr::new(10, 244, 0, 2), 9080)]);
    }

    #[test]
    fn a_service_without_selector_selects_nothing_and_one_may_publish_all() {
        let backends = [backend("a", 2, false)];
        assert_eq!(selected(&service("x", &json!({"ports": []})), &backends).count(), 0);
        let all = service("x", &json!({"selector": {"app": "web"}, "publishNotReadyAddresses": true}));
        assert_eq!(selected(&all, &backends).count(), 1);
    }
}
