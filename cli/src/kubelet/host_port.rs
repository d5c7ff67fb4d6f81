//! Pure. The host ports that objects claim: `nodePort` of Services and `hostPort` of containers. Finds the claims,
//! conflicts between them, and the pods behind each port.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};

use k8s_openapi::api::core::v1::{ContainerPort, Service, ServicePort};
use serde_json::{Value, json};

use crate::kubelet::address::fnv;
use crate::kubelet::service::{self, Backend};
use crate::kubelet::template::{pod_place, pod_spec};
use crate::manifest::object::{Key, text};

/// A claimed host port, and the field that claims it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The listener's address.
    pub address: SocketAddrV4,
    /// Whether the protocol is TCP. Ports of other protocols are served only inside the mesh's network.
    pub is_tcp: bool,
    /// Path of the field from the object's root.
    pub path: String,
}

/// The host ports that an object claims. A workload claims those of its template, whether or not it has running pods.
pub fn claims(key: &Key, object: &Value) -> Vec<Claim> {
    if key.kind == "Service" && key.group.is_empty() {
        return node_ports(object)
            .map(|(path, port, protocol)| Claim {
                address: SocketAddrV4::new(Ipv4Addr::LOCALHOST, port),
                is_tcp: protocol == "TCP",
                path,
            })
            .collect();
    }
    let Some(place) = pod_place(&key.kind) else { return vec![] };
    let Some(spec) = pod_spec(object, place) else { return vec![] };
    let mut claims = vec![];
    for list in ["containers", "initContainers"] {
        for (c, container) in list_of(spec, list) {
            for (p, port) in list_of(container, "ports") {
                let Some(number) = number(&port["hostPort"]) else { continue };
                let path = format!("{place}.{list}[{c}].ports[{p}].hostPort");
                let address = SocketAddrV4::new(host_address(text(port, "/hostIP")), number);
                claims.push(Claim { address, is_tcp: protocol(port) == "TCP", path });
            }
        }
    }
    claims
}

/// The conflicts between claims of applied objects (`given`) and with those of stored objects: the object, the field
/// and the reason. A stored object that is applied again has only the claims of its applied version.
pub fn conflicts<'a>(
    given: &'a [(Key, Claim)],
    stored: impl Iterator<Item = &'a (Key, Claim)>,
) -> Vec<(&'a Key, String, String)> {
    let port = |claim: &Claim| (claim.address.port(), claim.is_tcp);
    let mut taken: BTreeMap<(u16, bool), &Key> = stored.map(|(key, claim)| (port(claim), key)).collect();
    let mut found = vec![];
    for (key, claim) in given {
        match taken.get(&port(claim)) {
            Some(other) => {
                let reason = format!("{} is already used by {other}", claim.address.port());
                found.push((key, claim.path.clone(), reason));
            }
            None => {
                taken.insert(port(claim), key);
            }
        }
    }
    found
}

/// Allocates a number of the default range for each port of a NodePort Service that has none: the previous number, or
/// one derived from the Service's name and the port. Returns the allocated numbers.
pub fn allocate(key: &Key, service: &mut Value, old: Option<&Value>, taken: &mut BTreeSet<u16>) -> Vec<u16> {
    if text(service, "/spec/type") != "NodePort" {
        return vec![];
    }
    let before: BTreeMap<(String, u64), u16> = old
        .into_iter()
        .flat_map(|old| list_of(&old["spec"], "ports"))
        .filter_map(|(_, port)| Some((same(port), number(&port["nodePort"])?)))
        .collect();
    let mut given = vec![];
    for port in service.pointer_mut("/spec/ports").and_then(Value::as_array_mut).into_iter().flatten() {
        if number(&port["nodePort"]).is_some() {
            continue;
        }
        let kept = before.get(&same(port)).copied();
        let name = format!("{}:{}", port["port"], protocol(port));
        let seed = fnv(&[&key.namespace, "/", &key.name, "/", &name]);
        let size = u64::from(NODE_PORTS.1 - NODE_PORTS.0) + 1;
        let mut free = (0..size).map(|step| NODE_PORTS.0 + ((seed + step) % size) as u16);
        if let Some(number) = kept.or_else(|| free.find(|number| !taken.contains(number))) {
            port["nodePort"] = json!(number);
            taken.insert(number);
            given.push(number);
        }
    }
    given
}

