//! Pure. Retry policies.

use super::any::pack;
use super::matcher;
use super::refusal::{At, Refusal, each, nothing_left, optional, refuse, required};
use super::scalar::{duration, limit, number, short, wire_duration, wire_number};
use crate::model::matcher::BackOff;
use crate::model::route::{RetryOn, RetryPolicy};
use envoy_types::pb::envoy::config::route::v3 as wire;
use envoy_types::pb::envoy::extensions::retry::host::previous_hosts::v3::PreviousHostsPredicate;
use std::mem::take;
use std::time::Duration;
use wire::retry_policy::{RetryBackOff, RetryHostPredicate, retry_host_predicate};

pub(super) fn decode(mut wire: wire::RetryPolicy) -> Result<RetryPolicy, Refusal> {
    let on = take(&mut wire.retry_on)
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(|name| {
            RetryOn::from_name(name)
                .ok_or_else(|| Refusal::new(format!("condition {name:?} is not supported")))
        })
        .collect::<Result<Vec<_>, _>>()
        .at("retry_on")?;
    let predicates = take(&mut wire.retry_host_predicate);
    let choices = u32::try_from(take(&mut wire.host_selection_retry_max_attempts)).unwrap_or_default();
    // With a host predicate but no maximum of attempts, Envoy chooses once more.
    let avoid_previous_hosts = if predicates.is_empty() { 0 } else { choices.max(1) };
    each(predicates, "retry_host_predicate", |p| predicate(&p))?;
    let codes = take(&mut wire.retriable_status_codes);
    let found = RetryPolicy {
        on,
        status_codes: each(codes, "retriable_status_codes", |c| short(c, "code"))?,
        attempts: number(wire.num_retries.take(), 1),
        per_try_timeout: limit(wire.per_try_timeout.take(), "per_try_timeout", None)?,
        back_off: optional(wire.retry_back_off.take(), "retry_back_off", back_off)?.unwrap_or(BACK_OFF),
        avoid_previous_hosts,
        headers: each(take(&mut wire.retriable_headers), "retriable_headers", matcher::header)?,
        request_headers: each(
            take(&mut wire.retriable_request_headers),
            "retriable_request_headers",
            matcher::header,
        )?,
    };
    nothing_left(&wire)?;
    Ok(found)
}

pub(super) fn encode(model: &RetryPolicy) -> wire::RetryPolicy {
    let names: Vec<&str> = model.on.iter().map(|c| c.name()).collect();
    let avoid = model.avoid_previous_hosts > 0;
    wire::RetryPolicy {
        retry_on: names.join(","),
        retriable_status_codes: model.status_codes.iter().map(|c| u32::from(*c)).collect(),
        num_retries: Some(wire_number(model.attempts)),
        per_try_timeout: model.per_try_timeout.map(wire_duration),
        retry_back_off: (model.back_off != BACK_OFF).then(|| RetryBackOff {
            base_interval: Some(wire_duration(model.back_off.base)),
            max_interval: Some(wire_duration(model.back_off.max)),
        }),
        retry_host_predicate: if avoid { vec![wire_predicate()] } else { vec![] },
        host_selection_retry_max_attempts: model.avoid_previous_hosts.into(),
        retriable_headers: model.headers.iter().map(matcher::wire_header).collect(),
        retriable_request_headers: model.request_headers.iter().map(matcher::wire_header).collect(),
        ..wire::RetryPolicy::default()
    }
}

fn predicate(wire: &RetryHostPredicate) -> Result<(), Refusal> {
    if wire.name == PREVIOUS_HOSTS {
        return Ok(());
    }
    refuse(format!("{} is not supported", wire.name))
}

fn wire_predicate() -> RetryHostPredicate {
    let config = retry_host_predicate::ConfigType::TypedConfig(pack(&PreviousHostsPredicate {}));
    RetryHostPredicate { name: PREVIOUS_HOSTS.into(), config_type: Some(config) }
}

fn back_off(wire: RetryBackOff) -> Result<BackOff, Refusal> {
    let base = duration(required(wire.base_interval, "base_interval")?).at("base_interval")?;
    let max = wire.max_interval.map(duration).transpose().at("max_interval")?;
    Ok(BackOff { base, max: max.unwrap_or_else(|| base.saturating_mul(FACTOR)) })
}

const PREVIOUS_HOSTS: &str = "envoy.retry_host_predicates.previous_hosts";
/// The longest wait as a multiple of the first, if only the first is given.
const FACTOR: u32 = 10;
const BACK_OFF: BackOff = BackOff { base: Duration::from_millis(25), max: Duration::from_millis(250) };
