//! A request that is sent on: its cluster is chosen, its head rewritten, and attempts are made until one counts.

use super::attempt::{Attempt, Failure, Message};
use super::body::{ResponseBody, Upstream as UpstreamBody};
use super::exchange::{Exchange, protocol};
use super::headers::{
    ATTEMPT_COUNT, EXPECTED_TIMEOUT, GRPC_STATUS, ORIGINAL_HOST, ORIGINAL_PATH, SERVICE_TIME,
    strip_hop_by_hop,
};
use super::timer::Timer;
use super::{mirror, upgrade};
use crate::flow::flags::Flags;
use crate::flow::record::Reporter;
use crate::pipeline::refusal::Refusal;
use crate::pipeline::upstream::{Permit, Upstream};
use crate::pipeline::world::now;
use crate::policy::{deadline, retry};
use crate::route::{self, Chosen, rewrite};
use crate::send::body::Replay;
use crate::snapshot::health::Verdict;
use crate::snapshot::mutation::Context;
use crate::snapshot::table::{Forward, Route, VirtualHost};
use api::model::route::{HashKey, RetryPolicy};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use hyper::body::{Body, Incoming};
use std::borrow::Cow;
use std::rc::Rc;

/// A request and its way.
#[derive(Clone, Copy)]
pub(super) struct Outgoing<'a> {
    pub(super) host: &'a VirtualHost,
    pub(super) route: &'a Route,
    pub(super) forward: &'a Forward,
    pub(super) target: &'a str,
    pub(super) scheme: &'static str,
    pub(super) upgrade: bool,
}

/// Sends a request on and gives back the response for the client.
pub(super) async fn forward(
    exchange: &Rc<Exchange>,
    way: Outgoing<'_>,
    parts: &mut Parts,
    body: Incoming,
) -> Result<Response<ResponseBody>, Refusal> {
    let thread = &exchange.connection.thread;
    let missing = || Refusal::no_cluster(way.forward.cluster_not_found);
    let chosen =
        route::cluster(&way.forward.clusters, &parts.headers, thread.random()).ok_or_else(missing)?;
    exchange.detail(|d| d.cluster = Some(chosen.name().clone()));
    let upstream = thread.upstream(chosen.name()).ok_or_else(missing)?;
    exchange.key(|key| key.service = upstream.service);
    let permit = upstream
        .permit(upstream.cluster().model.limits.max_requests, |g| &g.requests)
        .ok_or_else(|| overflow(&upstream))?;

    let internal = !exchange.connection.http().model.use_remote_address;
    let policy = policy(way.forward, &parts.headers, internal).filter(|_| !way.upgrade);
    let limit = deadline::limit(
        way.forward.timeout,
        way.forward.max_grpc_timeout,
        &parts.headers,
        exchange.grpc,
        internal,
    );
    let limit = limit.filter(|_| !way.upgrade);
    let hash = hash_key(&way, parts, exchange);
    let request_headers = response_needs(&way, &chosen).then(|| parts.headers.clone());
    let client_upgrade = way.upgrade.then(|| upgrade::client(parts));
    rewrite_head(exchange, &way, &chosen, parts, limit)?;

    let mut message = message(exchange, parts, body, policy.is_some() || !way.forward.mirrors.is_empty());
    mirror::send(exchange, &way, &message);
    let mut attempt = Attempt::new(exchange, &upstream, way.scheme, way.host.attempt_count, hash);
    let mut whole = limit.map(|limit| Timer::new(limit, &exchange.meter));
    let (sent, busy) = attempts(&mut attempt, &mut message, policy.as_deref(), &mut whole).await?;

    let (mut head, incoming) = sent.response.into_parts();
    let upgraded = head.status == http::StatusCode::SWITCHING_PROTOCOLS;
    strip_hop_by_hop(&mut head.headers, upgraded);
    let took = attempt.began.map(|began| now().saturating_duration_since(began)).unwrap_or_default();
    head.headers.insert(SERVICE_TIME, HeaderValue::from(took.as_millis() as u64));
    exchange.detail(|d| {
        d.upstream_time = Some(took);
        d.code_details = Some("via_upstream".into());
    });
    let none = HeaderMap::new();
    let context = Context {
        request: request_headers.as_ref().unwrap_or(&none),
        remote: Some(exchange.connection.peer),
        local: Some(exchange.connection.local),
        protocol: protocol(parts.version),
    };
    if let Chosen::Weighted(weighted) = &chosen {
        weighted.response_headers.apply(&mut head.headers, &context);
    }
    way.route.response_headers.apply(&mut head.headers, &context);
    way.host.response_headers.apply(&mut head.headers, &context);
    if let (true, Some(client)) = (upgraded, client_upgrade) {
        let response = Response::from_parts(head, incoming);
        return Ok(upgrade::join(exchange, client, response, (sent.returned, busy, permit)));
    }
    let body =
        UpstreamBody { incoming, returned: Some(sent.returned), timer: whole, _busy: busy, _permit: permit };
    Ok(Response::from_parts(head, ResponseBody::upstream(body, exchange.clone())))
}

