//! Pure. Finds services that claim the same address and port. HTTP requests are distinguished by host and TLS
//! connections by SNI. Opaque connections all go to the older service, and HTTP on a port shared with another protocol
//! is never reached.

use super::found::{Conflicts, viewers};
use crate::catalog::Catalog;
use crate::catalog::service::{Service, ServicePort};
use crate::flow::Protocol;
use ipnet::IpNet;
use std::collections::BTreeMap;

/// A port of a service at an address, with its index among the service's ports.
type Claim<'a> = (&'a Service, usize, &'a ServicePort);

pub(super) fn find(catalog: &Catalog, found: &mut Conflicts) {
    let mut claims: BTreeMap<(IpNet, u16), Vec<Claim>> = BTreeMap::new();
    for service in catalog.services() {
        for (i, port) in service.ports.iter().enumerate().filter(|(_, p)| p.protocol != Protocol::Udp) {
            for address in &service.addresses {
                claims.entry((*address, port.number)).or_default().push((service, i, port));
            }
        }
    }
    for ((address, number), mut claims) in claims.into_iter().filter(|(_, claims)| claims.len() > 1) {
        claims.sort_by(|(a, ..), (b, ..)| (&a.origin, &a.host).cmp(&(&b.origin, &b.host)));
        for (at, (service, i, port)) in claims.iter().enumerate() {
            let wins = |(other, (first, _, taken)): &(usize, &Claim)| {
                takes(taken.protocol, port.protocol, *other < at)
                    && have_a_common_client(catalog, first, service)
            };
            let Some((_, (first, _, taken))) = claims.iter().enumerate().find(wins) else { continue };
            let who = first.origin.key();
            let place = if address.prefix_len() == address.max_prefix_len() {
                address.addr().to_string()
            } else {
                address.to_string()
            };
            let reason = format!(
                "{who} has port {number} of {place} for {:?}: connections there do not reach {}",
                taken.protocol, service.host
            );
            let next = "use different addresses or ports";
            found.add(&service.origin, format!("spec.ports[{i}]"), reason, next);
        }
    }
}

/// Whether the first service takes every connection at a shared address that the other could receive.
fn takes(one: Protocol, other: Protocol, older: bool) -> bool {
    match (one.is_http(), other.is_http()) {
        (true, _) => false,
        (false, true) => true,
        (false, false) => older && !(one.is_tls() && other.is_tls()),
    }
}

/// Whether some client sees both services.
fn have_a_common_client(catalog: &Catalog, one: &Service, other: &Service) -> bool {
    let default = &catalog.mesh().default_service_export;
    let sees = |s: &Service, viewer: &str| s.export_to.reaches(&s.namespace, viewer, default);
    let all = [one, other].map(|s| (&s.origin, &s.export_to));
    one.host != other.host && viewers(all.into_iter()).iter().any(|v| sees(one, v) && sees(other, v))
}
