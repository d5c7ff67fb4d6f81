//! Access logs: compiled formats, lines written from records into per-thread buffers, and buffers passed to files
//! by size or time. Without a log no line is formatted, and no request waits for a disk.

mod line;

mod json;
mod value;

mod operator;

mod captures;

pub mod moment;

pub mod text;

use crate::flow::record::{Detail, Record, Traffic};
use api::format::{self, Place, defaults};
use api::model::access_log::{AccessLog, LogFormat, LogSink};
use captures::Captures;
use http::HeaderMap;
use operator::Operator;
use std::fs::OpenOptions;
use std::io::Write;

/// A compiled log.
#[derive(Debug)]
pub struct Log {
    sink: LogSink,
    format: Format,
    /// Missing values are left out.
    omit_empty: bool,
    captures: Captures,
}

#[derive(Debug)]
enum Format {
    Text(Vec<Piece>),
    Json(json::Fields),
}

#[derive(Debug)]
enum Piece {
    Literal(String),
    Operator(Operator),
}

/// An access log format that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("access log format: `{text}` {error}")]
pub struct FormatError {
    text: String,
    error: format::FormatError,
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

    fn compile(from: &AccessLog, before: Option<&Self>) -> Result<Self, FormatError> {
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

fn pieces(text: &str, captures: &mut Captures) -> Result<Vec<Piece>, FormatError> {
    let refused = |error| FormatError { text: text.to_owned(), error };
    let mut pieces = vec![];
    for piece in format::parse(text, Place::Log).map_err(refused)? {
        pieces.push(match piece {
            format::Piece::Literal(literal) => Piece::Literal(literal),
            format::Piece::Operator(meant, longest) => match Operator::compile(&meant, longest, captures) {
                Some(Operator::Constant(text)) => Piece::Literal(text.into()),
                Some(operator) => Piece::Operator(operator),
                None => return Err(refused(format::FormatError::Unknown(text.to_owned()))),
            },
        });
    }
    Ok(pieces)
}

/// The log buffers of one thread, one for each file.
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

    /// Passes all buffered lines to the files.
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

/// The buffer size in bytes at which lines are passed to a file.
const FLUSH_AT: usize = 64 * 1024;

#[cfg(test)]
mod tests;
