//! Pure. Which objects have to do with an object, as `/debug/relations` tells it: what routes to a service, which policies
//! hold for a pod, which pods a policy chooses.

use serde::{Deserialize, Serialize};

/// Another object that has to do with one.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct Related {
    /// Its kind.
    pub kind: String,
    /// Its namespace; empty for kinds without.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What they have to do with each other.
    pub how: String,
}
