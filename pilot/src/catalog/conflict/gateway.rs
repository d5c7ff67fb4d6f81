//! Pure. Servers of Gateways on one port of one proxy: the first decides between plain HTTP, TLS and TCP, and servers of
//! another kind are left out.

use super::{Losses, winner};
use crate::catalog::Catalog;
use crate::catalog::gateway::{Gateway, Server, ServerProtocol};
use crate::catalog::visibility::selects;
use api::resource::kind::Kind;
use std::collections::BTreeMap;

const KIND: Kind = Kind::Gateway;

pub(super) fn find(catalog: &Catalog, losses: &mut Losses) {
    let mut by_port: BTreeMap<u16, Vec<(&Gateway, usize, &Server)>> = BTreeMap::new();
    for gateway in catalog.index.gateways.iter() {
        for (i, server) in gateway.servers.iter().enumerate() {
            by_port.entry(server.port).or_default().push((gateway, i, server));
        }
    }
    for servers in by_port.values().filter(|servers| servers.len() > 1) {
        for (at, (gateway, i, server)) in servers.iter().enumerate() {
            let here = |other: &Gateway| std::ptr::eq(*gateway, other) || meet(catalog, gateway, other);
            let Some((other, _, first)) = servers[..at].iter().find(|(other, ..)| here(other)) else {
                continue;
            };
            if server.listens_as(first) {
                continue;
            }
            let who = if std::ptr::eq(*gateway, *other) {
                "another server of this object".to_owned()
            } else {
                winner(KIND, &other.origin, &gateway.origin)
            };
            let reason = format!(
                "{who} has port {} for {}; this server, for {}, has no effect",
                server.port,
                word(first.protocol),
                word(server.protocol)
            );
            losses.add(KIND, &gateway.origin, format!("spec.servers[{i}].port"), reason, "use another port");
        }
    }
}

/// Both Gateways are for one proxy, now or as soon as one runs.
fn meet(catalog: &Catalog, one: &Gateway, other: &Gateway) -> bool {
    let (one, other) = (&one.selector, &other.selector);
    selects(one, other)
        || selects(other, one)
        || catalog.workloads().any(|pod| selects(one, &pod.labels) && selects(other, &pod.labels))
}

fn word(protocol: ServerProtocol) -> &'static str {
    match protocol {
        ServerProtocol::Http => "HTTP",
        ServerProtocol::Https | ServerProtocol::Tls => "TLS",
        ServerProtocol::Tcp => "TCP",
    }
}
