//! Pure. Formats one log line. A missing value is written as `-`, or in JSON as `null`, as in Envoy. A log with
//! `omit_empty_values` leaves it out.

use super::json::Node;
use super::log::{Format, Log};
use super::piece::Piece;
use super::text;
use super::value::{Value, value};
use crate::flow::record::{Detail, Record};

/// Appends the line for a record.
pub(super) fn write(out: &mut Vec<u8>, log: &Log, record: &Record) {
    let empty;
    let detail = match record.detail.as_deref() {
        Some(detail) => detail,
        None => {
            empty = Detail::default();
            &empty
        }
    };
    match &log.format {
        Format::Text(pieces) => {
            for piece in pieces {
                match piece {
                    Piece::Literal(literal) => out.extend_from_slice(literal.as_bytes()),
                    Piece::Operator(operator) => match value(operator, record, detail) {
                        Value::Absent if log.omit_empty => {}
                        Value::Absent => out.push(b'-'),
                        Value::Text(text) => text::plain(out, text),
                        Value::Escaped(text) => out.extend_from_slice(text.as_bytes()),
                        other if other.may_need_escapes() => text::plain(out, &other.made()),
                        other => other.write(out),
                    },
                }
            }
        }
        Format::Json(fields) => {
            let _ = Writer { out, record, detail, omit_empty: log.omit_empty }.object(fields);
            out.push(b'\n');
        }
    }
}

struct Writer<'a> {
    out: &'a mut Vec<u8>,
    record: &'a Record,
    detail: &'a Detail,
    omit_empty: bool,
}

impl Writer<'_> {
    /// Writes an object, and returns whether it has fields. Each key has a comma before it; the opening bracket replaces
    /// the first comma.
    fn object(&mut self, fields: &[(Box<[u8]>, Node)]) -> bool {
        let start = self.out.len();
        for (key, node) in fields {
            let before = self.out.len();
            self.out.extend_from_slice(key);
            if !self.node(node) {
                self.out.truncate(before);
            }
        }
        let has_fields = self.out.len() > start;
        self.opened(start, b'{');
        self.out.push(b'}');
        has_fields
    }

    fn list(&mut self, nodes: &[Node]) {
        let start = self.out.len();
        for node in nodes {
            let before = self.out.len();
            self.out.push(b',');
            if !self.node(node) {
                self.out.truncate(before);
            }
        }
        self.opened(start, b'[');
        self.out.push(b']');
    }

    fn opened(&mut self, start: usize, bracket: u8) {
        match self.out.get_mut(start) {
            Some(comma) => *comma = bracket,
            None => self.out.push(bracket),
        }
    }

    /// Writes a value. Returns whether it has content that must be kept.
    fn node(&mut self, node: &Node) -> bool {
        match node {
            Node::Constant(text) if self.omit_empty && **text == *b"null" => return false,
            Node::Constant(text) => self.out.extend_from_slice(text),
            // As in Envoy a list without values stays, and an object does not.
            Node::Object(fields) => return self.object(fields) || !self.omit_empty,
            Node::List(nodes) => self.list(nodes),
            Node::Text(pieces) => return self.text(pieces),
        }
        true
    }

    fn text(&mut self, pieces: &[Piece]) -> bool {
        let Self { out, record, detail, omit_empty } = self;
        if let [Piece::Operator(operator)] = pieces {
            match value(operator, record, detail) {
                Value::Absent if *omit_empty => return false,
                Value::Absent => out.extend_from_slice(b"null"),
                Value::Text(text) => text::json(out, text),
                Value::Number(number) => text::number(out, number),
                other if other.may_need_escapes() => text::json(out, &other.made()),
                other => {
                    out.push(b'"');
                    other.write(out);
                    out.push(b'"');
                }
            }
            return true;
        }
        let mut joined = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Literal(literal) => joined.extend_from_slice(literal.as_bytes()),
                Piece::Operator(operator) => match value(operator, record, detail) {
                    Value::Absent if *omit_empty => {}
                    Value::Absent => joined.push(b'-'),
                    other => other.write(&mut joined),
                },
            }
        }
        text::json(out, &joined);
        true
    }
}
