//! Pure. The reason and the field path of a refused message, and the check that no field was left unread.
//!
//! A decoder takes the fields that it supports out of a message. `nothing_left` then refuses the message if any
//! other field is set, except those of `ignored`, so that no setting is ever silently dropped.

use super::ignored::{Ignored, OfMessage};
use super::{descriptors, ignored};
use prost::{Message, Name};
use std::fmt::Display;

/// A reason and the path of the field it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Innermost segment first, because it is built while errors travel outwards.
    path: Vec<String>,
    /// What is wrong with the field.
    pub(super) reason: String,
}

impl Refusal {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self { path: vec![], reason: reason.into() }
    }

    /// A refusal of a field that is not supported.
    pub(super) fn unsupported(field: &str) -> Self {
        Self { path: vec![field.to_owned()], reason: "is not supported".into() }
    }

    /// The path as users know it: `filter_chains[0].filters[1]`.
    pub(super) fn path(&self) -> String {
        self.path.iter().rev().map(String::as_str).collect::<Vec<_>>().join(".")
    }

    fn within(mut self, segment: String) -> Self {
        self.path.push(segment);
        self
    }
}

/// A refusal without a path yet.
pub(super) fn refuse<T>(reason: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new(reason))
}

/// Names the field in which an error happened.
pub(super) trait At<T> {
    /// The error happened in a field.
    fn at(self, field: &str) -> Result<T, Refusal>;
    /// The error happened in an item of a list or map.
    fn at_item(self, field: &str, item: impl Display) -> Result<T, Refusal>;
}

impl<T> At<T> for Result<T, Refusal> {
    fn at(self, field: &str) -> Self {
        self.map_err(|r| r.within(field.to_owned()))
    }

    fn at_item(self, field: &str, item: impl Display) -> Self {
        self.map_err(|r| r.within(format!("{field}[{item}]")))
    }
}

/// Decodes every item of a list.
pub(super) fn each<A, B>(
    list: Vec<A>,
    field: &str,
    mut decode: impl FnMut(A) -> Result<B, Refusal>,
) -> Result<Vec<B>, Refusal> {
    list.into_iter().enumerate().map(|(i, item)| decode(item).at_item(field, i)).collect()
}

/// Returns the value, or refuses the message if it is missing.
pub(super) fn required<T>(value: Option<T>, field: &str) -> Result<T, Refusal> {
    value.ok_or_else(|| Refusal::new("is missing")).at(field)
}

/// Decodes a value that may be missing.
pub(super) fn optional<A, B>(
    value: Option<A>,
    field: &str,
    decode: impl FnOnce(A) -> Result<B, Refusal>,
) -> Result<Option<B>, Refusal> {
    value.map(decode).transpose().at(field)
}

/// Refuses a message in which a field is left that is not in the list of ignored fields.
pub(super) fn nothing_left<M: Message + Name>(rest: &M) -> Result<(), Refusal> {
    left(rest, ignored::fields(M::PACKAGE, M::NAME))
}

/// Refuses a message in which a field is left that is not in the message's own list of ignored fields.
pub(super) fn nothing_left_but<M: Message + Name>(rest: &M, known: &OfMessage) -> Result<(), Refusal> {
    debug_assert_eq!(M::full_name(), known.0, "a message has its own list");
    left(rest, known.1)
}

fn left<M: Message + Name>(rest: &M, known: &[Ignored]) -> Result<(), Refusal> {
    let bytes = rest.encode_to_vec();
    let Some(tag) = tags(&bytes).find(|tag| known.iter().all(|f| f.tag != *tag)) else { return Ok(()) };
    let name = descriptors::field_name(&M::full_name(), tag);
    Err(Refusal::unsupported(&name.unwrap_or_else(|| format!("field {tag}"))))
}

/// The numbers of the fields in an encoded message.
fn tags(mut bytes: &[u8]) -> impl Iterator<Item = u32> {
    use prost::encoding::{DecodeContext, decode_key, skip_field};
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let (tag, kind) = decode_key(&mut bytes).ok()?;
        skip_field(kind, tag, &mut bytes, DecodeContext::default()).ok()?;
        Some(tag)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use envoy_types::pb::envoy::config::listener::v3::Listener;

    #[test]
    fn a_field_that_is_left_is_named() {
        let listener = Listener { enable_mptcp: true, stat_prefix: "x".into(), ..Listener::default() };
        let refusal = nothing_left(&listener).at_item("listeners", 2).unwrap_err();
        assert_eq!(
            (refusal.path().as_str(), refusal.reason.as_str()),
            ("listeners[2].enable_mptcp", "is not supported")
        );
    }

    #[test]
    fn fields_on_the_list_of_ignored_ones_may_be_left() {
        let listener = Listener { stat_prefix: "x".into(), ..Listener::default() };
        assert_eq!(nothing_left(&listener), Ok(()));
    }
}
