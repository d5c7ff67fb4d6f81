//! Pure. The TCP proxy filter, for opaque bytes.

use super::access_log;
use super::refusal::{At, Refusal, each, nothing_left, required};
use super::scalar::{limit, number, wire_limit, wire_number_unless};
use crate::model::listener::TcpProxy;
use crate::model::matcher::HeaderMutations;
use crate::model::route::{ClusterChoice, WeightedCluster};
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3 as wire;
use std::mem::take;
use std::time::Duration;
use wire::tcp_proxy::{self, ClusterSpecifier, weighted_cluster::ClusterWeight};

pub(super) fn decode(mut wire: wire::TcpProxy) -> Result<TcpProxy, Refusal> {
    let clusters = match wire.cluster_specifier.take() {
        Some(ClusterSpecifier::Cluster(name)) => ClusterChoice::Single(name),
        Some(ClusterSpecifier::WeightedClusters(weighted)) => {
            ClusterChoice::Weighted(each(weighted.clusters, "clusters", cluster).at("weighted_clusters")?)
        }
        None => return required(None, "cluster"),
    };
    let found = TcpProxy {
        stat_prefix: take(&mut wire.stat_prefix),
        clusters,
        idle_timeout: limit(wire.idle_timeout.take(), "idle_timeout", IDLE)?,
        max_connect_attempts: number(wire.max_connect_attempts.take(), 1).max(1),
        access_log: each(take(&mut wire.access_log), "access_log", access_log::decode)?,
    };
    nothing_left(&wire)?;
    Ok(found)
}

pub(super) fn encode(model: &TcpProxy) -> wire::TcpProxy {
    wire::TcpProxy {
        stat_prefix: model.stat_prefix.clone(),
        cluster_specifier: Some(wire_clusters(&model.clusters)),
        idle_timeout: wire_limit(model.idle_timeout, IDLE),
        max_connect_attempts: wire_number_unless(model.max_connect_attempts, 1),
        access_log: model.access_log.iter().map(access_log::encode).collect(),
        ..wire::TcpProxy::default()
    }
}

fn cluster(mut wire: ClusterWeight) -> Result<WeightedCluster, Refusal> {
    let found = WeightedCluster {
        name: take(&mut wire.name),
        weight: take(&mut wire.weight),
        request_headers: HeaderMutations::default(),
        response_headers: HeaderMutations::default(),
        host_rewrite: None,
    };
    nothing_left(&wire)?;
    Ok(found)
}

/// Encodes the cluster choice. A TCP connection has no header that could name a cluster, so a choice by header
/// closes connections.
fn wire_clusters(model: &ClusterChoice) -> ClusterSpecifier {
    let weight = |c: &WeightedCluster| ClusterWeight {
        name: c.name.clone(),
        weight: c.weight,
        ..ClusterWeight::default()
    };
    match model {
        ClusterChoice::Single(name) => ClusterSpecifier::Cluster(name.clone()),
        ClusterChoice::Weighted(clusters) => {
            let clusters = clusters.iter().map(weight).collect();
            ClusterSpecifier::WeightedClusters(tcp_proxy::WeightedCluster { clusters })
        }
        ClusterChoice::Header(_) => ClusterSpecifier::Cluster(crate::name::BLACK_HOLE_CLUSTER.into()),
    }
}

const IDLE: Option<Duration> = Some(Duration::from_secs(3600));
