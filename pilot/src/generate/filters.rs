//! Pure. The HTTP filters of each kind of listener, in the same order as Istio's.

use api::model::filter::fault::Fault;
use api::model::filter::{Filter, HttpFilter};

/// A kind of listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// Toward the local application.
    Inbound,
    /// From the local application.
    Outbound,
    /// At a gateway.
    Gateway,
}

/// Returns the filters of a listener. `grpc_web`: whether a port of some service or server uses gRPC-Web. Filters that
/// only Istio's Envoy build has are included if the proxy supports them.
pub(super) fn of(side: Side, istio_extensions: bool, grpc_web: bool) -> Vec<HttpFilter> {
    let own = istio_extensions;
    let list = [
        // At a gateway too, where it removes headers by which a client could pass for a workload.
        (own, Filter::PeerMetadata),
        (grpc_web, Filter::GrpcWeb),
        (own && side != Side::Inbound, Filter::Alpn),
        // Routes configure these two.
        (true, Filter::Fault(Fault::default())),
        (true, Filter::Cors),
        (own, Filter::Stats),
        (true, Filter::Router),
    ];
    list.into_iter().filter(|(is_there, _)| *is_there).map(|(_, filter)| filter.into()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_listener_has_its_filters() {
        let names = |side, own| -> Vec<String> {
            let short = |filter: HttpFilter| filter.name.rsplit('.').next().unwrap_or_default().to_owned();
            of(side, own, false).into_iter().map(short).collect()
        };
        for (side, own, expected) in [
            (Side::Inbound, true, &["metadata_exchange", "fault", "cors", "stats", "router"][..]),
            (Side::Inbound, false, &["fault", "cors", "router"]),
            (Side::Outbound, true, &["metadata_exchange", "alpn", "fault", "cors", "stats", "router"]),
            (Side::Outbound, false, &["fault", "cors", "router"]),
            (Side::Gateway, true, &["metadata_exchange", "alpn", "fault", "cors", "stats", "router"]),
            (Side::Gateway, false, &["fault", "cors", "router"]),
        ] {
            assert_eq!(names(side, own), expected, "{side:?} {own}");
        }
    }

    #[test]
    fn the_grpc_web_filter_precedes_filters_that_inspect_grpc() {
        let mut list = of(Side::Gateway, true, true);
        assert_eq!(list.remove(1).kind, Filter::GrpcWeb);
        assert_eq!(list, of(Side::Gateway, true, false));
    }
}
