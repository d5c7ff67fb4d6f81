//! Pure. How a cluster chooses among its endpoints: policies, their settings, localities and panic.

use super::any::{config_type, typed};
use super::refusal::{At, Refusal, nothing_left, refuse, required};
use super::scalar::{enumeration, number, wire_number_unless};
use super::xds::Any;
use crate::model::cluster::{Balancer, Cluster, Discovery};
use envoy_types::pb::envoy::config::cluster::v3 as wire;
use envoy_types::pb::envoy::extensions::load_balancing_policies::{
    cluster_provided::v3::ClusterProvided, least_request::v3::LeastRequest, maglev::v3::Maglev,
    random::v3::Random, ring_hash::v3::RingHash, round_robin::v3::RoundRobin,
};
use envoy_types::pb::envoy::r#type::v3::Percent;
use envoy_types::pb::google::protobuf::{UInt32Value, UInt64Value};
use prost::Name;
use std::mem::take;
use wire::cluster::{
    LbConfig, LbPolicy, LeastRequestLbConfig, MaglevLbConfig, OriginalDstLbConfig, RingHashLbConfig,
};

pub(super) fn balancer(wire: &mut wire::Cluster, discovery: &Discovery) -> Result<Balancer, Refusal> {
    let policy: LbPolicy = enumeration(take(&mut wire.lb_policy), "lb_policy")?;
    if let Some(typed) = wire.load_balancing_policy.take() {
        let found = typed_policy(typed).at("load_balancing_policy")?;
        return suits(found, discovery);
    }
    let size = |n: Option<UInt64Value>, default| n.map_or(default, |n| n.value);
    let found = match (policy, wire.lb_config.take()) {
        (LbPolicy::ClusterProvided, None) => Balancer::Provided,
        (LbPolicy::RoundRobin, Some(LbConfig::RoundRobinLbConfig(config))) => {
            nothing_left(&config).at("round_robin_lb_config")?;
            Balancer::RoundRobin
        }
        (LbPolicy::RoundRobin, None) => Balancer::RoundRobin,
        (LbPolicy::Random, None) => Balancer::Random,
        (LbPolicy::LeastRequest, None) => Balancer::LeastRequest { choices: CHOICES },
        (LbPolicy::LeastRequest, Some(LbConfig::LeastRequestLbConfig(mut config))) => {
            let choices = number(config.choice_count.take(), CHOICES);
            nothing_left(&config).at("least_request_lb_config")?;
            Balancer::LeastRequest { choices }
        }
        (LbPolicy::RingHash, None) => Balancer::RingHash { min_size: RING_SIZE },
        (LbPolicy::RingHash, Some(LbConfig::RingHashLbConfig(mut config))) => {
            let min_size = size(config.minimum_ring_size.take(), RING_SIZE);
            nothing_left(&config).at("ring_hash_lb_config")?;
            Balancer::RingHash { min_size }
        }
        (LbPolicy::Maglev, None) => Balancer::Maglev { table_size: TABLE_SIZE },
        (LbPolicy::Maglev, Some(LbConfig::MaglevLbConfig(config))) => {
            Balancer::Maglev { table_size: size(config.table_size, TABLE_SIZE) }
        }
        (LbPolicy::LoadBalancingPolicyConfig, None) => return required(None, "load_balancing_policy"),
        (policy, Some(_)) => {
            return refuse(format!("{} has settings of another policy", policy.as_str_name()))
                .at("lb_policy");
        }
    };
    suits(found, discovery)
}

fn suits(found: Balancer, discovery: &Discovery) -> Result<Balancer, Refusal> {
    match (found, discovery) {
        (Balancer::Provided, Discovery::OriginalDestination { .. }) => Ok(found),
        (Balancer::Provided, _) => refuse("CLUSTER_PROVIDED needs type ORIGINAL_DST").at("lb_policy"),
        (_, Discovery::OriginalDestination { .. }) => {
            refuse("type ORIGINAL_DST needs CLUSTER_PROVIDED").at("lb_policy")
        }
        _ => Ok(found),
    }
}

/// A load balancing policy as an extension: the first known one of the list applies, as in Envoy.
fn typed_policy(wire: wire::LoadBalancingPolicy) -> Result<Balancer, Refusal> {
    let mut unknown = vec![];
    for (i, policy) in wire.policies.into_iter().enumerate() {
        let extension =
            required(policy.typed_extension_config, "typed_extension_config").at_item("policies", i)?;
        let config = required(extension.typed_config, "typed_config").at_item("policies", i)?;
        match extension_policy(&config).at_item("policies", i)? {
            Some(found) => return Ok(found),
            None => unknown.push(extension.name),
        }
    }
    refuse(format!("none of the policies {unknown:?} is supported"))
}

