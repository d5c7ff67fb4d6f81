//! Pure. Chooses the filter chain for a connection: applies Envoy's criteria in order, keeps the most specific matches
//! at each step, and never backtracks.

use super::sniff::Sniffed;
use crate::snapshot::listener::{Chain, Listener, Protocol};
use api::model::listener::{ChainMatch, Transport};
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// The filter chain for a connection; `None`: no chain matches, and the connection has to be closed.
pub fn choose<'a>(
    listener: &'a Listener,
    destination: SocketAddr,
    source: SocketAddr,
    seen: &Sniffed,
) -> Option<&'a Arc<Chain>> {
    match best(&criteria(listener), destination, source, seen) {
        Some(index) => listener.chains.get(index),
        None => listener.default_chain.as_ref(),
    }
}

/// The criteria of a listener's chains, in order of the chains.
fn criteria(listener: &Listener) -> Vec<&ChainMatch> {
    listener.chains.iter().map(|c| &c.model.criteria).collect()
}

/// Whether the choice of a chain and the policies depend on nothing that the client sends, so that its first bytes
/// need not be awaited. Where the server sends first, as with MySQL or SMTP, the client sends nothing before. HTTP
/// clients send first, and authorization rules may match on the server name; neither counts as settled.
pub fn is_settled(listener: &Listener, destination: SocketAddr) -> bool {
    let plain = |chain: &Chain| matches!(chain.protocol, Protocol::Tcp(_)) && chain.authorization.is_empty();
    settled(&criteria(listener), destination)
        .is_some_and(|left| left.iter().all(|i| plain(&listener.chains[*i])))
}

/// Positions of the criteria that are left if only the source decides among them; `None`: the client's bytes decide
/// too.
fn settled(criteria: &[&ChainMatch], destination: SocketAddr) -> Option<Vec<usize>> {
    let left = at_destination(criteria, destination);
    let says_nothing = |c: &ChainMatch| {
        c.server_names.is_empty() && c.transport.is_none() && c.application_protocols.is_empty()
    };
    (!left.is_empty() && left.iter().all(|i| says_nothing(criteria[*i]))).then_some(left)
}

/// Position of the most specific criteria that match a connection.
pub fn best(
    criteria: &[&ChainMatch],
    destination: SocketAddr,
    source: SocketAddr,
    seen: &Sniffed,
) -> Option<usize> {
    let mut left = at_destination(criteria, destination);
    narrow(&mut left, criteria, |c| server_name(&c.server_names, seen.server_name.as_deref()));
    narrow(&mut left, criteria, |c| match c.transport {
        None => Some(0),
        Some(wanted) => (seen.transport.unwrap_or(Transport::Raw) == wanted).then_some(1),
    });
    narrow(&mut left, criteria, |c| protocol(&c.application_protocols, &seen.protocols));
    narrow(&mut left, criteria, |c| widest(&c.source, source.ip()));
    left.first().copied()
}

/// Positions of the criteria that match a destination best.
fn at_destination(criteria: &[&ChainMatch], destination: SocketAddr) -> Vec<usize> {
    let mut left: Vec<usize> = (0..criteria.len()).collect();
    narrow(&mut left, criteria, |c| match c.destination_port {
        None => Some(0),
        Some(port) => (port == destination.port()).then_some(1),
    });
    narrow(&mut left, criteria, |c| widest(&c.destination, destination.ip()));
    left
}

/// Keeps the criteria with the highest rank; rank `None` means no match.
fn narrow(left: &mut Vec<usize>, criteria: &[&ChainMatch], rank: impl Fn(&ChainMatch) -> Option<usize>) {
    let best = left.iter().filter_map(|i| rank(criteria[*i])).max();
    left.retain(|i| best.is_some() && rank(criteria[*i]) == best);
}

/// Ranks the longest matching prefix. A longer prefix ranks higher; no condition ranks lowest.
fn widest(networks: &[IpNet], address: IpAddr) -> Option<usize> {
    if networks.is_empty() {
        return Some(0);
    }
    let fitting = networks.iter().filter(|n| n.contains(&address)).map(|n| usize::from(n.prefix_len()) + 1);
    fitting.max()
}

/// Ranks an exact name above any wildcard, and a longer wildcard above a shorter one.
fn server_name(names: &[String], asked: Option<&str>) -> Option<usize> {
    if names.is_empty() {
        return Some(0);
    }
    let asked = asked?;
    let rank = |name: &String| match name.strip_prefix('*') {
        Some(suffix) => (asked.len() > suffix.len() && asked.ends_with(suffix)).then_some(suffix.len() + 1),
        None => name.eq_ignore_ascii_case(asked).then_some(usize::MAX),
    };
    names.iter().filter_map(rank).max()
}

