//! Pure. Validates Sidecars.

use super::finding::Findings;
use super::{origin, value};
use crate::catalog::policy::{EgressHost, EgressNamespace, Mesh, OutboundPolicy, Sidecar};
use api::resource::kind::sidecar as written;
use api::resource::object::Object;

pub(super) fn check(f: &mut Findings, object: &Object, spec: &written::Sidecar, mesh: &Mesh) -> Sidecar {
    f.unserved("spec.ingress", &spec.ingress);
    f.unserved("spec.inboundConnectionPool", &spec.inbound_connection_pool);
    value::selector(f, "spec.workloadSelector.labels", spec.workload_selector.as_ref().map(|s| &s.labels));
    // A selector without labels selects the workloads of its namespace, also in the root namespace, and takes
    // precedence over a Sidecar without a selector.
    let selector = spec.workload_selector.as_ref().map(|s| s.labels.clone());
    if selector.is_some() && object.namespace() == mesh.root_namespace {
        f.warn(
            "spec.workloadSelector",
            format!("only workloads of the root namespace {} can be selected", mesh.root_namespace),
            "remove the selector for the whole mesh, or move the Sidecar to the namespace of the workloads",
        );
    }
    let others = [&spec.ingress, &spec.inbound_connection_pool];
    if spec.egress.is_empty()
        && spec.outbound_traffic_policy.is_none()
        && others.iter().all(|field| !field.is_set())
    {
        f.error("spec", "is empty", "add egress or outboundTrafficPolicy");
    }
    let (mut egress, mut excluded) = (vec![], vec![]);
    for (i, listener) in spec.egress.iter().enumerate() {
        let path = format!("spec.egress[{i}]");
        f.unserved(format!("{path}.port"), &listener.port);
        f.unserved(format!("{path}.bind"), &listener.bind);
        if listener.capture_mode.written().is_some_and(|mode| mode != "DEFAULT") {
            f.unserved(format!("{path}.captureMode"), &listener.capture_mode);
        }
        if listener.hosts.is_empty() {
            f.missing(format!("{path}.hosts"));
        }
        if listener.port.written().is_none() && i + 1 < spec.egress.len() {
            f.error(
                &path,
                "has no port and is not the last: it takes all ports",
                "write all hosts in one entry, at the end",
            );
        }
        let hosts = listener.hosts.iter().enumerate();
        for (h, text) in hosts {
            let path = format!("{path}.hosts[{h}]");
            match text.strip_prefix('~').filter(|rest| !rest.starts_with('/')) {
                Some(rest) if rest.starts_with("~/") => {
                    f.error(path, format!("`{text}` does not exclude a namespace"), "write ~namespace/host");
                }
                Some(text) => excluded.extend(egress_host(f, &path, text)),
                None => egress.extend(egress_host(f, &path, text)),
            }
        }
        repeated(f, &path, &listener.hosts, object.namespace());
    }
    if egress.is_empty() && !excluded.is_empty() {
        f.warn("spec.egress", "has only exclusions: nothing is imported", "add `*/*` for everything else");
    }
    let policy = spec.outbound_traffic_policy.as_ref();
    let outbound = policy.and_then(|p| outbound(f, "spec.outboundTrafficPolicy", p));
    Sidecar { origin: origin::of(object), selector, egress, excluded, outbound }
}

/// Parses `outboundTrafficPolicy`, which MeshConfig has too.
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
        f.error(path, format!("`{text}` has no namespace"), "write it as namespace/host, such as ./* or */*");
        return None;
    };
    let namespace = match namespace {
        "*" => EgressNamespace::Any,
        "." => EgressNamespace::Own,
        "~" => EgressNamespace::NoNamespace,
        name if value::namespace(f, path, name) => EgressNamespace::Named(name.to_owned()),
        name => {
            f.error(path, format!("`{name}` is not a valid namespace"), "write `*`, `.`, `~` or a namespace");
            return None;
        }
    };
    value::full_host(f, path, host, false).then(|| EgressHost { namespace, host: host.to_ascii_lowercase() })
}

/// Warns of hosts that another host of the same list includes.
fn repeated(f: &mut Findings, path: &str, hosts: &[String], own: &str) {
    let parsed = |text: &String| {
        let (namespace, host) = text.split_once('/').filter(|(namespace, _)| !namespace.starts_with('~'))?;
        Some((if namespace == "." { own } else { namespace }.to_owned(), host.to_owned()))
    };
    let all: Vec<_> = hosts.iter().map(parsed).collect();
    let includes = |wide: &(String, String), narrow: &(String, String)| {
        (wide.0 == "*" || wide.0 == narrow.0) && (wide.1 == "*" || wide.1 == narrow.1)
    };
    for (h, host) in all.iter().enumerate() {
        let Some(host) = host else { continue };
        let other = all.iter().take(MAX_COMPARED).enumerate().position(|(o, other)| {
            let Some(other) = other.as_ref().filter(|_| o != h) else { return false };
            // Of two equal hosts the first is kept.
            includes(other, host) && (o < h || !includes(host, other))
        });
        if let Some(other) = other {
            let reason = format!("`{}` is included in `{}`", hosts[h], hosts[other]);
            f.warn(format!("{path}.hosts[{h}]"), reason, "remove it");
        }
    }
}

/// The number of hosts that each host is compared with; bounds the cost.
const MAX_COMPARED: usize = 200;
