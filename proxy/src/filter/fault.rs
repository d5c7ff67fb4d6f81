//! Pure. Fault injection: delays requests and aborts them with an error, as configured.

use super::step::{Event, FilterState, RequestView, Step};
use crate::flow::flags::Flags;
use crate::flow::refusal::Refusal;
use crate::matcher::{HeaderCondition, InvalidConfig};
use api::model::filter::fault::{self as model, AbortStatus};
use api::model::matcher::Fraction;
use http::HeaderMap;
use std::time::Duration;

/// A compiled fault.
#[derive(Debug)]
pub struct Fault {
    /// The delay and abort.
    pub model: model::Fault,
    /// Conditions on headers; the fault applies if all match.
    headers: Box<[HeaderCondition]>,
}

impl Fault {
    /// Compiles a fault.
    pub fn compile(from: &model::Fault) -> Result<Self, InvalidConfig> {
        let headers = from.headers.iter().map(HeaderCondition::compile).collect::<Result<_, _>>()?;
        Ok(Self { model: from.clone(), headers })
    }

    /// Whether a delay or an abort is configured.
    pub fn has_effect(&self) -> bool {
        let model::Fault { delay, abort, delay_by_header, abort_by_header, .. } = &self.model;
        delay.is_some() || abort.is_some() || delay_by_header.is_some() || abort_by_header.is_some()
    }

    /// Delays a request, aborts it, or both.
    pub fn request(
        &self,
        event: &Event,
        request: &RequestView<'_>,
        headers: &HeaderMap,
        state: &mut FilterState,
    ) -> Step {
        if *event == Event::Waited {
            return state.take().map_or(Step::Next, Step::Refuse);
        }
        let wanted = &self.model.upstream_cluster;
        let here = wanted.is_empty() || wanted == request.cluster;
        if !here || !self.headers.iter().all(|condition| condition.matches(&request.head(headers))) {
            return Step::Next;
        }
        let injected = decide(&self.model, headers, (request.random)(), (request.random)());
        let refusal = injected.abort.map(|status| Box::new(refusal(status, request.grpc)));
        match (injected.delay, refusal) {
            (Some(time), refusal) => {
                if let Some(refusal) = refusal {
                    state.put(refusal);
                }
                Step::Wait { time, flags: Flags::DI }
            }
            (None, Some(refusal)) => Step::Refuse(refusal),
            (None, None) => Step::Next,
        }
    }
}

/// The response of an abort. Only gRPC clients understand a gRPC status.
fn refusal(abort: AbortStatus, grpc: bool) -> Refusal {
    let (status, grpc_status) = match abort {
        AbortStatus::Http(status) => (status, None),
        AbortStatus::Grpc(status) => (200, Some(status).filter(|_| grpc)),
    };
    Refusal { grpc_status, ..Refusal::new(status, "fault filter abort", Flags::FI, "fault_filter_abort") }
}

/// The fault for one request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Injected {
    /// Time to wait first.
    delay: Option<Duration>,
    /// Status to respond with afterwards.
    abort: Option<AbortStatus>,
}

/// Decides the fault for a request with two random numbers.
fn decide(fault: &model::Fault, headers: &HeaderMap, random_delay: u32, random_abort: u32) -> Injected {
    let fixed_delay = fault.delay.filter(|d| d.fraction.selects(random_delay)).map(|d| d.duration);
    let fixed_abort = fault.abort.filter(|a| a.fraction.selects(random_abort)).map(|a| a.status);
    let selected = |share: Option<Fraction>, percentage: &str, random: u32| {
        share.is_some_and(|share| at_most(share, number(headers, percentage)).selects(random))
    };
    let delay = selected(fault.delay_by_header, "x-envoy-fault-delay-request-percentage", random_delay);
    let abort = selected(fault.abort_by_header, "x-envoy-fault-abort-request-percentage", random_abort);
    Injected {
        delay: fixed_delay.or_else(|| delay.then(|| delay_from_headers(headers)).flatten()),
        abort: fixed_abort.or_else(|| abort.then(|| abort_from_headers(headers)).flatten()),
    }
}