/// Ranks application protocols by the client's order: its first ranks highest.
fn protocol(wanted: &[String], offered: &[Vec<u8>]) -> Option<usize> {
    if wanted.is_empty() {
        return Some(0);
    }
    let place = offered.iter().position(|o| wanted.iter().any(|w| w.as_bytes() == &o[..]))?;
    Some(offered.len() - place)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Case {
        to: &'static str,
        from: &'static str,
        seen: Sniffed,
    }

    fn raw() -> Case {
        Case {
            to: "10.0.0.1:80",
            from: "10.1.0.1:999",
            seen: Sniffed { transport: Some(Transport::Raw), ..Sniffed::default() },
        }
    }

    fn tls(name: &str, protocols: &[&str]) -> Case {
        let seen = Sniffed {
            transport: Some(Transport::Tls),
            server_name: Some(name.into()),
            protocols: protocols.iter().map(|p| p.as_bytes().to_vec()).collect(),
        };
        Case { seen, ..raw() }
    }

    fn check(criteria: &[ChainMatch], case: &Case, expected: Option<usize>) {
        let criteria: Vec<&ChainMatch> = criteria.iter().collect();
        let found = best(&criteria, case.to.parse().unwrap(), case.from.parse().unwrap(), &case.seen);
        assert_eq!(found, expected, "{criteria:?}");
    }

    fn any() -> ChainMatch {
        ChainMatch::default()
    }

    fn nets(list: &[&str]) -> Vec<IpNet> {
        list.iter().map(|n| n.parse().unwrap()).collect()
    }

    #[test]
    fn ports_come_before_addresses() {
        let port = ChainMatch { destination_port: Some(80), ..any() };
        let address = ChainMatch { destination: nets(&["10.0.0.1/32"]), ..any() };
        check(&[address.clone(), port.clone()], &raw(), Some(1));
        check(&[address, any()], &raw(), Some(0));
        check(&[ChainMatch { destination_port: Some(81), ..any() }], &raw(), None);
        check(&[any(), port], &raw(), Some(1));
    }

    #[test]
    fn longer_prefixes_win() {
        let net = |n: &str| ChainMatch { destination: nets(&[n]), ..any() };
        check(&[net("10.0.0.0/8"), net("10.0.0.0/24"), net("10.0.0.2/32")], &raw(), Some(1));
    }

    #[test]
    fn exact_names_win_over_wildcards_and_long_ones_over_short_ones() {
        let name = |n: &str| ChainMatch { server_names: vec![n.into()], ..any() };
        let all = [any(), name("*.com"), name("*.example.com"), name("a.example.com")];
        check(&all, &tls("a.example.com", &[]), Some(3));
        check(&all, &tls("b.example.com", &[]), Some(2));
        check(&all, &tls("example.com", &[]), Some(1));
        check(&all, &tls("example.org", &[]), Some(0));
        check(&all, &raw(), Some(0));
        check(&[name("*.example.com")], &tls("example.com", &[]), None);
    }

    #[test]
    fn a_more_specific_step_is_never_taken_back() {
        let by_name = ChainMatch {
            server_names: vec!["a.b".into()],
            application_protocols: vec!["h2".into()],
            ..any()
        };
        check(&[by_name, any()], &tls("a.b", &["http/1.1"]), None);
    }

    #[test]
    fn permissive_chains_distinguish_mesh_clients_from_others() {
        let mesh = ChainMatch {
            transport: Some(Transport::Tls),
            application_protocols: vec!["istio".into(), "istio-http/1.1".into()],
            ..any()
        };
        let plain = ChainMatch { transport: Some(Transport::Raw), ..any() };
        let http =
            ChainMatch { application_protocols: vec!["http/1.1".into(), "h2c".into()], ..plain.clone() };
        let all = [mesh, plain, http];
        check(&all, &tls("x", &["istio-http/1.1", "istio"]), Some(0));
        check(&all, &tls("x", &["h2"]), None);
        check(&all, &raw(), Some(1));
        let mut request = raw();
        request.seen.protocols = vec![b"http/1.1".to_vec()];
        check(&all, &request, Some(2));
    }

    #[test]
    fn the_clients_order_of_protocols_counts() {
        let with = |p: &str| ChainMatch { application_protocols: vec![p.into()], ..any() };
        check(&[with("b"), with("a")], &tls("x", &["a", "b"]), Some(1));
    }

    #[test]
    fn inspection_waits_only_if_the_result_matters() {
        let port = |number: u16| ChainMatch { destination_port: Some(number), ..any() };
        let mutual = ChainMatch {
            transport: Some(Transport::Tls),
            application_protocols: vec!["istio".into()],
            ..any()
        };
        let named = ChainMatch { server_names: vec!["a.test".into()], ..port(443) };
        let http = ChainMatch { application_protocols: vec!["http/1.1".into()], ..any() };
        let near = ChainMatch { source: nets(&["10.1.0.0/16"]), ..port(80) };
        for (criteria, expected) in [
            (vec![port(80), mutual.clone()], true),
            (vec![near, port(80), mutual.clone()], true),
            (vec![port(80), ChainMatch { destination_port: Some(80), ..mutual.clone() }], false),
            (vec![port(81), mutual.clone(), any()], false),
            (vec![named, any()], true),
            (vec![any(), http], false),
            (vec![port(81)], false),
            (vec![], false),
        ] {
            let criteria: Vec<&ChainMatch> = criteria.iter().collect();
            let found = settled(&criteria, "10.0.0.1:80".parse().unwrap());
            assert_eq!(found.is_some(), expected, "{criteria:?}");
        }
    }

    #[test]
    fn sources_come_last() {
        let from = |n: &str| ChainMatch { source: nets(&[n]), ..any() };
        check(&[from("10.2.0.0/16"), from("10.1.0.0/16"), any()], &raw(), Some(1));
        check(&[from("10.2.0.0/16"), any()], &raw(), Some(1));
    }
}
