//! Pure. Filters that only Istio's build of Envoy has. Their settings have no effect, because their behaviour is fixed.

use super::codec::Codec;
use crate::model::filter::Filter;
use crate::model::listener::Direction;
use crate::wire::any::{pack, pack_in_order};
use crate::wire::istio::{ALPN, Alpn, AlpnOverride, PEER_METADATA, STATS, UdpaTypedStruct, type_url};
use crate::wire::stable::TYPED_STRUCT;
use crate::wire::value::to_struct;
use crate::wire::xds::Any;
use serde_json::json;

pub(super) const ALPN_FILTER: Codec<Filter> = Codec { message: ALPN, read: |_| Ok(Filter::Alpn) };

pub(super) const STATS_FILTER: Codec<Filter> = Codec { message: STATS, read: |_| Ok(Filter::Stats) };

pub(super) const PEER_METADATA_FILTER: Codec<Filter> =
    Codec { message: PEER_METADATA, read: |_| Ok(Filter::PeerMetadata) };

/// The ALPN protocols that sidecars announce to each other, by the request's protocol.
pub(super) fn alpn() -> Any {
    let offer = |upstream_protocol, names: [&str; 3]| AlpnOverride {
        upstream_protocol,
        alpn_override: names.map(str::to_owned).to_vec(),
    };
    pack(&Alpn {
        alpn_override: vec![
            offer(0, ["istio-http/1.0", "istio", "http/1.0"]),
            offer(1, ["istio-http/1.1", "istio", "http/1.1"]),
            offer(2, ["istio-h2", "istio", "h2"]),
        ],
    })
}

pub(super) fn stats() -> Any {
    Any { type_url: type_url(STATS), value: vec![] }
}

/// Peer metadata as Istio configures it: inbound listeners discover clients, outbound listeners servers.
pub(super) fn peer_metadata(direction: Direction) -> Any {
    let (discovery, propagation) = match direction {
        Direction::Outbound => ("upstream_discovery", "upstream_propagation"),
        Direction::Inbound | Direction::Unspecified => ("downstream_discovery", "downstream_propagation"),
    };
    let headers = json!({"istio_headers": {}});
    let settings = json!({
        discovery: [headers, {"workload_discovery": {}}],
        propagation: [headers],
    });
    let config =
        UdpaTypedStruct { type_url: type_url(PEER_METADATA), value: settings.as_object().map(to_struct) };
    pack_in_order(&config, &TYPED_STRUCT)
}
