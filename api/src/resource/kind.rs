//! Pure. The kinds there are: those that are served, and those that are known and refused.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A kind that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// `v1`
    Namespace,
    /// `v1`
    ServiceAccount,
    /// `v1`
    Service,
    /// `v1`
    Endpoints,
    /// `discovery.k8s.io/v1`
    EndpointSlice,
    /// `v1`
    Pod,
    /// `v1`
    ConfigMap,
    /// `v1`
    Secret,
    /// `apps/v1`
    Deployment,
    /// `apps/v1`
    StatefulSet,
    /// `apps/v1`
    ReplicaSet,
    /// `batch/v1`
    Job,
    /// `networking.istio.io`
    VirtualService,
    /// `networking.istio.io`
    DestinationRule,
    /// `networking.istio.io`
    IstioGateway,
    /// `networking.istio.io`
    ServiceEntry,
    /// `networking.istio.io`
    Sidecar,
    /// `security.istio.io`
    PeerAuthentication,
}

impl Kind {
    /// Every kind that is read.
    pub const ALL: [Self; 18] = [
        Self::Namespace,
        Self::ServiceAccount,
        Self::Service,
        Self::Endpoints,
        Self::EndpointSlice,
        Self::Pod,
        Self::ConfigMap,
        Self::Secret,
        Self::Deployment,
        Self::StatefulSet,
        Self::ReplicaSet,
        Self::Job,
        Self::VirtualService,
        Self::DestinationRule,
        Self::IstioGateway,
        Self::ServiceEntry,
        Self::Sidecar,
        Self::PeerAuthentication,
    ];

    /// Its name in YAML.
    pub fn name(self) -> &'static str {
        match self {
            Self::Namespace => "Namespace",
            Self::ServiceAccount => "ServiceAccount",
            Self::Service => "Service",
            Self::Endpoints => "Endpoints",
            Self::EndpointSlice => "EndpointSlice",
            Self::Pod => "Pod",
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::ReplicaSet => "ReplicaSet",
            Self::Job => "Job",
            Self::VirtualService => "VirtualService",
            Self::DestinationRule => "DestinationRule",
            Self::IstioGateway => "Gateway",
            Self::ServiceEntry => "ServiceEntry",
            Self::Sidecar => "Sidecar",
            Self::PeerAuthentication => "PeerAuthentication",
        }
    }

    /// Its API group; empty for the core group.
    pub fn group(self) -> &'static str {
        match self {
            Self::EndpointSlice => "discovery.k8s.io",
            Self::Deployment | Self::StatefulSet | Self::ReplicaSet => "apps",
            Self::Job => "batch",
            Self::VirtualService
            | Self::DestinationRule
            | Self::IstioGateway
            | Self::ServiceEntry
            | Self::Sidecar => NETWORKING,
            Self::PeerAuthentication => SECURITY,
            _ => "",
        }
    }

    /// The versions that are read, the preferred one first.
    pub fn versions(self) -> &'static [&'static str] {
        match self.group() {
            NETWORKING => &["v1", "v1beta1", "v1alpha3"],
            SECURITY => &["v1", "v1beta1"],
            _ => &["v1"],
        }
    }

    /// Whether its objects live in a namespace.
    pub fn namespaced(self) -> bool {
        self != Self::Namespace
    }

    /// Whether it is the mesh's, not Kubernetes' own.
    pub fn is_mesh(self) -> bool {
        self.group().ends_with("istio.io")
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What an `apiVersion` and a `kind` stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// A kind that is read.
    Served(Kind),
    /// A kind that is read, in a version that does not exist.
    WrongVersion(Kind),
    /// The name of a served kind under another group.
    WrongGroup(Kind),
    /// A kind that exists elsewhere and that this version does not serve.
    Unserved,
    /// Nothing that we know.
    Unknown,
}

