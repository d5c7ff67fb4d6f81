//! Pure. Validates PeerAuthentications.

use super::finding::Findings;
use super::{origin, value};
use crate::catalog::policy::{Mesh, PeerAuthentication};
use crate::flow::MtlsMode;
use api::resource::kind::peer_authentication as written;
use api::resource::object::Object;
use std::collections::BTreeMap;

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
    PeerAuthentication { origin: origin::of(object), selector, mode: mode(spec.mtls), ports }
}

fn mode(setting: Option<written::MutualTls>) -> Option<MtlsMode> {
    match setting?.mode? {
        written::MutualTlsMode::Unset => None,
        written::MutualTlsMode::Disable => Some(MtlsMode::Disable),
        written::MutualTlsMode::Permissive => Some(MtlsMode::Permissive),
        written::MutualTlsMode::Strict => Some(MtlsMode::Strict),
    }
}
