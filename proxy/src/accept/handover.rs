//! Pure. Chooses the listener for a captured connection: the listener on its original destination, else the listener on
//! that port of any address, else the listener that accepted it.

use crate::snapshot::listener::Listener;
use foldhash::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

/// Listeners without a socket (`bind_to_port: false`), by address.
#[derive(Debug, Default)]
pub struct Virtual(HashMap<SocketAddr, Arc<Listener>>);

impl Virtual {
    /// Indexes a set of listeners.
    pub fn new<'a>(listeners: impl Iterator<Item = &'a Arc<Listener>>) -> Self {
        let unbound = listeners.filter(|l| !l.model.bind_to_port);
        Self(unbound.map(|l| (l.model.address, l.clone())).collect())
    }

    /// The listener for an original destination.
    ///
    /// An IPv6 connection to a port without a listener on `::` uses the listener on `0.0.0.0`. Pilot creates only one
    /// of the two for a port, and the address family must not make a connection bypass the mesh's routes.
    pub fn find(&self, original: SocketAddr) -> Option<&Arc<Listener>> {
        let any = |address: IpAddr| self.0.get(&SocketAddr::new(address, original.port()));
        let exact = self.0.get(&original);
        match original {
            SocketAddr::V4(_) => exact.or_else(|| any(Ipv4Addr::UNSPECIFIED.into())),
            SocketAddr::V6(_) => exact
                .or_else(|| any(Ipv6Addr::UNSPECIFIED.into()))
                .or_else(|| any(Ipv4Addr::UNSPECIFIED.into())),
        }
    }
}

/// Whether a connection's destination is the listener that accepted it. Serving such a connection would loop forever.
pub fn is_loop(listener: SocketAddr, bound: SocketAddr, original: Option<SocketAddr>) -> bool {
    original.is_some_and(|original| {
        original == bound
            || (original.port() == bound.port()
                && listener.ip().is_unspecified()
                && original.ip().is_loopback())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::listener::SharedFilters;
    use api::model::listener as model;

    fn listener(name: &str, address: &str, bind_to_port: bool) -> Arc<Listener> {
        let model = model::Listener {
            name: name.into(),
            address: address.parse().unwrap(),
            bind_to_port,
            direction: model::Direction::Outbound,
            use_original_destination: false,
            inspect: model::Inspect::default(),
            chains: vec![],
            default_chain: None,
        };
        let store = crate::credentials::Store::new();
        Arc::new(Listener::compile(Arc::new(model), None, &store, &mut SharedFilters::default()).unwrap())
    }

    #[test]
    fn the_exact_address_comes_before_the_port() {
        let all = [
            listener("exact", "10.0.0.1:80", false),
            listener("port", "0.0.0.0:80", false),
            listener("bound", "0.0.0.0:15001", true),
            listener("six", "[::]:80", false),
            listener("four", "0.0.0.0:90", false),
        ];
        let index = Virtual::new(all.iter());
        for (original, expected) in [
            ("10.0.0.1:80", Some("exact")),
            ("10.0.0.2:80", Some("port")),
            ("10.0.0.1:81", None),
            ("10.0.0.1:15001", None),
            ("[fd00::1]:80", Some("six")),
            ("[fd00::1]:90", Some("four")),
            ("[fd00::1]:91", None),
        ] {
            let found = index.find(original.parse().unwrap()).map(|l| l.name.to_string());
            assert_eq!(found.as_deref(), expected, "{original}");
        }
    }

    #[test]
    fn a_connection_that_comes_back_is_a_loop() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let any = at("0.0.0.0:15001");
        for (bound, original, expected) in [
            ("10.0.0.9:15001", Some("10.0.0.9:15001"), true),
            ("10.0.0.9:15001", Some("127.0.0.1:15001"), true),
            ("10.0.0.9:15001", Some("10.0.0.1:80"), false),
            ("10.0.0.9:15001", None, false),
        ] {
            assert_eq!(is_loop(any, at(bound), original.map(at)), expected, "{original:?}");
        }
    }
}
