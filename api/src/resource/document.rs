//! Pure. The place and the key of an object in a file, and the reason why it is refused.

use super::kind::Kind;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// The place of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The file as the user named it; empty when it did not come from one.
    pub file: Arc<str>,
    /// The line at which its document begins, from 1; 0 when unknown.
    pub line: u32,
}

impl Place {
    /// A place in a file.
    pub fn new(file: &str, line: u32) -> Self {
        Self { file: file.into(), line }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line == 0 { Ok(()) } else { write!(f, ":{}", self.line) }
    }
}

/// The key that identifies an object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace; empty for cluster-scoped kinds.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Key {
    /// The key of an object.
    pub fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        Self { kind, namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{} {}", self.kind, self.name)
        } else {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}

/// Why an object, or a part of one, is refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Refusal {
    /// Its place.
    pub place: Place,
    /// The object, if its kind is supported and its name is known.
    pub key: Option<Key>,
    /// The object as `Kind namespace/name`, as far as it is known.
    pub object: String,
    /// The field, such as `spec.http[0].route[1].weight`; empty for the whole object.
    pub path: String,
    /// The reason.
    pub reason: String,
    /// The advice to the user.
    pub next: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.place.file.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        for part in [&self.object, &self.path] {
            if !part.is_empty() {
                write!(f, "{part}: ")?;
            }
        }
        f.write_str(&self.reason)?;
        if self.next.is_empty() { Ok(()) } else { write!(f, "; {}", self.next) }
    }
}

/// A refusal as pilot reports it to tools, and as they show it to users.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Problem {
    /// The file, with the line if known.
    pub file: String,
    /// The object as `Kind namespace/name`.
    pub object: String,
    /// The field.
    pub path: String,
    /// Why.
    pub reason: String,
    /// What to do about it.
    pub next: String,
}

impl Problem {
    /// All of it in one line, for a warning.
    pub fn line(&self) -> String {
        let places = [&self.file, &self.object].into_iter().filter(|place| !place.is_empty());
        places.fold(String::new(), |line, place| line + place + ": ") + &self.finding()
    }

    /// The finding in one line, without its object.
    pub fn finding(&self) -> String {
        let at = if self.path.is_empty() { String::new() } else { format!("{}: ", self.path) };
        let next = if self.next.is_empty() { String::new() } else { format!("; {}", self.next) };
        format!("{at}{}{next}", self.reason)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for place in [&self.file, &self.object, &self.path] {
            if !place.is_empty() {
                write!(f, "{place}: ")?;
            }
        }
        f.write_str(&self.reason)?;
        if self.next.is_empty() { Ok(()) } else { write!(f, "\n  next: {}", self.next) }
    }
}

impl From<&Refusal> for Problem {
    fn from(refusal: &Refusal) -> Self {
        Self {
            file: refusal.place.to_string(),
            object: refusal.object.clone(),
            path: refusal.path.clone(),
            reason: refusal.reason.clone(),
            next: refusal.next.clone(),
        }
    }
}
