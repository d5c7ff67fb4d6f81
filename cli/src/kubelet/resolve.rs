//! Pure. Resolves the cluster's names as CoreDNS does: services, headless services with their pods, ports, external
//! names, pods by address, addresses by name, and the control plane.

use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::{Service, ServicePort};

use crate::kubelet::address::{self, NODE};
use crate::kubelet::service::{self, Backend};

/// The result for a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The name exists; it may have no records of the queried type.
    Known(Records),
    /// The name is in the cluster's domain but does not exist.
    Nothing,
    /// The name is not in the cluster's domain.
    Outside,
}

/// The records of a name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Records {
    /// Its addresses.
    pub addresses: Vec<Ipv4Addr>,
    /// The canonical name, if this name is an alias.
    pub alias: Option<String>,
    /// The hosts that serve a port of the service.
    pub servers: Vec<Server>,
    /// The names of an address, for reverse look-ups.
    pub names: Vec<String>,
}

/// A host that serves a port (SRV, RFC 2782).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// The port.
    pub port: u16,
    /// Name of the host, without the last dot.
    pub host: String,
    /// The host's addresses.
    pub addresses: Vec<Ipv4Addr>,
}

/// Resolves a name, which is given without its last dot.
pub fn resolve(name: &str, services: &[Service], backends: &[Backend]) -> Found {
    let name = name.to_ascii_lowercase();
    let cluster = Cluster { services, backends };
    if let Some(address) = name.strip_suffix(".in-addr.arpa") {
        return cluster.reverse(address);
    }
    let Some(rest) = strip_domain(&name) else { return Found::Outside };
    let labels: Vec<&str> = rest.split('.').filter(|label| !label.is_empty()).collect();
    match labels.as_slice() {
        [] | ["svc" | "pod"] => Found::Known(Records::default()),
        [namespace, "svc" | "pod"] => cluster.namespace(namespace),
        [address, namespace, "pod"] => cluster.pod(address, namespace),
        [service, namespace, "svc"] => cluster.whole(service, namespace),
        [protocol, service, namespace, "svc"] if protocol.starts_with('_') => {
            cluster.ports(None, protocol, service, namespace)
        }
        [port, protocol, service, namespace, "svc"] if port.starts_with('_') => {
            cluster.ports(Some(port), protocol, service, namespace)
        }
        [endpoint, service, namespace, "svc"] => cluster.endpoint(endpoint, service, namespace),
        _ => Found::Nothing,
    }
}

/// Names of the control plane. All have the node's address.
pub const CONTROL_PLANE: [(&str, &str); 3] =
    [("istiod", "istio-system"), ("citadel", "istio-system"), ("ostria-injector", "istio-system")];

struct Cluster<'a> {
    services: &'a [Service],
    backends: &'a [Backend],
}

