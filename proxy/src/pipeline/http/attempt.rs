//! One attempt of a request: chooses an endpoint, gets a connection, sends the request, and waits for the response
//! within time limits.

use super::connect::{Failure, connect};
use super::exchange::Exchange;
use super::headers::{ATTEMPT_COUNT, EXPECTED_TIMEOUT, REQUEST_ID, absolute, replace_host, strip_hop_by_hop};
use super::message::Message;
use super::survey::Survey;
use super::timer::{Expired, Limits, ReadLimits, Timer};
use crate::flow::extra::Attempted;
use crate::flow::record::Reporter;
use crate::flow::refusal::Refusal;
use crate::http1::Invalid;
use crate::pipeline::upstream::{ActiveGuard, Host, Upstream};
use crate::pipeline::world::now;
use crate::policy::retry::Outcome;
use crate::send::body::RequestBody;
use crate::send::{Lease, SendError, Sent};
use api::format::operator::Point;
use api::model::route::RetryPolicy;
use http::{HeaderValue, Request, StatusCode, Version, header};
use smallvec::SmallVec;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Settings shared by all attempts of one request.
pub(super) struct Plan {
    pub(super) scheme: &'static str,
    /// Whether to send the attempt's number upstream (`x-envoy-attempt-count`).
    pub(super) count_header: bool,
    pub(super) hash: Option<u64>,
    /// Timeout for the whole response.
    pub(super) limit: Option<Duration>,
    /// The route's idle timeout for a stream.
    pub(super) idle: Option<Duration>,
    /// Whether the response may switch protocols.
    pub(super) upgrade: bool,
    /// If set, the endpoint's hostname becomes the host; `true` keeps the previous host in `x-forwarded-host`.
    pub(super) endpoint_host: Option<bool>,
}

/// The attempts of one request.
pub(super) struct Attempt<'a> {
    pub(super) exchange: &'a Rc<Exchange>,
    pub(super) upstream: Rc<Upstream>,
    /// When the request of the last attempt was sent.
    pub(super) began: Option<Instant>,
    plan: Plan,
    /// Number of attempts so far.
    pub(super) count: u32,
    tried: SmallVec<[SocketAddr; 4]>,
    host: Option<Rc<Host>>,
    /// Timeout of one attempt.
    per_try: Option<Duration>,
    read_limits: Option<ReadLimits>,
}

impl<'a> Attempt<'a> {
    pub(super) fn new(exchange: &'a Rc<Exchange>, upstream: Rc<Upstream>, plan: Plan) -> Self {
        Self {
            exchange,
            upstream,
            began: None,
            plan,
            count: 0,
            tried: SmallVec::new(),
            host: None,
            per_try: None,
            read_limits: exchange.read_limits(),
        }
    }

    /// Updates the upstream, so that the next attempt chooses among its current endpoints.
    pub(super) fn refresh_upstream(&mut self) {
        if let Some(current) = self.exchange.connection.thread.upstream(&self.upstream.cluster().name) {
            self.upstream = current;
        }
    }

