//! Pure. Listeners and their filter chains.

use super::any::{config_type, pack, pack_in_order, typed};
use super::istio::{METADATA_EXCHANGE, STATS};
use super::refusal::{At, Refusal, each, nothing_left, optional, refuse, required};
use super::scalar::{
    cidr, enumeration, limit, port, socket, truth, wire_cidr, wire_limit, wire_number, wire_socket,
    wire_truth,
};
use super::stable::CONNECTION;
use super::target::Target;
use super::xds::Any;
use super::{authorization, connection, tcp, tls};
use crate::model::authorization::Authorization;
use crate::model::listener::{ChainMatch, Direction, FilterChain, Inspect, Listener, Protocol, Transport};
use envoy_types::pb::envoy::config::core::v3::TrafficDirection;
use envoy_types::pb::envoy::config::listener::v3 as wire;
use envoy_types::pb::envoy::extensions::filters::listener::http_inspector::v3::HttpInspector;
use envoy_types::pb::envoy::extensions::filters::listener::original_dst::v3::OriginalDst;
use envoy_types::pb::envoy::extensions::filters::listener::tls_inspector::v3::TlsInspector;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use envoy_types::pb::envoy::extensions::filters::network::rbac::v3::Rbac;
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3::TcpProxy;
use prost::Name;
use std::mem::take;
use std::time::Duration;

pub(super) fn decode(mut wire: wire::Listener) -> Result<Listener, Refusal> {
    if wire.api_listener.is_some() {
        return Err(Refusal::unsupported("api_listener"));
    }
    let direction = match enumeration(take(&mut wire.traffic_direction), "traffic_direction")? {
        TrafficDirection::Unspecified => Direction::Unspecified,
        TrafficDirection::Inbound => Direction::Inbound,
        TrafficDirection::Outbound => Direction::Outbound,
    };
    let inspect = inspect(&mut wire)?;
    if !truth(wire.transparent, true) {
        wire.transparent = None;
    }
    let found = Listener {
        name: take(&mut wire.name),
        address: socket(required(wire.address.take(), "address")?).at("address")?,
        bind_to_port: truth(wire.bind_to_port.take(), true),
        direction,
        use_original_destination: truth(wire.use_original_dst.take(), false),
        inspect,
        chains: each(take(&mut wire.filter_chains), "filter_chains", chain)?,
        default_chain: optional(wire.default_filter_chain.take(), "default_filter_chain", chain)?,
    };
    nothing_left(&wire)?;
    Ok(found)
}

pub(super) fn encode(model: &Listener, target: Target) -> wire::Listener {
    let direction = match model.direction {
        Direction::Unspecified => TrafficDirection::Unspecified,
        Direction::Inbound => TrafficDirection::Inbound,
        Direction::Outbound => TrafficDirection::Outbound,
    };
    let chain = |c: &FilterChain| wire_chain(c, model.direction, target);
    wire::Listener {
        name: model.name.clone(),
        address: Some(wire_socket(model.address)),
        bind_to_port: wire_truth(model.bind_to_port, true),
        traffic_direction: direction.into(),
        use_original_dst: wire_truth(model.use_original_destination, false),
        listener_filters: wire_inspect(model.inspect),
        listener_filters_timeout: wire_limit(model.inspect.timeout, INSPECT_TIMEOUT),
        continue_on_listener_filters_timeout: model.inspect.continue_on_timeout,
        filter_chains: model.chains.iter().map(chain).collect(),
        default_filter_chain: model.default_chain.as_ref().map(chain),
        ..wire::Listener::default()
    }
}

fn inspect(wire: &mut wire::Listener) -> Result<Inspect, Refusal> {
    let mut found = Inspect {
        timeout: limit(wire.listener_filters_timeout.take(), "listener_filters_timeout", INSPECT_TIMEOUT)?,
        continue_on_timeout: take(&mut wire.continue_on_listener_filters_timeout),
        ..Inspect::default()
    };
    each(take(&mut wire.listener_filters), "listener_filters", |filter| listener_filter(filter, &mut found))?;
    Ok(found)
}

fn listener_filter(mut filter: wire::ListenerFilter, found: &mut Inspect) -> Result<(), Refusal> {
    let name = take(&mut filter.name);
    let Some(wire::listener_filter::ConfigType::TypedConfig(config)) = filter.config_type.take() else {
        return required(None, "typed_config");
    };
    nothing_left(&filter)?;
    let kind = config_type(&config)?;
    if kind == OriginalDst::full_name() {
        found.original_destination = true;
    } else if kind == TlsInspector::full_name() {
        nothing_left(&typed::<TlsInspector>(&config)?).at("typed_config")?;
        found.tls = true;
    } else if kind == HttpInspector::full_name() {
        found.http = true;
    } else {
        return refuse(format!("listener filter {name} ({kind}) is not supported"));
    }
    Ok(())
}

fn wire_inspect(model: Inspect) -> Vec<wire::ListenerFilter> {
    let filter = |name: &str, config| wire::ListenerFilter {
        name: format!("envoy.filters.listener.{name}"),
        config_type: Some(wire::listener_filter::ConfigType::TypedConfig(config)),
        ..wire::ListenerFilter::default()
    };
    let original = model.original_destination.then(|| filter("original_dst", pack(&OriginalDst {})));
    let tls = model.tls.then(|| filter("tls_inspector", pack(&TlsInspector::default())));
    let http = model.http.then(|| filter("http_inspector", pack(&HttpInspector {})));
    original.into_iter().chain(tls).chain(http).collect()
}

