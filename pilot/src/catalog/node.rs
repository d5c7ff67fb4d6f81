//! Pure. Nodes, and where endpoints and proxies are: region, zone and sub-zone.

use super::visibility::Labels;
use api::model::endpoint::Locality;
use std::sync::Arc;

/// A node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Where it is; absent if its labels do not say.
    pub locality: Option<Arc<Locality>>,
    /// Its addresses outside of the cluster.
    pub addresses: Vec<String>,
}

/// Where a proxy is, as far as endpoints are chosen by it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Position {
    /// Its locality, if known.
    pub locality: Option<Arc<Locality>>,
    /// Name of its node; empty if unknown or irrelevant.
    pub node: String,
}

/// Which endpoints of a service clients prefer (`trafficDistribution`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Distribution {
    /// None in particular.
    #[default]
    Any,
    /// Those in the client's zone.
    SameZone,
    /// Those on the client's node.
    SameNode,
}

/// Parses `region/zone/sub-zone`. Labels cannot contain slashes and have dots instead. `None` without a region.
pub fn locality(text: &str) -> Option<Arc<Locality>> {
    let separator = if text.contains('/') { '/' } else { '.' };
    let mut parts = text.splitn(3, separator).map(str::to_owned);
    let region = parts.next().filter(|region| !region.is_empty())?;
    let mut next = || parts.next().unwrap_or_default();
    Some(Arc::new(Locality { region, zone: next(), sub_zone: next() }))
}

/// The locality that the labels of a pod or an endpoint set.
pub fn labelled(labels: &Labels) -> Option<Arc<Locality>> {
    let names = ["topology.istio.io/locality", "istio-locality"];
    names.into_iter().find_map(|name| labels.get(name)).and_then(|text| locality(text))
}

/// The locality that the labels of a node tell.
pub fn of_node(labels: &Labels) -> Option<Arc<Locality>> {
    let label = |name: &str| labels.get(name).cloned().unwrap_or_default();
    let found = Locality {
        region: label("topology.kubernetes.io/region"),
        zone: label("topology.kubernetes.io/zone"),
        sub_zone: label("topology.istio.io/subzone"),
    };
    (found != Locality::default()).then(|| Arc::new(found))
}

/// How far a client prefers an endpoint: 0 is best. `node` is the endpoint's.
///
/// Each part that differs makes the endpoint worse than every endpoint where only finer parts differ.
pub fn distance(
    from: &Position,
    (locality, node): (Option<&Locality>, Option<&str>),
    finest: Finest,
) -> usize {
    let nowhere = Locality::default();
    let (own, other) = (from.locality.as_deref().unwrap_or(&nowhere), locality.unwrap_or(&nowhere));
    let same = [
        own.region == other.region,
        own.zone == other.zone,
        own.sub_zone == other.sub_zone,
        node.is_some_and(|node| node == from.node),
    ];
    let compared = &same[..finest as usize];
    compared.iter().position(|same| !same).map_or(0, |first| compared.len() - first)
}

/// The finest part of a position that is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finest {
    /// Region and zone.
    Zone = 2,
    /// Also the sub-zone.
    SubZone = 3,
    /// Also the node.
    Node = 4,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(locality: Option<Arc<Locality>>) -> String {
        locality.map_or_else(|| "-".into(), |l| format!("{}|{}|{}", l.region, l.zone, l.sub_zone))
    }

    #[test]
    fn localities_are_read_from_text_and_labels() {
        for (written, expected) in [
            ("", "-"),
            ("/z", "-"),
            ("r", "r||"),
            ("r/z", "r|z|"),
            ("r/z/s/t", "r|z|s/t"),
            ("r.z.s", "r|z|s"),
            ("r.1/z.2", "r.1|z.2|"),
        ] {
            assert_eq!(text(locality(written)), expected, "{written}");
        }
        let labels = |all: &[(&str, &str)]| -> Labels {
            all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let (new, old) = (("topology.istio.io/locality", "a.b"), ("istio-locality", "c.d.e"));
        assert_eq!(text(labelled(&labels(&[new, old]))), "a|b|");
        assert_eq!(text(labelled(&labels(&[old]))), "c|d|e");
        assert_eq!(text(labelled(&labels(&[("x", "y")]))), "-");
        let zone = ("topology.kubernetes.io/zone", "z");
        assert_eq!(text(of_node(&labels(&[zone, ("topology.istio.io/subzone", "s")]))), "|z|s");
        assert_eq!(text(of_node(&labels(&[("kubernetes.io/hostname", "n")]))), "-");
    }

    #[test]
    fn an_endpoint_is_the_farther_the_coarser_the_part_that_differs() {
        let here = Position { locality: locality("r/z/s"), node: "n".into() };
        let far =
            |at: &str, node: Option<&str>, finest| distance(&here, (locality(at).as_deref(), node), finest);
        for (at, node, zone, sub_zone, to_node) in [
            ("r/z/s", Some("n"), 0, 0, 0),
            ("r/z/s", Some("m"), 0, 0, 1),
            ("r/z/t", Some("n"), 0, 1, 2),
            ("r/y/s", Some("n"), 1, 2, 3),
            ("q/z/s", Some("n"), 2, 3, 4),
            ("", None, 2, 3, 4),
        ] {
            assert_eq!(far(at, node, Finest::Zone), zone, "{at}");
            assert_eq!(far(at, node, Finest::SubZone), sub_zone, "{at}");
            assert_eq!(far(at, node, Finest::Node), to_node, "{at}");
        }
        assert_eq!(distance(&Position::default(), (None, None), Finest::SubZone), 0);
    }
}