    /// Makes one attempt.
    pub(super) async fn run(
        &mut self,
        message: &mut Message,
        policy: Option<&RetryPolicy>,
        whole: &mut Option<Timer>,
    ) -> Result<(Sent, ActiveGuard), Failure> {
        let connection = &self.exchange.connection;
        self.count += 1;
        self.exchange.detail(|detail| detail.attempts = self.count);
        let reselections = policy.map_or(0, |p| p.avoid_previous_hosts);
        let original = connection.original;
        let host =
            self.upstream.choose(&connection.thread, self.plan.hash, original, (&self.tried, reselections));
        let host = host.ok_or_else(|| Failure { outcome: None, refusal: Refusal::no_endpoint() })?;
        self.tried.push(host.address);
        self.exchange.detail(|detail| detail.upstream_host = Some(host.address));
        self.exchange.extra(|extra| {
            let name = host.name().map(Into::into);
            extra.attempted.push(Attempted { address: host.address, name, connection: None });
        });
        let busy = host.begin(&self.upstream, true);
        self.host = Some(host.clone());
        let may_retry = policy.is_some_and(|policy| policy.attempts > 0);
        self.per_try = policy.and_then(|policy| policy.per_try_timeout);
        let stream_idle = self.plan.idle.or(connection.http().model.stream_idle_timeout);
        let stream_idle = stream_idle.filter(|limit| !limit.is_zero());
        let mut read_limits = self.read_limits.take();
        let timer = |limit| Timer::new(limit, &self.exchange.meter, &connection.thread);
        let mut limits = Limits {
            whole: whole.as_mut(),
            attempt: policy.and_then(|p| p.per_try_timeout).map(timer),
            idle: stream_idle.map(timer),
            request: read_limits.as_mut(),
        };
        let result = limits.wait(pin!(self.deliver(&host, message, may_retry))).await;
        drop(limits);
        self.read_limits = read_limits;
        match result {
            Ok(Ok(sent)) => Ok((sent, busy)),
            Ok(Err(failure)) => {
                let clients = Refusal::of_body(&self.exchange.meter);
                Err(clients.map_or(failure, |refusal| Failure { outcome: None, refusal }))
            }
            Err(Expired::RequestIdle) => Err(Failure { outcome: None, refusal: Refusal::stalled() }),
            Err(Expired::RequestTimeout) => Err(Failure { outcome: None, refusal: Refusal::slow() }),
            Err(expired) => {
                self.upstream.stats.upstream_rq_timeout.add(1);
                Err(match expired {
                    Expired::Whole => Failure { outcome: None, refusal: Refusal::timeout() },
                    Expired::Idle | Expired::RequestIdle | Expired::RequestTimeout => {
                        Failure { outcome: None, refusal: Refusal::idle() }
                    }
                    Expired::Attempt => {
                        Failure { outcome: Some(Outcome::TimedOut), refusal: Refusal::attempt_timeout() }
                    }
                })
            }
        }
    }

    /// Milliseconds until the timeout of this attempt, sent in `x-envoy-expected-rq-timeout-ms`.
    fn expected(&self) -> Option<u64> {
        let left = self.plan.limit.map(|limit| {
            // The first attempt is sent at once.
            if self.count > 1 { limit.saturating_sub(now() - self.exchange.start) } else { limit }
        });
        let least = left.into_iter().chain(self.per_try).min()?;
        Some((least.as_millis() as u64).max(1))
    }

    /// The endpoint of the last attempt.
    pub(super) fn endpoint(&self) -> Option<SocketAddr> {
        self.host.as_ref().map(|host| host.address)
    }

    /// Records the outcome for the endpoint.
    pub(super) fn record(&self, outcome: Outcome) {
        self.upstream.record_outcome(self.host.as_deref(), outcome);
    }

    /// Sends the request. A pooled connection may turn out to be closed; a request that no upstream has processed, or
    /// that is safe, is then sent on another connection.
    async fn deliver(
        &mut self,
        host: &Rc<Host>,
        message: &mut Message,
        may_retry: bool,
    ) -> Result<Sent, Failure> {
        let mut fresh = false;
        let mut left = MOST_CONNECTIONS;
        loop {
            left -= 1;
            let started = self.exchange.has_extra().then(now);
            let lease = self.lease(host, message, fresh).await?;
            if let Some(started) = started {
                self.exchange.extra(|extra| extra.leased(lease.opened(), now() - started));
            }
            let reused = lease.reused();
            self.record_endpoint(host, &lease);
            let multiplexed = lease.version() == Version::HTTP_2;
            let may_resend = may_retry || (multiplexed && reused && message.is_safe());
            let again = may_resend && !self.returns_headers(message, multiplexed);
            let request = self.request(message, &lease, again);
            self.began = Some(now());
            self.exchange.mark(Point::SendBegins);
            let (error, returned) = match lease.send(request).await {
                Ok(sent) if switches(&sent) && (multiplexed || !self.plan.upgrade) => {
                    return Err(Failure::of(&SendError::Malformed(Invalid::Switch)));
                }
                Ok(mut sent) => {
                    if let Some(headers) = sent.request_headers.take() {
                        message.restore_headers(headers);
                    }
                    return Ok(sent);
                }
                Err(failed) => failed,
            };
            let unprocessed = error.unsent();
            let intact = match returned {
                Some(request) => {
                    restore(message, request);
                    true
                }
                None => again && message.can_resend(),
            };
            let stale = reused && matches!(error, SendError::Closed { sent: true, .. }) && message.is_safe();
            if left == 0 || !(intact && (unprocessed || stale)) {
                return Err(Failure::of(&error));
            }
            fresh = true;
        }
    }