type Answered = (crate::send::Sent, crate::pipeline::upstream::Busy);

/// Makes attempts until one counts.
async fn attempts(
    attempt: &mut Attempt<'_>,
    message: &mut Message,
    policy: Option<&RetryPolicy>,
    whole: &mut Option<Timer>,
) -> Result<Answered, Refusal> {
    let exchange = attempt.exchange;
    let mut repeated = 0;
    let mut retry_permit: Option<Permit> = None;
    loop {
        let result = attempt.run(message, policy, whole).await;
        let outcome = match &result {
            Ok((sent, _)) => {
                let grpc = sent.response.headers().get(GRPC_STATUS);
                let grpc = grpc.and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
                retry::Outcome::Response(sent.response.status().as_u16(), grpc)
            }
            Err(Failure { outcome: Some(outcome), .. }) => *outcome,
            Err(_) => return result.map_err(|failure| failure.refusal),
        };
        attempt.note(outcome);
        let wanted = policy.filter(|policy| retry::repeats(policy, outcome));
        let Some(policy) = wanted.filter(|_| message.can_repeat()) else {
            return result.map_err(|failure| failure.refusal);
        };
        if repeated >= policy.attempts {
            if policy.attempts > 0 {
                exchange.flag(Flags::URX);
            }
            return result.map_err(|failure| failure.refusal);
        }
        drop(retry_permit.take());
        retry_permit =
            attempt.upstream.permit(attempt.upstream.cluster().model.limits.max_retries, |g| &g.retries);
        if retry_permit.is_none() {
            attempt.upstream.stats.upstream_rq_retry_overflow.add(1);
            exchange.flag(Flags::UO);
            return result.map_err(|failure| failure.refusal);
        }
        repeated += 1;
        attempt.upstream.stats.upstream_rq_retry.add(1);
        drop(result);
        let wait = retry::wait(policy.back_off, repeated, exchange.connection.thread.random());
        let mut limits = super::timer::Limits { whole: whole.as_mut(), ..Default::default() };
        limits.wait(tokio::time::sleep(wait)).await.map_err(|_| Refusal::timeout())?;
    }
}

fn overflow(upstream: &Upstream) -> Refusal {
    upstream.stats.upstream_rq_pending_overflow.add(1);
    Refusal::overflow()
}

fn policy<'a>(forward: &'a Forward, headers: &HeaderMap, internal: bool) -> Option<Cow<'a, RetryPolicy>> {
    let route = forward.retry.as_ref();
    if internal && let Some(asked) = retry::asked(headers, route) {
        return Some(Cow::Owned(asked));
    }
    route.filter(|policy| policy.attempts > 0).map(Cow::Borrowed)
}

fn message(exchange: &Rc<Exchange>, parts: &mut Parts, body: Incoming, keep: bool) -> Message {
    let head = std::mem::take(&mut parts.headers);
    let (method, uri) = (parts.method.clone(), parts.uri.clone());
    if body.is_end_stream() {
        exchange.meter.end();
        return Message::Bare { method, uri, headers: head };
    }
    if keep {
        return Message::Kept { method, uri, headers: head, replay: Replay::new(body) };
    }
    Message::Once { method, uri, headers: head, body: Some(body) }
}

