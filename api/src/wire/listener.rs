//! Pure. Listeners and their filter chains.

use super::any::{config_type, pack, pack_in_order, typed};
use super::istio::{METADATA_EXCHANGE, STATS};
use super::refusal::{At, Refusal, each, nothing_left, optional, refuse, required};
use super::scalar::{
    cidr, enumeration, port, socket, truth, wire_cidr, wire_number, wire_socket, wire_truth,
};
use super::stable::CONNECTION;
use super::target::Target;
use super::xds::Any;
use super::{authorization, connection, listener_filter, tcp, tls};
use crate::model::authorization::Authorization;
use crate::model::listener::{ChainMatch, Direction, FilterChain, Listener, Protocol, Transport};
use envoy_types::pb::envoy::config::core::v3::TrafficDirection;
use envoy_types::pb::envoy::config::listener::v3 as wire;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use envoy_types::pb::envoy::extensions::filters::network::rbac::v3::Rbac;
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3::TcpProxy;
use prost::Name;
use std::mem::take;

pub(super) fn decode(mut wire: wire::Listener) -> Result<Listener, Refusal> {
    if wire.api_listener.is_some() {
        return Err(Refusal::unsupported("api_listener"));
    }
    let direction = match enumeration(take(&mut wire.traffic_direction), "traffic_direction")? {
        TrafficDirection::Unspecified => Direction::Unspecified,
        TrafficDirection::Inbound => Direction::Inbound,
        TrafficDirection::Outbound => Direction::Outbound,
    };
    let inspect = listener_filter::decode(&mut wire)?;
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
    let listener = wire::Listener {
        name: model.name.clone(),
        address: Some(wire_socket(model.address)),
        bind_to_port: wire_truth(model.bind_to_port, true),
        traffic_direction: direction.into(),
        use_original_dst: wire_truth(model.use_original_destination, false),
        filter_chains: model.chains.iter().map(chain).collect(),
        default_filter_chain: model.default_chain.as_ref().map(chain),
        ..wire::Listener::default()
    };
    listener_filter::encode(&model.inspect, listener)
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
