//! One request from its first byte to the last byte of its response: gathers the data for its record.

use super::timer::ReadLimits;
use crate::flow::extra::Extra;
use crate::flow::flags::Flags;
use crate::flow::grpc;
use crate::flow::head::Head;
use crate::flow::record::{Detail, Key, NO_GRPC_STATUS, Record, Reporter, Traffic};
use crate::pipeline::downstream::Downstream;
use crate::pipeline::world::now;
use crate::send::body::{Messages, Meter};
use api::format::operator::Point;
use http::request::Parts;
use http::{HeaderMap, Method, Uri, Version, header};
use std::cell::{Cell, Ref, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The head of a request, kept for the proxy's own responses that refer to it.
pub(super) struct RequestHead {
    method: Method,
    target: String,
    headers: HeaderMap,
    pub(super) protocol: &'static str,
    tls: bool,
}

impl RequestHead {
    /// The head in the form that matchers use.
    pub(super) fn head(&self) -> Head<'_> {
        Head {
            method: &self.method,
            authority: self.headers.get(header::HOST).and_then(|h| h.to_str().ok()).unwrap_or_default(),
            target: &self.target,
            scheme: if self.tls { "https" } else { "http" },
            headers: &self.headers,
        }
    }
}

/// An active request.
pub(super) struct Exchange {
    pub(super) connection: Rc<Downstream>,
    pub(super) start: Instant,
    pub(super) meter: Rc<Meter>,
    /// Whether the client uses gRPC.
    pub(super) grpc: bool,
    http2: bool,
    key: Cell<Key>,
    sent: Cell<u64>,
    messages: Option<RefCell<Messages>>,
    detail: RefCell<Option<Box<Detail>>>,
    request_head: RefCell<Option<Box<RequestHead>>>,
    /// Whether the response has no body, whatever its headers say (HEAD).
    pub(super) bodiless: bool,
    /// Whether a log uses rarely used operators.
    has_extra: bool,
    finished: Cell<bool>,
}

impl Exchange {
    pub(super) fn begin(connection: &Rc<Downstream>, parts: &Parts) -> Rc<Self> {
        let start = now();
        connection.live.begin(start);
        let grpc = parts.headers.get(header::CONTENT_TYPE).is_some_and(crate::flow::head::is_grpc_type);
        let traffic = if grpc { Traffic::Grpc } else { Traffic::Http };
        let count = grpc && connection.http().count_messages;
        let mut key = Key::unknown(connection.reporter, traffic);
        if connection.reporter == Reporter::Destination {
            key.mutual_tls = connection.mutual();
            key.peer = connection.peer_number;
            key.principal = connection.principal;
        }
        let logs = &connection.http().logs;
        let extra = connection.extra(logs, traffic, start);
        let exchange = Self {
            connection: connection.clone(),
            start,
            meter: Meter::new(count, connection.live.moved()),
            grpc,
            http2: parts.version == Version::HTTP_2,
            key: Cell::new(key),
            sent: Cell::new(0),
            messages: count.then(RefCell::default),
            detail: RefCell::default(),
            request_head: RefCell::default(),
            bodiless: parts.method == Method::HEAD,
            has_extra: extra.is_some(),
            finished: Cell::new(false),
        };
        if extra.is_some() {
            exchange.meter.note_end();
        }
        if !logs.is_empty() {
            *exchange.detail.borrow_mut() = Some(Box::new(Detail { extra, ..exchange.first_detail(parts) }));
        }
        Rc::new(exchange)
    }

    fn first_detail(&self, parts: &Parts) -> Detail {
        let connection = &self.connection;
        let mut detail = Detail {
            start: Some(connection.thread.wall(self.start)),
            method: Some(parts.method.clone()),
            target: Some(parts.uri.clone()),
            protocol: Some(protocol(parts.version)),
            downstream_local: Some(connection.local),
            downstream_remote: Some(connection.peer),
            server_name: connection.server_name.clone(),
            downstream_direct: Some(connection.peer),
            peer: connection.client.clone(),
            tls: connection.session,
            ..Detail::default()
        };
        let authority = parts.uri.authority().and_then(|a| a.as_str().parse().ok());
        detail.authority = authority.or_else(|| parts.headers.get(header::HOST).cloned());
        detail
    }