/// Writes the head as the upstream is to see it.
fn rewrite_head(
    exchange: &Exchange,
    way: &Outgoing<'_>,
    chosen: &Chosen<'_>,
    parts: &mut Parts,
    limit: Option<std::time::Duration>,
) -> Result<(), Refusal> {
    for name in RETRY_HEADERS {
        parts.headers.remove(name);
    }
    if let Some(limit) = limit {
        parts.headers.insert(EXPECTED_TIMEOUT, HeaderValue::from(limit.as_millis() as u64));
    }
    let weighted = match chosen {
        Chosen::Weighted(weighted) => Some(*weighted),
        _ => None,
    };
    let nothing = HeaderMap::new();
    let context = Context {
        request: &nothing,
        remote: Some(exchange.connection.peer),
        local: Some(exchange.connection.local),
        protocol: protocol(parts.version),
    };
    let levels = [
        weighted.map(|w| &w.request_headers),
        Some(&way.route.request_headers),
        Some(&way.host.request_headers),
    ];
    for mutations in levels.into_iter().flatten().filter(|m| !m.is_empty()) {
        mutations.apply_to_request(&mut parts.headers, &context);
    }
    let host = way.forward.host_rewrite.as_ref().or(weighted.and_then(|w| w.host_rewrite.as_ref()));
    if let Some(host) = host {
        let original = parts.headers.insert(header::HOST, host.clone());
        if let Some(original) = original.filter(|original| original != host) {
            parts.headers.insert(ORIGINAL_HOST, original);
        }
    }
    if let Some(target) = rewrite::target(way.forward, way.target) {
        if let Ok(original) = HeaderValue::from_str(way.target) {
            parts.headers.insert(ORIGINAL_PATH, original);
        }
        parts.uri = target.parse().map_err(|_| Refusal::new(400, "", Flags::DPE, "path_rewrite_failed"))?;
    } else if parts.uri.scheme().is_some() {
        let path = parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        parts.uri = path.into();
    }
    Ok(())
}

fn response_needs(way: &Outgoing<'_>, chosen: &Chosen<'_>) -> bool {
    let weighted = matches!(chosen, Chosen::Weighted(w) if w.response_headers.needs_request());
    weighted || way.route.response_headers.needs_request() || way.host.response_headers.needs_request()
}

/// The key by which consistent-hash balancers choose.
fn hash_key(way: &Outgoing<'_>, parts: &Parts, exchange: &Exchange) -> Option<u64> {
    let mut combined: Option<u64> = None;
    for key in &way.forward.hash {
        let value: Option<Cow<'_, [u8]>> = match key {
            HashKey::Header(name) => parts.headers.get(name).map(|v| v.as_bytes().into()),
            HashKey::SourceIp => Some(exchange.connection.peer.ip().to_string().into_bytes().into()),
            HashKey::Query(name) => {
                let query = parts.uri.query().unwrap_or("");
                let mut pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
                pairs.find(|(known, _)| known == name).map(|(_, v)| v.as_bytes().into())
            }
            HashKey::Cookie { name, .. } => cookie(&parts.headers, name).map(|v| v.as_bytes().into()),
        };
        if let Some(value) = value {
            let hash = crate::balance::consistent::hash(&value);
            combined = Some(combined.unwrap_or(0).rotate_left(1) ^ hash);
        }
    }
    combined
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|v| v.to_str().ok());
    let mut pairs = all.flat_map(|v| v.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(known, _)| *known == name).map(|(_, value)| value.trim_matches('"'))
}

/// How an answer speaks of the endpoint's health.
pub(super) fn verdict(outcome: retry::Outcome) -> Verdict {
    match outcome {
        retry::Outcome::Response(code, _) => Verdict::of_code(code),
        retry::Outcome::Refused => Verdict::Good,
        _ => Verdict::GatewayError,
    }
}

/// Whose labels the endpoint gives.
pub(super) fn is_source(exchange: &Exchange) -> bool {
    exchange.connection.reporter == Reporter::Source
}

pub(super) const ATTEMPTS: HeaderName = ATTEMPT_COUNT;

const RETRY_HEADERS: [&str; 7] = [
    "x-envoy-retry-on",
    "x-envoy-retry-grpc-on",
    "x-envoy-max-retries",
    "x-envoy-retriable-status-codes",
    "x-envoy-upstream-rq-timeout-ms",
    "x-envoy-upstream-rq-per-try-timeout-ms",
    "x-envoy-expected-rq-timeout-ms",
];
