//! Pure. Validates injected faults: delays and aborts.

use crate::check::finding::Findings;
use crate::check::value;
use api::model::filter::fault::{AbortStatus, Fault, FaultAbort, FaultDelay};
use api::model::matcher::Fraction;
use api::resource::kind::virtual_service as written;

pub(super) fn fault(f: &mut Findings, path: &str, written: &written::Fault) -> Option<Fault> {
    if written.delay.is_none() && written.abort.is_none() {
        f.error(path, "injects nothing", "add delay or abort");
    }
    let delay = written.delay.as_ref().and_then(|w| delay(f, &format!("{path}.delay"), w));
    let abort = written.abort.as_ref().and_then(|w| abort(f, &format!("{path}.abort"), w));
    (delay.is_some() || abort.is_some()).then_some(Fault { delay, abort, ..Fault::default() })
}

fn delay(f: &mut Findings, path: &str, written: &written::Delay) -> Option<FaultDelay> {
    f.unserved(format!("{path}.exponentialDelay"), &written.exponential_delay);
    if written.fixed_delay.is_none() {
        f.warn(format!("{path}.fixedDelay"), "is missing: nothing is delayed", "set a value");
    }
    let fraction = fault_share(f, path, written.percentage, written.percent);
    let duration = value::period(f, &format!("{path}.fixedDelay"), written.fixed_delay.as_deref())?;
    Some(FaultDelay { duration, fraction: fraction? })
}

fn abort(f: &mut Findings, path: &str, written: &written::Abort) -> Option<FaultAbort> {
    f.unserved(format!("{path}.http2Error"), &written.http2_error);
    let status = match (written.http_status, &written.grpc_status) {
        (Some(_), Some(_)) => {
            f.error(
                format!("{path}.grpcStatus"),
                "cannot be combined with httpStatus",
                "keep one of the two",
            );
            None
        }
        (Some(status), None) => match u16::try_from(status) {
            Ok(code) if (200..600).contains(&code) => Some(AbortStatus::Http(code)),
            _ => {
                let reason = format!("{status} is not a valid HTTP status");
                f.error(format!("{path}.httpStatus"), reason, "write a number from 200 to 599");
                None
            }
        },
        (None, Some(name)) => {
            let code = grpc_status(name);
            if code.is_none() {
                let reason = format!("`{name}` is not a gRPC status");
                f.error(format!("{path}.grpcStatus"), reason, "write a name such as UNAVAILABLE");
            }
            code.map(AbortStatus::Grpc)
        }
        (None, None) => {
            f.warn(format!("{path}.httpStatus"), "is missing: nothing is aborted", "set a value");
            None
        }
    };
    let fraction = fault_share(f, path, written.percentage, written.percent);
    Some(FaultAbort { status: status?, fraction: fraction? })
}

/// Parses the percentage of requests; without one, no fault is injected.
fn fault_share(
    f: &mut Findings,
    path: &str,
    percentage: Option<written::Percent>,
    percent: Option<i64>,
) -> Option<Fraction> {
    let share = match (percentage, percent) {
        (Some(percentage), _) => {
            let path = format!("{path}.percentage.value");
            if percentage.value > 0.0 && percentage.value < LEAST_SHARE {
                let reason = format!("{} is too small to be distinguished from 0", percentage.value);
                f.error(&path, reason, "write 0, or at least 0.0001");
            }
            value::share(f, &path, percentage.value)
        }
        (None, Some(percent)) => value::share(f, &format!("{path}.percent"), percent as f64),
        (None, None) => {
            f.warn(path, "injects nothing without percentage", "add percentage.value: 100");
            return None;
        }
    };
    (share.numerator > 0).then_some(share)
}

fn grpc_status(text: &str) -> Option<u32> {
    GRPC_STATUSES.iter().position(|name| *name == text).map(|at| at as u32)
}

/// In percent: one request in a million.
const LEAST_SHARE: f64 = 0.0001;

/// The names of gRPC status codes, by number.
const GRPC_STATUSES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];
