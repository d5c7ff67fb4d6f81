//! Access logs: formats made ready, lines written from records into per-thread buffers, and buffers handed to files
//! by size or time. No line is formatted when there is no log, and no request waits for a disk.

mod line;

mod operator;

pub mod moment;

mod text;

pub use operator::{Part, address_part};

use crate::config::surroundings;
use crate::flow::record::{Detail, Record};
use api::model::access_log::{AccessLog, LogFormat, LogSink};
use http::{HeaderMap, HeaderName};
use operator::Operator;
use std::fs::OpenOptions;
use std::io::Write;

/// A log, ready to be written.
#[derive(Debug)]
pub struct Log {
    sink: LogSink,
    format: Format,
    request: Captured,
    response: Captured,
    trailers: Captured,
}

/// Headers that a log keeps. All logs of a chain keep theirs in one row, one log after the other.
#[derive(Debug, Default)]
struct Captured {
    first: usize,
    names: Vec<HeaderName>,
}

impl Captured {
    fn after(before: &Self) -> Self {
        Self { first: before.first + before.names.len(), names: vec![] }
    }

    /// The place in the row at which a header will be.
    fn place(&mut self, name: HeaderName) -> usize {
        let known = self.names.iter().position(|known| *known == name);
        self.first
            + known.unwrap_or_else(|| {
                self.names.push(name);
                self.names.len() - 1
            })
    }
}

#[derive(Debug)]
enum Format {
    Text(Vec<Piece>),
    /// Each key stands with the punctuation around it.
    Json(Vec<(Box<[u8]>, Vec<Piece>)>),
}

#[derive(Debug)]
enum Piece {
    Literal(String),
    Operator(Operator),
}

/// A format that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// A `%` that nothing closes.
    #[error("access log format: an operator in `{0}` has no end")]
    Unclosed(String),
    /// An operator nobody knows.
    #[error("access log format: operator %{0}% is not supported")]
    Unknown(String),
}

impl Log {
    /// Makes the logs of a chain ready.
    pub fn compile_all(from: &[AccessLog]) -> Result<Box<[Self]>, FormatError> {
        let mut logs: Vec<Self> = Vec::with_capacity(from.len());
        for log in from {
            logs.push(Self::compile(log, logs.last())?);
        }
        Ok(logs.into())
    }

    fn compile(from: &AccessLog, before: Option<&Self>) -> Result<Self, FormatError> {
        let after = |of: fn(&Self) -> &Captured| before.map(of).map(Captured::after).unwrap_or_default();
        let mut log = Self {
            sink: from.sink.clone(),
            format: Format::Text(vec![]),
            request: after(|log| &log.request),
            response: after(|log| &log.response),
            trailers: after(|log| &log.trailers),
        };
        log.format = match &from.format {
            LogFormat::DefaultText => Format::Text(log.pieces(DEFAULT)?),
            LogFormat::Text(text) => Format::Text(log.pieces(text)?),
            LogFormat::Json(fields) => Format::Json(
                fields
                    .iter()
                    .enumerate()
                    .map(|(place, (key, text))| Ok((json_key(place, key), log.pieces(text)?)))
                    .collect::<Result<_, FormatError>>()?,
            ),
        };
        Ok(log)
    }

    /// Keeps the request headers that the format names.
    pub fn capture_request(&self, headers: &HeaderMap, detail: &mut Detail) {
        detail.request_headers.extend(self.request.names.iter().map(|name| headers.get(name).cloned()));
    }

    /// Keeps the response headers that the format names.
    pub fn capture_response(&self, headers: &HeaderMap, detail: &mut Detail) {
        detail.response_headers.extend(self.response.names.iter().map(|name| headers.get(name).cloned()));
    }

    /// Keeps the trailers that the format names.
    pub fn capture_trailers(&self, headers: &HeaderMap, detail: &mut Detail) {
        detail.response_trailers.extend(self.trailers.names.iter().map(|name| headers.get(name).cloned()));
    }

