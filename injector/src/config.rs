//! Flags and the configuration file, parsed once into the settings of each part. The file holds the mesh's defaults; a
//! flag of the same name takes precedence, so that a launcher can configure a single process without writing files.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use api::process::tls::expected::Expected;
use clap::Parser;
use k8s_openapi::{
    api::core::v1::ResourceRequirements, apimachinery::pkg::api::resource::Quantity,
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// Flags of `ostria-injector`.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "ostria-injector",
    version,
    about = "The admission webhook that injects the sidecar into pods"
)]
pub struct Args {
    /// Address to listen on
    #[arg(long, env = "OSTRIA_ADDRESS", default_value = "0.0.0.0", value_name = "ADDRESS")]
    pub address: IpAddr,
    /// Port of /inject, over HTTPS
    #[arg(long, default_value_t = 15017, value_name = "PORT")]
    pub port: u16,
    /// Port of /healthz, /readyz and /metrics
    #[arg(long, env = "OSTRIA_HTTP_PORT", default_value_t = 15014, value_name = "PORT")]
    pub http_port: u16,
    /// The serving certificate and its chain, PEM; read again when it changes
    #[arg(long, env = "OSTRIA_TLS_CERT", value_name = "FILE", required_unless_present_any = ["kubernetes", "kubeconfig", "once"])]
    #[arg(requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The private key of --tls-cert, PEM
    #[arg(long, env = "OSTRIA_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Serve a Kubernetes cluster: read the mesh configuration from it, get the serving certificate from citadel unless
    /// --tls-cert is given, and write the roots that verify it into the webhook's registration
    #[arg(long, env = "OSTRIA_KUBERNETES")]
    pub kubernetes: bool,
    /// Serve nothing: read one AdmissionReview from standard input, write it with its response to standard output, and end
    #[arg(long, conflicts_with_all = ["kubernetes", "kubeconfig"])]
    pub once: bool,
    /// With --once: the mesh configuration, YAML
    #[arg(long, value_name = "FILE", requires = "once")]
    pub mesh_config: Option<PathBuf>,
    /// The cluster and the identity in it
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// The mesh's defaults, YAML
    #[arg(long, env = "OSTRIA_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Image of the sidecar
    #[arg(long, env = "OSTRIA_PROXY_IMAGE")]
    pub proxy_image: Option<String>,
    /// Address of pilot, from which sidecars get their configuration
    #[arg(long, env = "OSTRIA_DISCOVERY_ADDRESS", value_name = "HOST:PORT")]
    pub discovery_address: Option<String>,
    /// Address of citadel, from which sidecars get their certificates
    #[arg(long, env = "OSTRIA_CA_ADDRESS", value_name = "HOST:PORT")]
    pub ca_address: Option<String>,
    /// Trust domain of the mesh
    #[arg(long, env = "OSTRIA_TRUST_DOMAIN")]
    pub trust_domain: Option<String>,
    /// Name of this cluster
    #[arg(long, env = "OSTRIA_CLUSTER_ID")]
    pub cluster_id: Option<String>,
    /// Name of the mesh; the trust domain if not given
    #[arg(long, env = "OSTRIA_MESH_ID")]
    pub mesh_id: Option<String>,
    /// Log level: error, warn, info, debug or trace
    #[arg(long, env = "OSTRIA_LOG_LEVEL", default_value = "info", value_parser = api::process::log::level)]
    pub log_level: String,
    /// Log as JSON, one object per line
    #[arg(long, env = "OSTRIA_LOG_AS_JSON")]
    pub log_as_json: bool,
}

impl Args {
    /// Whether the injector serves a Kubernetes cluster.
    pub fn serves_cluster(&self) -> bool {
        self.kubernetes || self.cluster.kubeconfig.is_some()
    }
}

