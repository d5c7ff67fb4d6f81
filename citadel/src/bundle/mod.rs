//! Pure. Decides about the trust bundle of a namespace, ConfigMap `istio-ca-root-cert`: whether to write it, or to leave
//! it to another control plane. Two writers that disagree would write forever, and pods would trust one root and then
//! the other; so a bundle that another control plane keeps stays as it is, unless the operator decides otherwise.

pub mod patience;

use api::process::tls;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use std::collections::BTreeMap;

/// What is kept of a namespace's ConfigMap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    roots: Option<String>,
    is_labelled: bool,
    /// Whether this authority has written a part of it.
    pub is_ours: bool,
    /// Another writer that owns the roots in it.
    keeper: Option<String>,
}

/// What to do about a namespace's ConfigMap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It is as it must be.
    Keep,
    /// Write it, unless another writer owns the roots in it.
    Write,
    /// Write it although another writer owns the roots in it.
    Restore,
    /// Leave it to another control plane.
    Leave {
        /// The name of its writer.
        keeper: String,
    },
}

impl Found {
    /// Reads a ConfigMap.
    pub fn read(map: &ConfigMap) -> Self {
        let entries = map.metadata.managed_fields.as_deref().unwrap_or_default();
        let keepers: Vec<&str> = entries.iter().filter(|entry| owns_roots(entry)).map(manager).collect();
        let labels = map.metadata.labels.as_ref();
        Self {
            roots: map.data.as_ref().and_then(|data| data.get(KEY)).cloned(),
            is_labelled: labels.and_then(|labels| labels.get(LABEL)).is_some_and(|value| value == "true"),
            is_ours: entries.iter().any(|entry| manager(entry) == MANAGER),
            keeper: keepers.into_iter().find(|keeper| *keeper != MANAGER).map(str::to_owned),
        }
    }
}

/// What a bundle must hold, and what it may replace.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The roots in PEM.
    pub roots: &'a str,
    /// Whether this authority has written the namespace's bundle before.
    pub was_ours: bool,
    /// Whether to replace bundles of other control planes too.
    pub takes_over: bool,
}

/// Decides about a namespace that exists and is not being deleted.
pub fn decide(found: Option<&Found>, wanted: Wanted<'_>) -> Step {
    let Some(found) = found else { return Step::Write };
    let is_ours = found.is_ours || wanted.was_ours;
    let is_right = found.roots.as_deref().is_some_and(|present| are_same(present, wanted.roots));
    if is_right && (found.is_labelled || !is_ours) {
        return Step::Keep;
    }
    let other = found.keeper.as_deref().filter(|_| !is_right);
    match other {
        Some(_) if wanted.takes_over => Step::Restore,
        Some(keeper) if CONTROL_PLANES.contains(&keeper) => Step::Leave { keeper: keeper.to_owned() },
        // A person changed it, or replaced it as a whole.
        Some(keeper) if is_ours || keeper.starts_with(KUBECTL) => Step::Restore,
        Some(keeper) => Step::Leave { keeper: keeper.to_owned() },
        None if is_ours || wanted.takes_over => Step::Write,
        None => Step::Leave { keeper: "unknown".to_owned() },
    }
}

/// Whether a namespace gets a bundle, as in Istio: all but those in which no workload of a mesh can run.
pub fn concerns(namespace: &str) -> bool {
    !IGNORED.contains(&namespace)
}

/// The ConfigMap to apply to a namespace.
pub fn config_map(roots: &str) -> ConfigMap {
    let metadata = ObjectMeta {
        name: Some(NAME.to_owned()),
        labels: Some(BTreeMap::from([(LABEL.to_owned(), "true".to_owned())])),
        ..ObjectMeta::default()
    };
    let data = BTreeMap::from([(KEY.to_owned(), roots.to_owned())]);
    ConfigMap { metadata, data: Some(data), ..ConfigMap::default() }
}

/// Whether two bundles hold the same certificates, in any order.
fn are_same(one: &str, other: &str) -> bool {
    let certificates = |pem: &str| {
        let mut all = tls::certificates_from_pem(pem.as_bytes()).ok()?;
        all.sort_unstable_by(|one, other| one.as_ref().cmp(other.as_ref()));
        all.dedup();
        Some(all)
    };
    one == other || certificates(one).is_some_and(|one| Some(one) == certificates(other))
}

fn manager(entry: &ManagedFieldsEntry) -> &str {
    entry.manager.as_deref().unwrap_or_default()
}

fn owns_roots(entry: &ManagedFieldsEntry) -> bool {
    let fields = entry.fields_v1.as_ref().and_then(|fields| fields.0.get("f:data"));
    fields.is_some_and(|data| data.get(FIELD).is_some())
}

/// The name of the ConfigMap.
pub const NAME: &str = "istio-ca-root-cert";
/// The name of the authority as a writer of fields (server-side apply).
pub const MANAGER: &str = "ostria-citadel";
/// Writers that put their own root back. Others are noticed by their repeated writes.
const CONTROL_PLANES: [&str; 1] = ["pilot-discovery"];
/// The manager of kubectl's verbs begins with this.
const KUBECTL: &str = "kubectl";
const KEY: &str = "root-cert.pem";
const FIELD: &str = "f:root-cert.pem";
const LABEL: &str = "istio.io/config";
const IGNORED: [&str; 3] = ["kube-public", "kube-node-lease", "local-path-storage"];

#[cfg(test)]
mod tests;
