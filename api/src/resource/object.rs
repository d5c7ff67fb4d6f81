//! Pure. An object of any supported kind, and its place.

use super::document::{Key, Place};
use super::kind::{Body, Kind};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// One object.
#[derive(Clone, PartialEq)]
pub struct Object {
    /// Its `apiVersion` as written.
    pub api_version: String,
    /// Kind, namespace (`default` when absent) and name.
    pub key: Key,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Creation time, as RFC 3339 text that sorts by time; empty when unknown.
    pub created: String,
    /// Its `metadata.uid`; empty when unknown.
    pub uid: Box<str>,
    /// Its `metadata.generation`; 0 when unknown.
    pub generation: i64,
    /// The file and line, or the cluster, where it was read, if any.
    pub place: Place,
    /// Its content.
    pub body: Body,
}

impl Object {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        self.key.kind
    }

    /// Its namespace; empty for kinds without.
    pub fn namespace(&self) -> &str {
        &self.key.namespace
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.key.name
    }
}

impl fmt::Debug for Object {
    /// Without the content: it may be a secret's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Object({})", self.key)
    }
}

/// One object with its place.
#[derive(Clone, PartialEq)]
pub struct Document {
    /// Where it stands.
    pub place: Place,
    /// Its number in the file, from 0; the items of a list count.
    pub index: usize,
    /// The object.
    pub object: Arc<Object>,
    /// The object as written.
    pub raw: serde_json::Value,
}

impl fmt::Debug for Document {
    /// Without the content: it may be a secret's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Document({} at {})", self.object.key, self.place)
    }
}