fn delay_from_headers(headers: &HeaderMap) -> Option<Duration> {
    number(headers, "x-envoy-fault-delay-request").map(|ms| Duration::from_millis(ms.into()))
}

fn abort_from_headers(headers: &HeaderMap) -> Option<AbortStatus> {
    let status = number(headers, "x-envoy-fault-abort-request").and_then(|n| u16::try_from(n).ok());
    let http = status.filter(|status| (200..600).contains(status)).map(AbortStatus::Http);
    http.or_else(|| number(headers, "x-envoy-fault-abort-grpc-request").map(AbortStatus::Grpc))
}

/// Limits a share to a percentage from the request, which can only reduce it.
fn at_most(share: Fraction, requested: Option<u32>) -> Fraction {
    Fraction { numerator: share.numerator.min(requested.unwrap_or(u32::MAX)), ..share }
}

fn number(headers: &HeaderMap, name: &str) -> Option<u32> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Fault, FaultAbort, FaultDelay};

    #[test]
    fn the_configured_percentage_of_requests_is_selected() {
        let share = |percent| Fraction { numerator: percent, denominator: 100 };
        let fault = Fault {
            delay: Some(FaultDelay { duration: Duration::from_secs(7), fraction: share(20) }),
            abort: Some(FaultAbort { status: AbortStatus::Http(500), fraction: share(0) }),
            ..Fault::default()
        };
        let all: Vec<_> = (0..100).map(|n| decide(&fault, &HeaderMap::new(), n, n)).collect();
        assert_eq!(all.iter().filter(|i| i.delay == Some(Duration::from_secs(7))).count(), 20);
        assert_eq!(all.iter().filter(|i| i.abort.is_some()).count(), 0);
    }

    #[test]
    fn headers_inject_faults_only_where_the_configuration_allows() {
        let all = Some(Fraction { numerator: 100, denominator: 100 });
        let may = Fault { delay_by_header: all, abort_by_header: all, ..Fault::default() };
        let headers = |pairs: &[(&'static str, &'static str)]| {
            let pairs = pairs.iter().map(|(n, v)| (http::HeaderName::from_static(n), v.parse().unwrap()));
            pairs.collect::<HeaderMap>()
        };
        let abort = |headers: &HeaderMap| decide(&may, headers, 0, 50).abort;
        let http = headers(&[("x-envoy-fault-abort-request", "418")]);
        assert_eq!(abort(&http), Some(AbortStatus::Http(418)));
        assert_eq!(decide(&Fault::default(), &http, 0, 0), Injected::default());
        let grpc = headers(&[("x-envoy-fault-abort-grpc-request", "5")]);
        assert_eq!(abort(&grpc), Some(AbortStatus::Grpc(5)));
        let rare = [("x-envoy-fault-abort-request", "418"), ("x-envoy-fault-abort-request-percentage", "50")];
        assert_eq!(abort(&headers(&rare)), None);
        let late = headers(&[("x-envoy-fault-delay-request", "400")]);
        assert_eq!(decide(&may, &late, 0, 0).delay, Some(Duration::from_millis(400)));
    }

    #[test]
    fn delay_and_abort_are_independent() {
        let always = Fraction { numerator: 1, denominator: 1 };
        let fault = Fault {
            delay: Some(FaultDelay { duration: Duration::from_millis(1), fraction: always }),
            abort: Some(FaultAbort { status: AbortStatus::Grpc(14), fraction: always }),
            ..Fault::default()
        };
        let injected = decide(&fault, &HeaderMap::new(), 5, 9);
        assert_eq!(injected.delay, Some(Duration::from_millis(1)));
        assert_eq!(injected.abort, Some(AbortStatus::Grpc(14)));
    }
}
