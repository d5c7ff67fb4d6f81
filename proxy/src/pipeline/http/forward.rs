//! Forwards a request: chooses its cluster, rewrites its head, and makes attempts until one succeeds or no retry is
//! left.

use super::attempt::{Attempt, Plan};
use super::body::{ResponseBody, Upstream as UpstreamBody};
use super::connect::Failure;
use super::exchange::{Exchange, protocol};
use super::headers::{
    ATTEMPT_COUNT, ORIGINAL_PATH, SERVICE_TIME, milliseconds, replace_host, strip_hop_by_hop,
};
use super::levels::{Levels, MatchedRoute};
use super::message::Message;
use super::survey::{HeadField, Survey};
use super::timer::Timer;
use super::{mirror, reply, upgrade};
use crate::flow::flags::Flags;
use crate::flow::grpc;
use crate::flow::head::Head;
use crate::flow::refusal::Refusal;
use crate::format::context::Context;
use crate::matcher::HeaderCondition;
use crate::pipeline::upstream::{Permit, Upstream};
use crate::pipeline::world::now;
use crate::policy::{deadline, retry};
use crate::route::{self, Chosen, rewrite};
use crate::send::Incoming;
use crate::send::body::Replay;
use crate::snapshot::table::{Forward, HostRewrite, Weighted};
use api::model::route::{HashKey, RetryOn, RetryPolicy};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Response, header};
use http_body::Body;
use std::borrow::Cow;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

/// A request and its route.
#[derive(Clone, Copy)]
pub(super) struct Outgoing<'a> {
    pub(super) matched: &'a MatchedRoute<'a>,
    pub(super) forward: &'a Forward,
    /// The headers that the request's head contains after its filters.
    pub(super) seen: Survey,
    pub(super) upgrade: bool,
}