/// Whether Kubernetes' API server accepts this number as a `nodePort`.
pub fn is_node_port(number: u64) -> bool {
    (u64::from(NODE_PORTS.0)..=u64::from(NODE_PORTS.1)).contains(&number)
}

/// The ready pods behind a host address.
pub fn endpoints(address: SocketAddrV4, services: &[Service], backends: &[Backend]) -> Vec<(Ipv4Addr, u16)> {
    let of_service = |service: &Service| {
        let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
        let ports =
            ports.filter(|port| node_port(port) == Some(address.port()) && is_tcp(port.protocol.as_deref()));
        ports.flat_map(|port| service::endpoints(service, port, backends)).collect::<Vec<_>>()
    };
    let services = services.iter().filter(|_| address.ip().is_loopback()).flat_map(of_service);
    let pods = host_ports(backends).filter(|(_, port)| {
        number_of(port.host_port) == Some(address.port())
            && host_address(port.host_ip.as_deref().unwrap_or_default()) == *address.ip()
            && is_tcp(port.protocol.as_deref())
    });
    services
        .chain(pods.filter_map(|(pod, port)| Some((pod, number_of(Some(port.container_port))?))))
        .collect()
}

/// The ports of ready pods that have a `hostPort`, with the pod's address.
pub fn host_ports(backends: &[Backend]) -> impl Iterator<Item = (Ipv4Addr, &ContainerPort)> {
    backends.iter().filter(|backend| backend.ready && backend.written.is_none()).flat_map(|backend| {
        let containers = backend
            .pod
            .spec
            .iter()
            .flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()));
        let ports = containers.flat_map(|container| container.ports.iter().flatten());
        ports.filter(|port| port.host_port.is_some_and(|port| port > 0)).map(|port| (backend.address, port))
    })
}

/// The `nodePort` of a Service's port.
pub fn node_port(port: &ServicePort) -> Option<u16> {
    number_of(port.node_port)
}

/// The listener's address for a `hostIP`. Without one, Kubernetes listens on all addresses. A mesh on one machine
/// listens on localhost, so that it is open to the network only on request.
pub fn host_address(written: &str) -> Ipv4Addr {
    written.parse().unwrap_or(Ipv4Addr::LOCALHOST)
}

fn node_ports(service: &Value) -> impl Iterator<Item = (String, u16, &str)> {
    list_of(&service["spec"], "ports").filter_map(|(index, port)| {
        Some((format!("spec.ports[{index}].nodePort"), number(&port["nodePort"])?, protocol(port)))
    })
}

fn list_of<'a>(object: &'a Value, field: &str) -> impl Iterator<Item = (usize, &'a Value)> {
    object.get(field).and_then(Value::as_array).into_iter().flatten().enumerate()
}

fn number(value: &Value) -> Option<u16> {
    value.as_u64().and_then(|number| u16::try_from(number).ok()).filter(|number| *number > 0)
}

fn number_of(value: Option<i32>) -> Option<u16> {
    value.and_then(|number| u16::try_from(number).ok()).filter(|number| *number > 0)
}

fn protocol(port: &Value) -> &str {
    Some(text(port, "/protocol")).filter(|protocol| !protocol.is_empty()).unwrap_or("TCP")
}

fn is_tcp(protocol: Option<&str>) -> bool {
    matches!(protocol, None | Some("TCP"))
}

/// The identity of a Service's port before and after a change.
fn same(port: &Value) -> (String, u64) {
    (protocol(port).to_owned(), port["port"].as_u64().unwrap_or_default())
}

