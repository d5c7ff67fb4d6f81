//! Pure. Injected faults, as the filter and routes hold them.

use super::refusal::{At, Refusal, nothing_left, refuse, required};
use super::scalar::{duration, fraction, short, wire_duration, wire_fraction};
use crate::model::matcher::Fraction;
use crate::model::route::{AbortStatus, Fault, FaultAbort, FaultDelay};
use envoy_types::pb::envoy::extensions::filters::common::fault::v3::{
    FaultDelay as WireDelay, fault_delay::FaultDelaySecifier,
};
use envoy_types::pb::envoy::extensions::filters::http::fault::v3::{
    FaultAbort as WireAbort, HttpFault, fault_abort::ErrorType,
};
use envoy_types::pb::envoy::r#type::v3::FractionalPercent;

pub(super) fn decode(mut wire: HttpFault) -> Result<Fault, Refusal> {
    let found = Fault {
        delay: wire.delay.take().map(delay).transpose().at("delay")?,
        abort: wire.abort.take().map(abort).transpose().at("abort")?,
    };
    nothing_left(&wire)?;
    Ok(found)
}

pub(super) fn encode(model: &Fault) -> HttpFault {
    HttpFault {
        delay: model.delay.map(|d| WireDelay {
            percentage: Some(wire_fraction(d.fraction)),
            fault_delay_secifier: Some(FaultDelaySecifier::FixedDelay(wire_duration(d.duration))),
        }),
        abort: model.abort.map(|a| WireAbort {
            percentage: Some(wire_fraction(a.fraction)),
            error_type: Some(match a.status {
                AbortStatus::Http(status) => ErrorType::HttpStatus(status.into()),
                AbortStatus::Grpc(status) => ErrorType::GrpcStatus(status),
            }),
            ..WireAbort::default()
        }),
        ..HttpFault::default()
    }
}

fn delay(wire: WireDelay) -> Result<FaultDelay, Refusal> {
    match wire.fault_delay_secifier {
        Some(FaultDelaySecifier::FixedDelay(fixed)) => {
            Ok(FaultDelay { duration: duration(fixed).at("fixed_delay")?, fraction: share(wire.percentage)? })
        }
        Some(FaultDelaySecifier::HeaderDelay(_)) => Err(Refusal::unsupported("header_delay")),
        None => required(None, "fixed_delay"),
    }
}

fn abort(mut wire: WireAbort) -> Result<FaultAbort, Refusal> {
    let status = match wire.error_type.take() {
        Some(ErrorType::HttpStatus(status)) => AbortStatus::Http(short(status, "http_status")?),
        Some(ErrorType::GrpcStatus(status)) => AbortStatus::Grpc(status),
        Some(ErrorType::HeaderAbort(_)) => return Err(Refusal::unsupported("header_abort")),
        None => return refuse("has no status"),
    };
    let fraction = share(wire.percentage.take())?;
    nothing_left(&wire)?;
    Ok(FaultAbort { status, fraction })
}

/// Envoy injects nothing where no share is given.
fn share(wire: Option<FractionalPercent>) -> Result<Fraction, Refusal> {
    fraction(wire.unwrap_or_default()).at("percentage")
}
