//! Access logs: compiled formats, lines written from records into per-thread buffers, and buffers passed to files
//! by size or time. Without a log no line is formatted, and no request waits for a disk.

mod line;

mod log;

mod json;
mod value;

mod piece;

mod operator;

mod captures;

pub mod moment;

pub mod text;

pub use log::Log;
pub use piece::FormatError;

use crate::flow::record::Record;
use api::model::access_log::LogSink;
use std::fs::OpenOptions;
use std::io::Write;

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
