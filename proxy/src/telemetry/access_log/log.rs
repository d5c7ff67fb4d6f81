//! Pure. A compiled log: what its lines hold, and which headers have to be captured for them.

use super::captures::Captures;
use super::json;
use super::piece::{FormatError, Piece, pieces};
use crate::flow::record::{Detail, Traffic};
use api::format::defaults;
use api::model::access_log::{AccessLog, LogFormat, LogSink};
use http::HeaderMap;

/// A compiled log.
#[derive(Debug)]
pub struct Log {
    pub(super) sink: LogSink,
    pub(super) format: Format,
    /// Missing values are left out.
    pub(super) omit_empty: bool,
    captures: Captures,
}

#[derive(Debug)]
pub(super) enum Format {
    Text(Vec<Piece>),
    Json(json::Fields),
}

impl Log {
    /// Compiles the logs of a chain.
    pub fn compile_all(from: &[AccessLog]) -> Result<Box<[Self]>, FormatError> {
        let mut logs: Vec<Self> = Vec::with_capacity(from.len());
        for log in from {
            logs.push(Self::compile(log, logs.last())?);
        }
        Ok(logs.into())
    }

    pub(super) fn compile(from: &AccessLog, before: Option<&Self>) -> Result<Self, FormatError> {
        let mut captures = Captures::after(before.map(|log| &log.captures));
        let format = match &from.format {
            LogFormat::DefaultText => Format::Text(pieces(defaults::TEXT, &mut captures)?),
            LogFormat::Text(text) => Format::Text(pieces(text, &mut captures)?),
            LogFormat::Json(fields) => Format::Json(json::fields(fields, &mut captures)?),
        };
        Ok(Self { sink: from.sink.clone(), format, omit_empty: from.omit_empty, captures })
    }

    /// Whether the format names a field of `flow::extra`.
    pub fn needs_extra(&self, traffic: Traffic) -> bool {
        let needs = self.captures.needs;
        needs.extra || (needs.stream_id && traffic == Traffic::Tcp)
    }

    /// Whether the format names a property of the certificates on the client's connection.
    pub fn needs_certificates(&self) -> bool {
        self.captures.needs.certificates
    }

    /// Captures the request headers that the format names.
    pub fn capture_request(&self, headers: &HeaderMap, detail: &mut Detail) {
        self.captures.request.keep(headers, &mut detail.request_headers);
    }

    /// Captures the response headers that the format names.
    pub fn capture_response(&self, headers: &HeaderMap, detail: &mut Detail) {
        self.captures.response.keep(headers, &mut detail.response_headers);
    }

    /// Captures the trailers that the format names.
    pub fn capture_trailers(&self, headers: &HeaderMap, detail: &mut Detail) {
        self.captures.trailers.keep(headers, &mut detail.response_trailers);
    }
}
