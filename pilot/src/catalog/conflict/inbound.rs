//! Pure. Finds services that declare different protocols for the same port of a pod. The oldest service decides which
//! protocol the pod's sidecar expects on that port.

use super::found::{Conflicts, winner};
use crate::catalog::Catalog;
use crate::catalog::service::Service;
use crate::flow::Protocol;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

pub(super) fn find(catalog: &Catalog, found: &mut Conflicts) {
    let mut services: Vec<&Arc<Service>> =
        catalog.services().filter(|s| s.selector.is_some() || !s.endpoints.list().is_empty()).collect();
    services.sort_by(|a, b| (&a.origin, &a.host).cmp(&(&b.origin, &b.host)));
    let mut taken: HashMap<(IpAddr, u16), (&Service, Protocol)> = HashMap::new();
    for service in services {
        let captured = service.ports.iter().enumerate().filter(|(_, p)| p.protocol != Protocol::Udp);
        for (i, port) in captured {
            let mut reported = false;
            for (pod, number) in catalog.targets(service, port) {
                let Some(address) = pod.addresses.first() else { continue };
                let (first, protocol) = *taken.entry((*address, number)).or_insert((service, port.protocol));
                if !taken_alike(protocol, port.protocol) && !reported {
                    reported = true;
                    let path = format!("spec.ports[{i}]");
                    add_conflict(service, &path, number, (first, protocol), found);
                }
            }
        }
    }
}

/// Whether a sidecar treats connections to a port alike for both protocols: it detects the HTTP version itself and
/// forwards everything else as bytes.
fn taken_alike(one: Protocol, other: Protocol) -> bool {
    let sniffed = |protocol| protocol == Protocol::Sniffed;
    one.is_http() == other.is_http() && sniffed(one) == sniffed(other)
}

fn add_conflict(
    service: &Service,
    path: &str,
    number: u16,
    first: (&Service, Protocol),
    found: &mut Conflicts,
) {
    let (first, protocol) = first;
    let who = if first.host == service.host {
        "another port of this service".to_owned()
    } else {
        winner(&first.origin, &service.origin)
    };
    let reason =
        format!("{who} has port {number} of the same pods as {protocol:?}, which their sidecars take it for");
    found.add(&service.origin, path, reason, "name the same protocol in both");
}
