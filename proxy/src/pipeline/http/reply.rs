//! Responses of our own: refusals, redirects and answers from the configuration. A gRPC client gets its kind of error,
//! with the status in the headers alone.

use super::body::ResponseBody;
use super::exchange::Exchange;
use super::headers::{GRPC_MESSAGE, GRPC_STATUS, OVERLOADED};
use crate::flow::flags::Flags;
use crate::pipeline::refusal::Refusal;
use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use std::fmt::Write;
use std::rc::Rc;

/// The response that tells a refusal.
pub(super) fn refuse(refusal: Refusal, exchange: &Rc<Exchange>) -> Response<ResponseBody> {
    exchange.flag(refusal.flags);
    exchange.detail(|detail| {
        detail.code_details = Some(refusal.details.into_owned());
        detail.transport_failure = refusal.transport_failure;
    });
    let overflow = refusal.flags.contains(Flags::UO);
    let mut response = if exchange.grpc {
        grpc(Refusal::grpc_status(refusal.status).into(), &refusal.body, exchange)
    } else {
        let body = match refusal.body {
            std::borrow::Cow::Borrowed(text) => Bytes::from_static(text.as_bytes()),
            std::borrow::Cow::Owned(text) => Bytes::from(text),
        };
        text(refusal.status, body, exchange)
    };
    if overflow {
        response.headers_mut().insert(OVERLOADED, HeaderValue::from_static("true"));
    }
    response
}

/// A plain text response.
pub(super) fn text(status: u16, body: Bytes, exchange: &Rc<Exchange>) -> Response<ResponseBody> {
    let empty = body.is_empty();
    let mut response = Response::new(ResponseBody::whole(body, exchange.clone()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if !empty {
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    }
    response
}

/// A gRPC error: headers only.
pub(super) fn grpc(status: u32, message: &str, exchange: &Rc<Exchange>) -> Response<ResponseBody> {
    let mut response = text(200, Bytes::new(), exchange);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(GRPC_STATUS, status.into());
    if let Ok(message) = HeaderValue::from_str(&percent_encoded(message)) {
        headers.insert(GRPC_MESSAGE, message);
    }
    response
}

/// A redirect.
pub(super) fn redirect(status: u16, location: &str, exchange: &Rc<Exchange>) -> Response<ResponseBody> {
    let mut response = text(status, Bytes::new(), exchange);
    if let Ok(location) = HeaderValue::from_str(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// gRPC's own encoding of messages in headers.
fn percent_encoded(message: &str) -> String {
    let mut out = String::with_capacity(message.len());
    for byte in message.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => out.push(byte as char),
            other => {
                let _ = write!(out, "%{other:02X}");
            }
        }
    }
    out
}
