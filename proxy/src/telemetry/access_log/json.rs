//! Pure. JSON log formats, compiled.

use super::captures::Captures;
use super::piece::{FormatError, Piece, pieces};
use super::text;
use api::model::access_log::JsonFormat;

/// A value in a JSON format.
#[derive(Debug)]
pub(super) enum Node {
    /// Literal bytes of the line.
    Constant(Box<[u8]>),
    Text(Vec<Piece>),
    Object(Fields),
    List(Vec<Node>),
}

/// Keys as written to the line, each with a leading comma and a trailing colon.
pub(super) type Fields = Vec<(Box<[u8]>, Node)>;

pub(super) fn fields(from: &[(String, JsonFormat)], captures: &mut Captures) -> Result<Fields, FormatError> {
    let mut fields = Vec::with_capacity(from.len());
    for (key, value) in from {
        let mut shown = vec![b','];
        text::json(&mut shown, key.as_bytes());
        shown.push(b':');
        fields.push((shown.into(), node(value, captures)?));
    }
    Ok(fields)
}

fn node(from: &JsonFormat, captures: &mut Captures) -> Result<Node, FormatError> {
    Ok(match from {
        JsonFormat::Text(text) => Node::Text(pieces(text, captures)?),
        JsonFormat::Constant(text) => Node::Constant(text.as_bytes().into()),
        JsonFormat::Object(inner) => Node::Object(fields(inner, captures)?),
        JsonFormat::List(list) => {
            Node::List(list.iter().map(|value| node(value, captures)).collect::<Result<_, _>>()?)
        }
    })
}
