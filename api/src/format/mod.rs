//! Pure. Format strings with command operators such as `%REQ(x)%`: access log lines, header values, and bodies of
//! local replies.
//!
//! There is one grammar, and one table that defines for each operator its syntax, where it is allowed and what it
//! means. So pilot accepts exactly the operators that proxies accept: a proxy refuses a whole listener or route
//! configuration because of one unknown operator.

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
pub use row::{Allowed, AllowedTraffic, Meaning, Row};
pub use table::{row, rows};

use operator::Operator;

/// A part of a format string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Literal text.
    Literal(String),
    /// An operator, with the maximum length of its value.
    Operator(Operator, Option<usize>),
}

/// Parses a format string.
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

/// Finds the end of an operator. Its argument may contain percent signs, as time formats do, and ends with the first
/// `)`.
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

/// Splits an operator into its name, its argument in parentheses (empty if absent), and the length after a colon.
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
