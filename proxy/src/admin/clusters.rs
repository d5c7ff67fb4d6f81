//! Pure. Renders clusters and their endpoints in Envoy's format.

use crate::snapshot::Snapshot;
use api::model::cluster::{Cluster, Discovery};
use api::model::endpoint::{Endpoint, EndpointAddress, Health, LoadAssignment, LocalityEndpoints};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

/// The state of one cluster.
pub(super) struct ClusterStatus {
    cluster: Arc<Cluster>,
    endpoints: Option<LoadAssignment>,
    /// Counters of this cluster, without the prefix of its name.
    counters: BTreeMap<String, u64>,
}

/// The state of all clusters. `stats` are the proxy's counters by dotted name.
pub(super) fn statuses(snapshot: &Snapshot, stats: &BTreeMap<String, u64>) -> Vec<ClusterStatus> {
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
                Discovery::Static(fixed) | Discovery::StrictDns(fixed) | Discovery::LogicalDns(fixed) => {
                    Some(fixed.clone())
                }
                Discovery::OriginalDestination { .. } => None,
            };
            let prefix = format!("cluster.{}.", cluster.name);
            let counters = stats.range(prefix.clone()..).take_while(|(name, _)| name.starts_with(&prefix));
            let counters = counters.map(|(name, value)| (name[prefix.len()..].to_owned(), *value)).collect();
            ClusterStatus { cluster, endpoints, counters }
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
                "{name}::{host}::health_flags::{}\n\
                 {name}::{host}::weight::{}\n\
                 {name}::{host}::region::{}\n\
                 {name}::{host}::zone::{}\n\
                 {name}::{host}::sub_zone::{}\n\
                 {name}::{host}::priority::{}\n",
                flags(endpoint.health),
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

    fn json(&self) -> Value {
        let hosts: Vec<Value> = self.hosts().map(|(locality, endpoint)| host(locality, endpoint)).collect();
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

fn host(locality: &LocalityEndpoints, endpoint: &Endpoint) -> Value {
    let place = &locality.locality;
    let status = match endpoint.health {
        Health::Healthy => "HEALTHY",
        Health::Unhealthy => "UNHEALTHY",
        Health::Draining => "DRAINING",
    };
    json!({
        "address": address_json(&endpoint.address),
        "health_status": {"eds_health_status": status},
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

fn flags(health: Health) -> &'static str {
    match health {
        Health::Healthy => "healthy",
        Health::Unhealthy => "/failed_eds_health",
        Health::Draining => "/eds_status_draining",
    }
}
