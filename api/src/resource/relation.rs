//! Pure. The objects related to an object, as `/debug/relations` reports them: routes to a service, policies that apply
//! to a pod, pods that a policy selects.

use serde::{Deserialize, Serialize};

/// A related object.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct Related {
    /// Its kind.
    pub kind: String,
    /// Its namespace; empty for kinds without.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// How the two objects are related.
    pub how: String,
}
