//! Pure. The names and addresses by which clients refer to a service: every name that DNS resolves to it, and its
//! addresses. A request or a ClientHello with any of them belongs to the service, with its routes, its rules and its
//! mTLS.

use super::view::View;
use crate::catalog::service::{Registry, Service};
use std::net::IpAddr;

/// The domains of a service's virtual host.
pub(super) fn domains(view: &View, service: &Service) -> Vec<String> {
    let mut domains = names(view, service);
    if service.headless {
        // The service's pods have names below each of its own.
        let below: Vec<String> = domains.iter().map(|name| format!("*.{name}")).collect();
        domains.extend(below);
    }
    domains.extend(addresses(view, service).into_iter().map(|address| domain(&address.to_string())));
    domains
}

/// A host as it appears in requests: IPv6 addresses are in brackets.
pub(super) fn domain(host: &str) -> String {
    match host.parse() {
        Ok(IpAddr::V6(ip)) => format!("[{ip}]"),
        _ => host.to_owned(),
    }
}

/// The names of a service and of the ExternalName Services that are aliases of it.
pub(super) fn names(view: &View, service: &Service) -> Vec<String> {
    let all = std::iter::once(service).chain(view.aliases(service).map(AsRef::as_ref));
    all.flat_map(|service| own_names(view, service)).collect()
}

/// The names of the service itself. A resolver's search path allows short forms of a Kubernetes Service: the host
/// without the cluster domain and, in its own namespace, the bare name.
pub(super) fn own_names(view: &View, service: &Service) -> Vec<String> {
    let mut names = vec![service.host.clone()];
    if service.registry == Registry::Kubernetes {
        if service.namespace == view.scope.namespace {
            names.push(service.name.clone());
        }
        let base = format!("{}.{}", service.name, service.namespace);
        names.extend([format!("{base}.svc"), base]);
    }
    names
}

/// The addresses that clients of a service connect to: its virtual addresses or, if it is headless, its pods'.
pub(super) fn addresses(view: &View, service: &Service) -> Vec<IpAddr> {
    if service.headless {
        return pod_addresses(view, service);
    }
    let allocated = service.allocated.iter().copied().filter(|a| a.is_ipv4() || view.scope.ipv6);
    service.single_addresses().chain(allocated).collect()
}

/// The addresses of a headless service's pods, ready or not: peers of a StatefulSet connect to each other while they
/// start.
fn pod_addresses(view: &View, service: &Service) -> Vec<IpAddr> {
    let pods = view.pods(service).filter(|p| !p.finished);
    let pods = pods.flat_map(|p| p.addresses.iter().copied());
    let written = view.written(service).filter_map(|e| e.host.parse().ok());
    let mut addresses: Vec<IpAddr> = pods.chain(written).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}
