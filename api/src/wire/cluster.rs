//! Pure. Clusters: discovery, balancing, TLS towards endpoints, limits.

use super::any::config_type;
use super::endpoint::{self, ISTIO, MTLS, TLS_MODE};
use super::istio::METADATA_EXCHANGE;
use super::refusal::{At, Refusal, each, nothing_left, optional, refuse, required};
use super::scalar::{enumeration, ip, number, period, wire_duration, wire_number, wire_tcp};
use super::upstream::{self, HttpOptions};
use super::value::{from_struct, to_struct};
use super::{balancing, dns, outlier, source, tls};
use crate::model::cluster::{
    Cluster, ClusterService, ClusterTls, Discovery, Keepalive, Limits, UpstreamHttp,
};
use crate::model::endpoint::LoadAssignment;
use crate::model::tls::UpstreamTls;
use envoy_types::pb::envoy::config::cluster::v3 as wire;
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::google::protobuf::UInt32Value;
use serde_json::{Value, json};
use std::mem::take;
use std::net::IpAddr;
use std::time::Duration;
use wire::circuit_breakers::Thresholds;
use wire::cluster::{ClusterDiscoveryType, DiscoveryType, EdsClusterConfig, TransportSocketMatch};

pub(super) fn decode(mut wire: wire::Cluster) -> Result<Cluster, Refusal> {
    let name = take(&mut wire.name);
    let discovery = discovery(&mut wire, &name)?;
    let balancer = balancing::balancer(&mut wire, &discovery)?;
    let mut http = upstream::decode(take(&mut wire.typed_extension_protocol_options))?;
    old_http(&mut wire, &mut http)?;
    let tls = tls_settings(&mut wire, &http)?;
    let metadata = wire.metadata.take().and_then(|mut m| m.filter_metadata.remove(ISTIO));
    let metadata = metadata.as_ref().map(from_struct).unwrap_or_default();
    each(take(&mut wire.filters), "filters", filter)?;
    let found = Cluster {
        name,
        lookup: dns::decode(&mut wire, &discovery)?,
        discovery,
        connect_timeout: period(wire.connect_timeout.take(), "connect_timeout", CONNECT_TIMEOUT)?,
        balancer,
        http: http.http,
        tls,
        limits: wire.circuit_breakers.take().map_or(Ok(Limits::default()), limits).at("circuit_breakers")?,
        outlier: optional(wire.outlier_detection.take(), "outlier_detection", outlier::decode)?,
        bind: optional(wire.upstream_bind_config.take(), "upstream_bind_config", bind)?,
        idle_timeout: http.idle_timeout,
        max_requests_per_connection: http.max_requests_per_connection,
        keepalive: wire
            .upstream_connection_options
            .take()
            .map_or(Ok(None), keepalive)
            .at("upstream_connection_options")?,
        panic_threshold: balancing::panic_threshold(&mut wire)?,
        service: service(&metadata),
        origin: metadata.get("config").and_then(Value::as_str).map(str::to_owned),
    };
    nothing_left(&wire)?;
    Ok(found)
}

pub(super) fn encode(model: &Cluster) -> wire::Cluster {
    let (discovery_type, eds, assignment) = wire_discovery(model);
    let (lb_policy, lb_config) = balancing::wire_balancer(model);
    let (socket, matches) = wire_tls(&model.tls);
    let (auto_sni, auto_san) = match &model.tls {
        ClusterTls::Never => (false, false),
        ClusterTls::Always(tls) | ClusterTls::WhenOffered(tls) => (tls.auto_sni, tls.auto_san),
    };
    let mut wire = wire::Cluster {
        name: model.name.clone(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(discovery_type.into())),
        eds_cluster_config: eds,
        load_assignment: assignment,
        connect_timeout: Some(wire_duration(model.connect_timeout)),
        lb_policy: lb_policy.into(),
        lb_config,
        typed_extension_protocol_options: upstream::encode(&HttpOptions {
            http: model.http,
            idle_timeout: model.idle_timeout,
            max_requests_per_connection: model.max_requests_per_connection,
            auto_sni,
            auto_san,
        }),
        transport_socket: socket,
        transport_socket_matches: matches,
        circuit_breakers: wire_limits(model.limits),
        outlier_detection: model.outlier.as_ref().map(outlier::encode),
        upstream_bind_config: model.bind.map(wire_bind),
        upstream_connection_options: model.keepalive.map(wire_keepalive),
        common_lb_config: balancing::wire_common_balancing(model),
        metadata: wire_metadata(model),
        ..wire::Cluster::default()
    };
    dns::encode(&model.lookup, &mut wire);
    wire
}

/// HTTP options in the deprecated fields of the cluster itself.
#[allow(deprecated)]
fn old_http(wire: &mut wire::Cluster, found: &mut HttpOptions) -> Result<(), Refusal> {
    if let Some(options) = wire.http2_protocol_options.take() {
        upstream::http2(Some(options))?;
        found.http = UpstreamHttp::Http2;
    }
    if let Some(most) = wire.max_requests_per_connection.take() {
        found.max_requests_per_connection = most.value;
    }
    Ok(())
}