/// The default range of Kubernetes.
const NODE_PORTS: (u16, u16) = (30_000, 32_767);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubelet::service::tests::{backend, service};

    fn web(spec: &Value) -> (Key, Value) {
        let object = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"}, "spec": spec});
        (Key::of(&object), object)
    }

    #[test]
    fn a_service_of_type_node_port_gets_port_numbers_and_keeps_them() {
        let (key, mut first) =
            web(&json!({"type": "NodePort", "ports": [{"port": 80}, {"port": 81, "nodePort": 30_001}]}));
        let mut taken = BTreeSet::new();
        let given = allocate(&key, &mut first, None, &mut taken);
        assert_eq!(given.len(), 1);
        assert!(is_node_port(u64::from(given[0])), "{given:?}");
        assert_eq!(first["spec"]["ports"][0]["nodePort"], given[0]);
        assert_eq!(first["spec"]["ports"][1]["nodePort"], 30_001);
        let (_, mut again) = web(&json!({"type": "NodePort", "ports": [{"port": 80}, {"port": 82}]}));
        let second = allocate(&key, &mut again, Some(&first), &mut taken);
        assert_eq!(second[0], given[0]);
        assert_ne!(second[1], given[0]);
        let (_, mut plain) = web(&json!({"ports": [{"port": 80}]}));
        assert_eq!(allocate(&key, &mut plain, None, &mut taken), [0_u16; 0]);
    }

    #[test]
    fn a_port_is_given_once() {
        let (key, service) = web(&json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30_001}]}));
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "shop"},
            "spec": {"containers": [{"name": "a", "ports": [{"containerPort": 80, "hostPort": 30_001},
                {"containerPort": 53, "hostPort": 30_001, "protocol": "UDP"}]}]}});
        let pod_key = Key::of(&pod);
        let of = |key: &Key, object| -> Vec<(Key, Claim)> {
            claims(key, object).into_iter().map(|claim| (key.clone(), claim)).collect()
        };
        let (own, pods) = (of(&key, &service), of(&pod_key, &pod));
        assert_eq!(conflicts(&own, [].iter()), vec![]);
        let found = conflicts(&pods, own.iter());
        assert_eq!(found.len(), 1, "TCP and UDP are different ports");
        assert_eq!(found[0].1, "spec.containers[0].ports[0].hostPort");
        assert!(found[0].2.contains("Service shop/web"), "{}", found[0].2);
        assert_eq!(conflicts(&[own, pods].concat(), [].iter()).len(), 1);
    }

    #[test]
    fn ready_pods_are_behind_a_port_of_the_machine() {
        let services = [service(
            "web",
            &json!({"type": "NodePort", "selector": {"app": "web"},
            "ports": [{"port": 80, "targetPort": 9080, "nodePort": 30_001}]}),
        )];
        let mut with_host_port = backend("c", 4, true);
        with_host_port.pod =
            serde_json::from_value(json!({"metadata": {"name": "c", "namespace": "default"},
            "spec": {"containers": [{"name": "c", "ports": [{"containerPort": 8080, "hostPort": 88},
                {"containerPort": 8081, "hostPort": 89, "hostIP": "0.0.0.0"}]}]}}))
            .unwrap();
        let backends = [backend("a", 2, true), backend("b", 3, false), with_host_port];
        let behind = |address: &str| endpoints(address.parse().unwrap(), &services, &backends);
        assert_eq!(behind("127.0.0.1:30001"), [(Ipv4Addr::new(10, 244, 0, 2), 9080)]);
        assert_eq!(behind("127.0.0.1:88"), [(Ipv4Addr::new(10, 244, 0, 4), 8080)]);
        assert_eq!(behind("0.0.0.0:89"), [(Ipv4Addr::new(10, 244, 0, 4), 8081)]);
        assert_eq!(behind("127.0.0.1:89"), []);
    }
}
