//! The proxy's own responses: refusals, redirects and direct responses. A gRPC client gets a gRPC error, with its
//! status in the headers.

use super::body::ResponseBody;
use super::exchange::Exchange;
use super::headers::OVERLOADED;
use crate::filter::step::LocalResponse;
use crate::flow::flags::Flags;
use crate::flow::grpc;
use crate::flow::refusal::Refusal;
use crate::format::context::Context;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use std::borrow::Cow;
use std::rc::Rc;

/// The response for a refusal.
pub(super) fn refuse(refusal: Refusal, exchange: &Rc<Exchange>) -> Response<ResponseBody> {
    exchange.flag(refusal.flags);
    exchange.detail(|detail| {
        detail.code_details = Some(refusal.details);
        detail.transport_failure = refusal.transport_failure;
    });
    let overflow = refusal.flags.contains(Flags::UO);
    let body = match refusal.body {
        Cow::Borrowed(text) => Bytes::from_static(text.as_bytes()),
        Cow::Owned(text) => Bytes::from(text),
    };
    let mut response = match refusal.grpc_status.filter(|_| exchange.grpc) {
        Some(status) => grpc_error(status, &String::from_utf8_lossy(&body), exchange),
        None => own(refusal.status, body, exchange),
    };
    let headers = response.headers_mut();
    if overflow {
        headers.insert(OVERLOADED, HeaderValue::from_static("true"));
    }
    if let Some(location) = refusal.location.and_then(|location| HeaderValue::from_str(&location).ok()) {
        headers.insert(header::LOCATION, location);
    }
    response
}

/// A filter's response, which the listener's settings do not change.
pub(super) fn of_filter(from: LocalResponse, exchange: &Rc<Exchange>) -> Response<ResponseBody> {
    exchange.detail(|detail| detail.code_details = Some(from.details.into()));
    let mut response = Response::new(ResponseBody::whole(Bytes::new(), exchange.clone()));
    *response.status_mut() = from.status;
    *response.headers_mut() = from.headers;
    response
}

/// A response of the proxy's own, with the listener's changes.
pub(super) fn own(status: u16, body: Bytes, exchange: &Rc<Exchange>) -> Response<ResponseBody> {
    let changed = exchange.connection.http().reply.as_ref().and_then(|reply| {
        let request_head = exchange.request_head();
        let request_head = request_head.as_deref()?;
        let head = request_head.head();
        let context = Context {
            method: head.method.as_str(),
            authority: head.authority,
            target: head.target,
            remote: Some(exchange.connection.peer),
            direct: Some(exchange.connection.peer),
            local: Some(exchange.connection.local),
            protocol: request_head.protocol,
            start: Some(exchange.connection.thread.wall(exchange.start)),
            server_name: exchange.connection.server_name.as_deref().unwrap_or_default(),
            peer: exchange.connection.client.as_deref(),
            tls: exchange.connection.session,
            direct_local: Some(exchange.connection.own),
            connection: exchange.connection.number,
            chain: &exchange.connection.chain.model.name,
            code: status,
            flags: exchange.flags(),
            body: &body,
            ..Context::of(head.headers)
        };
        let changed = reply.change(&head, &context);
        let mut extra = HeaderMap::new();
        if let Some(headers) = changed.headers {
            headers.apply(&mut extra, &context);
        }
        Some((changed.status, changed.body.map(Bytes::from), changed.content_type.cloned(), extra))
    });
    let Some((status, changed, content_type, extra)) = changed else { return plain(status, body, exchange) };
    let mut response = plain(status, changed.unwrap_or(body), exchange);
    if let Some(content_type) = content_type.filter(|_| !exchange.grpc) {
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    }
    response.headers_mut().extend(extra);
    response
}

/// A response in plain text or, for a gRPC client, a gRPC error.
fn plain(status: u16, body: Bytes, exchange: &Rc<Exchange>) -> Response<ResponseBody> {
    if exchange.grpc {
        let message = String::from_utf8_lossy(&body);
        return grpc_error(grpc::status_of(status).into(), &message, exchange);
    }
    text(status, body, exchange)
}

/// A plain text response.
fn text(status: u16, body: Bytes, exchange: &Rc<Exchange>) -> Response<ResponseBody> {
    let (empty, length) = (body.is_empty(), body.len());
    let mut response = Response::new(ResponseBody::whole(body, exchange.clone()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if exchange.bodiless && !empty {
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    if !empty {
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    }
    response
}

/// A gRPC error with headers only.
fn grpc_error(status: u32, message: &str, exchange: &Rc<Exchange>) -> Response<ResponseBody> {
    let mut response = text(200, Bytes::new(), exchange);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(grpc::STATUS, status.into());
    if let Some(message) =
        HeaderValue::from_str(&grpc::percent_encoded(message.as_bytes())).ok().filter(|m| !m.is_empty())
    {
        headers.insert(grpc::MESSAGE, message);
    }
    response
}