fn discovery(wire: &mut wire::Cluster, name: &str) -> Result<Discovery, Refusal> {
    let kind = match wire.cluster_discovery_type.take() {
        None => DiscoveryType::Static,
        Some(ClusterDiscoveryType::Type(kind)) => enumeration(kind, "type")?,
        Some(ClusterDiscoveryType::ClusterType(custom)) => {
            return refuse(format!("{} is not supported", custom.name)).at("cluster_type");
        }
    };
    // A cluster without an assignment has no endpoints, so it refuses every request.
    let mut assignment = || match wire.load_assignment.take() {
        Some(assignment) => endpoint::decode(assignment).at("load_assignment"),
        None => Ok(LoadAssignment { cluster: name.to_owned(), localities: vec![] }),
    };
    match kind {
        DiscoveryType::Static => assignment().map(Discovery::Static),
        DiscoveryType::StrictDns => assignment().map(Discovery::StrictDns),
        DiscoveryType::LogicalDns => assignment().map(Discovery::LogicalDns),
        DiscoveryType::OriginalDst => balancing::original_destination(wire),
        DiscoveryType::Eds => {
            let config = required(wire.eds_cluster_config.take(), "eds_cluster_config")?;
            source::check(config.eds_config.as_ref()).at("eds_config").at("eds_cluster_config")?;
            let service = if config.service_name.is_empty() { name.to_owned() } else { config.service_name };
            Ok(Discovery::Eds(service))
        }
    }
}

type WireDiscovery = (
    DiscoveryType,
    Option<EdsClusterConfig>,
    Option<envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment>,
);

fn wire_discovery(model: &Cluster) -> WireDiscovery {
    match &model.discovery {
        Discovery::Static(assignment) => (DiscoveryType::Static, None, Some(endpoint::encode(assignment))),
        Discovery::StrictDns(assignment) => {
            (DiscoveryType::StrictDns, None, Some(endpoint::encode(assignment)))
        }
        Discovery::LogicalDns(assignment) => {
            (DiscoveryType::LogicalDns, None, Some(endpoint::encode(assignment)))
        }
        Discovery::OriginalDestination { .. } => (DiscoveryType::OriginalDst, None, None),
        Discovery::Eds(service) => {
            let service_name = if *service == model.name { String::new() } else { service.clone() };
            let config = EdsClusterConfig { eds_config: Some(source::ads()), service_name };
            (DiscoveryType::Eds, Some(config), None)
        }
    }
}

/// One transport socket for all endpoints, or Istio's pair of them: mTLS for endpoints whose metadata offers it,
/// plaintext for others.
fn tls_settings(wire: &mut wire::Cluster, http: &HttpOptions) -> Result<ClusterTls, Refusal> {
    let with_authority = |mut tls: UpstreamTls| {
        (tls.auto_sni, tls.auto_san) = (http.auto_sni, http.auto_san);
        Box::new(tls)
    };
    let matches = take(&mut wire.transport_socket_matches);
    if let Some(socket) = wire.transport_socket.take() {
        if !matches.is_empty() {
            return refuse("cannot be combined with transport_socket").at("transport_socket_matches");
        }
        let tls = tls::upstream(socket).at("transport_socket")?;
        return Ok(tls.map_or(ClusterTls::Never, |tls| ClusterTls::Always(with_authority(tls))));
    }
    let (mut offered, mut others) = (None, None);
    for (i, item) in matches.into_iter().enumerate() {
        let (criteria, tls) = socket_match(item).at_item("transport_socket_matches", i)?;
        let place = if criteria { &mut offered } else { &mut others };
        if place.is_none() {
            *place = Some(tls);
        }
    }
    match (offered.flatten(), others.flatten()) {
        (Some(tls), None) => Ok(ClusterTls::WhenOffered(with_authority(tls))),
        (None, None) => Ok(ClusterTls::Never),
        (None, Some(tls)) => Ok(ClusterTls::Always(with_authority(tls))),
        (Some(_), Some(_)) => refuse("only plaintext is supported for endpoints without tlsMode istio")
            .at("transport_socket_matches"),
    }
}

