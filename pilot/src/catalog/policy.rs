//! Pure. The settings of the mesh, and the certificates of Secrets.

use super::route::Retries;
use super::visibility::{ExportTo, Labels};
use api::model::access_log::AccessLog;
use api::resource::selector::requirement::Selector;
use std::sync::Arc;
use std::time::Duration;

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
    /// Name of the ConfigMap with the MeshConfig, in the root namespace.
    pub config_map: String,
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
    /// The namespaces that belong to the mesh: those that any of these selects; all if there is none.
    pub discovery: Vec<Selector>,
    /// Which Ingresses gateways serve, and which gateways.
    pub ingress: IngressSettings,
    /// The settings before a MeshConfig object was applied; absent if none was.
    pub base: Option<Arc<Mesh>>,
}

impl Default for Mesh {
    fn default() -> Self {
        Self {
            trust_domain: "cluster.local".into(),
            domain: "cluster.local".into(),
            root_namespace: "istio-system".into(),
            config_map: "istio".into(),
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
            discovery: vec![],
            ingress: IngressSettings::default(),
            base: None,
        }
    }
}

/// Which Ingresses gateways serve, and which gateways.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngressSettings {
    /// Which Ingresses are served.
    pub mode: IngressMode,
    /// The class that the annotation names.
    pub class: String,
    /// Labels of the gateway pods.
    pub selector: Labels,
    /// The Service in the root namespace whose addresses Ingresses get; absent: the addresses of the gateway pods' nodes.
    pub service: Option<String>,
}

/// Which Ingresses are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IngressMode {
    /// None.
    Off,
    /// Those of the class, and those without a class.
    Default,
    /// Those of the class.
    Strict,
}

impl Default for IngressSettings {
    fn default() -> Self {
        Self {
            mode: IngressMode::Strict,
            class: "istio".into(),
            selector: Labels::from([("istio".into(), "ingressgateway".into())]),
            service: Some("istio-ingressgateway".into()),
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
