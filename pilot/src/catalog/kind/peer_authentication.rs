//! Pure. PeerAuthentications: which mode of mTLS a workload's ports have.

use super::policy::Policy;
use crate::catalog::policy::Mesh;
use crate::catalog::visibility::{Labels, Origin, selects};
use crate::check::finding::Findings;
use crate::check::value;
use crate::flow::MtlsMode;
use api::resource::kind::peer_authentication as written;
use api::resource::object::Object;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A PeerAuthentication.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerAuthentication {
    /// The object.
    pub origin: Origin,
    /// Labels of the workloads that it selects; absent: the whole namespace, or in the root namespace the whole mesh.
    pub selector: Option<Labels>,
    /// The mode for all ports; absent: inherited.
    pub mode: Option<MtlsMode>,
    /// Modes for individual ports of the workload; absent: `mode`.
    pub ports: BTreeMap<u16, Option<MtlsMode>>,
}

impl PeerAuthentication {
    pub(super) fn policy(&self) -> Policy<'_> {
        Policy {
            origin: &self.origin,
            selector: self.selector.as_ref(),
            path: "spec.selector",
            exclusive: true,
            // It changes the inbound side of its workloads, and the endpoints that all callers see.
            shared: false,
        }
    }
}

pub(super) fn check(
    f: &mut Findings,
    object: &Object,
    spec: &written::PeerAuthentication,
    mesh: &Mesh,
) -> PeerAuthentication {
    value::selector(f, "spec.selector.matchLabels", spec.selector.as_ref().map(|s| &s.match_labels));
    let labels = spec.selector.as_ref().map(|s| s.match_labels.clone());
    let selector = labels.filter(|labels| !labels.is_empty());
    if selector.is_some() && object.namespace() == mesh.root_namespace {
        f.error(
            "spec.selector",
            format!("a policy in the root namespace {} applies to the whole mesh", mesh.root_namespace),
            "remove the selector, or move the policy to the namespace of the workloads",
        );
    }
    let written = spec.port_level_mtls.as_ref();
    if written.is_some_and(BTreeMap::is_empty) {
        f.error("spec.portLevelMtls", "is empty", "name ports, or remove it");
    }
    if selector.is_none() && written.is_some() {
        f.error("spec.portLevelMtls", "needs a selector: ports are those of workloads", "add spec.selector");
    }
    let mut ports = BTreeMap::new();
    for (number, setting) in written.into_iter().flatten() {
        let path = format!("spec.portLevelMtls.{number}");
        // `+80` parses as a number, but Istio does not accept it as a key.
        match number.parse().ok().filter(|_| number.bytes().all(|b| b.is_ascii_digit())) {
            Some(parsed) => {
                ports.insert(value::port(f, &path, parsed), mode(Some(*setting)));
            }
            None => {
                f.error(
                    path,
                    format!("`{number}` is not a valid port number"),
                    "write a number from 1 to 65535",
                );
            }
        }
    }
    PeerAuthentication { origin: Origin::of(object), selector, mode: mode(spec.mtls), ports }
}

fn mode(setting: Option<written::MutualTls>) -> Option<MtlsMode> {
    match setting?.mode? {
        written::MutualTlsMode::Unset => None,
        written::MutualTlsMode::Disable => Some(MtlsMode::Disable),
        written::MutualTlsMode::Permissive => Some(MtlsMode::Permissive),
        written::MutualTlsMode::Strict => Some(MtlsMode::Strict),
    }
}

/// Returns the oldest policy with a selector that selects workloads of a namespace with these labels.
pub(in crate::catalog) fn own_policy<'a>(
    mesh: &Mesh,
    policies: impl Iterator<Item = &'a Arc<PeerAuthentication>>,
    (namespace, labels): (&str, &Labels),
) -> Option<&'a Arc<PeerAuthentication>> {
    // As in Istio, a policy with a selector in the root namespace is ignored here: it must not apply mesh-wide.
    let near = |p: &&Arc<PeerAuthentication>| {
        p.origin.namespace == namespace && p.selector.as_ref().is_some_and(|s| selects(s, labels))
    };
    policies.filter(|_| namespace != mesh.root_namespace).find(near)
}

/// Returns the mTLS mode of workloads of a namespace with these labels, on a port or (`None`) on ports that no policy
/// names: of the oldest policy that selects the workload, else of its namespace's, else of the mesh's; permissive by
/// default.
pub(in crate::catalog) fn peer_mode<'a>(
    mesh: &Mesh,
    policies: &(impl Iterator<Item = &'a Arc<PeerAuthentication>> + Clone),
    workload: (&str, &Labels),
    port: Option<u16>,
) -> MtlsMode {
    let own = own_policy(mesh, policies.clone(), workload);
    let wide = |ns: &str| {
        policies.clone().find(|p| p.origin.namespace == ns && p.selector.is_none()).and_then(|p| p.mode)
    };
    let by_port = own.and_then(|p| p.ports.get(&port?).copied().flatten());
    by_port
        .or_else(|| own.and_then(|p| p.mode))
        .or_else(|| wide(workload.0))
        .or_else(|| wide(&mesh.root_namespace))
        .unwrap_or_default()
}
