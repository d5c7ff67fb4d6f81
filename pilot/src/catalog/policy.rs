//! Pure. PeerAuthentication and Sidecar objects, checked, and the settings of the mesh.

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
    /// Labels of its workloads; absent: the whole namespace, or the whole mesh in the root namespace.
    pub selector: Option<Labels>,
    /// For all ports; absent: inherited.
    pub mode: Option<MtlsMode>,
    /// For ports of the workload; absent: as `mode`.
    pub ports: BTreeMap<u16, Option<MtlsMode>>,
}

/// The oldest policy that chooses workloads of a namespace with these labels.
pub(super) fn own_policy<'a>(
    mesh: &Mesh,
    policies: &'a [Arc<PeerAuthentication>],
    (namespace, labels): (&str, &Labels),
) -> Option<&'a Arc<PeerAuthentication>> {
    // A selector in the root namespace is ignored, as in Istio: such a policy must not look mesh-wide.
    let near = |p: &&Arc<PeerAuthentication>| {
        p.origin.namespace == namespace && p.selector.as_ref().is_some_and(|s| selects(s, labels))
    };
    policies.iter().filter(|_| namespace != mesh.root_namespace).find(near)
}

/// Which callers a workload of a namespace with these labels takes, on a port or on those that no policy names: by the
/// oldest policy for the workload, else for its namespace, else for the mesh; permissive when none says.
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
    /// Labels of its workloads; absent: the whole namespace, or the whole mesh in the root namespace.
    pub selector: Option<Labels>,
    /// What its proxies see; empty: everything, unless something is excluded.
    pub egress: Vec<EgressHost>,
    /// What they do not see, whatever `egress` says.
    pub excluded: Vec<EgressHost>,
    /// What happens to unknown destinations; absent: as the mesh says.
    pub outbound: Option<OutboundPolicy>,
}

impl Sidecar {
    /// Whether proxies in `own` see the host of a service in `namespace`.
    pub fn imports(&self, own: &str, namespace: &str, host: &str) -> bool {
        let covers = |pattern: &str| super::host::covers(pattern, host);
        self.takes(own, namespace, covers) && !self.excludes(own, namespace, host)
    }

    /// Whether proxies in `own` see a VirtualService of `namespace` as far as it routes a host: a pattern is seen where
    /// it has some host in common with what is imported.
    pub fn imports_route(&self, own: &str, namespace: &str, host: &str) -> bool {
        self.takes(own, namespace, |pattern| super::host::overlap(pattern, host))
            && !self.excludes(own, namespace, host)
    }

    fn excludes(&self, own: &str, namespace: &str, host: &str) -> bool {
        self.excluded.iter().any(|e| e.is_from(own, namespace) && super::host::covers(&e.host, host))
    }

    fn takes(&self, own: &str, namespace: &str, meets: impl Fn(&str) -> bool) -> bool {
        let named = |e: &EgressHost| e.is_from(own, namespace) && meets(&e.host);
        self.everything() || self.egress.iter().any(named)
    }

    fn everything(&self) -> bool {
        self.egress.is_empty() && self.excluded.is_empty()
    }
}

/// A host that is seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EgressHost {
    /// Namespaces it is taken from.
    pub namespace: EgressNamespace,
    /// Host, `*` or `*.suffix`.
    pub host: String,
}

impl EgressHost {
    /// Whether proxies in `own` take hosts from `namespace` by it.
    fn is_from(&self, own: &str, namespace: &str) -> bool {
        match &self.namespace {
            EgressNamespace::Any => true,
            EgressNamespace::Own => own == namespace,
            EgressNamespace::Nobody => false,
            EgressNamespace::Named(name) => name == namespace,
        }
    }
}

/// Namespaces that hosts are taken from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EgressNamespace {
    /// `*`
    Any,
    /// `.`
    Own,
    /// `~`
    Nobody,
    /// By name.
    Named(String),
}

/// What happens to connections whose destination is unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum OutboundPolicy {
    /// They are made.
    #[default]
    AllowAny,
    /// They are refused.
    RegistryOnly,
}

/// Which spellings of a path become one before routes and policies look at it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum PathNormalization {
    /// None.
    None,
    /// Dot segments, backslashes and needless escapes.
    #[default]
    Base,
    /// Adjacent slashes too.
    MergeSlashes,
    /// Escaped slashes too.
    DecodeAndMergeSlashes,
}

/// Settings of the whole mesh.
#[derive(Debug, Clone, PartialEq)]
pub struct Mesh {
    /// Trust domain of the mesh's identities.
    pub trust_domain: String,
    /// Domain of Kubernetes Services: `svc.` goes before it.
    pub domain: String,
    /// Namespace whose policies hold for the whole mesh.
    pub root_namespace: String,
    /// What happens to unknown destinations.
    pub outbound: OutboundPolicy,
    /// How paths are spelled before anything looks at them.
    pub paths: PathNormalization,
    /// Access logs of all proxies.
    pub access_log: Vec<AccessLog>,
    /// For making connections.
    pub connect_timeout: Duration,
    /// How long to wait for a client's first bytes.
    pub detection_timeout: Duration,
    /// mTLS to endpoints that have a sidecar.
    pub auto_mtls: bool,
    /// For routes without one of their own; absent: Istio's.
    pub default_retries: Option<Retries>,
    /// For Services without one of their own.
    pub default_service_export: ExportTo,
    /// For VirtualServices without one of their own.
    pub default_virtual_service_export: ExportTo,
    /// For DestinationRules without one of their own.
    pub default_destination_rule_export: ExportTo,
    /// The settings without the MeshConfig that made these; absent where none did.
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
            // Istio waits for ever, which hangs server-first protocols on undeclared ports: go on as TCP instead.
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
