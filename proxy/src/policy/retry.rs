//! Pure. Whether and when a request is retried: Envoy's retry conditions by name, back-off with full jitter, and the
//! headers by which a client inside the mesh may request retries.

use api::model::matcher::BackOff;
use api::model::route::{RetryOn, RetryPolicy};
use http::HeaderMap;
use std::time::Duration;

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A response with this code, and its gRPC status if it came with the headers.
    Response(u16, Option<u32>),
    /// No connection could be established.
    ConnectFailed,
    /// The stream was reset or the connection closed.
    Reset {
        /// At least part of the request had been sent.
        sent: bool,
    },
    /// HTTP/2 REFUSED_STREAM: the upstream did not process the request.
    Refused,
    /// The per-try timeout passed.
    TimedOut,
}

/// Whether a policy retries an outcome.
pub fn is_retriable(policy: &RetryPolicy, outcome: Outcome) -> bool {
    policy.on.iter().any(|condition| meets(*condition, policy, outcome))
}

/// Whether any condition of a policy depends on the gRPC status.
pub fn needs_grpc_status(policy: &RetryPolicy) -> bool {
    use RetryOn::{
        GrpcCancelled, GrpcDeadlineExceeded, GrpcInternal, GrpcResourceExhausted, GrpcUnavailable,
    };
    policy.on.iter().any(|condition| {
        matches!(
            condition,
            GrpcCancelled | GrpcDeadlineExceeded | GrpcInternal | GrpcResourceExhausted | GrpcUnavailable
        )
    })
}

fn meets(condition: RetryOn, policy: &RetryPolicy, outcome: Outcome) -> bool {
    use Outcome::{ConnectFailed, Refused, Reset, Response, TimedOut};
    let no_response = matches!(outcome, ConnectFailed | Reset { .. } | Refused | TimedOut);
    let code = match outcome {
        Response(code, _) => code,
        _ => 0,
    };
    let grpc = match outcome {
        Response(_, Some(status)) => Some(status),
        _ => None,
    };
    match condition {
        RetryOn::ServerError => no_response || (500..600).contains(&code),
        RetryOn::GatewayError => no_response || (502..=504).contains(&code),
        RetryOn::ConnectFailure => outcome == ConnectFailed,
        RetryOn::Reset => matches!(outcome, ConnectFailed | Reset { .. } | Refused | TimedOut),
        RetryOn::ResetBeforeRequest => matches!(outcome, ConnectFailed | Reset { sent: false }),
        RetryOn::RefusedStream => outcome == Refused,
        RetryOn::Retriable4xx => code == 409,
        RetryOn::RetriableStatusCodes => code != 0 && policy.status_codes.contains(&code),
        // Headers are compared where the response is available.
        RetryOn::RetriableHeaders => false,
        RetryOn::GrpcCancelled => grpc == Some(1),
        RetryOn::GrpcDeadlineExceeded => grpc == Some(4),
        RetryOn::GrpcResourceExhausted => grpc == Some(8),
        RetryOn::GrpcInternal => grpc == Some(13),
        RetryOn::GrpcUnavailable => grpc == Some(14),
    }
}

/// The wait before retry `number` (from 1): a random part of an exponentially growing interval.
pub fn wait(back_off: BackOff, number: u32, random: u32) -> Duration {
    let doubled = 1u32.checked_shl(number.saturating_sub(1)).unwrap_or(u32::MAX);
    let span = back_off.base.saturating_mul(doubled).min(back_off.max.max(back_off.base));
    let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(u64::try_from((u128::from(nanos) * u128::from(random)) >> 32).unwrap_or(nanos))
}

