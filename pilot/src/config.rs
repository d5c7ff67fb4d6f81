//! Command line and environment of pilot, parsed once into checked settings.

use api::process::tls::expected::Expected;
use clap::Parser;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The control plane: reads configuration from Kubernetes or from a folder, validates it, and serves it to proxies as
/// Envoy xDS v3.
///
/// Example: ostria-pilot --config-dir /etc/ostria/config --address 127.0.0.1
#[derive(Debug, Clone, Parser)]
#[command(name = "ostria-pilot", version)]
pub struct Config {
    /// Folder with Kubernetes and mesh objects in YAML or JSON; it is watched for changes. Without it, objects are read
    /// from the API server of Kubernetes
    #[arg(long, env = "OSTRIA_CONFIG_DIR", conflicts_with_all = ["kubeconfig", "context"])]
    pub config_dir: Option<PathBuf>,
    /// Kubeconfig file of the cluster to read from [default: the cluster that this process runs in]
    #[arg(long)]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig file [default: its current context]
    #[arg(long, requires = "kubeconfig")]
    pub context: Option<String>,
    /// Revision of this control plane: it reads the mesh configuration from ConfigMap istio-<revision> of the root
    /// namespace [default: ConfigMap istio], and no object of a cluster whose label istio.io/rev names another
    #[arg(long, default_value = "", hide_default_value = true, env = "OSTRIA_REVISION")]
    pub revision: String,
    /// Further values of the label istio.io/rev that mean this control plane; separate several by commas
    #[arg(long, value_delimiter = ',', value_name = "TAGS", env = "OSTRIA_REVISION_TAGS")]
    pub revision_tags: Vec<String>,
    /// Address to listen on
    #[arg(long, default_value = "0.0.0.0", env = "OSTRIA_ADDRESS")]
    pub address: IpAddr,
    /// Port for xDS in plaintext, 15010 in Istio; 0 keeps it closed. Clients have no identity there: pods are identified
    /// by their address and get no secrets
    #[arg(long, default_value_t = 0)]
    pub grpc_port: u16,
    /// Port for xDS over mTLS; needs --ca-address
    #[arg(long, default_value_t = 15012)]
    pub secure_grpc_port: u16,
    /// Port of the validating webhook, which the API server of Kubernetes calls; 0 keeps it closed. It opens only if
    /// objects are read from Kubernetes, and needs --ca-address
    #[arg(long, default_value_t = 15017)]
    pub webhook_port: u16,
    /// Name of this replica in the election of the one that writes to the cluster [default: the host's name]
    #[arg(long, env = "POD_NAME", value_name = "NAME")]
    pub pod_name: Option<String>,
    /// Port for metrics, debug pages and health
    #[arg(long, default_value_t = 15014)]
    pub http_port: u16,
    /// Address of the certificate authority (host:port); without it the secure port stays closed
    #[arg(long, env = "OSTRIA_CA_ADDRESS")]
    pub ca_address: Option<String>,
    /// Identity (spiffe://…) or DNS name that the certificate authority must have; separate several by commas
    /// [default: the service account citadel of istio-system, or the name in --ca-address]
    #[arg(long, env = "OSTRIA_CA_SAN", value_parser = Expected::parse)]
    pub ca_san: Option<Expected>,
    /// PEM file with the mesh's trust anchors
    #[arg(long, default_value = "/var/run/secrets/istio/root-cert.pem")]
    pub ca_root: PathBuf,
    /// File with the projected service account token
    #[arg(long, default_value = "/var/run/secrets/tokens/istio-token")]
    pub token_file: PathBuf,
    /// The age, give or take 10 %, at which connections of proxies are closed, so that proxies spread over replicas;
    /// 0s: never
    #[arg(
        long,
        default_value = "30m",
        env = "KEEPALIVE_MAX_SERVER_CONNECTION_AGE",
        value_parser = api::process::duration::parse
    )]
    pub max_server_connection_age: Duration,
    /// DNS domain of the cluster
    #[arg(long, default_value = "cluster.local")]
    pub domain: String,
    /// Trust domain of the mesh
    #[arg(long, default_value = "cluster.local", env = "OSTRIA_TRUST_DOMAIN")]
    pub trust_domain: String,
    /// ID of this cluster in telemetry and tokens
    #[arg(long, default_value = "Kubernetes")]
    pub cluster_id: String,
    /// Root namespace: its mesh objects apply to all namespaces
    #[arg(long, default_value = "istio-system")]
    pub root_namespace: String,
    /// File with a MeshConfig in YAML
    #[arg(long)]
    pub mesh_config: Option<PathBuf>,
    /// Log level: error, warn, info, debug, trace, or a filter such as pilot::serve=debug
    #[arg(long, default_value = "info", env = "OSTRIA_LOG_LEVEL", value_parser = api::process::log::level)]
    pub log_level: String,
    /// Write log lines as JSON
    #[arg(long)]
    pub log_as_json: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Config::command().debug_assert();
    }

    #[test]
    fn objects_come_from_a_folder_or_from_a_cluster_but_not_from_both() {
        let parse = |arguments: &[&str]| {
            Config::try_parse_from([&["ostria-pilot"], arguments].concat()).map_err(|e| e.to_string())
        };
        assert!(parse(&[]).is_ok_and(|config| config.config_dir.is_none()));
        assert!(parse(&["--kubeconfig", "k", "--context", "c"]).is_ok());
        for source in [["--kubeconfig", "k"], ["--context", "c"]] {
            let error = parse(&[&["--config-dir", "/c"], &source[..]].concat()).unwrap_err();
            assert!(error.contains("--config-dir") && error.contains("cannot be used with"), "{error}");
        }
    }

    #[test]
    fn istios_ports_are_the_defaults_and_the_plaintext_port_is_closed() {
        let config = Config::parse_from(["ostria-pilot", "--config-dir", "/c"]);
        assert_eq!((config.grpc_port, config.secure_grpc_port, config.http_port), (0, 15012, 15014));
    }
}