/// Forwards a request and returns the response for the client.
pub(super) async fn forward(
    exchange: &Rc<Exchange>,
    outgoing: Outgoing<'_>,
    parts: &mut Parts,
    body: Incoming,
) -> Result<Response<ResponseBody>, Refusal> {
    let Outgoing { matched, forward, upgrade, .. } = outgoing;
    let thread = &exchange.connection.thread;
    let missing = || Refusal::no_cluster(forward.cluster_not_found);
    let chosen = route::cluster(&forward.clusters, &parts.headers, thread.random()).ok_or_else(missing)?;
    let upstream = thread.upstream(chosen.name()).ok_or_else(missing)?;
    exchange.detail(|d| d.cluster = Some(chosen.name().clone()));
    exchange.key(|key| key.service = upstream.service);
    let permit = upstream
        .permit(upstream.cluster().model.request_limit(), |g| &g.requests)
        .ok_or_else(|| overflow(&upstream))?;

    let rules = retry_rules(matched, forward, parts);
    let (own, longest) = (forward.timeout, forward.max_grpc_timeout);
    let limit = deadline::limit(own, longest, &parts.headers, exchange.forwards_grpc(), matched.instructed);
    let (hash, cookie) = hash_key(&outgoing, parts, exchange);
    let client_upgrade = upgrade.then(|| upgrade::switched(&body)).flatten();
    rewrite_head(exchange, &outgoing, &chosen, parts)?;

    let kept = rules.as_ref().is_some_and(|r| r.policy.attempts > 0) || !forward.mirrors.is_empty();
    let mut message = message(exchange, parts, body, kept);
    mirror::send(exchange, &forward.mirrors, &message, limit);
    let mut attempt = Attempt::new(exchange, upstream, plan(&outgoing, hash, limit));
    let mut whole = limit.map(|limit| Timer::new(limit, &exchange.meter, thread));
    let responded = attempts(&mut attempt, &mut message, rules.as_ref(), &mut whole).await;
    let (sent, busy) = match responded {
        Ok(responded) => responded,
        Err(refusal) => {
            // Without an endpoint Envoy responds before it reads on.
            if attempt.endpoint().is_some() {
                message.receive(&exchange.meter);
            }
            let mut response = reply::refuse(refusal, exchange);
            apply_header_changes(&outgoing, &chosen, &attempt, &mut response, true);
            return Ok(response);
        }
    };

    let (head, incoming) = sent.response.into_parts();
    let mut response = Response::from_parts(head, ());
    let upgraded = sanitize_response(exchange, &attempt, &mut response);
    if let Some(cookie) = cookie {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    apply_header_changes(&outgoing, &chosen, &attempt, &mut response, false);
    if let (true, Some(client)) = (upgraded, client_upgrade) {
        let response = response.map(|()| incoming);
        return Ok(upgrade::join(exchange, client, response, (sent.returned, busy, permit)));
    }
    let body =
        UpstreamBody { incoming, returned: Some(sent.returned), timer: whole, _busy: busy, _permit: permit };
    Ok(response.map(|()| ResponseBody::upstream(body, exchange.clone())))
}

/// The settings that all attempts of a request share.
fn plan(outgoing: &Outgoing<'_>, hash: Option<u64>, limit: Option<Duration>) -> Plan {
    let Outgoing { matched, forward, upgrade, .. } = *outgoing;
    let is_endpoint = matches!(forward.host_rewrite, Some(HostRewrite::Endpoint));
    Plan {
        scheme: matched.scheme,
        count_header: matched.levels.host.attempt_count,
        hash,
        limit,
        idle: forward.idle_timeout,
        upgrade,
        endpoint_host: is_endpoint.then_some(forward.append_forwarded_host),
    }
}

/// Sanitizes the response's head. Returns whether it switches protocols.
fn sanitize_response(exchange: &Exchange, attempt: &Attempt<'_>, response: &mut Response<()>) -> bool {
    let upgraded = response.status() == http::StatusCode::SWITCHING_PROTOCOLS;
    let seen = Survey::of(response.headers());
    strip_hop_by_hop(response.headers_mut(), seen, upgraded);
    let now = now();
    let took = attempt.began.map(|began| now.saturating_duration_since(began)).unwrap_or_default();
    if !upgraded {
        response.headers_mut().insert(SERVICE_TIME, milliseconds(took.as_millis()));
    }
    exchange.detail(|d| {
        d.upstream_time = Some(took);
        d.responded = Some(now.saturating_duration_since(exchange.start));
        d.upstream_protocol = Some(protocol(response.version()));
        d.code_details = Some("via_upstream".into());
    });
    upgraded
}

/// Applies the configured changes to a response's headers.
fn apply_header_changes<B>(
    outgoing: &Outgoing<'_>,
    chosen: &Chosen<'_>,
    attempt: &Attempt<'_>,
    response: &mut Response<B>,
    is_local: bool,
) {
    let Levels { host, .. } = outgoing.matched.levels;
    let silent = attempt.exchange.flags().contains(Flags::SI);
    if host.attempt_count_in_response && attempt.count > 0 && !silent {
        response.headers_mut().insert(ATTEMPT_COUNT, HeaderValue::from(attempt.count));
    }
    let context = Context {
        cluster: chosen.name(),
        upstream: attempt.endpoint(),
        code: if is_local { 0 } else { response.status().as_u16() },
        flags: attempt.exchange.flags(),
        ..*outgoing.matched.context
    };
    let levels = outgoing.matched.levels;
    if is_local {
        levels.apply_to_local_response(weighted(chosen), response.headers_mut(), &context);
    } else {
        levels.apply_to_response(weighted(chosen), response.headers_mut(), &context);
    }
}

fn weighted<'a>(chosen: &Chosen<'a>) -> Option<&'a Weighted> {
    match chosen {
        Chosen::Weighted(weighted) => Some(*weighted),
        _ => None,
    }
}

type Responded = (crate::send::Sent, crate::pipeline::upstream::ActiveGuard);

