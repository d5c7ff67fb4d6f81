//! Pure. The description of a kind of object: its names, its versions, its columns and its schema.
//!
//! Each kind has a descriptor in its own file below `kind`. The parser, `ostria` and the CRDs use only descriptors.

use super::column::Column;
use serde_json::Value;

/// One kind of object.
#[derive(Debug)]
pub struct Descriptor {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// The kind in YAML, such as `VirtualService`.
    pub kind: &'static str,
    /// Lower-case plural, as in `get virtualservices`.
    pub plural: &'static str,
    /// Short names, as in `get vs`.
    pub short: &'static [&'static str],
    /// Names for groups of kinds, as in `get all`.
    pub categories: &'static [&'static str],
    /// Whether its objects are in a namespace.
    pub namespaced: bool,
    /// The supported versions, or those of a kind of Istio that is refused; the first is the storage version. Empty for a
    /// refused kind of another API.
    pub versions: &'static [&'static str],
    /// The columns of `get`, without the name.
    pub columns: &'static [Column],
    /// The schema of its `spec`, with marks; `None` for Kubernetes' own kinds and for refused kinds.
    pub schema: Option<fn() -> Value>,
}

impl Descriptor {
    /// The storage version, which tools also write.
    pub fn storage(&self) -> &'static str {
        self.versions.first().copied().unwrap_or("v1")
    }

    /// The `apiVersion` for a version of this kind.
    pub fn api_version(&self, version: &str) -> String {
        if self.group.is_empty() { version.to_owned() } else { format!("{}/{version}", self.group) }
    }

    /// Its singular name, in lower case.
    pub fn singular(&self) -> String {
        self.kind.to_lowercase()
    }

    /// The kind as kubectl prints it: `deployment.apps`.
    pub fn printed(&self) -> String {
        if self.group.is_empty() { self.singular() } else { format!("{}.{}", self.singular(), self.group) }
    }

    /// Whether it is a kind of the mesh, not one of Kubernetes.
    pub fn is_mesh(&self) -> bool {
        self.group.ends_with("istio.io") || self.group == GATEWAY
    }

    /// Whether a user's word names this kind: its plural, singular or short name, in any case, alone or followed by
    /// `.group` or `.version.group`. As in kubectl, a prefix of the group is enough.
    pub fn is_named(&self, word: &str) -> bool {
        let word = word.to_lowercase();
        let (name, rest) = word.split_once('.').map_or((&*word, None), |(name, rest)| (name, Some(rest)));
        let named = name == self.plural || name == self.singular() || self.short.contains(&name);
        named && rest.is_none_or(|rest| self.is_qualified(rest))
    }

    fn is_qualified(&self, rest: &str) -> bool {
        let of_version = rest.split_once('.').is_some_and(|(version, group)| {
            group == self.group && (self.versions.is_empty() || self.versions.contains(&version))
        });
        of_version || (!rest.is_empty() && self.group.starts_with(rest))
    }
}

/// The group of the Gateway API.
pub const GATEWAY: &str = "gateway.networking.k8s.io";
/// The group of Istio's networking kinds.
pub const NETWORKING: &str = "networking.istio.io";
/// The group of Istio's security kinds.
pub const SECURITY: &str = "security.istio.io";
/// The categories of Istio's networking kinds.
pub const NETWORKING_CATEGORIES: &[&str] = &["istio-io", "networking-istio-io"];
/// The categories of Istio's security kinds.
pub const SECURITY_CATEGORIES: &[&str] = &["istio-io", "security-istio-io"];
/// The versions of Istio's networking kinds.
pub const NETWORKING_VERSIONS: &[&str] = &["v1", "v1beta1", "v1alpha3"];
/// The versions of Istio's security kinds.
pub const SECURITY_VERSIONS: &[&str] = &["v1", "v1beta1"];
