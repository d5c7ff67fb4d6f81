//! Pure. Outlier detection: when failing endpoints are ejected.
//!
//! Envoy counts 5xx by default, and gateway errors only if that is enforced. Envoy also ejects by success rate by
//! default; that is not supported here. A message that enables it, or tunes it without disabling it, is refused.

use super::refusal::{At, Refusal, nothing_left, refuse};
use super::scalar::{number, period, wire_duration, wire_number};
use crate::model::cluster::Outlier;
use envoy_types::pb::envoy::config::cluster::v3::OutlierDetection;
use envoy_types::pb::google::protobuf::UInt32Value;
use std::time::Duration;

pub(super) fn decode(mut wire: OutlierDetection) -> Result<Outlier, Refusal> {
    let enforce = enforced(wire.enforcing_consecutive_5xx.take(), true).at("enforcing_consecutive_5xx")?;
    let consecutive_5xx = number(wire.consecutive_5xx.take(), FAILURES);
    let enforce_gateway = enforced(wire.enforcing_consecutive_gateway_failure.take(), false)
        .at("enforcing_consecutive_gateway_failure")?;
    let consecutive_gateway = number(wire.consecutive_gateway_failure.take(), FAILURES);
    let base_ejection = period(wire.base_ejection_time.take(), "base_ejection_time", BASE)?;
    let found = Outlier {
        consecutive_5xx: (enforce && consecutive_5xx > 0).then_some(consecutive_5xx),
        consecutive_gateway: (enforce_gateway && consecutive_gateway > 0).then_some(consecutive_gateway),
        interval: period(wire.interval.take(), "interval", INTERVAL)?,
        base_ejection,
        max_ejection: period(wire.max_ejection_time.take(), "max_ejection_time", LONGEST.max(base_ejection))?,
        max_percent: number(wire.max_ejection_percent.take(), MAX_PERCENT),
    };
    if wire.enforcing_success_rate.is_some_and(|n| n.value == 0) {
        // Its settings have no effect while it is disabled.
        wire.enforcing_success_rate = None;
        wire.success_rate_minimum_hosts = None;
        wire.success_rate_request_volume = None;
        wire.success_rate_stdev_factor = None;
    }
    if wire.enforcing_failure_percentage.is_some_and(|n| n.value == 0) {
        wire.enforcing_failure_percentage = None;
    }
    nothing_left(&wire)?;
    Ok(found)
}

pub(super) fn encode(model: &Outlier) -> OutlierDetection {
    let share = |count: Option<u32>| Some(wire_number(if count.is_some() { 100 } else { 0 }));
    OutlierDetection {
        consecutive_5xx: model.consecutive_5xx.map(wire_number),
        enforcing_consecutive_5xx: share(model.consecutive_5xx),
        consecutive_gateway_failure: model.consecutive_gateway.map(wire_number),
        enforcing_consecutive_gateway_failure: share(model.consecutive_gateway),
        interval: Some(wire_duration(model.interval)),
        base_ejection_time: Some(wire_duration(model.base_ejection)),
        max_ejection_time: Some(wire_duration(model.max_ejection)),
        max_ejection_percent: Some(wire_number(model.max_percent)),
        enforcing_success_rate: Some(wire_number(0)),
        ..OutlierDetection::default()
    }
}

fn enforced(wire: Option<UInt32Value>, default: bool) -> Result<bool, Refusal> {
    match wire.map(|n| n.value) {
        None => Ok(default),
        Some(0) => Ok(false),
        Some(100) => Ok(true),
        Some(_) => refuse("only 0 and 100 are supported"),
    }
}

const FAILURES: u32 = 5;
const MAX_PERCENT: u32 = 10;
const INTERVAL: Duration = Duration::from_secs(10);
const BASE: Duration = Duration::from_secs(30);
const LONGEST: Duration = Duration::from_secs(300);