fn chain(mut wire: wire::FilterChain) -> Result<FilterChain, Refusal> {
    let criteria = wire.filter_chain_match.take().map_or(Ok(ChainMatch::default()), criteria);
    let criteria = criteria.at("filter_chain_match")?;
    let tls = wire.transport_socket.take().map_or(Ok(None), tls::downstream).at("transport_socket")?;
    let (authorization, protocol) = filters(take(&mut wire.filters))?;
    let name = take(&mut wire.name);
    nothing_left(&wire)?;
    Ok(FilterChain { name, criteria, tls, authorization, protocol })
}

fn wire_chain(model: &FilterChain, direction: Direction, target: Target) -> wire::FilterChain {
    let filter = |name: &str, config| wire::Filter {
        name: format!("envoy.filters.network.{name}"),
        config_type: Some(wire::filter::ConfigType::TypedConfig(config)),
    };
    let last = match &model.protocol {
        Protocol::Http(http) => {
            let config = pack_in_order(&connection::encode(http, direction, target), &CONNECTION);
            filter("http_connection_manager", config)
        }
        Protocol::Tcp(tcp) => filter("tcp_proxy", pack(&tcp::encode(tcp))),
    };
    let checks = model.authorization.iter().map(|a| filter("rbac", authorization::wire_network(a)));
    wire::FilterChain {
        name: model.name.clone(),
        filter_chain_match: wire_criteria(&model.criteria),
        transport_socket: model.tls.as_ref().map(tls::wire_downstream),
        filters: checks.chain([last]).collect(),
        ..wire::FilterChain::default()
    }
}

fn criteria(mut wire: wire::FilterChainMatch) -> Result<ChainMatch, Refusal> {
    let transport = match take(&mut wire.transport_protocol).as_str() {
        "" => None,
        "tls" => Some(Transport::Tls),
        "raw_buffer" => Some(Transport::Raw),
        other => return refuse(format!("{other:?} is not supported")).at("transport_protocol"),
    };
    let found = ChainMatch {
        destination_port: optional(wire.destination_port.take(), "destination_port", |n| port(n.value))?,
        destination: each(take(&mut wire.prefix_ranges), "prefix_ranges", |c| cidr(&c))?,
        source: each(take(&mut wire.source_prefix_ranges), "source_prefix_ranges", |c| cidr(&c))?,
        server_names: take(&mut wire.server_names),
        transport,
        application_protocols: take(&mut wire.application_protocols),
    };
    nothing_left(&wire)?;
    Ok(found)
}

fn wire_criteria(model: &ChainMatch) -> Option<wire::FilterChainMatch> {
    let transport = match model.transport {
        None => "",
        Some(Transport::Tls) => "tls",
        Some(Transport::Raw) => "raw_buffer",
    };
    (*model != ChainMatch::default()).then(|| wire::FilterChainMatch {
        destination_port: model.destination_port.map(|p| wire_number(p.into())),
        prefix_ranges: model.destination.iter().map(wire_cidr).collect(),
        source_prefix_ranges: model.source.iter().map(wire_cidr).collect(),
        server_names: model.server_names.clone(),
        transport_protocol: transport.into(),
        application_protocols: model.application_protocols.clone(),
        ..wire::FilterChainMatch::default()
    })
}

/// Decodes network filters: checks of the connection, then its protocol, which must be last.
fn filters(filters: Vec<wire::Filter>) -> Result<(Vec<Authorization>, Protocol), Refusal> {
    let (mut authorization, mut protocol) = (vec![], None);
    let decoded = each(filters, "filters", |filter| match (&protocol, network_filter(filter)?) {
        (Some(_), _) => refuse("stands after the filter that ends the chain"),
        (None, NetworkFilter::Authorization(rules)) => {
            authorization.extend(rules);
            Ok(())
        }
        (None, NetworkFilter::Telemetry) => Ok(()),
        (None, NetworkFilter::Last(last)) => {
            protocol = Some(last);
            Ok(())
        }
    });
    decoded?;
    match protocol {
        Some(protocol) => Ok((authorization, protocol)),
        None => refuse("neither http_connection_manager nor tcp_proxy ends the chain").at("filters"),
    }
}

enum NetworkFilter {
    Authorization(Vec<Authorization>),
    /// Istio's metrics and exchange of peer metadata: the proxy always does both.
    Telemetry,
    Last(Protocol),
}

fn network_filter(filter: wire::Filter) -> Result<NetworkFilter, Refusal> {
    let Some(wire::filter::ConfigType::TypedConfig(config)) = filter.config_type else {
        return required(None, "typed_config");
    };
    let kind = config_type(&config)?;
    if kind == HttpConnectionManager::full_name() {
        decoded(&config, |wire| connection::decode(wire).map(|http| Protocol::Http(Box::new(http))))
            .map(NetworkFilter::Last)
    } else if kind == TcpProxy::full_name() {
        decoded(&config, |wire| tcp::decode(wire).map(Protocol::Tcp)).map(NetworkFilter::Last)
    } else if kind == Rbac::full_name() {
        decoded(&config, authorization::network).map(NetworkFilter::Authorization)
    } else if kind == STATS || kind == METADATA_EXCHANGE {
        Ok(NetworkFilter::Telemetry)
    } else {
        refuse(format!("filter {} ({kind}) is not supported", filter.name))
    }
}

fn decoded<M, T>(config: &Any, decode: impl FnOnce(M) -> Result<T, Refusal>) -> Result<T, Refusal>
where
    M: prost::Message + Name + Default,
{
    let message = typed(config)?;
    decode(message).at("typed_config")
}

const INSPECT_TIMEOUT: Option<Duration> = Some(Duration::from_secs(15));
