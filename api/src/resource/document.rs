//! Pure. The place and the key of an object in a file, and the reason why it is refused.

use super::kind::Kind;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// Where an object comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// Unknown.
    #[default]
    Unknown,
    /// A file.
    File {
        /// The file as the user named it.
        file: Arc<str>,
        /// The line at which its document begins, from 1; 0 if unknown.
        line: u32,
    },
    /// The API server of a Kubernetes cluster.
    Cluster {
        /// The cluster's name.
        cluster: Arc<str>,
        /// The object's `metadata.resourceVersion`.
        version: Box<str>,
    },
}

impl Place {
    /// A place in a file. Without a file name it is unknown.
    pub fn new(file: &str, line: u32) -> Self {
        if file.is_empty() { Self::Unknown } else { Self::File { file: file.into(), line } }
    }

    /// An object of a cluster, with its resource version.
    pub fn cluster(cluster: &str, version: &str) -> Self {
        Self::Cluster { cluster: cluster.into(), version: version.into() }
    }

    /// The file or the cluster; empty if unknown.
    pub fn source(&self) -> Arc<str> {
        match self {
            Self::Unknown => Arc::default(),
            Self::File { file, .. } => file.clone(),
            Self::Cluster { cluster, .. } => cluster.clone(),
        }
    }

    /// The line in its file; 0 if there is none.
    pub fn line(&self) -> u32 {
        match self {
            Self::File { line, .. } => *line,
            Self::Unknown | Self::Cluster { .. } => 0,
        }
    }

    /// The same place at another line of its file.
    #[must_use]
    pub fn at(self, line: u32) -> Self {
        match self {
            Self::File { file, .. } => Self::File { file, line },
            other @ (Self::Unknown | Self::Cluster { .. }) => other,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => Ok(()),
            Self::File { file, line: 0 } => f.write_str(file),
            Self::File { file, line } => write!(f, "{file}:{line}"),
            Self::Cluster { cluster, version } => write!(f, "cluster {cluster}, resource version {version}"),
        }
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
        if self.place != Place::Unknown {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_origin_of_its_object() {
        for (place, expected) in [
            (Place::Unknown, "Service a/b: spec.ports: is empty"),
            (Place::new("", 3), "Service a/b: spec.ports: is empty"),
            (Place::new("a.yaml", 0), "a.yaml: Service a/b: spec.ports: is empty"),
            (Place::new("a.yaml", 3), "a.yaml:3: Service a/b: spec.ports: is empty"),
            (
                Place::cluster("east", "42"),
                "cluster east, resource version 42: Service a/b: spec.ports: is empty",
            ),
        ] {
            let refusal = Refusal {
                place,
                object: "Service a/b".into(),
                path: "spec.ports".into(),
                reason: "is empty".into(),
                ..Refusal::default()
            };
            assert_eq!(refusal.to_string(), expected);
            assert_eq!(Problem::from(&refusal).line(), expected);
        }
    }
}