impl Cluster<'_> {
    fn find(&self, name: &str, namespace: &str) -> Option<&Service> {
        self.services.iter().find(|service| is(service, name, namespace))
    }

    fn namespace(&self, namespace: &str) -> Found {
        let here = |other: Option<&str>| other == Some(namespace);
        let known = CONTROL_PLANE.iter().any(|(_, other)| *other == namespace)
            || self.services.iter().any(|service| here(service.metadata.namespace.as_deref()))
            || self.backends.iter().any(|backend| here(backend.pod.metadata.namespace.as_deref()));
        if known { Found::Known(Records::default()) } else { Found::Nothing }
    }

    fn whole(&self, name: &str, namespace: &str) -> Found {
        if CONTROL_PLANE.contains(&(name, namespace)) {
            return addresses(vec![NODE]);
        }
        let Some(service) = self.find(name, namespace) else { return Found::Nothing };
        if let Some(target) = external_name(service) {
            return Found::Known(Records { alias: Some(target), ..Records::default() });
        }
        let addresses = match service::virtual_address(service) {
            Some(address) => vec![address],
            None => service::selected(service, self.backends).map(|backend| backend.address).collect(),
        };
        let servers = ports(service).flat_map(|port| self.servers(service, port)).collect();
        Found::Known(Records { addresses, servers, ..Records::default() })
    }

    /// Resolves `_PORT._PROTOCOL.SERVICE.NAMESPACE.svc`, and the names between it and the service's own name.
    fn ports(&self, port: Option<&str>, protocol: &str, name: &str, namespace: &str) -> Found {
        let Some(service) = self.find(name, namespace) else { return Found::Nothing };
        let mut same = ports(service)
            .filter(|known| protocol[1..] == known.protocol.as_deref().unwrap_or("TCP").to_ascii_lowercase())
            .filter(|known| port.is_none_or(|port| known.name.as_deref() == Some(&port[1..])))
            .peekable();
        match (same.peek(), port) {
            (None, _) => Found::Nothing,
            (Some(_), None) => Found::Known(Records::default()),
            (Some(_), Some(_)) => {
                let servers = same.flat_map(|port| self.servers(service, port)).collect();
                Found::Known(Records { servers, ..Records::default() })
            }
        }
    }

    /// The hosts that serve a port: the virtual address, or each pod of a headless service.
    fn servers(&self, service: &Service, port: &ServicePort) -> Vec<Server> {
        let own = full_name(service);
        if let Some(address) = service::virtual_address(service) {
            let port = u16::try_from(port.port).unwrap_or(0);
            return vec![Server { port, host: own, addresses: vec![address] }];
        }
        service::selected(service, self.backends)
            .filter_map(|backend| {
                Some(Server {
                    port: service::target_port(port, backend)?,
                    host: format!("{}.{own}", endpoint_name(backend, service)),
                    addresses: vec![backend.address],
                })
            })
            .collect()
    }

    /// Resolves a pod of a headless service, by its host name or its address.
    fn endpoint(&self, endpoint: &str, name: &str, namespace: &str) -> Found {
        let Some(service) = self.find(name, namespace).filter(|service| service::is_headless(service)) else {
            return Found::Nothing;
        };
        let found: Vec<_> = service::selected(service, self.backends)
            .filter(|backend| endpoint_name(backend, service) == endpoint)
            .map(|backend| backend.address)
            .collect();
        if found.is_empty() { Found::Nothing } else { addresses(found) }
    }

    /// Resolves `10-244-0-3.NAMESPACE.pod`.
    fn pod(&self, dashed: &str, namespace: &str) -> Found {
        let found = self.backends.iter().find(|backend| {
            backend.pod.metadata.namespace.as_deref() == Some(namespace)
                && with_dashes(backend.address) == dashed
        });
        found.map_or(Found::Nothing, |backend| addresses(vec![backend.address]))
    }

    /// The names of an address in the cluster.
    fn reverse(&self, reversed: &str) -> Found {
        let octets: Vec<&str> = reversed.rsplit('.').collect();
        let Ok(address) = octets.join(".").parse::<Ipv4Addr>() else { return Found::Outside };
        if !address::is_service(address) && !address::is_pod(address) {
            return Found::Outside;
        }
        let virtual_address = |service: &&Service| service::virtual_address(service) == Some(address);
        let mut names: Vec<String> = self.services.iter().filter(virtual_address).map(full_name).collect();
        for service in self.services.iter().filter(|service| service::is_headless(service)) {
            let here = service::selected(service, self.backends).filter(|backend| backend.address == address);
            names.extend(
                here.map(|backend| format!("{}.{}", endpoint_name(backend, service), full_name(service))),
            );
        }
        if names.is_empty() { Found::Nothing } else { Found::Known(Records { names, ..Records::default() }) }
    }
}

/// Removes the cluster's domain from a name; the result is empty for the domain itself.
fn strip_domain(name: &str) -> Option<&str> {
    if name == DOMAIN { Some("") } else { name.strip_suffix(DOMAIN)?.strip_suffix('.') }
}

fn is(service: &Service, name: &str, namespace: &str) -> bool {
    service.metadata.name.as_deref() == Some(name) && service.metadata.namespace.as_deref() == Some(namespace)
}

fn ports(service: &Service) -> impl Iterator<Item = &ServicePort> {
    service.spec.iter().flat_map(|spec| spec.ports.iter().flatten())
}

fn external_name(service: &Service) -> Option<String> {
    let spec = service.spec.as_ref().filter(|spec| spec.type_.as_deref() == Some("ExternalName"))?;
    Some(spec.external_name.as_deref()?.trim_end_matches('.').to_ascii_lowercase())
}

fn full_name(service: &Service) -> String {
    let name = service.metadata.name.as_deref().unwrap_or_default();
    format!("{name}.{}.svc.{DOMAIN}", service.metadata.namespace.as_deref().unwrap_or_default())
}

/// A pod's name in a headless service: its host name if the pod's `subdomain` is the service, otherwise its address.
fn endpoint_name(backend: &Backend, service: &Service) -> String {
    if let Some(hostname) = backend.written.as_ref().and_then(|written| written.hostname.clone()) {
        return hostname;
    }
    let spec = backend.pod.spec.as_ref();
    let subdomain = spec.and_then(|spec| spec.subdomain.as_deref());
    let hostname = spec.and_then(|spec| spec.hostname.as_deref());
    hostname
        .filter(|_| subdomain.is_some() && subdomain == service.metadata.name.as_deref())
        .map_or_else(|| with_dashes(backend.address), str::to_string)
}

fn with_dashes(address: Ipv4Addr) -> String {
    address.to_string().replace('.', "-")
}

fn addresses(addresses: Vec<Ipv4Addr>) -> Found {
    Found::Known(Records { addresses, ..Records::default() })
}

