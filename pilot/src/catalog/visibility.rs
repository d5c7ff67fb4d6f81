//! Pure. The origin of an object, its name and age; and which namespaces see an object (`exportTo`).

use api::resource::document::{Key, Place};
use api::resource::kind::Kind;
use api::resource::object::Object;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// Labels of a workload, or a selector.
pub type Labels = std::collections::BTreeMap<String, String>;

/// Whether `have` contains all of `wanted`.
pub fn selects(wanted: &Labels, have: &Labels) -> bool {
    wanted.iter().all(|(name, value)| have.get(name) == Some(value))
}

/// The user's object that a value was made from; shared by all values made from it. Sorts by age, then name, then
/// namespace, which is how Istio resolves conflicts. Comparison ignores the place in the file and the generation.
#[derive(Clone)]
pub struct Origin(Arc<Identity>);

/// The identity of an object and its version.
#[derive(Debug)]
pub struct Identity {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Creation time; sorts as text, empty if unknown.
    pub created: String,
    /// The uid; empty if unknown.
    pub uid: Box<str>,
    /// The generation of its spec; 0 if unknown.
    pub generation: i64,
    /// The file and line, or the cluster, where it was read.
    pub place: Place,
}

impl Deref for Origin {
    type Target = Identity;

    fn deref(&self) -> &Identity {
        &self.0
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {:?}", self.key(), self.created)
    }
}

impl Origin {
    /// The origin of what is made from an object.
    pub fn new(identity: Identity) -> Self {
        Self(Arc::new(identity))
    }

    /// The origin of what is made from this object.
    pub fn of(object: &Object) -> Self {
        Self::new(Identity {
            kind: object.kind(),
            namespace: object.namespace().to_owned(),
            name: object.name().to_owned(),
            created: object.created.clone(),
            uid: object.uid.clone(),
            generation: object.generation,
            place: object.place.clone(),
        })
    }

    /// The key of the object.
    pub fn key(&self) -> Key {
        Key::new(self.kind, &self.namespace, &self.name)
    }

    /// The object's path as Istio writes it into metadata:
    /// `/apis/networking.istio.io/v1/namespaces/default/virtual-service/reviews`.
    pub fn path(&self, kind: &str) -> String {
        format!("/apis/networking.istio.io/v1/namespaces/{}/{kind}/{}", self.namespace, self.name)
    }
}

impl PartialEq for Origin {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Origin {}

impl PartialOrd for Origin {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Origin {
    fn cmp(&self, other: &Self) -> Ordering {
        let (one, other) = (&*self.0, &*other.0);
        (&one.created, &one.name, &one.namespace, one.kind).cmp(&(
            &other.created,
            &other.name,
            &other.namespace,
            other.kind,
        ))
    }
}

/// Which namespaces see an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExportTo {
    /// The mesh's default, or all if the mesh sets none.
    Unset,
    /// All namespaces.
    All,
    /// No namespace (`~`).
    NoNamespace,
    /// The listed namespaces; `.` is already replaced by the object's own.
    Namespaces(BTreeSet<String>),
}

impl ExportTo {
    /// Whether a client in namespace `client` sees an object of namespace `own`. `default` applies if the object sets
    /// no `exportTo`.
    pub fn reaches(&self, own: &str, client: &str, default: &Self) -> bool {
        match self {
            Self::Unset => {
                own == client || *default == Self::Unset || default.reaches(own, client, &Self::All)
            }
            Self::All => true,
            Self::NoNamespace => false,
            Self::Namespaces(names) => names.contains(client),
        }
    }

    /// Whether only the object's own namespace sees it.
    pub fn is_private(&self, own: &str) -> bool {
        matches!(self, Self::Namespaces(names) if names.len() == 1 && names.contains(own))
    }

    /// Whether every namespace sees it.
    pub fn is_public(&self, default: &Self) -> bool {
        match self {
            Self::All => true,
            Self::Unset => matches!(default, Self::Unset | Self::All),
            _ => false,
        }
    }
}
