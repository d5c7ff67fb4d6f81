//! Pure. Checks Sidecars.

use super::finding::Findings;
use super::{origin, value};
use crate::catalog::policy::{EgressHost, EgressNamespace, Mesh, OutboundPolicy, Sidecar};
use api::resource::name::is_label;
use api::resource::object::Object;
use api::resource::sidecar as written;

pub(super) fn check(f: &mut Findings, object: &Object, spec: &written::Sidecar, mesh: &Mesh) -> Sidecar {
    f.unserved("spec.ingress", &spec.ingress);
    f.unserved("spec.inboundConnectionPool", &spec.inbound_connection_pool);
    let labels = spec.workload_selector.as_ref().map(|s| s.labels.clone());
    let selector = labels.filter(|labels| !labels.is_empty());
    if selector.is_some() && object.namespace() == mesh.root_namespace {
        f.error(
            "spec.workloadSelector",
            format!("a Sidecar in the root namespace {} holds for the whole mesh", mesh.root_namespace),
            "remove the selector, or move the Sidecar to the namespace of the workloads",
        );
    }
    let (mut egress, mut excluded) = (vec![], vec![]);
    for (i, listener) in spec.egress.iter().enumerate() {
        let path = format!("spec.egress[{i}]");
        f.unserved(format!("{path}.port"), &listener.port);
        f.unserved(format!("{path}.bind"), &listener.bind);
        f.unserved(format!("{path}.captureMode"), &listener.capture_mode);
        if listener.hosts.is_empty() {
            f.missing(format!("{path}.hosts"));
        }
        let hosts = listener.hosts.iter().enumerate();
        for (h, text) in hosts {
            let path = format!("{path}.hosts[{h}]");
            match text.strip_prefix('~').filter(|rest| !rest.starts_with('/')) {
                Some(text) => excluded.extend(egress_host(f, &path, text)),
                None => egress.extend(egress_host(f, &path, text)),
            }
        }
    }
    if egress.is_empty() && !excluded.is_empty() {
        f.warn("spec.egress", "only excludes: nothing is imported", "add `*/*` for everything else");
    }
    let policy = spec.outbound_traffic_policy.as_ref();
    let outbound = policy.and_then(|p| outbound(f, "spec.outboundTrafficPolicy", p));
    Sidecar { origin: origin(object), selector, egress, excluded, outbound }
}

/// `outboundTrafficPolicy`, which MeshConfig has too.
pub(super) fn outbound(
    f: &mut Findings,
    path: &str,
    policy: &written::OutboundTrafficPolicy,
) -> Option<OutboundPolicy> {
    f.unserved(format!("{path}.egressProxy"), &policy.egress_proxy);
    match policy.mode {
        None => None,
        Some(written::OutboundMode::RegistryOnly) => Some(OutboundPolicy::RegistryOnly),
        Some(written::OutboundMode::AllowAny) => Some(OutboundPolicy::AllowAny),
        Some(written::OutboundMode::AllowAnyDynamicDns) => {
            f.not_supported(format!("{path}.mode"), "ALLOW_ANY_DYNAMIC_DNS is");
            None
        }
    }
}

fn egress_host(f: &mut Findings, path: &str, text: &str) -> Option<EgressHost> {
    let Some((namespace, host)) = text.split_once('/') else {
        f.error(
            path,
            format!("`{text}` names no namespace"),
            "write it as namespace/host, such as ./* or */*",
        );
        return None;
    };
    let namespace = match namespace {
        "*" => EgressNamespace::Any,
        "." => EgressNamespace::Own,
        "~" => EgressNamespace::Nobody,
        name if is_label(name) => EgressNamespace::Named(name.to_owned()),
        name => {
            f.error(path, format!("`{name}` is no namespace"), "write `*`, `.`, `~` or a namespace");
            return None;
        }
    };
    value::host(f, path, host, true).then(|| EgressHost { namespace, host: host.to_ascii_lowercase() })
}
