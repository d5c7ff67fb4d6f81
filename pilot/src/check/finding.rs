//! Pure. Collects the errors and warnings about one object while it is validated, so that a user sees all of them at
//! once.

use super::instead::instead;
use api::resource::document::{Place, Refusal};
use api::resource::object::Object;
use api::resource::unserved::Unserved;
use std::fmt::Display;

/// Findings about one object.
#[derive(Debug)]
pub(crate) struct Findings<'a> {
    place: &'a Place,
    object: &'a Object,
    pub(crate) errors: Vec<Refusal>,
    pub(crate) warnings: Vec<Refusal>,
}

impl<'a> Findings<'a> {
    pub(crate) fn new(place: &'a Place, object: &'a Object) -> Self {
        Self { place, object, errors: vec![], warnings: vec![] }
    }

    /// Adds an error: the object cannot be accepted.
    pub(crate) fn error(&mut self, path: impl Display, reason: impl Display, next: &str) {
        let refusal = self.refusal(&path, &reason, next);
        self.errors.push(refusal);
    }

    /// Adds a warning: the object is accepted, but may not do what its author wants.
    pub(crate) fn warn(&mut self, path: impl Display, reason: impl Display, next: &str) {
        let refusal = self.refusal(&path, &reason, next);
        self.warnings.push(refusal);
    }

    /// Adds an error for a missing field.
    pub(crate) fn missing(&mut self, path: impl Display) {
        self.error(path, "is missing", "set a value");
    }

    /// Adds an error for a field that exists in Istio but is not supported. A value equivalent to the unset field is
    /// accepted.
    pub(crate) fn unserved(&mut self, path: impl Display, field: &Unserved) {
        if field.is_set() {
            self.not_supported(path, "is");
        }
    }

    /// Like `unserved`, for a feature that the caller names.
    pub(crate) fn not_supported(&mut self, path: impl Display, what: &str) {
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