    /// The time limits for reading the request.
    pub(super) fn read_limits(&self) -> Option<ReadLimits> {
        let settings = &self.connection.http().model;
        let until = settings.request_timeout.map(|limit| (self.start + limit).into());
        ReadLimits::new(&self.meter, settings.stream_idle_timeout, until)
    }

    /// Records that a filter converted the request to gRPC.
    pub(super) fn set_forwards_grpc(&self) {
        self.key(|key| key.traffic = Traffic::Grpc);
    }

    /// Whether the request is forwarded as gRPC. The client itself may not use gRPC.
    pub(super) fn forwards_grpc(&self) -> bool {
        self.key.get().traffic == Traffic::Grpc
    }

    /// Whether the client uses HTTP/2.
    pub(super) fn client_http2(&self) -> bool {
        self.http2
    }

    /// Captures the request's fields for logs, as changed so far.
    pub(super) fn capture_request(&self, headers: &HeaderMap, target: &Uri) {
        self.detail(|detail| {
            detail.target = Some(target.clone());
            detail.request_headers.clear();
            for log in &self.connection.http().logs {
                log.capture_request(headers, detail);
            }
            if let Some(extra) = &mut detail.extra {
                extra.request_head = request_size(detail.method.as_ref(), target, headers);
            }
        });
    }

    /// Keeps the request's head, after sanitizing, for the proxy's own responses.
    pub(super) fn keep_head(&self, parts: &Parts) {
        self.keep_with(parts, |uri| uri.path_and_query().map(ToString::to_string).unwrap_or_default());
    }

    /// Keeps the head of a malformed request.
    pub(super) fn keep_malformed_head(&self, parts: &Parts) {
        self.keep_with(parts, |_| String::new());
    }

    fn keep_with(&self, parts: &Parts, target: impl FnOnce(&Uri) -> String) {
        if self.connection.http().reply.is_some() {
            let request_head = RequestHead {
                method: parts.method.clone(),
                target: target(&parts.uri),
                headers: parts.headers.clone(),
                protocol: protocol(parts.version),
                tls: self.connection.tls,
            };
            *self.request_head.borrow_mut() = Some(Box::new(request_head));
        }
    }