fn extension_policy(config: &Any) -> Result<Option<Balancer>, Refusal> {
    let kind = config_type(config)?;
    let size = |n: Option<UInt64Value>, default| n.map_or(default, |n| n.value);
    Ok(Some(if kind == RoundRobin::full_name() {
        nothing_left(&typed::<RoundRobin>(config)?)?;
        Balancer::RoundRobin
    } else if kind == Random::full_name() {
        nothing_left(&typed::<Random>(config)?)?;
        Balancer::Random
    } else if kind == LeastRequest::full_name() {
        let mut config = typed::<LeastRequest>(config)?;
        let choices = number(config.choice_count.take(), CHOICES);
        nothing_left(&config)?;
        Balancer::LeastRequest { choices }
    } else if kind == RingHash::full_name() {
        let mut config = typed::<RingHash>(config)?;
        let min_size = size(config.minimum_ring_size.take(), RING_SIZE);
        nothing_left(&config)?;
        Balancer::RingHash { min_size }
    } else if kind == Maglev::full_name() {
        let mut config = typed::<Maglev>(config)?;
        let table_size = size(config.table_size.take(), TABLE_SIZE);
        nothing_left(&config)?;
        Balancer::Maglev { table_size }
    } else if kind == ClusterProvided::full_name() {
        Balancer::Provided
    } else {
        return Ok(None);
    }))
}

/// Settings of an original destination cluster, which may override the port.
pub(super) fn original_destination(wire: &mut wire::Cluster) -> Result<Discovery, Refusal> {
    let mut port = None;
    if let Some(LbConfig::OriginalDstLbConfig(mut config)) =
        wire.lb_config.take_if(|config| matches!(config, LbConfig::OriginalDstLbConfig(_)))
    {
        port = config.upstream_port_override.take().map(|port| port.value);
        nothing_left(&config).at("original_dst_lb_config")?;
    }
    let port = port.map(|port| match u16::try_from(port) {
        Ok(port) if port != 0 => Ok(port),
        _ => refuse(format!("{port} is not a valid port"))
            .at("upstream_port_override")
            .at("original_dst_lb_config"),
    });
    Ok(Discovery::OriginalDestination { port: port.transpose()? })
}

pub(super) fn wire_balancer(model: &Cluster) -> (LbPolicy, Option<LbConfig>) {
    match model.balancer {
        Balancer::RoundRobin => (LbPolicy::RoundRobin, None),
        Balancer::Random => (LbPolicy::Random, None),
        Balancer::Provided => {
            let Discovery::OriginalDestination { port: Some(port) } = model.discovery else {
                return (LbPolicy::ClusterProvided, None);
            };
            let upstream_port_override = Some(UInt32Value { value: port.into() });
            let config = OriginalDstLbConfig { upstream_port_override, ..OriginalDstLbConfig::default() };
            (LbPolicy::ClusterProvided, Some(LbConfig::OriginalDstLbConfig(config)))
        }
        Balancer::LeastRequest { choices } => {
            let choice_count = wire_number_unless(choices, CHOICES);
            let config = LeastRequestLbConfig { choice_count, ..LeastRequestLbConfig::default() };
            (LbPolicy::LeastRequest, choice_count.is_some().then_some(LbConfig::LeastRequestLbConfig(config)))
        }
        Balancer::RingHash { min_size } => {
            let minimum_ring_size = Some(UInt64Value { value: min_size });
            let config = RingHashLbConfig { minimum_ring_size, ..RingHashLbConfig::default() };
            (LbPolicy::RingHash, Some(LbConfig::RingHashLbConfig(config)))
        }
        Balancer::Maglev { table_size } => {
            let config = MaglevLbConfig { table_size: Some(UInt64Value { value: table_size }) };
            (LbPolicy::Maglev, Some(LbConfig::MaglevLbConfig(config)))
        }
    }
}

pub(super) fn panic_threshold(wire: &mut wire::Cluster) -> Result<u32, Refusal> {
    let mut common = wire.common_lb_config.take().unwrap_or_default();
    let threshold = common.healthy_panic_threshold.take().map_or(PANIC, |p| p.value.clamp(0.0, 100.0) as u32);
    // Only weighted locality balancing is supported, and it applies whether or not the message selects it.
    if let Some(wire::cluster::common_lb_config::LocalityConfigSpecifier::ZoneAwareLbConfig(_)) =
        common.locality_config_specifier
    {
        return Err(Refusal::unsupported("zone_aware_lb_config")).at("common_lb_config");
    }
    nothing_left(&common).at("common_lb_config")?;
    Ok(threshold)
}

/// Locality weights apply wherever they are given. Envoy applies them only with `locality_weighted_lb_config`.
pub(super) fn wire_common_balancing(model: &Cluster) -> Option<wire::cluster::CommonLbConfig> {
    use wire::cluster::common_lb_config::{LocalityConfigSpecifier, LocalityWeightedLbConfig};
    let weighted = model.balancer != Balancer::Provided;
    let common = wire::cluster::CommonLbConfig {
        healthy_panic_threshold: (model.panic_threshold != PANIC)
            .then(|| Percent { value: f64::from(model.panic_threshold) }),
        locality_config_specifier: weighted
            .then_some(LocalityConfigSpecifier::LocalityWeightedLbConfig(LocalityWeightedLbConfig {})),
        ..wire::cluster::CommonLbConfig::default()
    };
    (common != wire::cluster::CommonLbConfig::default()).then_some(common)
}

const CHOICES: u32 = 2;
const RING_SIZE: u64 = 1024;
const TABLE_SIZE: u64 = 65_537;
const PANIC: u32 = 50;
