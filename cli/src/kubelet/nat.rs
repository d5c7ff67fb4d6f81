//! Pure. The node's packet rules: they translate the virtual address of a service to a random ready pod. Connections to
//! a service without ready pods are rejected at once, as by kube-proxy. Each change writes the complete rule set, so
//! that it is replaced in one transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::Service;

use crate::kubelet::address::NODE;
use crate::kubelet::host_port;
use crate::kubelet::service::{self, Backend};

/// The input of `nft -f -`.
pub fn rules(services: &[Service], backends: &[Backend]) -> String {
    let mut chains = String::new();
    let mut verdicts = Vec::new();
    let mut refused = Vec::new();
    let mut pods = BTreeSet::new();
    for service in services {
        let Some(address) = service::virtual_address(service) else { continue };
        for port in service.spec.iter().flat_map(|spec| spec.ports.iter().flatten()) {
            let endpoints = service::endpoints(service, port, backends);
            let known_as = [(address, u16::try_from(port.port).ok()), (NODE, host_port::node_port(port))];
            let known_as = known_as.into_iter().filter_map(|(address, number)| {
                Some(format!("{address} . {} . {}", protocol(port.protocol.as_deref()), number?))
            });
            if endpoints.is_empty() {
                refused.extend(known_as);
                continue;
            }
            pods.extend(endpoints.iter().map(|(address, _)| *address));
            let name = format!("svc-{}", verdicts.len());
            let protocol = protocol(port.protocol.as_deref());
            let sticky =
                service.spec.as_ref().and_then(|spec| spec.session_affinity.as_deref()) == Some("ClientIP");
            chains.push_str(&chain(&name, protocol, &endpoints, sticky));
            verdicts.extend(known_as.map(|known_as| format!("{known_as} : goto {name}")));
        }
    }
    for ((protocol, number), endpoints) in host_ports(backends) {
        pods.extend(endpoints.iter().map(|(address, _)| *address));
        let name = format!("svc-{}", verdicts.len());
        chains.push_str(&chain(&name, protocol, &endpoints, false));
        verdicts.push(format!("{NODE} . {protocol} . {number} : goto {name}"));
    }
    let mut text = String::from("table ip ostria\ndelete table ip ostria\ntable ip ostria {\n");
    text.push_str(&chains);
    text.push_str("  chain services {\n");
    if !verdicts.is_empty() {
        let _ = writeln!(text, "    ip daddr . meta l4proto . th dport vmap {{ {} }}", verdicts.join(", "));
    }
    text.push_str("  }\n");
    text.push_str("  chain prerouting { type nat hook prerouting priority -100; jump services; }\n");
    text.push_str("  chain output { type nat hook output priority -100; jump services; }\n");
    text.push_str("  chain postrouting { type nat hook postrouting priority 100;\n");
    if !pods.is_empty() {
        let pairs: Vec<_> = pods.iter().map(|pod| format!("{pod} . {pod}")).collect();
        let _ = writeln!(text, "    ip saddr . ip daddr {{ {} }} masquerade", pairs.join(", "));
    }
    text.push_str("  }\n  chain unready {\n");
    if !refused.is_empty() {
        let _ = writeln!(text, "    ip daddr . meta l4proto . th dport {{ {} }} reject", refused.join(", "));
    }
    text.push_str("  }\n");
    for hook in ["forward", "output"] {
        let _ =
            writeln!(text, "  chain {hook}-unready {{ type filter hook {hook} priority 0; jump unready; }}");
    }
    text.push_str("}\n");
    text
}

fn chain(name: &str, protocol: &str, endpoints: &[(Ipv4Addr, u16)], sticky: bool) -> String {
    let count = endpoints.len();
    let choice =
        if sticky { format!("jhash ip saddr mod {count}") } else { format!("numgen random mod {count}") };
    let map: Vec<_> = endpoints
        .iter()
        .enumerate()
        .map(|(index, (address, port))| format!("{index} : {address} . {port}"))
        .collect();
    format!(
        "  chain {name} {{ meta l4proto {protocol} dnat ip to {choice} map {{ {} }}; }}\n",
        map.join(", ")
    )
}

