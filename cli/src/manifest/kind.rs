//! Pure. The kinds that a command line may name, with kubectl's plurals and short names.

/// A kind of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// The kind in YAML.
    pub kind: &'static str,
    /// Lower-case plural, as in `get virtualservices`.
    pub plural: &'static str,
    /// Short names.
    pub short: &'static [&'static str],
    /// Whether objects of it live in a namespace.
    pub namespaced: bool,
}

impl Kind {
    /// Whether this kind is the mesh's, not Kubernetes' own.
    pub fn is_mesh(&self) -> bool {
        self.group.ends_with("istio.io") || self.group == "gateway.networking.k8s.io"
    }

    /// As kubectl prints an object's kind: `deployment.apps`.
    pub fn printed(&self) -> String {
        let kind = self.kind.to_lowercase();
        if self.group.is_empty() { kind } else { format!("{kind}.{}", self.group) }
    }
}

/// The kind that a user's word means: kind, plural or short name, with or without its group.
pub fn named(word: &str) -> Option<&'static Kind> {
    let word = word.to_lowercase();
    let (name, group) = word.split_once('.').unwrap_or((&word, ""));
    KINDS.iter().find(|kind| {
        let same = kind.plural == name || kind.kind.to_lowercase() == name || kind.short.contains(&name);
        same && (group.is_empty() || kind.group == group || group.ends_with(&format!(".{}", kind.group)))
    })
}

/// The kind of an object by its `apiVersion` and `kind`.
pub fn of(group: &str, kind: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|known| known.group == group && known.kind == kind)
}

const NETWORKING: &str = "networking.istio.io";
const SECURITY: &str = "security.istio.io";
const GATEWAY: &str = "gateway.networking.k8s.io";

const fn core(kind: &'static str, plural: &'static str, short: &'static [&'static str]) -> Kind {
    Kind { group: "", kind, plural, short, namespaced: true }
}

const fn mesh(
    group: &'static str,
    kind: &'static str,
    plural: &'static str,
    short: &'static [&'static str],
) -> Kind {
    Kind { group, kind, plural, short, namespaced: true }
}

/// All kinds, those first that a bare word means.
pub const KINDS: &[Kind] = &[
    Kind { group: "", kind: "Namespace", plural: "namespaces", short: &["ns"], namespaced: false },
    core("ServiceAccount", "serviceaccounts", &["sa"]),
    core("Service", "services", &["svc"]),
    core("ConfigMap", "configmaps", &["cm"]),
    core("Secret", "secrets", &[]),
    core("Pod", "pods", &["po"]),
    core("Endpoints", "endpoints", &["ep"]),
    mesh("discovery.k8s.io", "EndpointSlice", "endpointslices", &[]),
    mesh("apps", "Deployment", "deployments", &["deploy"]),
    mesh("apps", "StatefulSet", "statefulsets", &["sts"]),
    mesh("batch", "Job", "jobs", &[]),
    mesh(NETWORKING, "VirtualService", "virtualservices", &["vs"]),
    mesh(NETWORKING, "DestinationRule", "destinationrules", &["dr"]),
    mesh(NETWORKING, "Gateway", "gateways", &["gw"]),
    mesh(NETWORKING, "ServiceEntry", "serviceentries", &["se"]),
    mesh(NETWORKING, "WorkloadEntry", "workloadentries", &["we"]),
    mesh(NETWORKING, "WorkloadGroup", "workloadgroups", &["wg"]),
    mesh(NETWORKING, "Sidecar", "sidecars", &[]),
    mesh(NETWORKING, "EnvoyFilter", "envoyfilters", &[]),
    mesh(NETWORKING, "ProxyConfig", "proxyconfigs", &[]),
    mesh(SECURITY, "PeerAuthentication", "peerauthentications", &["pa"]),
    mesh(SECURITY, "AuthorizationPolicy", "authorizationpolicies", &["ap"]),
    mesh(SECURITY, "RequestAuthentication", "requestauthentications", &["ra"]),
    mesh("telemetry.istio.io", "Telemetry", "telemetries", &["telemetry"]),
    mesh("extensions.istio.io", "WasmPlugin", "wasmplugins", &[]),
    Kind {
        group: GATEWAY,
        kind: "GatewayClass",
        plural: "gatewayclasses",
        short: &["gc"],
        namespaced: false,
    },
    mesh(GATEWAY, "Gateway", "gateways", &["gtw"]),
    mesh(GATEWAY, "HTTPRoute", "httproutes", &[]),
    mesh(GATEWAY, "GRPCRoute", "grpcroutes", &[]),
    mesh(GATEWAY, "TLSRoute", "tlsroutes", &[]),
    mesh(GATEWAY, "TCPRoute", "tcproutes", &[]),
    mesh(GATEWAY, "ReferenceGrant", "referencegrants", &["refgrant"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_found_by_kind_plural_short_name_and_group() {
        let cases = [
            ("pods", "Pod"),
            ("po", "Pod"),
            ("VirtualService", "VirtualService"),
            ("vs", "VirtualService"),
            ("deploy", "Deployment"),
            ("deployments.apps", "Deployment"),
            ("virtualservices.networking.istio.io", "VirtualService"),
        ];
        for (word, expected) in cases {
            assert_eq!(named(word).map(|kind| kind.kind), Some(expected), "{word}");
        }
        assert_eq!(named("gateways.gateway.networking.k8s.io").map(|kind| kind.group), Some(GATEWAY));
        assert_eq!(named("widgets"), None);
    }
}
