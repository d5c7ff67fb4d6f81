//! Pure. What must be known of a kind of object: how it is named, in which versions it is read, how a list of it looks.
//!
//! Each kind describes itself in its own file below `kind`; the parser, `ostria` and the CRDs read nothing else.

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
    /// Words that stand for several kinds, as in `get all`.
    pub categories: &'static [&'static str],
    /// Whether its objects live in a namespace.
    pub namespaced: bool,
    /// The versions that are read, the one that is stored first. Empty for a kind of which any version is refused.
    pub versions: &'static [&'static str],
    /// The table of `get`, without the name.
    pub columns: &'static [Column],
    /// The schema of its `spec`, with marks; none for Kubernetes' own kinds and for those that are refused.
    pub schema: Option<fn() -> Value>,
}

impl Descriptor {
    /// The version that a cluster stores and that tools write.
    pub fn storage(&self) -> &'static str {
        self.versions.first().copied().unwrap_or("v1")
    }

    /// An `apiVersion` of this kind.
    pub fn api_version(&self, version: &str) -> String {
        if self.group.is_empty() { version.to_owned() } else { format!("{}/{version}", self.group) }
    }

    /// Its name for one object, lower case.
    pub fn singular(&self) -> String {
        self.kind.to_lowercase()
    }

    /// As kubectl prints the kind of an object: `deployment.apps`.
    pub fn printed(&self) -> String {
        if self.group.is_empty() { self.singular() } else { format!("{}.{}", self.singular(), self.group) }
    }

    /// Whether it is the mesh's, not Kubernetes' own.
    pub fn is_mesh(&self) -> bool {
        self.group.ends_with("istio.io") || self.group == GATEWAY
    }

    /// Whether a user's word means this kind: its plural, singular or short name, in any case of letters, alone or with
    /// `.group` or `.version.group` behind it. The beginning of a group is enough, as for kubectl.
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
/// The group of Istio's kinds that route.
pub const NETWORKING: &str = "networking.istio.io";
/// The group of Istio's kinds that protect.
pub const SECURITY: &str = "security.istio.io";
/// The categories of Istio's kinds that route.
pub const NETWORKING_CATEGORIES: &[&str] = &["istio-io", "networking-istio-io"];
/// The categories of Istio's kinds that protect.
pub const SECURITY_CATEGORIES: &[&str] = &["istio-io", "security-istio-io"];
/// The versions of Istio's kinds that route.
pub const NETWORKING_VERSIONS: &[&str] = &["v1", "v1beta1", "v1alpha3"];
/// The versions of Istio's kinds that protect.
pub const SECURITY_VERSIONS: &[&str] = &["v1", "v1beta1"];