/// Flags for a Kubernetes cluster.
#[derive(Debug, Clone, clap::Args)]
pub struct ClusterArgs {
    /// Serve the cluster that this kubeconfig names, from outside of it
    #[arg(long, env = "OSTRIA_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig; its current context, if not given
    #[arg(long, env = "OSTRIA_CONTEXT", value_name = "NAME", requires = "kubeconfig")]
    pub context: Option<String>,
    /// Namespace of the control plane
    #[arg(long, env = "POD_NAMESPACE", default_value = "istio-system")]
    pub namespace: String,
    /// Name of this replica in the election of a leader; the host's name, if not given
    #[arg(long, env = "POD_NAME", value_name = "NAME")]
    pub pod_name: Option<String>,
    /// Revision of the control plane, as in the labels istio.io/rev; ends the names of its objects unless it is
    /// "default"
    #[arg(long, env = "OSTRIA_REVISION")]
    pub revision: Option<String>,
    /// Identity (spiffe://...) or DNS name that citadel must have; separate several by commas
    /// [default: the service account ostria-citadel of --namespace]
    #[arg(long, env = "OSTRIA_CA_SAN", value_parser = Expected::parse)]
    pub ca_san: Option<Expected>,
    /// The mesh's roots, PEM
    #[arg(long, value_name = "FILE", default_value = "/var/run/secrets/istio/root-cert.pem")]
    pub ca_root: PathBuf,
    /// Token of the service account for the audience istio-ca
    #[arg(long, value_name = "FILE", default_value = "/var/run/secrets/tokens/istio-token")]
    pub token_file: PathBuf,
}

/// The settings for decisions and rendering.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings {
    /// Which pods get a sidecar.
    pub selection: Selection,
    /// How the sidecar is rendered.
    pub template: Template,
    /// The namespaces that enforce a Pod Security Standard.
    pub standards: Arc<BTreeMap<String, Standard>>,
}

/// A Pod Security Standard under which pods may not add capabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standard {
    /// `baseline`.
    Baseline,
    /// `restricted`.
    Restricted,
}

impl Standard {
    /// The standard as in the labels of a namespace.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        }
    }
}

/// Which pods get a sidecar by default.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Selection {
    /// The policy for pods without a label or annotation of their own.
    pub policy: Policy,
    /// Pods that never get a sidecar.
    pub never: Vec<LabelSelector>,
    /// Pods that always get a sidecar.
    pub always: Vec<LabelSelector>,
}

/// The policy for pods without a label or annotation of their own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// They get a sidecar.
    #[default]
    Enabled,
    /// They are not changed.
    Disabled,
}

/// How the sidecar is rendered unless the pod's annotations say otherwise.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Template {
    /// Name of the control plane's revision.
    pub revision: String,
    /// Trust domain of the mesh.
    pub trust_domain: String,
    /// Name of the mesh; the trust domain if empty.
    pub mesh_id: String,
    /// Name of this cluster.
    pub cluster_id: String,
    /// Network of this cluster; empty if there is only one.
    pub network: String,
    /// DNS domain of this cluster's services.
    pub cluster_domain: String,
    /// Address of the certificate authority for sidecars.
    pub ca_address: String,
    /// Image of the sidecar.
    pub image: String,
    /// Image of the init container; empty: that of the sidecar.
    pub init_image: String,
    /// Image pull policy; empty: the cluster's default.
    pub image_pull_policy: String,
    /// Image pull secrets.
    pub image_pull_secrets: Vec<String>,
    /// Resources of the sidecar and of the init container.
    pub resources: ResourceRequirements,
    /// Log level of the sidecar.
    pub log_level: String,
    /// Port where the sidecar serves the application's probes; 0: none; absent: its status port.
    pub status_port: Option<u16>,
    /// Initial delay of the sidecar's readiness probe, in seconds.
    pub readiness_initial_delay_seconds: i32,
    /// Period of the sidecar's readiness probe, in seconds.
    pub readiness_period_seconds: i32,
    /// Failure threshold of the sidecar's readiness probe.
    pub readiness_failure_threshold: i32,
    /// The sidecar's startup probe.
    pub startup_probe: StartupProbe,
    /// Whether the sidecar is a native one: an init container that keeps running. Absent: where the cluster can run one.
    pub native_sidecar: Option<bool>,
    /// Whether the sidecar serves the application's DNS queries.
    pub dns_capture: bool,
    /// Whether the application's probes are redirected to the sidecar.
    #[serde(rename = "rewriteAppHTTPProbe")]
    pub rewrite_probes: bool,
    /// Whether the sidecar's metrics include the application's.
    #[serde(rename = "enablePrometheusMerge")]
    pub merge_metrics: bool,
    /// Which traffic is captured.
    pub traffic: Traffic,
    /// The mesh-wide `ProxyConfig`.
    pub default_config: Map<String, Value>,
    /// Environment variables for the sidecar from the path of the webhook request.
    #[serde(skip)]
    pub variables: BTreeMap<String, String>,
}

/// The sidecar's startup probe, with a period of one second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct StartupProbe {
    /// Whether the sidecar has one.
    pub enabled: bool,
    /// Failures after which the sidecar is restarted.
    pub failure_threshold: i32,
}

