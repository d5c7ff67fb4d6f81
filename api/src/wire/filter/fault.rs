//! Pure. Settings of fault injection, for the filter and for routes.

use super::codec::Codec;
use crate::model::filter::fault::{AbortStatus, Fault, FaultAbort, FaultDelay};
use crate::model::filter::{Filter, Setting};
use crate::model::matcher::Fraction;
use crate::wire::any::{pack, unpack};
use crate::wire::ignored::{METRIC_NAME, OfMessage, RUNTIME_KEY, field};
use crate::wire::matcher;
use crate::wire::refusal::{At, Refusal, each, nothing_left, nothing_left_but, refuse, required};
use crate::wire::scalar::{duration, fraction, short, wire_duration, wire_fraction};
use crate::wire::xds::Any;
use envoy_types::pb::envoy::extensions::filters::common::fault::v3::{
    FaultDelay as WireDelay,
    fault_delay::{FaultDelaySecifier, HeaderDelay},
};
use envoy_types::pb::envoy::extensions::filters::http::fault::v3::{
    FaultAbort as WireAbort, HttpFault,
    fault_abort::{ErrorType, HeaderAbort},
};
use envoy_types::pb::envoy::r#type::v3::FractionalPercent;
#[cfg(test)]
use proptest::prelude::*;

const MESSAGE: &str = "envoy.extensions.filters.http.fault.v3.HTTPFault";

pub(super) const FILTER: Codec<Filter> =
    Codec { message: MESSAGE, read: |any| unpack(any).and_then(decode).map(Filter::Fault) };

pub(super) const SETTING: Codec<Setting> =
    Codec { message: MESSAGE, read: |any| unpack(any).and_then(decode).map(Setting::Fault) };

pub(super) const IGNORED: OfMessage = (
    MESSAGE,
    &[
        field(8, "delay_percent_runtime", RUNTIME_KEY),
        field(9, "abort_percent_runtime", RUNTIME_KEY),
        field(10, "delay_duration_runtime", RUNTIME_KEY),
        field(11, "abort_http_status_runtime", RUNTIME_KEY),
        field(14, "abort_grpc_status_runtime", RUNTIME_KEY),
        field(15, "disable_downstream_cluster_stats", METRIC_NAME),
    ],
);

fn decode(mut wire: HttpFault) -> Result<Fault, Refusal> {
    let mut found = Fault {
        headers: each(std::mem::take(&mut wire.headers), "headers", matcher::header)?,
        upstream_cluster: std::mem::take(&mut wire.upstream_cluster),
        ..Fault::default()
    };
    match wire.delay.take().map(delay).transpose().at("delay")? {
        Some(ByHeader::No(fixed)) => found.delay = Some(fixed),
        Some(ByHeader::Yes(share)) => found.delay_by_header = Some(share),
        None => {}
    }
    match wire.abort.take().map(abort).transpose().at("abort")? {
        Some(ByHeader::No(fixed)) => found.abort = Some(fixed),
        Some(ByHeader::Yes(share)) => found.abort_by_header = Some(share),
        None => {}
    }
    nothing_left_but(&wire, &IGNORED)?;
    Ok(found)
}

pub(super) fn encode(model: &Fault) -> Any {
    pack(&HttpFault {
        delay: model.delay.map(wire_delay).or(model.delay_by_header.map(|share| WireDelay {
            percentage: Some(wire_fraction(share)),
            fault_delay_secifier: Some(FaultDelaySecifier::HeaderDelay(HeaderDelay {})),
        })),
        abort: model.abort.map(wire_abort).or(model.abort_by_header.map(|share| WireAbort {
            percentage: Some(wire_fraction(share)),
            error_type: Some(ErrorType::HeaderAbort(HeaderAbort {})),
            ..WireAbort::default()
        })),
        headers: model.headers.iter().map(matcher::wire_header).collect(),
        upstream_cluster: model.upstream_cluster.clone(),
        ..HttpFault::default()
    })
}

#[cfg(test)]
pub(super) fn arbitrary() -> BoxedStrategy<Fault> {
    use crate::wire::strategy::basic::{duration, fraction, header_match, name};
    use proptest::collection::vec;
    use proptest::option::of;
    let status =
        prop_oneof![any::<u16>().prop_map(AbortStatus::Http), any::<u32>().prop_map(AbortStatus::Grpc),];
    let delay = (duration(), fraction()).prop_map(|(duration, fraction)| FaultDelay { duration, fraction });
    let abort = (status, fraction()).prop_map(|(status, fraction)| FaultAbort { status, fraction });
    let delay = prop_oneof![
        Just((None, None)),
        delay.prop_map(|d| (Some(d), None)),
        fraction().prop_map(|f| (None, Some(f)))
    ];
    let abort = prop_oneof![
        Just((None, None)),
        abort.prop_map(|a| (Some(a), None)),
        fraction().prop_map(|f| (None, Some(f)))
    ];
    (delay, abort, vec(header_match(), 0..2), of(name()))
        .prop_map(|((delay, delay_by_header), (abort, abort_by_header), headers, cluster)| Fault {
            delay,
            abort,
            delay_by_header,
            abort_by_header,
            headers,
            upstream_cluster: cluster.unwrap_or_default(),
        })
        .boxed()
}

/// A setting that the configuration fixes or that a request header gives.
enum ByHeader<T> {
    No(T),
    Yes(Fraction),
}

fn wire_delay(model: FaultDelay) -> WireDelay {
    WireDelay {
        percentage: Some(wire_fraction(model.fraction)),
        fault_delay_secifier: Some(FaultDelaySecifier::FixedDelay(wire_duration(model.duration))),
    }
}

fn wire_abort(model: FaultAbort) -> WireAbort {
    WireAbort {
        percentage: Some(wire_fraction(model.fraction)),
        error_type: Some(match model.status {
            AbortStatus::Http(status) => ErrorType::HttpStatus(status.into()),
            AbortStatus::Grpc(status) => ErrorType::GrpcStatus(status),
        }),
        ..WireAbort::default()
    }
}

fn delay(wire: WireDelay) -> Result<ByHeader<FaultDelay>, Refusal> {
    match wire.fault_delay_secifier {
        Some(FaultDelaySecifier::FixedDelay(fixed)) => {
            let duration = duration(fixed).at("fixed_delay")?;
            Ok(ByHeader::No(FaultDelay { duration, fraction: share(wire.percentage)? }))
        }
        Some(FaultDelaySecifier::HeaderDelay(_)) => share(wire.percentage).map(ByHeader::Yes),
        None => required(None, "fixed_delay"),
    }
}

fn abort(mut wire: WireAbort) -> Result<ByHeader<FaultAbort>, Refusal> {
    let status = match wire.error_type.take() {
        Some(ErrorType::HttpStatus(status)) => Some(AbortStatus::Http(short(status, "http_status")?)),
        Some(ErrorType::GrpcStatus(status)) => Some(AbortStatus::Grpc(status)),
        Some(ErrorType::HeaderAbort(_)) => None,
        None => return refuse("has no status"),
    };
    let fraction = share(wire.percentage.take())?;
    nothing_left(&wire)?;
    Ok(match status {
        Some(status) => ByHeader::No(FaultAbort { status, fraction }),
        None => ByHeader::Yes(fraction),
    })
}

/// A share of requests. Without one, Envoy injects nothing.
fn share(wire: Option<FractionalPercent>) -> Result<Fraction, Refusal> {
    fraction(wire.unwrap_or_default()).at("percentage")
}
