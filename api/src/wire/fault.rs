//! Pure. Injected faults, as the filter and routes hold them.

use super::matcher;
use super::refusal::{At, Refusal, each, nothing_left, refuse, required};
use super::scalar::{duration, fraction, short, wire_duration, wire_fraction};
use crate::model::matcher::Fraction;
use crate::model::route::{AbortStatus, Fault, FaultAbort, FaultDelay};
use envoy_types::pb::envoy::extensions::filters::common::fault::v3::{
    FaultDelay as WireDelay,
    fault_delay::{FaultDelaySecifier, HeaderDelay},
};
use envoy_types::pb::envoy::extensions::filters::http::fault::v3::{
    FaultAbort as WireAbort, HttpFault,
    fault_abort::{ErrorType, HeaderAbort},
};
use envoy_types::pb::envoy::r#type::v3::FractionalPercent;

pub(super) fn decode(mut wire: HttpFault) -> Result<Fault, Refusal> {
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
    nothing_left(&wire)?;
    Ok(found)
}

pub(super) fn encode(model: &Fault) -> HttpFault {
    HttpFault {
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
    }
}

/// What a configuration fixes, or leaves to a header of the request.
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

/// Envoy injects nothing where no share is given.
fn share(wire: Option<FractionalPercent>) -> Result<Fraction, Refusal> {
    fraction(wire.unwrap_or_default()).at("percentage")
}
