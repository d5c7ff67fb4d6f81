//! Pure. What is wrong or odd about one object, collected while it is checked, so that a user reads all of it at
//! once.

use super::instead::instead;
use api::resource::Unserved;
use api::resource::document::{Place, Refusal};
use api::resource::object::Object;
use serde_json::Value;
use std::fmt::Display;

/// Findings about one object.
#[derive(Debug)]
pub(super) struct Findings<'a> {
    place: &'a Place,
    object: &'a Object,
    pub(super) errors: Vec<Refusal>,
    pub(super) warnings: Vec<Refusal>,
}

impl<'a> Findings<'a> {
    pub(super) fn new(place: &'a Place, object: &'a Object) -> Self {
        Self { place, object, errors: vec![], warnings: vec![] }
    }

    /// The object cannot be accepted.
    pub(super) fn error(&mut self, path: impl Display, reason: impl Display, next: &str) {
        let refusal = self.refusal(&path, &reason, next);
        self.errors.push(refusal);
    }

    /// The object is accepted, but it may not do what its author wants.
    pub(super) fn warn(&mut self, path: impl Display, reason: impl Display, next: &str) {
        let refusal = self.refusal(&path, &reason, next);
        self.warnings.push(refusal);
    }

    /// A field is missing.
    pub(super) fn missing(&mut self, path: impl Display) {
        self.error(path, "is missing", "give it a value");
    }

    /// A field that exists and that this version does not serve. A value that means the same as none is taken.
    pub(super) fn unserved(&mut self, path: impl Display, field: &Unserved) {
        if field.as_ref().is_some_and(|value| !is_default(value)) {
            self.not_supported(path, "is");
        }
    }

    /// As `unserved`, of something the caller names.
    pub(super) fn not_supported(&mut self, path: impl Display, what: &str) {
        let path = path.to_string();
        let next = instead(&path);
        self.error(path, format!("{what} not supported by this version"), next);
    }

    fn refusal(&self, path: &dyn Display, reason: &dyn Display, next: &str) -> Refusal {
        Refusal {
            place: self.place.clone(),
            key: Some(self.object.key.clone()),
            object: self.object.key.to_string(),
            path: path.to_string(),
            reason: reason.to_string(),
            next: next.to_owned(),
        }
    }
}

/// What protobuf does not tell apart from an absent field.
pub(super) fn is_default(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Bool(true) | Value::Object(_) => false,
    }
}