    /// Whether sending returns the request's headers in any case, so that they need not be copied first: an HTTP/1
    /// request without a body is returned with its response or error, unless the timeout of one attempt ends it
    /// earlier. A host rewritten for one endpoint cannot be reused for the next, so such headers are copied.
    fn returns_headers(&self, message: &Message, multiplexed: bool) -> bool {
        let bare = matches!(message, Message::NoBody { .. });
        bare && !multiplexed && self.per_try.is_none() && self.plan.endpoint_host.is_none()
    }

    /// Gets a connection from the pool or opens one.
    async fn lease(&self, host: &Rc<Host>, message: &Message, fresh: bool) -> Result<Lease, Failure> {
        let connection = &self.exchange.connection;
        let headers = match message {
            Message::NoBody { headers, .. }
            | Message::Replayable { headers, .. }
            | Message::Streamed { headers, .. } => headers,
        };
        let authority = headers.get(header::HOST).and_then(|h| h.to_str().ok()).unwrap_or_default();
        let http2 = self.exchange.client_http2();
        let mut kind = self.upstream.connection_kind(host, http2, connection.http().alpn, authority);
        if self.plan.upgrade {
            // Request the upgrade over HTTP/1.1; over HTTP/2 it would be lost.
            kind.http2 = Some(false);
        }
        if !fresh && let Some(lease) = host.pool.ready(&kind) {
            return Ok(lease);
        }
        // Boxed, because it is rare and would enlarge the future of every request.
        let keeps_certificates = self.exchange.has_extra();
        Box::pin(connect(&connection.thread, &self.upstream, host, &kind, keeps_certificates)).await
    }

    /// Records the endpoint's labels, for metrics of the caller's side.
    fn record_endpoint(&self, host: &Host, lease: &Lease) {
        if self.exchange.connection.reporter == Reporter::Source {
            self.exchange.key(|key| {
                key.workload = host.workload;
                key.principal = lease.tag();
                key.mutual_tls = lease.tag() != 0;
            });
        }
        self.exchange.detail(|d| d.upstream_local = lease.local());
    }

    fn request(&self, message: &mut Message, lease: &Lease, again: bool) -> Request<RequestBody> {
        let (method, uri, mut headers) = message.head(again);
        if self.plan.count_header {
            headers.insert(ATTEMPT_COUNT, HeaderValue::from(self.count));
        }
        if let Some(expected) = self.expected() {
            headers.insert(EXPECTED_TIMEOUT, HeaderValue::from(expected));
        }
        if let Some(append) = self.plan.endpoint_host
            && let Some(name) = self.host.as_ref().and_then(|host| host.name())
            && let Ok(name) = HeaderValue::from_str(name)
        {
            self.exchange.detail(|detail| detail.authority = Some(name.clone()));
            replace_host(&mut headers, name, append);
        }
        let body = match message {
            Message::NoBody { .. } => RequestBody::empty(&self.exchange.meter),
            Message::Replayable { replay, .. } => replay.body(&self.exchange.meter),
            Message::Streamed { body, .. } => match body.take() {
                Some(incoming) => RequestBody::stream(incoming, &self.exchange.meter),
                None => RequestBody::empty(&self.exchange.meter),
            },
        };
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.version_mut() = lease.version();
        if lease.version() == Version::HTTP_2 {
            *request.uri_mut() = absolute(uri, &mut headers, self.plan.scheme);
            let seen = Survey::of(&headers);
            strip_hop_by_hop(&mut headers, seen, false);
            if let Some(id) = headers.get_mut(REQUEST_ID) {
                // Request ids never repeat, so indexing them in HPACK's table would only evict headers that do.
                id.set_sensitive(true);
            }
        } else {
            *request.uri_mut() = uri;
        }
        *request.headers_mut() = headers;
        request
    }
}

/// Restores the message from a request that was not sent.
fn restore(message: &mut Message, request: Request<RequestBody>) {
    let (parts, body) = request.into_parts();
    let mut headers = parts.headers;
    if let (Some(authority), false) = (parts.uri.authority(), headers.contains_key(header::HOST))
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        headers.insert(header::HOST, host);
    }
    message.restore_headers(headers);
    if let Message::Streamed { body: slot, .. } = message {
        *slot = body.into_incoming();
    }
}

fn switches(sent: &Sent) -> bool {
    sent.response.status() == StatusCode::SWITCHING_PROTOCOLS
}

/// Number of pooled connections that may turn out to be closed before the request fails.
const MOST_CONNECTIONS: usize = 3;
