//! Pure. Renders clusters and their endpoints in Envoy's format.

use crate::snapshot::Snapshot;
use api::model::cluster::{Cluster, Discovery};
use api::model::endpoint::{Endpoint, EndpointAddress, Health, LoadAssignment, LocalityEndpoints};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// The state of one cluster.
pub(super) struct ClusterStatus {
    cluster: Arc<Cluster>,
    endpoints: Option<LoadAssignment>,
    /// The addresses that outlier detection has ejected.
    ejected: BTreeSet<SocketAddr>,
    /// Counters of this cluster, without the prefix of its name.
    counters: BTreeMap<String, u64>,
}

/// The state of all clusters at `now` (time since the process began). `stats` are the proxy's counters by dotted name.
pub(super) fn statuses(
    snapshot: &Snapshot,
    stats: &BTreeMap<String, u64>,
    now: Duration,
) -> Vec<ClusterStatus> {
    let assignments = snapshot.endpoints();
    let clusters = snapshot.clusters().into_iter();
    clusters
        .map(|cluster| {
            let endpoints = match &cluster.discovery {
                Discovery::Eds(name) => {
                    let name = if name.is_empty() { &cluster.name } else { name };
                    // The assignments are sorted, and there may be thousands.
                    let found = assignments.binary_search_by(|a| a.cluster.as_str().cmp(name));
                    found.ok().map(|at| LoadAssignment::clone(&assignments[at]))
                }
                Discovery::Static(fixed) => Some(fixed.clone()),
                Discovery::StrictDns(_) | Discovery::LogicalDns(_) => {
                    snapshot.resolved(&cluster.name).map(|found| LoadAssignment::clone(&found.model))
                }
                Discovery::OriginalDestination { .. } => None,
            };
            let prefix = format!("cluster.{}.", cluster.name);
            let counters = stats.range(prefix.clone()..).take_while(|(name, _)| name.starts_with(&prefix));
            let counters = counters.map(|(name, value)| (name[prefix.len()..].to_owned(), *value)).collect();
            let ejected = snapshot.ejected(&cluster.name, now);
            ClusterStatus { cluster, endpoints, ejected, counters }
        })
        .collect()
}

pub(super) fn text(statuses: &[ClusterStatus]) -> String {
    let mut page = String::new();
    for status in statuses {
        let name = &status.cluster.name;
        let limits = &status.cluster.limits;
        let _ = write!(
            page,
            "{name}::observability_name::{name}\n\
             {name}::default_priority::max_connections::{}\n\
             {name}::default_priority::max_pending_requests::{}\n\
             {name}::default_priority::max_requests::{}\n\
             {name}::default_priority::max_retries::{}\n\
             {name}::added_via_api::true\n",
            limits.max_connections, limits.max_pending, limits.max_requests, limits.max_retries,
        );
        for (counter, value) in &status.counters {
            let _ = writeln!(page, "{name}::{counter}::{value}");
        }
        for (locality, endpoint) in status.hosts() {
            let host = address_text(&endpoint.address);
            let place = &locality.locality;
            let _ = write!(
                page,
                "{name}::{host}::hostname::{}\n\
                 {name}::{host}::health_flags::{}\n\
                 {name}::{host}::weight::{}\n\
                 {name}::{host}::region::{}\n\
                 {name}::{host}::zone::{}\n\
                 {name}::{host}::sub_zone::{}\n\
                 {name}::{host}::canary::false\n\
                 {name}::{host}::priority::{}\n\
                 {name}::{host}::success_rate::-1\n\
                 {name}::{host}::local_origin_success_rate::-1\n",
                endpoint.hostname,
                flags(endpoint.health, status.ejects(endpoint)),
                endpoint.weight,
                place.region,
                place.zone,
                place.sub_zone,
                locality.priority,
            );
        }
    }
    page
}

pub(super) fn json(statuses: &[ClusterStatus]) -> Value {
    let clusters: Vec<Value> = statuses.iter().map(ClusterStatus::json).collect();
    json!({"cluster_statuses": clusters})
}

impl ClusterStatus {
    fn hosts(&self) -> impl Iterator<Item = (&LocalityEndpoints, &Endpoint)> {
        let localities = self.endpoints.iter().flat_map(|assignment| &assignment.localities);
        localities.flat_map(|locality| locality.endpoints.iter().map(move |endpoint| (locality, endpoint)))
    }

    fn ejects(&self, endpoint: &Endpoint) -> bool {
        matches!(&endpoint.address, EndpointAddress::Socket(address) if self.ejected.contains(address))
    }

    fn json(&self) -> Value {
        let host = |(locality, endpoint)| host(locality, endpoint, self.ejects(endpoint));
        let hosts: Vec<Value> = self.hosts().map(host).collect();
        let limits = &self.cluster.limits;
        json!({
            "name": self.cluster.name,
            "observability_name": self.cluster.name,
            "added_via_api": true,
            "host_statuses": hosts,
            "circuit_breakers": {"thresholds": [{
                "max_connections": limits.max_connections,
                "max_pending_requests": limits.max_pending,
                "max_requests": limits.max_requests,
                "max_retries": limits.max_retries,
            }]},
        })
    }
}

fn host(locality: &LocalityEndpoints, endpoint: &Endpoint, ejected: bool) -> Value {
    let place = &locality.locality;
    let status = match endpoint.health {
        Health::Healthy => "HEALTHY",
        Health::Degraded => "DEGRADED",
        Health::Unhealthy => "UNHEALTHY",
        Health::Draining => "DRAINING",
    };
    let mut health = json!({"eds_health_status": status});
    // Like all of Envoy's JSON, without fields of their default value.
    if ejected {
        health["failed_outlier_check"] = true.into();
    }
    json!({
        "address": address_json(&endpoint.address),
        "hostname": endpoint.hostname,
        "health_status": health,
        "weight": endpoint.weight,
        "priority": locality.priority,
        "locality": {"region": place.region, "zone": place.zone, "sub_zone": place.sub_zone},
    })
}

fn address_text(address: &EndpointAddress) -> String {
    match address {
        EndpointAddress::Socket(socket) => socket.to_string(),
        EndpointAddress::Dns(host, port) => format!("{host}:{port}"),
        EndpointAddress::Pipe(path) => path.clone(),
    }
}

fn address_json(address: &EndpointAddress) -> Value {
    match address {
        EndpointAddress::Socket(socket) => super::listeners::socket(*socket),
        EndpointAddress::Dns(host, port) => json!({"socket_address": {"address": host, "port_value": port}}),
        EndpointAddress::Pipe(path) => json!({"pipe": {"path": path}}),
    }
}

/// All that is wrong with an endpoint, in Envoy's order.
fn flags(health: Health, ejected: bool) -> String {
    let health = match health {
        Health::Healthy => "",
        Health::Degraded => "/degraded_eds_health",
        Health::Unhealthy => "/failed_eds_health",
        Health::Draining => "/eds_status_draining",
    };
    let outlier = if ejected { "/failed_outlier_check" } else { "" };
    if ejected || !health.is_empty() { format!("{outlier}{health}") } else { "healthy".into() }
}
