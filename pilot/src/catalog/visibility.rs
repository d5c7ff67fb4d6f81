//! Pure. Who an object is: its name and age; and which namespaces see it (`exportTo`).

use api::resource::document::Key;
use api::resource::kind::Kind;
use std::cmp::Ordering;
use std::collections::BTreeSet;

/// Labels of a workload, or what they are compared with.
pub type Labels = std::collections::BTreeMap<String, String>;

/// All of `wanted` are among `have`.
pub fn selects(wanted: &Labels, have: &Labels) -> bool {
    wanted.iter().all(|(name, value)| have.get(name) == Some(value))
}

/// Name and age of a user's object. Sorts by age, then name, then namespace, which is how Istio settles conflicts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// When it was made; sorts as text, empty when unknown.
    pub created: String,
}

impl Origin {
    /// The key of the object.
    pub fn key(&self) -> Key {
        Key::new(self.kind, &self.namespace, &self.name)
    }

    /// The object's name as Istio writes it into metadata, as
    /// `/apis/networking.istio.io/v1/namespaces/default/virtual-service/reviews`.
    pub fn path(&self, kind: &str) -> String {
        format!("/apis/networking.istio.io/v1/namespaces/{}/{kind}/{}", self.namespace, self.name)
    }
}

impl PartialOrd for Origin {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Origin {
    fn cmp(&self, other: &Self) -> Ordering {
        (&self.created, &self.name, &self.namespace).cmp(&(&other.created, &other.name, &other.namespace))
    }
}

/// Which namespaces see an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExportTo {
    /// As the mesh says; all when it says nothing.
    Unset,
    /// All.
    All,
    /// None (`~`).
    Nobody,
    /// These; `.` already replaced by the object's own.
    Namespaces(BTreeSet<String>),
}

impl ExportTo {
    /// Whether a client in `client` sees an object of namespace `own`; `default` stands in where nothing was said.
    pub fn reaches(&self, own: &str, client: &str, default: &Self) -> bool {
        match self {
            Self::Unset => {
                own == client || *default == Self::Unset || default.reaches(own, client, &Self::All)
            }
            Self::All => true,
            Self::Nobody => false,
            Self::Namespaces(names) => names.contains(client),
        }
    }

    /// Only the object's own namespace sees it.
    pub fn is_private(&self, own: &str) -> bool {
        matches!(self, Self::Namespaces(names) if names.len() == 1 && names.contains(own))
    }

    /// Everybody sees it.
    pub fn is_public(&self, default: &Self) -> bool {
        match self {
            Self::All => true,
            Self::Unset => matches!(default, Self::Unset | Self::All),
            _ => false,
        }
    }
}
