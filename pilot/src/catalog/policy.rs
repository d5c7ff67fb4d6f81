//! Pure. PeerAuthentications and Sidecars in checked form, and the settings of the mesh.

use super::route::Retries;
use super::visibility::{ExportTo, Labels, Origin, selects};
use crate::flow::MtlsMode;
use api::model::access_log::AccessLog;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

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

/// Returns the oldest policy with a selector that selects workloads of a namespace with these labels.
pub(super) fn own_policy<'a>(
    mesh: &Mesh,
    policies: &'a [Arc<PeerAuthentication>],
    (namespace, labels): (&str, &Labels),
) -> Option<&'a Arc<PeerAuthentication>> {
    // As in Istio, a policy with a selector in the root namespace is ignored here: it must not apply mesh-wide.
    let near = |p: &&Arc<PeerAuthentication>| {
        p.origin.namespace == namespace && p.selector.as_ref().is_some_and(|s| selects(s, labels))
    };
    policies.iter().filter(|_| namespace != mesh.root_namespace).find(near)
}

/// Returns the mTLS mode of workloads of a namespace with these labels, on a port or (`None`) on ports that no policy
/// names: of the oldest policy that selects the workload, else of its namespace's, else of the mesh's; permissive by
/// default.
pub(super) fn peer_mode(
    mesh: &Mesh,
    policies: &[Arc<PeerAuthentication>],
    workload: (&str, &Labels),
    port: Option<u16>,
) -> MtlsMode {
    let own = own_policy(mesh, policies, workload);
    let wide = |ns: &str| {
        policies.iter().find(|p| p.origin.namespace == ns && p.selector.is_none()).and_then(|p| p.mode)
    };
    let by_port = own.and_then(|p| p.ports.get(&port?).copied().flatten());
    by_port
        .or_else(|| own.and_then(|p| p.mode))
        .or_else(|| wide(workload.0))
        .or_else(|| wide(&mesh.root_namespace))
        .unwrap_or_default()
}

/// A Sidecar.
#[derive(Debug, Clone, PartialEq)]
pub struct Sidecar {
    /// The object.
    pub origin: Origin,
    /// Labels of the workloads that it selects; absent: the whole namespace, or in the root namespace the whole mesh.
    pub selector: Option<Labels>,
    /// The hosts that its proxies see; empty: all, unless `excluded` names some.
    pub egress: Vec<EgressHost>,
    /// Hosts that its proxies do not see, regardless of `egress`.
    pub excluded: Vec<EgressHost>,
    /// Policy for unknown destinations; absent: the mesh's.
    pub outbound: Option<OutboundPolicy>,
}

impl Sidecar {
    /// Whether proxies in namespace `own` see the host of a service in `namespace`.
    pub fn imports(&self, own: &str, namespace: &str, host: &str) -> bool {
        let covers = |pattern: &str| super::host::covers(pattern, host);
        self.takes(own, namespace, covers) && !self.excludes(own, namespace, host)
    }

    /// Whether proxies in namespace `own` see a VirtualService of `namespace` for a host or host pattern. A pattern is
    /// visible if it overlaps with an imported host.
    pub fn imports_route(&self, own: &str, namespace: &str, host: &str) -> bool {
        self.takes(own, namespace, |pattern| super::host::overlap(pattern, host))
            && !self.excludes(own, namespace, host)
    }

    fn excludes(&self, own: &str, namespace: &str, host: &str) -> bool {
        self.excluded.iter().any(|e| e.is_from(own, namespace) && super::host::covers(&e.host, host))
    }

    fn takes(&self, own: &str, namespace: &str, matches: impl Fn(&str) -> bool) -> bool {
        let named = |e: &EgressHost| e.is_from(own, namespace) && matches(&e.host);
        self.everything() || self.egress.iter().any(named)
    }

    fn everything(&self) -> bool {
        self.egress.is_empty() && self.excluded.is_empty()
    }
}