impl Default for StartupProbe {
    fn default() -> Self {
        Self { enabled: true, failure_threshold: 600 }
    }
}

/// Which traffic is captured unless the pod's annotations say otherwise.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Traffic {
    /// Destination ranges that are captured outbound.
    #[serde(rename = "includeIPRanges")]
    pub include_ip_ranges: String,
    /// Destination ranges that are not captured.
    #[serde(rename = "excludeIPRanges")]
    pub exclude_ip_ranges: String,
    /// Ports that are captured inbound.
    pub include_inbound_ports: String,
    /// Ports that are not captured inbound.
    pub exclude_inbound_ports: String,
    /// Ports that are captured outbound, for any destination address.
    pub include_outbound_ports: String,
    /// Ports that are not captured outbound.
    pub exclude_outbound_ports: String,
}

impl Default for Traffic {
    fn default() -> Self {
        Self {
            include_ip_ranges: "*".to_owned(),
            exclude_ip_ranges: String::new(),
            include_inbound_ports: "*".to_owned(),
            exclude_inbound_ports: String::new(),
            include_outbound_ports: String::new(),
            exclude_outbound_ports: String::new(),
        }
    }
}

impl Default for Template {
    fn default() -> Self {
        let discovery = json!("istiod.istio-system.svc:15012");
        Self {
            revision: "default".to_owned(),
            trust_domain: "cluster.local".to_owned(),
            mesh_id: String::new(),
            cluster_id: "Kubernetes".to_owned(),
            network: String::new(),
            cluster_domain: "cluster.local".to_owned(),
            ca_address: "citadel.istio-system.svc:8060".to_owned(),
            image: "ostria/proxy:latest".to_owned(),
            init_image: String::new(),
            image_pull_policy: String::new(),
            image_pull_secrets: Vec::new(),
            resources: ResourceRequirements {
                requests: Some(quantities("100m", "128Mi")),
                limits: Some(quantities("2", "1Gi")),
                ..ResourceRequirements::default()
            },
            log_level: "info".to_owned(),
            status_port: None,
            readiness_initial_delay_seconds: 0,
            readiness_period_seconds: 15,
            readiness_failure_threshold: 4,
            startup_probe: StartupProbe::default(),
            native_sidecar: None,
            dns_capture: true,
            rewrite_probes: true,
            merge_metrics: true,
            traffic: Traffic::default(),
            default_config: Map::from_iter([("discoveryAddress".to_owned(), discovery)]),
            variables: BTreeMap::new(),
        }
    }
}

fn quantities(cpu: &str, memory: &str) -> BTreeMap<String, Quantity> {
    [("cpu", cpu), ("memory", memory)]
        .map(|(name, amount)| (name.to_owned(), Quantity(amount.to_owned())))
        .into()
}

/// The file as written: the selection and the template's fields side by side.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawSelection {
    policy: Policy,
    never_inject_selector: Vec<LabelSelector>,
    always_inject_selector: Vec<LabelSelector>,
}

/// Why the settings are invalid.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be parsed.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The location and the mistake.
        reason: String,
    },
}

impl Settings {
    /// Combines the file's settings (`file` is its path and text) with those of the flags, which take precedence.
    pub fn parse(args: &Args, file: Option<(&Path, &str)>) -> Result<Self, ConfigError> {
        let mut settings = match file {
            Some((path, text)) => {
                Self::from_yaml(text).map_err(|reason| ConfigError::File { path: path.to_owned(), reason })?
            }
            None => Self::default(),
        };
        settings.apply(args);
        Ok(settings)
    }

    /// Applies the flags, which take precedence over all other sources.
    pub fn apply(&mut self, args: &Args) {
        let template = &mut self.template;
        let overrides = [
            (&args.proxy_image, &mut template.image),
            (&args.ca_address, &mut template.ca_address),
            (&args.trust_domain, &mut template.trust_domain),
            (&args.cluster_id, &mut template.cluster_id),
            (&args.mesh_id, &mut template.mesh_id),
            (&args.cluster.revision, &mut template.revision),
        ];
        for (flag, setting) in overrides {
            // An empty variable of the environment is none.
            if let Some(flag) = flag.as_ref().filter(|flag| !flag.is_empty()) {
                setting.clone_from(flag);
            }
        }
        if let Some(address) = &args.discovery_address {
            template.default_config.insert("discoveryAddress".to_owned(), json!(address));
        }
    }

