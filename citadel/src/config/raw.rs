//! The command line as written. Every value is text here, so that all are checked before any error is reported.

use clap::Parser;
use std::path::PathBuf;

/// Issues short-lived SPIFFE certificates to the mesh's workloads.
///
/// Each flag can be set by the environment variable in brackets.
// No variable has the name of a Service's port: for a Service `ostria`, Kubernetes sets `OSTRIA_PORT` to a URL.
#[derive(Debug, Parser)]
#[command(name = "ostria-citadel", version)]
pub(crate) struct Raw {
    /// Address to listen on.
    #[arg(long, env = "OSTRIA_ADDRESS", default_value = "0.0.0.0")]
    pub(crate) address: String,
    /// Port of the certificate API (gRPC over TLS); 0: any free port.
    #[arg(long, env = "OSTRIA_GRPC_PORT", default_value = "8060")]
    pub(crate) port: String,
    /// Port of health, metrics and log level; 0: any free port.
    #[arg(long, env = "OSTRIA_HTTP_PORT", default_value = "15014")]
    pub(crate) http_port: String,
    /// Trust domain of the identities.
    #[arg(long, env = "OSTRIA_TRUST_DOMAIN", default_value = "cluster.local")]
    pub(crate) trust_domain: String,
    /// Folder with ca-cert.pem, ca-key.pem, cert-chain.pem and root-cert.pem; a self-signed root is created in an
    /// empty one.
    #[arg(long, env = "OSTRIA_ROOT_DIR", default_value = "/var/lib/ostria/citadel")]
    pub(crate) root_dir: PathBuf,
    /// File to write the root certificate to, for others to read.
    #[arg(long, env = "OSTRIA_PUBLISH_ROOT")]
    pub(crate) publish_root: Option<PathBuf>,
    /// Issuer (`iss`) of workloads' tokens; on Kubernetes only of workloads outside of the cluster.
    #[arg(long, env = "OSTRIA_TOKEN_ISSUER", default_value = "", hide_default_value = true)]
    pub(crate) token_issuer: String,
    /// File or http(s) URL with the token issuer's keys (a JSON Web Key Set).
    #[arg(long, env = "OSTRIA_TOKEN_JWKS", default_value = "", hide_default_value = true)]
    pub(crate) token_jwks: String,
    /// PEM file with the roots that verify an https key server; the system's are used without it.
    #[arg(long, env = "OSTRIA_TOKEN_JWKS_CA")]
    pub(crate) token_jwks_ca: Option<PathBuf>,
    /// File with a bearer token for the key server, which a Kubernetes API server requires.
    #[arg(long, env = "OSTRIA_TOKEN_JWKS_BEARER")]
    pub(crate) token_jwks_bearer: Option<PathBuf>,
    /// Required audience of tokens.
    #[arg(long, env = "OSTRIA_TOKEN_AUDIENCE", default_value = "istio-ca")]
    pub(crate) token_audience: String,
    /// Lifetime of a certificate if the request sets none.
    #[arg(long, env = "OSTRIA_DEFAULT_TTL", default_value = "24h", alias = "workload-cert-ttl")]
    pub(crate) default_ttl: String,
    /// Maximum lifetime of a certificate; longer requested lifetimes are reduced to it.
    #[arg(long, env = "OSTRIA_MAX_TTL", default_value = "24h", alias = "max-workload-cert-ttl")]
    pub(crate) max_ttl: String,
    /// Certificate requests per second of each identity, with a burst of ten seconds' worth; 0: no limit.
    #[arg(long, env = "OSTRIA_RATE_LIMIT", default_value = "50")]
    pub(crate) rate_limit: String,
    /// DNS names to add to a service account's certificate: NAMESPACE/ACCOUNT=name,name. May be repeated; in the
    /// environment, separate with `;`.
    #[arg(long, env = "OSTRIA_SERVICE_ACCOUNT_DNS", value_delimiter = ';')]
    pub(crate) service_account_dns: Vec<String>,
    /// Further DNS names of this server's own certificate, separated by commas.
    #[arg(long, env = "OSTRIA_DNS_NAMES", value_delimiter = ',')]
    pub(crate) dns_names: Vec<String>,
    /// Namespace of this server, for its own identity and, on Kubernetes, for the Secrets of the root [default:
    /// POD_NAMESPACE, else istio-system]
    #[arg(long, env = "OSTRIA_NAMESPACE")]
    pub(crate) namespace: Option<String>,
    /// Service account in this server's own identity [default: citadel, on Kubernetes ostria-citadel]
    #[arg(long, env = "OSTRIA_SERVICE_ACCOUNT")]
    pub(crate) service_account: Option<String>,
    /// Use the Kubernetes API server of the cluster that this process runs in: it verifies tokens, and holds the root in
    /// a Secret and the trust bundles in ConfigMaps.
    #[arg(long, env = "OSTRIA_KUBERNETES")]
    pub(crate) kubernetes: bool,
    /// Use the API server that this kubeconfig file names, from outside of the cluster.
    #[arg(long, env = "OSTRIA_KUBECONFIG")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig file; its current context if not given.
    #[arg(long, env = "OSTRIA_CONTEXT", requires = "kubeconfig")]
    pub(crate) context: Option<String>,
    /// DNS domain of the cluster.
    #[arg(long, env = "OSTRIA_CLUSTER_DOMAIN", default_value = "cluster.local")]
    pub(crate) cluster_domain: String,
    /// Accept tokens that are not bound to a Pod.
    #[arg(long, env = "OSTRIA_ALLOW_UNBOUND_TOKENS")]
    pub(crate) allow_unbound_tokens: bool,
    /// Replace trust bundles (ConfigMap istio-ca-root-cert) of other control planes too.
    #[arg(long, env = "OSTRIA_TAKE_OVER_TRUST_BUNDLES")]
    pub(crate) take_over_trust_bundles: bool,
    /// ConfigMap with the mesh's configuration, whose discoverySelectors select the namespaces that get a trust bundle.
    #[arg(long, env = "OSTRIA_MESH_CONFIG_MAP", default_value = "istio")]
    pub(crate) mesh_config_map: String,
    /// Name of this Pod in the election of the replica that writes trust bundles.
    #[arg(long, env = "POD_NAME", default_value = "ostria-citadel", hide = true)]
    pub(crate) pod_name: String,
    /// Namespace of this Pod.
    #[arg(long, env = "POD_NAMESPACE", default_value = "istio-system", hide = true)]
    pub(crate) pod_namespace: String,
    /// Log level: error, warn, info, debug, trace, or a list such as info,citadel=debug.
    #[arg(long, env = "OSTRIA_LOG_LEVEL", default_value = "info", value_parser = api::process::log::level)]
    pub(crate) log_level: String,
    /// Log as JSON, one object per line.
    #[arg(long, env = "OSTRIA_LOG_AS_JSON")]
    pub(crate) log_as_json: bool,
}

impl Raw {
    /// Whether the authority serves a Kubernetes cluster.
    pub(crate) fn is_in_cluster(&self) -> bool {
        self.kubernetes || self.kubeconfig.is_some()
    }
}