    fn pieces(&mut self, text: &str) -> Result<Vec<Piece>, FormatError> {
        let mut pieces = vec![];
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            if at > 0 {
                pieces.push(Piece::Literal(rest[..at].to_owned()));
            }
            rest = &rest[at + 1..];
            let end = operator_end(rest).ok_or_else(|| FormatError::Unclosed(text.to_owned()))?;
            let operator = &rest[..end];
            rest = &rest[end + 1..];
            pieces.push(match operator {
                "" => Piece::Literal("%".into()),
                other => match surroundings::constant(other) {
                    Some(text) => Piece::Literal(text),
                    None => Piece::Operator(Operator::parse(other, self)?),
                },
            });
        }
        if !rest.is_empty() {
            pieces.push(Piece::Literal(rest.to_owned()));
        }
        Ok(pieces)
    }
}

fn json_key(place: usize, key: &str) -> Box<[u8]> {
    let mut out = vec![if place == 0 { b'{' } else { b',' }];
    text::json(&mut out, key.as_bytes());
    out.push(b':');
    out.into()
}

/// Where an operator ends. A start time's own format holds percent signs, so a `(` is closed before.
pub fn operator_end(rest: &str) -> Option<usize> {
    match (rest.find('('), rest.find('%')) {
        (Some(open), Some(percent)) if open < percent => {
            let close = open + rest[open..].find(')')?;
            Some(close + rest[close..].find('%')?)
        }
        (_, percent) => percent,
    }
}

/// Buffers of one thread, one for each file.
#[derive(Default)]
pub struct LogBuffers {
    buffers: Vec<Buffer>,
}

struct Buffer {
    sink: LogSink,
    lines: Vec<u8>,
    file: Option<std::fs::File>,
}

impl LogBuffers {
    /// Adds a line.
    pub fn write(&mut self, log: &Log, record: &Record) {
        let position = self.buffers.iter().position(|b| b.sink == log.sink).unwrap_or_else(|| {
            self.buffers.push(Buffer { sink: log.sink.clone(), lines: vec![], file: None });
            self.buffers.len() - 1
        });
        let buffer = &mut self.buffers[position];
        line::write(&mut buffer.lines, log, record);
        if buffer.lines.len() >= FLUSH_AT {
            buffer.flush();
        }
    }

    /// Hands everything to the files.
    pub fn flush(&mut self) {
        self.buffers.iter_mut().for_each(Buffer::flush);
    }
}

impl Drop for LogBuffers {
    fn drop(&mut self) {
        self.flush();
    }
}

impl Buffer {
    fn flush(&mut self) {
        if self.lines.is_empty() {
            return;
        }
        let result = match &self.sink {
            LogSink::Stdout => std::io::stdout().lock().write_all(&self.lines),
            LogSink::Stderr => std::io::stderr().lock().write_all(&self.lines),
            LogSink::File(path) => append(&mut self.file, path, &self.lines),
        };
        if let Err(error) = result {
            tracing::debug!(sink = ?self.sink, %error, "access log lines are lost");
        }
        self.lines.clear();
        self.lines.shrink_to(FLUSH_AT);
    }
}

fn append(file: &mut Option<std::fs::File>, path: &str, lines: &[u8]) -> std::io::Result<()> {
    if file.is_none() {
        *file = Some(OpenOptions::new().create(true).append(true).open(path)?);
    }
    let written = file.as_mut().map_or(Ok(()), |file| file.write_all(lines));
    if written.is_err() {
        *file = None;
    }
    written
}

/// Bytes of lines that are written at once.
const FLUSH_AT: usize = 64 * 1024;

/// Istio's default line.
const DEFAULT: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" \
%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% \
\"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% \
%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \
\"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER_RAW% \
%UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% \
%ROUTE_NAME%\n";

#[cfg(test)]
mod tests;