const DOMAIN: &str = "cluster.local";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubelet::service::tests::{backend, service};
    use serde_json::json;

    fn services() -> [Service; 3] {
        [
            service(
                "web",
                &json!({"clusterIP": "10.96.0.9", "selector": {"app": "web"}, "ports": [
                    {"name": "http", "port": 80, "targetPort": 9080}, {"name": "dns", "port": 53, "protocol": "UDP"}]}),
            ),
            service(
                "db",
                &json!({"clusterIP": "None", "selector": {"app": "web"}, "publishNotReadyAddresses": true,
                    "ports": [{"name": "sql", "port": 3306, "targetPort": "http"}]}),
            ),
            service("out", &json!({"type": "ExternalName", "externalName": "Example.org."})),
        ]
    }

    fn backends() -> [Backend; 2] {
        let mut db = backend("db-0", 3, true);
        let spec = db.pod.spec.as_mut().unwrap();
        spec.hostname = Some("db-0".into());
        spec.subdomain = Some("db".into());
        [db, backend("b", 4, false)]
    }

    fn at(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 244, 0, last)
    }

    #[test]
    fn names_have_addresses_or_do_not_exist() {
        let vip = Some(vec![Ipv4Addr::new(10, 96, 0, 9)]);
        let cases = [
            ("web.default.svc.cluster.local", vip.clone()),
            ("WEB.default.SVC.cluster.local", vip),
            ("db.default.svc.cluster.local", Some(vec![at(3), at(4)])),
            ("db-0.db.default.svc.cluster.local", Some(vec![at(3)])),
            ("10-244-0-4.db.default.svc.cluster.local", Some(vec![at(4)])),
            ("10-244-0-3.db.default.svc.cluster.local", None),
            ("db-1.db.default.svc.cluster.local", None),
            ("db-0.web.default.svc.cluster.local", None),
            ("istiod.istio-system.svc.cluster.local", Some(vec![NODE])),
            ("10-244-0-4.default.pod.cluster.local", Some(vec![at(4)])),
            ("10-244-0-9.default.pod.cluster.local", None),
            ("none.default.svc.cluster.local", None),
            ("web.other.svc.cluster.local", None),
            ("default.svc.cluster.local", Some(vec![])),
            ("other.svc.cluster.local", None),
            ("svc.cluster.local", Some(vec![])),
            ("cluster.local", Some(vec![])),
            ("_tcp.web.default.svc.cluster.local", Some(vec![])),
            ("_none._tcp.web.default.svc.cluster.local", None),
        ];
        for (name, expected) in cases {
            let expected = expected.map_or(Found::Nothing, |expected| {
                let Found::Known(found) = resolve(name, &services(), &backends()) else {
                    panic!("{name} is not known")
                };
                assert_eq!(found.addresses, expected, "{name}");
                Found::Known(found)
            });
            assert_eq!(resolve(name, &services(), &backends()), expected, "{name}");
        }
        for name in ["web", "example.com", "notcluster.local", "8.8.8.8.in-addr.arpa"] {
            assert_eq!(resolve(name, &services(), &backends()), Found::Outside, "{name}");
        }
    }

    fn known(name: &str) -> Records {
        match resolve(name, &services(), &backends()) {
            Found::Known(records) => records,
            other => panic!("{name}: {other:?}"),
        }
    }

    #[test]
    fn ports_lead_to_the_virtual_address_or_to_each_pod() {
        let server = |port, host: &str, address| Server {
            port,
            host: format!("{host}.default.svc.cluster.local"),
            addresses: vec![address],
        };
        let vip = Ipv4Addr::new(10, 96, 0, 9);
        assert_eq!(known("_http._tcp.web.default.svc.cluster.local").servers, [server(80, "web", vip)]);
        assert_eq!(known("_dns._udp.web.default.svc.cluster.local").servers, [server(53, "web", vip)]);
        assert_eq!(
            known("_sql._tcp.db.default.svc.cluster.local").servers,
            [server(9080, "db-0.db", at(3)), server(9080, "10-244-0-4.db", at(4))]
        );
        assert_eq!(known("web.default.svc.cluster.local").servers.len(), 2);
    }

    #[test]
    fn an_external_name_is_an_alias() {
        assert_eq!(known("out.default.svc.cluster.local").alias.as_deref(), Some("example.org"));
    }

    #[test]
    fn addresses_of_the_cluster_have_names() {
        assert_eq!(known("9.0.96.10.in-addr.arpa").names, ["web.default.svc.cluster.local"]);
        assert_eq!(known("3.0.244.10.in-addr.arpa").names, ["db-0.db.default.svc.cluster.local"]);
        assert_eq!(resolve("7.0.244.10.in-addr.arpa", &services(), &backends()), Found::Nothing);
    }
}
