//! Pure. The pods and user-defined endpoints behind the ports of services.

use std::net::Ipv4Addr;

use api::resource::selector::requirement::Selector;
use k8s_openapi::api::core::v1::{Endpoints, Pod, Service, ServicePort};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// A pod or a user-defined endpoint, as services and DNS see it.
#[derive(Debug, Clone)]
pub struct Backend {
    /// The pod; empty for a user-defined endpoint.
    pub pod: Pod,
    /// The user's definition of the endpoint.
    pub written: Option<Written>,
    /// Its address.
    pub address: Ipv4Addr,
    /// Whether it is ready for traffic.
    pub ready: bool,
}

/// A user-defined endpoint of a service without selector.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// Namespace of the service.
    pub namespace: String,
    /// Name of the service.
    pub service: String,
    /// Its host name in the service.
    pub hostname: Option<String>,
    /// Names and numbers of its ports.
    pub ports: Vec<(String, u16)>,
}

/// The IPv4 endpoints of an EndpointSlice. Other address families are ignored.
pub fn of_slice(slice: &EndpointSlice) -> Vec<Backend> {
    let labels = slice.metadata.labels.as_ref();
    let service = labels.and_then(|labels| labels.get("kubernetes.io/service-name")).cloned();
    let ports =
        slice.ports.iter().flatten().filter_map(|port| {
            Some((port.name.clone().unwrap_or_default(), u16::try_from(port.port?).ok()?))
        });
    let ports: Vec<_> = ports.collect();
    let backends = slice.endpoints.iter().flat_map(|endpoint| {
        let ready = endpoint.conditions.as_ref().and_then(|conditions| conditions.ready) != Some(false);
        let hostname = endpoint.hostname.clone();
        endpoint.addresses.iter().map(move |address| (address, hostname.clone(), ready))
    });
    backends
        .filter_map(|(address, hostname, ready)| {
            let written = Written {
                namespace: slice.metadata.namespace.clone().unwrap_or_else(|| "default".into()),
                service: service.clone()?,
                hostname,
                ports: ports.clone(),
            };
            Some(Backend {
                written: Some(written),
                address: address.parse().ok()?,
                ready,
                pod: Pod::default(),
            })
        })
        .collect()
}

/// The endpoints of an Endpoints object.
pub fn of_endpoints(object: &Endpoints) -> Vec<Backend> {
    let mut backends = Vec::new();
    for subset in object.subsets.iter().flatten() {
        let ports = subset.ports.iter().flatten();
        let ports: Vec<_> = ports
            .filter_map(|port| Some((port.name.clone().unwrap_or_default(), u16::try_from(port.port).ok()?)))
            .collect();
        for (list, ready) in [(&subset.addresses, true), (&subset.not_ready_addresses, false)] {
            for entry in list.iter().flatten() {
                let Ok(address) = entry.ip.parse() else { continue };
                let written = Written {
                    namespace: object.metadata.namespace.clone().unwrap_or_else(|| "default".into()),
                    service: object.metadata.name.clone().unwrap_or_default(),
                    hostname: entry.hostname.clone(),
                    ports: ports.clone(),
                };
                backends.push(Backend { written: Some(written), address, ready, pod: Pod::default() });
            }
        }
    }
    backends
}

/// The virtual address of a service; `None` for a headless service.
pub fn virtual_address(service: &Service) -> Option<Ipv4Addr> {
    service.spec.as_ref()?.cluster_ip.as_deref()?.parse().ok()
}

/// Whether a service is headless.
pub fn is_headless(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some("None")
}

/// The pods that a service selects in its namespace, or the user-defined endpoints of a service without selector. Only
/// ready ones, unless the service publishes all addresses.
pub fn selected<'a>(service: &'a Service, backends: &'a [Backend]) -> impl Iterator<Item = &'a Backend> {
    let spec = service.spec.as_ref();
    let selector = spec.and_then(|spec| spec.selector.as_ref()).filter(|selector| !selector.is_empty());
    let selector = selector.map(Selector::of_labels);
    let all = spec.and_then(|spec| spec.publish_not_ready_addresses) == Some(true);
    backends.iter().filter(move |backend| {
        let metadata = &backend.pod.metadata;
        let label =
            |key: &str| metadata.labels.as_ref().and_then(|labels| labels.get(key)).map(String::as_str);
        let same = match (&selector, &backend.written) {
            (Some(selector), None) => {
                metadata.namespace == service.metadata.namespace && selector.matches(label)
            }
            (None, Some(written)) => {
                service.metadata.namespace.as_ref() == Some(&written.namespace)
                    && service.metadata.name.as_ref() == Some(&written.service)
            }
            _ => false,
        };
        same && (backend.ready || all)
    })
}