/// Whether the match is for endpoints that offer mTLS, and its TLS settings.
fn socket_match(mut wire: TransportSocketMatch) -> Result<(bool, Option<UpstreamTls>), Refusal> {
    let criteria = from_struct(&wire.r#match.take().unwrap_or_default());
    let offered = criteria.get(TLS_MODE).and_then(Value::as_str) == Some(MTLS);
    if criteria.len() > usize::from(offered) {
        return refuse("only {tlsMode: istio} and an empty match are supported").at("match");
    }
    let socket = required(wire.transport_socket.take(), "transport_socket")?;
    Ok((offered, tls::upstream(socket).at("transport_socket")?))
}

fn wire_tls(tls: &ClusterTls) -> (Option<core::TransportSocket>, Vec<TransportSocketMatch>) {
    let item = |name: &str, criteria: Value, socket| TransportSocketMatch {
        name: name.into(),
        r#match: criteria.as_object().map(to_struct),
        transport_socket: Some(socket),
    };
    match tls {
        ClusterTls::Never => (None, vec![]),
        ClusterTls::Always(tls) => (Some(tls::wire_upstream(tls)), vec![]),
        ClusterTls::WhenOffered(tls) => {
            let offered = item("tlsMode-istio", json!({TLS_MODE: MTLS}), tls::wire_upstream(tls));
            (None, vec![offered, item("tlsMode-disabled", json!({}), tls::raw_buffer())])
        }
    }
}

/// Limits of the default priority. Routes cannot choose the high priority, so its limits have no effect.
fn limits(mut wire: wire::CircuitBreakers) -> Result<Limits, Refusal> {
    let mut found = Limits::default();
    for (i, mut threshold) in take(&mut wire.thresholds).into_iter().enumerate() {
        if threshold.priority == core::RoutingPriority::High as i32 {
            continue;
        }
        found = Limits {
            max_connections: number(threshold.max_connections.take(), found.max_connections),
            max_pending: number(threshold.max_pending_requests.take(), found.max_pending),
            max_requests: number(threshold.max_requests.take(), found.max_requests),
            max_retries: number(threshold.max_retries.take(), found.max_retries),
        };
        nothing_left(&threshold).at_item("thresholds", i)?;
    }
    nothing_left(&wire)?;
    Ok(found)
}

fn wire_limits(limits: Limits) -> Option<wire::CircuitBreakers> {
    let threshold = Thresholds {
        max_connections: Some(wire_number(limits.max_connections)),
        max_pending_requests: Some(wire_number(limits.max_pending)),
        max_requests: Some(wire_number(limits.max_requests)),
        max_retries: Some(wire_number(limits.max_retries)),
        ..Thresholds::default()
    };
    (limits != Limits::default())
        .then(|| wire::CircuitBreakers { thresholds: vec![threshold], ..wire::CircuitBreakers::default() })
}

fn bind(mut wire: core::BindConfig) -> Result<IpAddr, Refusal> {
    let address = required(wire.source_address.take(), "source_address")?;
    let found = ip(&address.address).at("address").at("source_address")?;
    nothing_left(&wire)?;
    Ok(found)
}

fn wire_bind(address: IpAddr) -> core::BindConfig {
    core::BindConfig { source_address: Some(wire_tcp(address.to_string(), 0)), ..core::BindConfig::default() }
}

fn keepalive(mut wire: wire::UpstreamConnectionOptions) -> Result<Option<Keepalive>, Refusal> {
    let seconds = |n: UInt32Value| Duration::from_secs(n.value.into());
    let found = wire.tcp_keepalive.take().map(|k| Keepalive {
        probes: k.keepalive_probes.map(|n| n.value),
        time: k.keepalive_time.map(seconds),
        interval: k.keepalive_interval.map(seconds),
    });
    nothing_left(&wire)?;
    Ok(found)
}

fn wire_keepalive(model: Keepalive) -> wire::UpstreamConnectionOptions {
    let seconds = |d: Duration| wire_number(u32::try_from(d.as_secs()).unwrap_or(u32::MAX));
    wire::UpstreamConnectionOptions {
        tcp_keepalive: Some(core::TcpKeepalive {
            keepalive_probes: model.probes.map(wire_number),
            keepalive_time: model.time.map(seconds),
            keepalive_interval: model.interval.map(seconds),
        }),
        ..wire::UpstreamConnectionOptions::default()
    }
}

/// Accepts Istio's exchange of peer metadata over TCP, which is telemetry; refuses all other filters of clusters.
fn filter(mut filter: wire::Filter) -> Result<(), Refusal> {
    let name = take(&mut filter.name);
    let kind = filter.typed_config.take().as_ref().map_or(Ok(String::new()), config_type)?;
    nothing_left(&filter)?;
    if kind == METADATA_EXCHANGE {
        Ok(())
    } else {
        refuse(format!("filter {name} ({kind}) is not supported"))
    }
}

fn service(metadata: &serde_json::Map<String, Value>) -> Option<ClusterService> {
    let service = metadata.get("services")?.as_array()?.first()?;
    let text = |key: &str| service.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    Some(ClusterService { host: text("host"), name: text("name"), namespace: text("namespace") })
}

fn wire_metadata(model: &Cluster) -> Option<core::Metadata> {
    let mut object = serde_json::Map::new();
    if let Some(s) = &model.service {
        let service = json!({"host": s.host, "name": s.name, "namespace": s.namespace});
        object.insert("services".into(), json!([service]));
    }
    if let Some(origin) = &model.origin {
        object.insert("config".into(), json!(origin));
    }
    let mut metadata = core::Metadata::default();
    metadata.filter_metadata.insert(ISTIO.into(), to_struct(&object));
    (!object.is_empty()).then_some(metadata)
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
