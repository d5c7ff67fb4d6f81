//! Pure. What the cluster's names mean: services, headless services with their pods, and the control plane.

use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::Service;

use crate::kubelet::address::NODE;
use crate::kubelet::service::{self, Backend};

/// What is known of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// It has these addresses; perhaps none of the family that was asked for.
    Addresses(Vec<Ipv4Addr>),
    /// It would be one of the cluster's names, but is not.
    Nothing,
    /// It is not one of the cluster's names.
    Outside,
}

/// The answer for a name, without its last dot.
pub fn resolve(name: &str, services: &[Service], backends: &[Backend]) -> Found {
    let name = name.to_ascii_lowercase();
    let Some(rest) = name.strip_suffix(".cluster.local") else {
        return Found::Outside;
    };
    let labels: Vec<&str> = rest.split('.').collect();
    match labels.as_slice() {
        [service, namespace, "svc"] => whole(service, namespace, services, backends),
        [pod, service, namespace, "svc"] => one(pod, service, namespace, services, backends),
        _ => Found::Nothing,
    }
}

/// The names of the control plane, all at the node's address.
pub const CONTROL_PLANE: [(&str, &str); 3] =
    [("istiod", "istio-system"), ("citadel", "istio-system"), ("ostria-injector", "istio-system")];

fn whole(name: &str, namespace: &str, services: &[Service], backends: &[Backend]) -> Found {
    if CONTROL_PLANE.contains(&(name, namespace)) {
        return Found::Addresses(vec![NODE]);
    }
    let Some(service) = find(name, namespace, services) else {
        return Found::Nothing;
    };
    match service::virtual_address(service) {
        Some(address) => Found::Addresses(vec![address]),
        None => {
            Found::Addresses(service::selected(service, backends).map(|backend| backend.address).collect())
        }
    }
}

fn one(pod: &str, name: &str, namespace: &str, services: &[Service], backends: &[Backend]) -> Found {
    let Some(service) = find(name, namespace, services).filter(|service| service::is_headless(service))
    else {
        return Found::Nothing;
    };
    let addresses: Vec<_> = service::selected(service, backends)
        .filter(|backend| {
            let spec = backend.pod.spec.as_ref();
            let hostname = spec.and_then(|spec| spec.hostname.as_deref());
            let subdomain = spec.and_then(|spec| spec.subdomain.as_deref());
            subdomain == Some(name) && hostname == Some(pod)
        })
        .map(|backend| backend.address)
        .collect();
    if addresses.is_empty() { Found::Nothing } else { Found::Addresses(addresses) }
}

fn find<'a>(name: &str, namespace: &str, services: &'a [Service]) -> Option<&'a Service> {
    services.iter().find(|service| {
        service.metadata.name.as_deref() == Some(name)
            && service.metadata.namespace.as_deref() == Some(namespace)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubelet::service::tests::{backend, service};
    use serde_json::json;

    #[test]
    fn names_of_the_cluster() {
        let mut db = backend("db-0", 3, true);
        let spec = db.pod.spec.as_mut().unwrap();
        spec.hostname = Some("db-0".into());
        spec.subdomain = Some("db".into());
        let services = [
            service("web", &json!({"clusterIP": "10.96.0.9", "selector": {"app": "web"}})),
            service("db", &json!({"clusterIP": "None", "selector": {"app": "web"}})),
        ];
        let backends = [db, backend("b", 4, false)];
        let vip = Found::Addresses(vec![Ipv4Addr::new(10, 96, 0, 9)]);
        let pod = Found::Addresses(vec![Ipv4Addr::new(10, 244, 0, 3)]);
        let cases = [
            ("web.default.svc.cluster.local", vip.clone()),
            ("WEB.default.svc.cluster.local", vip),
            ("db.default.svc.cluster.local", pod.clone()),
            ("db-0.db.default.svc.cluster.local", pod),
            ("db-1.db.default.svc.cluster.local", Found::Nothing),
            ("istiod.istio-system.svc.cluster.local", Found::Addresses(vec![NODE])),
            ("none.default.svc.cluster.local", Found::Nothing),
            ("web.other.svc.cluster.local", Found::Nothing),
            ("web", Found::Outside),
            ("example.com", Found::Outside),
        ];
        for (name, expected) in cases {
            assert_eq!(resolve(name, &services, &backends), expected, "{name}");
        }
    }
}