/// The route's policy extended by the retries that a client inside the mesh requests by header.
pub fn from_headers(headers: &HeaderMap, route: Option<&RetryPolicy>) -> Option<RetryPolicy> {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    let mut conditions: Vec<RetryOn> = vec![];
    for name in ["x-envoy-retry-on", "x-envoy-retry-grpc-on"] {
        let names = text(name).unwrap_or("").split(',');
        conditions.extend(names.filter_map(|n| RetryOn::from_name(n.trim())));
    }
    let attempts = text("x-envoy-max-retries").and_then(|v| v.parse().ok());
    let per_try_timeout_ms = text("x-envoy-upstream-rq-per-try-timeout-ms").and_then(|v| v.parse().ok());
    if conditions.is_empty() && (route.is_none() || attempts.is_none() && per_try_timeout_ms.is_none()) {
        return None;
    }
    let mut policy = route.cloned().unwrap_or(RetryPolicy {
        on: vec![],
        status_codes: vec![],
        attempts: 1,
        per_try_timeout: None,
        back_off: BackOff { base: Duration::from_millis(25), max: Duration::from_millis(250) },
        avoid_previous_hosts: 0,
        headers: vec![],
        request_headers: vec![],
    });
    policy.on.extend(conditions);
    policy.attempts = attempts.unwrap_or(policy.attempts);
    policy.per_try_timeout = per_try_timeout_ms.map(Duration::from_millis).or(policy.per_try_timeout);
    let codes = text("x-envoy-retriable-status-codes").unwrap_or("").split(',');
    policy.status_codes.extend(codes.filter_map(|c| c.trim().parse::<u16>().ok()));
    Some(policy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(on: RetryOn) -> RetryPolicy {
        RetryPolicy {
            on: vec![on],
            status_codes: vec![418],
            attempts: 2,
            per_try_timeout: None,
            back_off: BackOff { base: Duration::from_millis(25), max: Duration::from_millis(250) },
            avoid_previous_hosts: 0,
            headers: vec![],
            request_headers: vec![],
        }
    }

    #[test]
    fn conditions_hold_for_envoys_outcomes() {
        use Outcome::{ConnectFailed, Refused, Reset, Response, TimedOut};
        let all = [
            Response(200, None),
            Response(409, None),
            Response(418, None),
            Response(500, None),
            Response(503, None),
            Response(200, Some(14)),
            ConnectFailed,
            Reset { sent: true },
            Reset { sent: false },
            Refused,
            TimedOut,
        ];
        let cases = [
            (RetryOn::ServerError, vec![3, 4, 6, 7, 8, 9, 10]),
            (RetryOn::GatewayError, vec![4, 6, 7, 8, 9, 10]),
            (RetryOn::ConnectFailure, vec![6]),
            (RetryOn::Reset, vec![6, 7, 8, 9, 10]),
            (RetryOn::ResetBeforeRequest, vec![6, 8]),
            (RetryOn::RefusedStream, vec![9]),
            (RetryOn::Retriable4xx, vec![1]),
            (RetryOn::RetriableStatusCodes, vec![2]),
            (RetryOn::GrpcUnavailable, vec![5]),
            (RetryOn::GrpcInternal, vec![]),
        ];
        for (on, expected) in cases {
            let retried: Vec<usize> = (0..all.len()).filter(|i| is_retriable(&policy(on), all[*i])).collect();
            assert_eq!(retried, expected, "{on:?}");
        }
    }

    #[test]
    fn waits_grow_up_to_their_bound() {
        let back_off = BackOff { base: Duration::from_millis(25), max: Duration::from_millis(250) };
        for (number, longest) in [(1, 25), (2, 50), (4, 200), (5, 250), (40, 250)] {
            let wait = wait(back_off, number, u32::MAX);
            let longest = Duration::from_millis(longest);
            assert!(wait <= longest && wait + Duration::from_millis(1) > longest, "{number}: {wait:?}");
        }
        assert_eq!(wait(back_off, 3, 0), Duration::ZERO);
    }

    #[test]
    fn headers_request_retries() {
        let mut headers = HeaderMap::new();
        assert_eq!(from_headers(&headers, None), None);
        headers.insert("x-envoy-retry-on", "5xx,nonsense".parse().unwrap());
        headers.insert("x-envoy-max-retries", "4".parse().unwrap());
        let policy = from_headers(&headers, None).unwrap();
        assert_eq!((policy.on, policy.attempts), (vec![RetryOn::ServerError], 4));
    }
}
