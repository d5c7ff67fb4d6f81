//! Pure. What is said of an object in a file: where it stands, which one it is, and why it is refused.

use super::kind::Kind;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// Where an object stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The file as the user named it; empty when it did not come from one.
    pub file: Arc<str>,
    /// The line its document begins on, from 1; 0 when unknown.
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

/// What makes an object the same object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace; empty for kinds without.
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
    /// Where it stands.
    pub place: Place,
    /// The object, when its kind is served and its name is known.
    pub key: Option<Key>,
    /// The object as `Kind namespace/name`, as far as it is known.
    pub object: String,
    /// The field, such as `spec.http[0].route[1].weight`; empty for the whole object.
    pub path: String,
    /// Why.
    pub reason: String,
    /// What to do about it.
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

/// A refusal as pilot tells it to tools, and as these show it to their users.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Problem {
    /// The file, with the line where known.
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
    /// All of it in one line, as a warning is printed.
    pub fn line(&self) -> String {
        let places = [&self.file, &self.object].into_iter().filter(|place| !place.is_empty());
        places.fold(String::new(), |line, place| line + place + ": ") + &self.finding()
    }

    /// The finding in one line, without the object that it is about.
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