/// Makes attempts until the policy does not retry.
async fn attempts(
    attempt: &mut Attempt<'_>,
    message: &mut Message,
    rules: Option<&RetryRules<'_>>,
    whole: &mut Option<Timer>,
) -> Result<Responded, Refusal> {
    let policy = rules.map(|rules| &*rules.policy);
    let refused = |refusal: Refusal, retries| if retries > 0 { refusal.retried() } else { refusal };
    let exchange = attempt.exchange;
    let mut retries = 0;
    let mut retry_permit: Option<Permit> = None;
    loop {
        let result = attempt.run(message, policy, whole).await;
        let outcome = match &result {
            Ok((sent, _)) => {
                let needs_status = policy.is_some_and(retry::needs_grpc_status);
                let grpc_status = needs_status.then(|| sent.response.headers().get(grpc::STATUS)).flatten();
                let grpc_status = grpc_status.and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
                retry::Outcome::Response(sent.response.status().as_u16(), grpc_status)
            }
            Err(Failure { outcome: Some(outcome), .. }) => *outcome,
            Err(_) => return result.map_err(|failure| refused(failure.refusal, retries)),
        };
        attempt.record(outcome);
        let headers = result.as_ref().ok().map(|(sent, _)| sent.response.headers());
        let wanted = rules.filter(|rules| {
            retry::is_retriable(&rules.policy, outcome)
                || headers.is_some_and(|headers| rules.match_response(headers))
        });
        // Without any retry the body was not kept, and the limit is what prevents the retry.
        let resendable = |policy: &&RetryPolicy| policy.attempts == 0 || message.can_resend();
        let Some(policy) = wanted.map(|r| &*r.policy).filter(resendable) else {
            return result.map_err(|failure| refused(failure.refusal, retries));
        };
        if retries >= policy.attempts {
            exchange.flag(Flags::URX);
            return result.map_err(|failure| refused(failure.refusal, retries));
        }
        drop(retry_permit.take());
        retry_permit =
            attempt.upstream.permit(attempt.upstream.cluster().model.limits.max_retries, |g| &g.retries);
        if retry_permit.is_none() {
            attempt.upstream.stats.upstream_rq_retry_overflow.add(1);
            exchange.flag(Flags::UO);
            return result.map_err(|failure| refused(failure.refusal, retries));
        }
        retries += 1;
        attempt.upstream.stats.upstream_rq_retry.add(1);
        drop(result);
        let wait = retry::wait(policy.back_off, retries, exchange.connection.thread.random());
        let mut limits = super::timer::Limits { whole: whole.as_mut(), ..Default::default() };
        limits.wait(pin!(tokio::time::sleep(wait))).await.map_err(|_| Refusal::timeout())?;
        attempt.refresh_upstream();
    }
}

fn overflow(upstream: &Upstream) -> Refusal {
    upstream.stats.upstream_rq_pending_overflow.add(1);
    Refusal::overflow()
}

/// The retry policy of one request.
struct RetryRules<'a> {
    policy: Cow<'a, RetryPolicy>,
    headers: &'a [HeaderCondition],
}

impl RetryRules<'_> {
    /// Whether the response's headers ask for a retry.
    fn match_response(&self, headers: &HeaderMap) -> bool {
        let head = Head { method: &Method::GET, authority: "", target: "", scheme: "", headers };
        self.policy.on.contains(&RetryOn::RetriableHeaders) && self.headers.iter().any(|c| c.matches(&head))
    }
}

fn retry_rules<'a>(
    matched: &MatchedRoute<'_>,
    forward: &'a Forward,
    parts: &Parts,
) -> Option<RetryRules<'a>> {
    let route = forward.retry.as_ref();
    let headers = route.map_or(&[][..], |retry| &retry.headers);
    if matched.instructed
        && let Some(policy) = retry::from_headers(&parts.headers, route.map(|retry| &retry.policy))
    {
        return Some(RetryRules { policy: Cow::Owned(policy), headers });
    }
    let route = route?;
    let head = Head {
        method: &parts.method,
        authority: matched.context.authority,
        target: matched.context.target,
        scheme: matched.scheme,
        headers: &parts.headers,
    };
    let wanted = route.request_headers.is_empty() || route.request_headers.iter().any(|c| c.matches(&head));
    wanted.then_some(RetryRules { policy: Cow::Borrowed(&route.policy), headers })
}

fn message(exchange: &Rc<Exchange>, parts: &mut Parts, body: Incoming, keep: bool) -> Message {
    let head = std::mem::take(&mut parts.headers);
    let (method, uri) = (parts.method.clone(), parts.uri.clone());
    if body.is_end_stream() {
        exchange.meter.end();
        return Message::NoBody { method, uri, headers: head };
    }
    if keep {
        return Message::Replayable { method, uri, headers: head, replay: Replay::new(body) };
    }
    Message::Streamed { method, uri, headers: head, body: Some(body) }
}