/// Looks a kind up.
pub fn known(api_version: &str, kind: &str) -> Known {
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    if let Some(served) = Kind::ALL.into_iter().find(|k| k.name() == kind && k.group() == group) {
        let exists = served.versions().contains(&version);
        return if exists { Known::Served(served) } else { Known::WrongVersion(served) };
    }
    if UNSERVED.iter().any(|(g, kinds)| *g == group && kinds.contains(&kind)) {
        return Known::Unserved;
    }
    match Kind::ALL.into_iter().find(|k| k.name() == kind) {
        Some(served) => Known::WrongGroup(served),
        None => Known::Unknown,
    }
}

/// The kinds that are known and refused: group and name.
#[cfg(test)]
pub(in crate::resource) fn unserved() -> impl Iterator<Item = (&'static str, &'static str)> {
    UNSERVED.iter().flat_map(|(group, kinds)| kinds.iter().map(move |kind| (*group, *kind)))
}

const NETWORKING: &str = "networking.istio.io";
const SECURITY: &str = "security.istio.io";

/// Kinds that users have and that this version does not serve.
const UNSERVED: &[(&str, &[&str])] = &[
    (NETWORKING, &["EnvoyFilter", "WorkloadEntry", "WorkloadGroup", "ProxyConfig"]),
    (SECURITY, &["AuthorizationPolicy", "RequestAuthentication"]),
    ("telemetry.istio.io", &["Telemetry"]),
    ("extensions.istio.io", &["WasmPlugin", "TrafficExtension"]),
    ("authentication.istio.io", &["Policy", "MeshPolicy"]),
    ("rbac.istio.io", &["ServiceRole", "ServiceRoleBinding", "RbacConfig", "ClusterRbacConfig"]),
    (
        "config.istio.io",
        &["rule", "handler", "instance", "attributemanifest", "QuotaSpec", "QuotaSpecBinding"],
    ),
    (
        "gateway.networking.k8s.io",
        &[
            "GatewayClass",
            "Gateway",
            "ListenerSet",
            "HTTPRoute",
            "GRPCRoute",
            "TLSRoute",
            "TCPRoute",
            "UDPRoute",
            "ReferenceGrant",
            "BackendTLSPolicy",
        ],
    ),
    ("networking.k8s.io", &["Ingress", "IngressClass", "NetworkPolicy"]),
    ("apps", &["DaemonSet", "ControllerRevision"]),
    ("batch", &["CronJob"]),
    ("", &["PersistentVolume", "PersistentVolumeClaim", "Node", "Event", "LimitRange", "ResourceQuota"]),
    ("", &["ReplicationController", "PodTemplate"]),
    ("policy", &["PodDisruptionBudget"]),
    ("autoscaling", &["HorizontalPodAutoscaler"]),
    ("rbac.authorization.k8s.io", &["Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"]),
    ("apiextensions.k8s.io", &["CustomResourceDefinition"]),
    (
        "admissionregistration.k8s.io",
        &["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration", "ValidatingAdmissionPolicy"],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_known_by_group_version_and_name() {
        let table = [
            ("v1", "Service", Known::Served(Kind::Service)),
            ("apps/v1", "Deployment", Known::Served(Kind::Deployment)),
            ("v1", "Deployment", Known::WrongGroup(Kind::Deployment)),
            ("apps/v1beta1", "Deployment", Known::WrongVersion(Kind::Deployment)),
            ("networking.istio.io/v1alpha3", "Gateway", Known::Served(Kind::IstioGateway)),
            ("networking.istio.io/v1beta1", "VirtualService", Known::Served(Kind::VirtualService)),
            ("networking.istio.io/v2", "VirtualService", Known::WrongVersion(Kind::VirtualService)),
            ("security.istio.io/v1", "PeerAuthentication", Known::Served(Kind::PeerAuthentication)),
            (
                "security.istio.io/v1alpha3",
                "PeerAuthentication",
                Known::WrongVersion(Kind::PeerAuthentication),
            ),
            ("security.istio.io/v1", "AuthorizationPolicy", Known::Unserved),
            ("gateway.networking.k8s.io/v1", "Gateway", Known::Unserved),
            ("networking.istio.io/v1", "VirtualServise", Known::Unknown),
            ("", "", Known::Unknown),
        ];
        for (api_version, kind, expected) in table {
            assert_eq!(known(api_version, kind), expected, "{api_version} {kind}");
        }
    }
}
