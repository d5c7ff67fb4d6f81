//! Pure. HTTP filters, among them those that only Istio's Envoy has.

use super::any::{config_type, pack, pack_in_order, typed};
use super::istio::{ALPN, Alpn, AlpnOverride, PEER_METADATA, STATS, UdpaTypedStruct, type_url};
use super::refusal::{At, Refusal, nothing_left, refuse, required};
use super::stable::TYPED_STRUCT;
use super::value::to_struct;
use super::xds::Any;
use super::{Target, authorization, fault};
use crate::model::listener::{Direction, HttpFilter};
use envoy_types::pb::envoy::extensions::filters::http::cors::v3::Cors;
use envoy_types::pb::envoy::extensions::filters::http::fault::v3::HttpFault;
use envoy_types::pb::envoy::extensions::filters::http::grpc_stats::v3::FilterConfig as GrpcStats;
use envoy_types::pb::envoy::extensions::filters::http::grpc_web::v3::GrpcWeb;
use envoy_types::pb::envoy::extensions::filters::http::rbac::v3::Rbac;
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as wire;
use prost::{Message, Name};
use serde_json::json;
use std::mem::take;
use wire::http_filter::ConfigType;

/// What a filter means: nothing for one that is optional and unknown or turned off, two for enforced and shadow
/// rules in one.
pub(super) fn decode(mut filter: wire::HttpFilter) -> Result<Vec<HttpFilter>, Refusal> {
    let name = take(&mut filter.name);
    let optional = take(&mut filter.is_optional);
    let Some(ConfigType::TypedConfig(config)) = filter.config_type.take() else {
        return required(None, "typed_config");
    };
    if take(&mut filter.disabled) {
        return refuse("is not supported, since no route can turn the filter on").at("disabled");
    }
    nothing_left(&filter)?;
    let kind = config_type(&config)?;
    match known(&kind, &config)? {
        Some(found) => Ok(found),
        None if optional => Ok(vec![]),
        None => refuse(format!("filter {name} ({kind}) is not supported")),
    }
}

fn known(kind: &str, config: &Any) -> Result<Option<Vec<HttpFilter>>, Refusal> {
    let found = if kind == Router::full_name() {
        empty::<Router>(config, HttpFilter::Router)?
    } else if kind == Rbac::full_name() {
        let rules = typed(config).and_then(|r| authorization::http(r).at("typed_config"))?;
        rules.into_iter().map(HttpFilter::Authorization).collect()
    } else if kind == HttpFault::full_name() {
        vec![HttpFilter::Fault(typed(config).and_then(|f| fault::decode(f).at("typed_config"))?)]
    } else if kind == Cors::full_name() {
        empty::<Cors>(config, HttpFilter::Cors)?
    } else if kind == GrpcWeb::full_name() {
        empty::<GrpcWeb>(config, HttpFilter::GrpcWeb)?
    } else if kind == GrpcStats::full_name() {
        empty::<GrpcStats>(config, HttpFilter::GrpcStats)?
    } else if kind == ALPN {
        vec![HttpFilter::Alpn]
    } else if kind == STATS {
        vec![HttpFilter::Stats]
    } else if kind == PEER_METADATA {
        vec![HttpFilter::PeerMetadata]
    } else {
        return Ok(None);
    };
    Ok(Some(found))
}

/// A filter without settings that matter.
fn empty<M>(config: &Any, filter: HttpFilter) -> Result<Vec<HttpFilter>, Refusal>
where
    M: Message + Name + Default,
{
    nothing_left(&typed::<M>(config)?).at("typed_config")?;
    Ok(vec![filter])
}

/// `None` where the client lacks the filter.
pub(super) fn encode(filter: &HttpFilter, direction: Direction, target: Target) -> Option<wire::HttpFilter> {
    let istio = matches!(filter, HttpFilter::Alpn | HttpFilter::Stats | HttpFilter::PeerMetadata);
    if istio && !target.istio_extensions {
        return None;
    }
    let (name, config) = match filter {
        HttpFilter::Authorization(rules) => ("envoy.filters.http.rbac", authorization::wire_http(rules)),
        HttpFilter::Fault(fault) => ("envoy.filters.http.fault", pack(&fault::encode(fault))),
        HttpFilter::Cors => ("envoy.filters.http.cors", pack(&Cors {})),
        HttpFilter::GrpcWeb => ("envoy.filters.http.grpc_web", pack(&GrpcWeb {})),
        HttpFilter::GrpcStats => ("envoy.filters.http.grpc_stats", pack(&grpc_stats())),
        HttpFilter::Alpn => ("istio.alpn", pack(&alpn())),
        HttpFilter::Stats => ("istio.stats", Any { type_url: type_url(STATS), value: vec![] }),
        HttpFilter::PeerMetadata => ("istio.metadata_exchange", peer_metadata(direction)),
        HttpFilter::Router => ("envoy.filters.http.router", pack(&Router::default())),
    };
    Some(wire::HttpFilter {
        name: name.into(),
        config_type: Some(ConfigType::TypedConfig(config)),
        ..wire::HttpFilter::default()
    })
}

fn grpc_stats() -> GrpcStats {
    use envoy_types::pb::envoy::extensions::filters::http::grpc_stats::v3::filter_config::PerMethodStatSpecifier;
    use envoy_types::pb::google::protobuf::BoolValue;
    GrpcStats {
        emit_filter_state: true,
        per_method_stat_specifier: Some(PerMethodStatSpecifier::StatsForAllMethods(BoolValue {
            value: false,
        })),
        ..GrpcStats::default()
    }
}

/// The ALPN protocols that sidecars announce to each other, by the request's protocol.
fn alpn() -> Alpn {
    let offer = |upstream_protocol, names: [&str; 3]| AlpnOverride {
        upstream_protocol,
        alpn_override: names.map(str::to_owned).to_vec(),
    };
    Alpn {
        alpn_override: vec![
            offer(0, ["istio-http/1.0", "istio", "http/1.0"]),
            offer(1, ["istio-http/1.1", "istio", "http/1.1"]),
            offer(2, ["istio-h2", "istio", "h2"]),
        ],
    }
}

/// As Istio sends it: inbound learns of clients, outbound of servers.
fn peer_metadata(direction: Direction) -> Any {
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