/// A host that a Sidecar imports or excludes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EgressHost {
    /// The namespaces of the services.
    pub namespace: EgressNamespace,
    /// Host, `*` or `*.suffix`.
    pub host: String,
}

impl EgressHost {
    /// Whether this entry applies to services in `namespace`, for proxies in namespace `own`.
    fn is_from(&self, own: &str, namespace: &str) -> bool {
        match &self.namespace {
            EgressNamespace::Any => true,
            EgressNamespace::Own => own == namespace,
            EgressNamespace::NoNamespace => false,
            EgressNamespace::Named(name) => name == namespace,
        }
    }
}

/// The namespaces of an `EgressHost`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EgressNamespace {
    /// `*`
    Any,
    /// `.`
    Own,
    /// `~`
    NoNamespace,
    /// A namespace by name.
    Named(String),
}

/// What happens to connections to unknown destinations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum OutboundPolicy {
    /// They are forwarded to the original destination.
    #[default]
    AllowAny,
    /// They are rejected.
    RegistryOnly,
}

/// How paths are normalized before routing and authorization.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum PathNormalization {
    /// None.
    None,
    /// Resolves dot segments, converts backslashes and decodes needless escapes.
    #[default]
    Base,
    /// Also merges adjacent slashes.
    MergeSlashes,
    /// Also decodes escaped slashes.
    DecodeAndMergeSlashes,
}

/// The settings of the whole mesh.
#[derive(Debug, Clone, PartialEq)]
pub struct Mesh {
    /// Trust domain of the workload identities.
    pub trust_domain: String,
    /// Domain of Kubernetes Services, the part after `svc.`.
    pub domain: String,
    /// Namespace whose policies apply to the whole mesh.
    pub root_namespace: String,
    /// Policy for unknown destinations.
    pub outbound: OutboundPolicy,
    /// How paths are normalized before routing and authorization.
    pub paths: PathNormalization,
    /// Access logs of all proxies.
    pub access_log: Vec<AccessLog>,
    /// Default connect timeout.
    pub connect_timeout: Duration,
    /// How long protocol detection waits for a client's first bytes.
    pub detection_timeout: Duration,
    /// Whether clients use mTLS to endpoints that have a sidecar.
    pub auto_mtls: bool,
    /// Retries of routes that set none; absent: Istio's default.
    pub default_retries: Option<Retries>,
    /// Visibility of Services that set none.
    pub default_service_export: ExportTo,
    /// Visibility of VirtualServices that set none.
    pub default_virtual_service_export: ExportTo,
    /// Visibility of DestinationRules that set none.
    pub default_destination_rule_export: ExportTo,
    /// The settings before a MeshConfig object was applied; absent if none was.
    pub base: Option<Arc<Mesh>>,
}

impl Default for Mesh {
    fn default() -> Self {
        Self {
            trust_domain: "cluster.local".into(),
            domain: "cluster.local".into(),
            root_namespace: "istio-system".into(),
            outbound: OutboundPolicy::AllowAny,
            paths: PathNormalization::Base,
            access_log: vec![],
            connect_timeout: Duration::from_secs(10),
            // Istio waits forever, which hangs server-first protocols on undeclared ports. Ostria proceeds with TCP
            // instead.
            detection_timeout: Duration::from_millis(200),
            auto_mtls: true,
            default_retries: None,
            default_service_export: ExportTo::Unset,
            default_virtual_service_export: ExportTo::Unset,
            default_destination_rule_export: ExportTo::Unset,
            base: None,
        }
    }
}

/// A Secret with a certificate, or with roots.
#[derive(Clone, PartialEq, Eq)]
pub struct TlsSecret {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// PEM chain (`tls.crt` or `cert`).
    pub chain: Option<String>,
    /// PEM key (`tls.key` or `key`). Never printed.
    pub key: Option<String>,
    /// PEM roots (`ca.crt` or `cacert`).
    pub roots: Option<String>,
}

impl std::fmt::Debug for TlsSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TlsSecret({}/{} [redacted])", self.namespace, self.name)
    }
}
