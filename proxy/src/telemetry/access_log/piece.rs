//! Pure. The parts of a text format, compiled.

use super::captures::Captures;
use super::operator::Operator;
use api::format::{self, Place};

#[derive(Debug)]
pub(super) enum Piece {
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

pub(super) fn pieces(text: &str, captures: &mut Captures) -> Result<Vec<Piece>, FormatError> {
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
