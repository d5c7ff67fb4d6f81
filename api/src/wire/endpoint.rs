//! Pure. Load assignments, and Istio's metadata of endpoints: whether they accept mTLS, and their workload.

use super::refusal::{At, Refusal, each, nothing_left, refuse, required};
use super::scalar::{
    enumeration, host_and_port, number, wire_host_and_port, wire_number, wire_number_unless, wire_socket,
};
use super::value::{from_struct, to_struct};
use super::xds;
use crate::model::endpoint::{
    Endpoint, EndpointAddress, EndpointWorkload, Health, LoadAssignment, LocalityEndpoints,
};
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::config::endpoint::v3 as wire;
use envoy_types::pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use serde_json::json;
use std::mem::take;
use std::net::SocketAddr;

pub(super) fn decode(mut assignment: wire::ClusterLoadAssignment) -> Result<LoadAssignment, Refusal> {
    let cluster = take(&mut assignment.cluster_name);
    let localities = each(take(&mut assignment.endpoints), "endpoints", locality)?;
    if let Some(mut policy) = assignment.policy.take() {
        if number(policy.overprovisioning_factor.take(), OVERPROVISIONING) != OVERPROVISIONING {
            return refuse("only 140 is supported").at("overprovisioning_factor").at("policy");
        }
        nothing_left(&policy).at("policy")?;
    }
    nothing_left(&assignment)?;
    Ok(LoadAssignment { cluster, localities })
}

pub(super) fn encode(model: &LoadAssignment) -> wire::ClusterLoadAssignment {
    wire::ClusterLoadAssignment {
        cluster_name: model.cluster.clone(),
        endpoints: model.localities.iter().map(wire_locality).collect(),
        ..wire::ClusterLoadAssignment::default()
    }
}

fn locality(mut wire: wire::LocalityLbEndpoints) -> Result<LocalityEndpoints, Refusal> {
    let found = LocalityEndpoints {
        locality: wire.locality.take().as_ref().map(xds::locality).unwrap_or_default(),
        priority: take(&mut wire.priority),
        weight: wire.load_balancing_weight.take().map(|w| w.value),
        endpoints: each(take(&mut wire.lb_endpoints), "lb_endpoints", endpoint)?,
    };
    nothing_left(&wire)?;
    Ok(found)
}

fn wire_locality(model: &LocalityEndpoints) -> wire::LocalityLbEndpoints {
    wire::LocalityLbEndpoints {
        locality: xds::wire_locality(&model.locality),
        priority: model.priority,
        load_balancing_weight: model.weight.map(wire_number),
        lb_endpoints: model.endpoints.iter().map(wire_endpoint).collect(),
        ..wire::LocalityLbEndpoints::default()
    }
}

fn endpoint(mut wire: wire::LbEndpoint) -> Result<Endpoint, Refusal> {
    let (address, hostname) = match wire.host_identifier.take() {
        Some(HostIdentifier::Endpoint(mut endpoint)) => {
            let hostname = take(&mut endpoint.hostname);
            (host(endpoint).at("endpoint")?, hostname)
        }
        Some(HostIdentifier::EndpointName(_)) => return Err(Refusal::unsupported("endpoint_name")),
        None => return required(None, "endpoint"),
    };
    let metadata = wire.metadata.take().unwrap_or_default();
    let health = match enumeration(take(&mut wire.health_status), "health_status")? {
        core::HealthStatus::Unknown | core::HealthStatus::Healthy => Health::Healthy,
        core::HealthStatus::Degraded => Health::Degraded,
        core::HealthStatus::Unhealthy | core::HealthStatus::Timeout => Health::Unhealthy,
        core::HealthStatus::Draining => Health::Draining,
    };
    let weight = number(wire.load_balancing_weight.take(), 1);
    nothing_left(&wire)?;
    Ok(Endpoint {
        address,
        health,
        hostname,
        weight,
        mtls: offers_mtls(&metadata),
        workload: workload(&metadata),
    })
}

