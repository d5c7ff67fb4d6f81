//! Pure. Texts with operators such as `%REQ(x)%`: log lines, values of headers, and the bodies of a proxy's own answers.
//!
//! There is one grammar, and one table that says of each operator how it is written, where it may stand and what it
//! means, so that pilot takes exactly what proxies take: a proxy refuses a whole listener, or a whole table of routes, for
//! one operator that it does not know.

mod table;

mod connection;
mod request;

mod argument;

mod row;

pub mod operator;

mod error;
mod place;

pub mod defaults;
pub mod time;

#[cfg(test)]
mod tests;

pub use error::FormatError;
pub use place::Place;
pub use row::{Allowed, Meaning, Row, Seen};
pub use table::{row, rows};

use operator::Operator;

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Text as it stands.
    Literal(String),
    /// What stands for a value, with the most bytes of it to show.
    Operator(Operator, Option<usize>),
}

/// Takes a text apart.
pub fn parse(text: &str, place: Place) -> Result<Vec<Piece>, FormatError> {
    let mut pieces = vec![];
    let mut literal = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        literal.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let end = end(rest).ok_or(FormatError::Unclosed)?;
        let written = &rest[..end];
        rest = &rest[end + 1..];
        if written.is_empty() {
            literal.push('%');
            continue;
        }
        let (operator, longest) = operator(written, place)?;
        if !literal.is_empty() {
            pieces.push(Piece::Literal(std::mem::take(&mut literal)));
        }
        pieces.push(Piece::Operator(operator, longest));
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    Ok(pieces)
}

/// Where an operator ends. Its argument may hold percent signs, as the format of a time does, and ends with the first `)`.
fn end(rest: &str) -> Option<usize> {
    match (rest.find('('), rest.find('%')) {
        (Some(open), Some(percent)) if open < percent => {
            let close = open + rest[open..].find(')')?;
            Some(close + rest[close..].find('%')?)
        }
        (_, percent) => percent,
    }
}

fn operator(written: &str, place: Place) -> Result<(Operator, Option<usize>), FormatError> {
    let unknown = || FormatError::Unknown(written.to_owned());
    let (name, argument, longest) = split(written).ok_or_else(unknown)?;
    let operator = row(name).ok_or_else(unknown)?.read(written, argument, longest, place, row)?;
    Ok((operator, longest))
}

/// Name, argument in parentheses (empty without), and the length after a colon.
fn split(written: &str) -> Option<(&str, &str, Option<usize>)> {
    let named = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let (name, rest) = written.split_at(written.find(|c| !named(c)).unwrap_or(written.len()));
    let (argument, rest) = match rest.strip_prefix('(') {
        Some(inside) => inside.split_once(')')?,
        None => ("", rest),
    };
    let longest = match rest.strip_prefix(':') {
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => Some(digits.parse().ok()?),
        None if rest.is_empty() => None,
        Some(_) | None => return None,
    };
    Some((name, argument, longest))
}