/// Rewrites the head for the upstream.
fn rewrite_head(
    exchange: &Exchange,
    outgoing: &Outgoing<'_>,
    chosen: &Chosen<'_>,
    parts: &mut Parts,
) -> Result<(), Refusal> {
    let Outgoing { matched, forward, seen, .. } = outgoing;
    let target = matched.context.target;
    if seen.has(HeadField::Internal) {
        for name in RETRY_HEADERS {
            parts.headers.remove(name);
        }
    }
    let weighted = weighted(chosen);
    let context = Context { cluster: chosen.name(), ..*matched.context };
    let mut changed = matched.levels.apply_to_request(weighted, &mut parts.headers, &context);
    let host = match &forward.host_rewrite {
        Some(rewrite) => rewritten_host(rewrite, &parts.headers, target),
        None => weighted.and_then(|w| w.host_rewrite.clone()),
    };
    if let Some(host) = host {
        exchange.detail(|detail| detail.authority = Some(host.clone()));
        if forward.host_rewrite.is_some() {
            replace_host(&mut parts.headers, host, forward.append_forwarded_host);
        } else {
            // As in Envoy, `x-forwarded-host` does not report the host that a weighted cluster replaces.
            parts.headers.insert(header::HOST, host);
        }
        changed = true;
    }
    if let Some(made) = rewrite::target(forward, target) {
        if let Ok(original) = HeaderValue::from_str(target) {
            parts.headers.insert(ORIGINAL_PATH, original);
        }
        parts.uri = made.parse().map_err(|_| Refusal::new(400, "", Flags::DPE, "path_rewrite_failed"))?;
        changed = true;
    } else if parts.uri.scheme().is_some() {
        let path = parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        parts.uri = path.into();
    }
    if changed {
        exchange.capture_request(&parts.headers, &parts.uri);
    }
    Ok(())
}

/// The rewritten authority; `None`: it stays, or the endpoint's hostname replaces it later.
fn rewritten_host(rewrite: &HostRewrite, headers: &HeaderMap, target: &str) -> Option<HeaderValue> {
    match rewrite {
        HostRewrite::Literal(host) => Some(host.clone()),
        HostRewrite::Endpoint => None,
        HostRewrite::Header(name) => headers.get(name).filter(|value| !value.is_empty()).cloned(),
        HostRewrite::Path(regex, with) => {
            let path = target.split(['?', '#']).next().unwrap_or(target);
            HeaderValue::from_bytes(&regex.replace_all(path.as_bytes(), &**with)).ok()
        }
    }
}

/// The key's hash for consistent-hash balancing.
fn hash_key(
    outgoing: &Outgoing<'_>,
    parts: &Parts,
    exchange: &Exchange,
) -> (Option<u64>, Option<HeaderValue>) {
    let (mut combined, mut made): (Option<u64>, _) = (None, None);
    for key in &outgoing.forward.hash {
        let value: Option<Cow<'_, [u8]>> = match key {
            HashKey::Header(name) => parts.headers.get(name).map(|v| v.as_bytes().into()),
            HashKey::SourceIp => Some(exchange.connection.peer.ip().to_string().into_bytes().into()),
            HashKey::Query(name) => {
                let query = parts.uri.query().unwrap_or("");
                let mut pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
                pairs.find(|(known, _)| known == name).map(|(_, v)| v.as_bytes().into())
            }
            HashKey::Cookie { name, path, ttl } => match (cookie(&parts.headers, name), ttl) {
                (Some(value), _) => Some(value.as_bytes().into()),
                (None, Some(ttl)) => {
                    let random = || exchange.connection.thread.random();
                    let value = format!("{:08x}{:08x}", random(), random());
                    made = set_cookie(name, &value, path, *ttl);
                    Some(value.into_bytes().into())
                }
                (None, None) => None,
            },
        };
        if let Some(value) = value {
            let hash = crate::balance::consistent::hash(&value);
            combined = Some(combined.unwrap_or(0).rotate_left(1) ^ hash);
        }
    }
    (combined, made)
}

/// A session affinity cookie.
fn set_cookie(name: &str, value: &str, path: &str, ttl: Duration) -> Option<HeaderValue> {
    let age = if ttl.is_zero() { String::new() } else { format!("; Max-Age={}", ttl.as_secs()) };
    let path = if path.is_empty() { String::new() } else { format!("; Path={path}") };
    format!("{name}=\"{value}\"{age}{path}; HttpOnly").parse().ok()
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|v| v.to_str().ok());
    let mut pairs = all.flat_map(|v| v.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(known, _)| *known == name).map(|(_, value)| value.trim_matches('"'))
}

const RETRY_HEADERS: [&str; 9] = [
    "x-envoy-upstream-alt-stat-name",
    "x-envoy-hedge-on-per-try-timeout",
    "x-envoy-retry-on",
    "x-envoy-retry-grpc-on",
    "x-envoy-max-retries",
    "x-envoy-retriable-status-codes",
    "x-envoy-upstream-rq-timeout-ms",
    "x-envoy-upstream-rq-per-try-timeout-ms",
    "x-envoy-expected-rq-timeout-ms",
];