fn wire_endpoint(model: &Endpoint) -> wire::LbEndpoint {
    let health = match model.health {
        Health::Healthy => core::HealthStatus::Healthy,
        Health::Degraded => core::HealthStatus::Degraded,
        Health::Unhealthy => core::HealthStatus::Unhealthy,
        Health::Draining => core::HealthStatus::Draining,
    };
    let endpoint = wire::Endpoint {
        address: Some(wire_host(&model.address)),
        hostname: model.hostname.clone(),
        ..wire::Endpoint::default()
    };
    wire::LbEndpoint {
        host_identifier: Some(HostIdentifier::Endpoint(endpoint)),
        health_status: health.into(),
        metadata: wire_metadata(model),
        load_balancing_weight: wire_number_unless(model.weight, 1),
    }
}

fn host(mut wire: wire::Endpoint) -> Result<EndpointAddress, Refusal> {
    let address = required(wire.address.take(), "address")?;
    let found = match address.address {
        Some(core::address::Address::SocketAddress(socket)) => {
            let (host, port) = host_and_port(socket).at("socket_address").at("address")?;
            match host.parse() {
                Ok(ip) => EndpointAddress::Socket(SocketAddr::new(ip, port)),
                Err(_) if host.is_empty() => {
                    return refuse("is missing").at("address.socket_address.address");
                }
                Err(_) => EndpointAddress::Dns(host, port),
            }
        }
        Some(core::address::Address::Pipe(pipe)) => EndpointAddress::Pipe(pipe.path),
        Some(core::address::Address::EnvoyInternalAddress(_)) => {
            return Err(Refusal::unsupported("envoy_internal_address")).at("address");
        }
        None => return required(None, "socket_address").at("address"),
    };
    nothing_left(&wire)?;
    Ok(found)
}

fn wire_host(address: &EndpointAddress) -> core::Address {
    match address {
        EndpointAddress::Socket(socket) => wire_socket(*socket),
        EndpointAddress::Dns(host, port) => wire_host_and_port(host.clone(), *port),
        EndpointAddress::Pipe(path) => {
            let pipe = core::Pipe { path: path.clone(), ..core::Pipe::default() };
            core::Address { address: Some(core::address::Address::Pipe(pipe)) }
        }
    }
}

fn offers_mtls(metadata: &core::Metadata) -> bool {
    text(metadata, TRANSPORT_SOCKET_MATCH, TLS_MODE).is_some_and(|mode| mode == MTLS)
}

fn workload(metadata: &core::Metadata) -> Option<EndpointWorkload> {
    let joined = text(metadata, ISTIO, "workload")?;
    let mut parts = joined.split(';').map(str::to_owned);
    let mut next = || parts.next().unwrap_or_default();
    Some(EndpointWorkload {
        name: next(),
        namespace: next(),
        canonical_name: next(),
        canonical_revision: next(),
        cluster_id: next(),
    })
}

fn wire_metadata(model: &Endpoint) -> Option<core::Metadata> {
    let mut metadata = core::Metadata::default();
    let mut put = |filter: &str, object: serde_json::Value| {
        if let serde_json::Value::Object(object) = object {
            metadata.filter_metadata.insert(filter.to_owned(), to_struct(&object));
        }
    };
    if model.mtls {
        put(TRANSPORT_SOCKET_MATCH, json!({TLS_MODE: MTLS}));
    }
    if let Some(w) = &model.workload {
        let parts = [&w.name, &w.namespace, &w.canonical_name, &w.canonical_revision, &w.cluster_id];
        put(ISTIO, json!({"workload": parts.map(String::as_str).join(";")}));
    }
    (!metadata.filter_metadata.is_empty()).then_some(metadata)
}

/// A text value in the metadata of a filter.
fn text(metadata: &core::Metadata, filter: &str, key: &str) -> Option<String> {
    let object = from_struct(metadata.filter_metadata.get(filter)?);
    object.get(key)?.as_str().map(str::to_owned)
}

/// Envoy's default overprovisioning factor, which decides how much traffic a priority keeps.
const OVERPROVISIONING: u32 = 140;
/// Metadata that Envoy matches with a cluster's `transport_socket_matches`.
pub(super) const TRANSPORT_SOCKET_MATCH: &str = "envoy.transport_socket_match";
/// Key of Istio's TLS mode in it.
pub(super) const TLS_MODE: &str = "tlsMode";
/// The mode of a workload whose sidecar takes mTLS.
pub(super) const MTLS: &str = "istio";
/// Istio's own metadata.
pub(super) const ISTIO: &str = "istio";