/// The pods behind each `hostPort` of the node.
fn host_ports(backends: &[Backend]) -> BTreeMap<(&'static str, u16), Vec<(Ipv4Addr, u16)>> {
    let mut found = BTreeMap::<_, Vec<_>>::new();
    for (address, port) in host_port::host_ports(backends) {
        let numbers = (port.host_port.map(u16::try_from), u16::try_from(port.container_port));
        if let (Some(Ok(outside)), Ok(inside)) = numbers {
            found.entry((protocol(port.protocol.as_deref()), outside)).or_default().push((address, inside));
        }
    }
    found
}

fn protocol(written: Option<&str>) -> &'static str {
    match written {
        Some("UDP") => "udp",
        Some("SCTP") => "sctp",
        _ => "tcp",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubelet::service::tests::{backend, service};
    use serde_json::json;

    #[test]
    fn a_cluster_ip_is_translated_to_a_random_ready_pod() {
        let service = service(
            "web",
            &json!({"clusterIP": "10.96.0.9", "selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 9080}]}),
        );
        let text = rules(&[service], &[backend("a", 2, true), backend("b", 3, true), backend("c", 4, false)]);
        assert!(text.contains("chain svc-0 { meta l4proto tcp dnat ip to numgen random mod 2 map { 0 : 10.244.0.2 . 9080, 1 : 10.244.0.3 . 9080 }; }"), "{text}");
        assert!(text.contains("vmap { 10.96.0.9 . tcp . 80 : goto svc-0 }"), "{text}");
        assert!(text.contains("{ 10.244.0.2 . 10.244.0.2, 10.244.0.3 . 10.244.0.3 } masquerade"), "{text}");
    }

    #[test]
    fn ports_of_the_node_lead_to_the_pods_too() {
        let service = service(
            "web",
            &json!({"type": "NodePort", "clusterIP": "10.96.0.9", "selector": {"app": "web"},
                "ports": [{"port": 80, "targetPort": 9080, "nodePort": 30_001}, {"port": 81, "targetPort": "none", "nodePort": 30_002}]}),
        );
        let mut with_host_port = backend("b", 3, true);
        with_host_port.pod = serde_json::from_value(json!({"metadata": {"name": "b", "namespace": "default"},
            "spec": {"containers": [{"name": "b", "ports": [{"containerPort": 53, "hostPort": 5353, "protocol": "UDP"}]}]}}))
        .unwrap();
        let text = rules(&[service], &[backend("a", 2, true), with_host_port]);
        assert!(
            text.contains("10.96.0.9 . tcp . 80 : goto svc-0, 10.244.0.1 . tcp . 30001 : goto svc-0"),
            "{text}"
        );
        assert!(text.contains("{ 10.96.0.9 . tcp . 81, 10.244.0.1 . tcp . 30002 } reject"), "{text}");
        assert!(text.contains("10.244.0.1 . udp . 5353 : goto svc-2"), "{text}");
        assert!(
            text.contains(
                "chain svc-2 { meta l4proto udp dnat ip to numgen random mod 1 map { 0 : 10.244.0.3 . 53 }; }"
            ),
            "{text}"
        );
    }

    #[test]
    fn without_ready_pods_connections_are_refused() {
        let service = service(
            "web",
            &json!({"clusterIP": "10.96.0.9", "selector": {"app": "web"}, "ports": [{"port": 80}]}),
        );
        let text = rules(&[service], &[]);
        assert!(!text.contains("vmap") && !text.contains("masquerade"), "{text}");
        assert!(text.contains("{ 10.96.0.9 . tcp . 80 } reject"), "{text}");
    }
}