/// The port of a backend that a service's port refers to. For user-defined endpoints it is the port of the same name.
pub fn target_port(port: &ServicePort, backend: &Backend) -> Option<u16> {
    if let Some(written) = &backend.written {
        let name = port.name.as_deref().unwrap_or_default();
        return written.ports.iter().find(|(known, _)| known == name).map(|(_, number)| *number);
    }
    match &port.target_port {
        None => u16::try_from(port.port).ok(),
        Some(IntOrString::Int(number)) => u16::try_from(*number).ok(),
        Some(IntOrString::String(name)) => named_port(&backend.pod, name),
    }
}

/// The container port with this name.
pub fn named_port(pod: &Pod, name: &str) -> Option<u16> {
    let spec = pod.spec.as_ref()?;
    spec.containers
        .iter()
        .chain(spec.init_containers.iter().flatten())
        .flat_map(|container| container.ports.iter().flatten())
        .find(|port| port.name.as_deref() == Some(name))
        .and_then(|port| u16::try_from(port.container_port).ok())
}

/// The addresses and ports behind a port of a service.
pub fn endpoints(service: &Service, port: &ServicePort, backends: &[Backend]) -> Vec<(Ipv4Addr, u16)> {
    selected(service, backends)
        .filter_map(|backend| Some((backend.address, target_port(port, backend)?)))
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
        let pod = serde_json::from_value(pod).unwrap();
        Backend { pod, address: Ipv4Addr::new(10, 244, 0, last), ready, written: None }
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
    fn static_endpoints_belong_to_the_service_that_they_name() {
        let slice = json!({"metadata": {"name": "db-1", "namespace": "default",
            "labels": {"kubernetes.io/service-name": "db"}}, "addressType": "IPv4",
            "ports": [{"name": "sql", "port": 3307}],
            "endpoints": [{"addresses": ["10.244.0.7"], "hostname": "one"}, {"addresses": ["10.244.0.8"], "conditions": {"ready": false}}]});
        let object = json!({"metadata": {"name": "old", "namespace": "default"},
            "subsets": [{"addresses": [{"ip": "10.244.0.9"}], "ports": [{"port": 81}]}]});
        let mut backends = of_slice(&serde_json::from_value(slice).unwrap());
        backends.extend(of_endpoints(&serde_json::from_value(object).unwrap()));
        backends.push(backend("a", 2, true));
        let behind = |name: &str, spec: &serde_json::Value| {
            let service = service(name, spec);
            endpoints(&service, &service.spec.as_ref().unwrap().ports.as_ref().unwrap()[0], &backends)
        };
        let at = |last: u8, port: u16| (Ipv4Addr::new(10, 244, 0, last), port);
        assert_eq!(behind("db", &json!({"ports": [{"name": "sql", "port": 3306}]})), [at(7, 3307)]);
        assert_eq!(behind("old", &json!({"ports": [{"port": 80}]})), [at(9, 81)]);
        assert_eq!(behind("db", &json!({"ports": [{"name": "other", "port": 3306}]})), []);
        assert_eq!(behind("db", &json!({"selector": {"app": "web"}, "ports": [{"port": 80}]})), [at(2, 80)]);
    }

    #[test]
    fn a_service_without_selector_selects_nothing_and_one_may_publish_all() {
        let backends = [backend("a", 2, false)];
        assert_eq!(selected(&service("x", &json!({"ports": []})), &backends).count(), 0);
        let all = service("x", &json!({"selector": {"app": "web"}, "publishNotReadyAddresses": true}));
        assert_eq!(selected(&all, &backends).count(), 1);
    }
}