    fn from_yaml(text: &str) -> Result<Self, String> {
        let read = |error: serde_saphyr::Error| error.without_snippet().to_string();
        let mut whole: Map<String, Value> =
            serde_saphyr::from_str::<Option<_>>(text).map_err(read)?.unwrap_or_default();
        let mut selection = Map::new();
        for name in ["policy", "neverInjectSelector", "alwaysInjectSelector"] {
            selection.extend(whole.remove(name).map(|value| (name.to_owned(), value)));
        }
        let selection: RawSelection =
            serde_json::from_value(Value::Object(selection)).map_err(|error| error.to_string())?;
        let mut template: Template =
            serde_json::from_value(Value::Object(whole)).map_err(|error| error.to_string())?;
        for (name, value) in Template::default().default_config {
            template.default_config.entry(name).or_insert(value);
        }
        Ok(Self {
            selection: Selection {
                policy: selection.policy,
                never: selection.never_inject_selector,
                always: selection.always_inject_selector,
            },
            template,
            standards: Arc::default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(flags: &[&str], file: Option<&str>) -> Result<Settings, ConfigError> {
        let words =
            ["ostria-injector", "--tls-cert", "c", "--tls-key", "k"].into_iter().chain(flags.iter().copied());
        Settings::parse(&Args::parse_from(words), file.map(|text| (Path::new("injector.yaml"), text)))
    }

    #[test]
    fn the_certificate_is_in_files_or_comes_from_a_cluster() {
        let parsed = |flags: &[&str]| {
            let args = Args::try_parse_from([&["ostria-injector"], flags].concat());
            args.map(|args| args.serves_cluster()).ok()
        };
        let files = ["--tls-cert", "c", "--tls-key", "k"];
        for (flags, expected) in [
            (&files[..], Some(false)),
            (&[], None),
            (&files[..2], None),
            (&["--kubernetes"], Some(true)),
            (&["--kubeconfig", "f", "--context", "c"], Some(true)),
            (&["--context", "c"], None),
            (&[&files[..], &["--kubernetes"]].concat(), Some(true)),
        ] {
            assert_eq!(parsed(flags), expected, "{flags:?}");
        }
    }

    #[test]
    fn without_file_and_flags_the_defaults_hold() {
        assert_eq!(parse(&[], None).unwrap(), Settings::default());
        assert_eq!(parse(&[], Some("")).unwrap(), Settings::default());
        assert_eq!(parse(&[], Some("# nothing yet\n")).unwrap(), Settings::default());
    }

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        let file = "policy: disabled\ntrustDomain: a.example\nclusterId: one\n\
                    defaultConfig: {concurrency: 1}\ntraffic: {excludeIPRanges: 10.0.0.0/8}\n\
                    neverInjectSelector:\n- matchLabels: {job: once}\n";
        let settings =
            parse(&["--cluster-id", "two", "--discovery-address", "127.0.0.1:1"], Some(file)).unwrap();
        assert_eq!(settings.selection.policy, Policy::Disabled);
        assert_eq!(settings.selection.never.len(), 1);
        assert_eq!(settings.template.trust_domain, "a.example");
        assert_eq!(settings.template.cluster_id, "two");
        assert_eq!(settings.template.traffic.exclude_ip_ranges, "10.0.0.0/8");
        assert_eq!(settings.template.traffic.include_ip_ranges, "*");
        assert_eq!(
            Value::Object(settings.template.default_config),
            json!({"concurrency": 1, "discoveryAddress": "127.0.0.1:1"})
        );
    }

    #[test]
    fn an_empty_flag_leaves_what_the_file_says() {
        let settings =
            parse(&["--revision", "", "--mesh-id", ""], Some("revision: default\nmeshId: m")).unwrap();
        assert_eq!(
            (settings.template.revision.as_str(), settings.template.mesh_id.as_str()),
            ("default", "m")
        );
    }

    #[test]
    fn a_file_that_cannot_be_read_names_file_and_field() {
        for (text, part) in [
            ("imge: x", "imge"),
            ("policy: sometimes", "sometimes"),
            ("traffic: {includeIpRanges: x}", "includeIpRanges"),
            ("a: [", "line"),
            ("- a list", "mapping"),
        ] {
            let message = parse(&[], Some(text)).unwrap_err().to_string();
            assert!(message.starts_with("injector.yaml: ") && message.contains(part), "{text}: {message}");
        }
    }
}