    /// The request's head, if it was kept.
    pub(super) fn request_head(&self) -> Ref<'_, Option<Box<RequestHead>>> {
        self.request_head.borrow()
    }

    /// The response flags so far.
    pub(super) fn flags(&self) -> Flags {
        self.key.get().flags
    }

    /// Adds data for access logs, if there is one.
    pub(super) fn detail(&self, add: impl FnOnce(&mut Detail)) {
        if let Some(detail) = self.detail.borrow_mut().as_deref_mut() {
            add(detail);
        }
    }

    /// Adds data for rarely used log operators, if a log uses any.
    pub(super) fn extra(&self, add: impl FnOnce(&mut Extra)) {
        if self.has_extra {
            self.detail(|detail| {
                if let Some(extra) = detail.extra.as_deref_mut() {
                    add(extra);
                }
            });
        }
    }

    /// Whether a log uses rarely used operators.
    pub(super) fn has_extra(&self) -> bool {
        self.has_extra
    }

    /// Records the time of an event.
    pub(super) fn mark(&self, point: Point) {
        self.extra(|extra| extra.mark(point, now()));
    }

    /// Changes the metric labels.
    pub(super) fn key(&self, change: impl FnOnce(&mut Key)) {
        let mut key = self.key.get();
        change(&mut key);
        self.key.set(key);
    }

    /// Adds response flags.
    pub(super) fn flag(&self, flags: Flags) {
        self.key(|key| key.flags |= flags);
    }

    /// Records the head of the response as sent to the client.
    pub(super) fn responded(&self, status: u16, headers: &HeaderMap) {
        self.key(|key| key.code = status);
        self.grpc_status(headers);
        self.detail(|detail| {
            for log in &self.connection.http().logs {
                log.capture_response(headers, detail);
            }
            if let Some(extra) = &mut detail.extra {
                extra.mark(Point::ResponseBegins, now());
                extra.response_head = STATUS + size(headers);
            }
        });
    }

    /// Counts response bytes.
    pub(super) fn sent(&self, data: &[u8]) {
        self.sent.set(self.sent.get() + data.len() as u64);
        self.connection.live.touch(self.connection.thread.coarse());
        if let Some(messages) = &self.messages {
            messages.borrow_mut().read(data);
        }
    }

    /// Counts the bytes that were copied after an upgrade.
    pub(super) fn count_upgraded(&self, sent: u64, received: u64) {
        self.sent.set(self.sent.get() + sent);
        self.meter.add(received);
    }

    /// Records the trailers of the response.
    pub(super) fn trailers(&self, trailers: &HeaderMap) {
        self.grpc_status(trailers);
        self.detail(|detail| {
            for log in &self.connection.http().logs {
                log.capture_trailers(trailers, detail);
            }
            if let Some(extra) = &mut detail.extra {
                extra.trailers = size(trailers);
            }
        });
    }

    fn grpc_status(&self, headers: &HeaderMap) {
        if self.forwards_grpc()
            && let Some(status) = headers.get(grpc::STATUS)
        {
            let status = status.to_str().ok().and_then(|s| s.parse().ok()).unwrap_or(2);
            self.key(|key| key.grpc_status = status);
        }
    }

    /// Writes the record. Only the first call has an effect.
    pub(super) fn finish(&self) {
        if self.finished.replace(true) {
            return;
        }
        let end = now();
        self.connection.live.end(end);
        let mut key = self.key.get();
        if self.http2 {
            self.check_resets(key.flags, end);
        }
        if key.traffic == Traffic::Http {
            key.grpc_status = NO_GRPC_STATUS;
        }
        self.extra(|extra| {
            if let Some(ended) = self.meter.ended_at() {
                extra.mark(Point::RequestEnds, ended);
                // A body is forwarded as it arrives; a retried one has arrived earlier.
                extra.mark_sent(ended);
            }
        });
        let record = Record {
            key,
            duration: end.saturating_duration_since(self.start),
            received: self.meter.bytes(),
            sent: self.sent.get(),
            request_messages: self.meter.messages(),
            response_messages: self.messages.as_ref().map_or(0, |m| m.borrow().count),
            detail: self.detail.borrow_mut().take(),
        };
        let telemetry = &self.connection.thread.telemetry;
        telemetry.record(&record);
        for log in &self.connection.http().logs {
            telemetry.log(log, &record);
        }
    }
}

impl Exchange {
    /// Closes a connection whose client opens requests only to reset them (CVE-2023-44487): they cost the proxy and its
    /// upstreams more than the client.
    fn check_resets(&self, flags: Flags, end: Instant) {
        let live = &self.connection.live;
        let premature = flags.contains(Flags::DC) && end.saturating_duration_since(self.start) < PREMATURE;
        if live.count_reset(premature) {
            live.stop_counting_resets();
            live.cut();
            self.connection.listener_stats().downstream_rq_too_many_premature_resets.add(1);
            let peer = self.connection.peer;
            tracing::debug!(%peer, "ended a connection: its client resets most of its requests at once");
        }
    }
}

impl Drop for Exchange {
    /// Records a request whose client disconnected before there was a response.
    fn drop(&mut self) {
        if !self.finished.get() {
            self.flag(Flags::DC);
            self.detail(|detail| detail.code_details = Some("downstream_remote_disconnect".into()));
            self.finish();
        }
    }
}

/// Bytes of a request's head, with HTTP/2's pseudo-headers.
fn request_size(method: Option<&Method>, target: &Uri, headers: &HeaderMap) -> u64 {
    let method = method.map_or(0, |method| method.as_str().len());
    let path = target.path_and_query().map_or(1, |path| path.as_str().len());
    let host = headers.get(header::HOST).map_or(0, |_| ":authority".len() - "host".len());
    let scheme = ":scheme".len() + "http".len();
    (":method".len() + method + ":path".len() + path + host + scheme) as u64 + size(headers)
}

/// Bytes of header names and values.
fn size(headers: &HeaderMap) -> u64 {
    headers.iter().map(|(name, value)| (name.as_str().len() + value.len()) as u64).sum()
}

/// The HTTP version's name in logs.
pub(super) fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        _ => "HTTP/1.1",
    }
}

/// Bytes of the `:status` pseudo-header in HTTP/2.
const STATUS: u64 = ":status200".len() as u64;
/// A reset within this time counts as premature: the client never wanted the response.
const PREMATURE: Duration = Duration::from_secs(1);
