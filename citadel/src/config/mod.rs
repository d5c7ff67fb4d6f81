//! The authority's settings: parsed once from flags and environment, and checked together, so that an operator sees
//! every mistake at once and nothing is bound or written before all are correct.

mod raw;

use crate::config::raw::Raw;
use api::identity::{SpiffeId, TrustDomain};
use api::process::duration;
use api::process::log::Format;
use clap::Parser;
use kubernetes::client::Access;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// The checked settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// Address of the certificate API.
    pub grpc: SocketAddr,
    /// Address of health, metrics and log level.
    pub http: SocketAddr,
    /// The folder with the signing certificate and key.
    pub root_folder: PathBuf,
    /// The file that the root certificate is published to.
    pub publish_root: Option<PathBuf>,
    /// The settings for token verification.
    pub tokens: Tokens,
    /// What authenticated clients may have.
    pub policy: Policy,
    /// Requests per second for each identity; 0: no limit.
    pub rate: u32,
    /// The Kubernetes cluster, if the authority serves one.
    pub cluster: Option<Cluster>,
    /// The authority's own identity.
    pub own_id: SpiffeId,
    /// The DNS names of the authority's own certificate.
    pub own_names: Vec<String>,
    /// The log level.
    pub log_level: String,
    /// The log format.
    pub log_format: Format,
}

/// What authenticated clients may have.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The trust domain whose identities are issued.
    pub trust_domain: TrustDomain,
    /// The lifetime of certificates if the request sets none.
    pub default_ttl: Duration,
    /// The maximum lifetime of certificates.
    pub max_ttl: Duration,
    /// Granted DNS names, by namespace and service account.
    pub dns_names: BTreeMap<(String, String), Vec<String>>,
    /// The control plane in a cluster, whose servers get the DNS names of their Services.
    pub control_plane: Option<ControlPlane>,
}

/// The control plane in a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlPlane {
    /// Its namespace.
    pub namespace: String,
    /// The DNS domain of the cluster.
    pub domain: String,
}

/// The Kubernetes cluster that the authority serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// The API server.
    pub access: Access,
    /// The namespace of the root's Secrets and of the Lease.
    pub namespace: String,
    /// The name of this Pod.
    pub pod: String,
    /// Whether tokens that are not bound to a Pod are accepted.
    pub accepts_unbound: bool,
    /// Whether trust bundles of other control planes are replaced.
    pub takes_over_bundles: bool,
    /// The ConfigMap with the mesh's configuration, in that namespace.
    pub config_map: String,
}

/// The settings for token verification.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// The audience that tokens must have.
    pub audience: String,
    /// The issuer whose keys verify tokens; `None` in a cluster: only the API server verifies them.
    pub issuer: Option<Issuer>,
}

/// An issuer of tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// Its name in tokens.
    pub name: String,
    /// The source of its keys.
    pub keys: KeySource,
}

/// The source of the token issuer's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// A file.
    File(PathBuf),
    /// A URL.
    Url {
        /// The URL, `http` or `https`.
        url: http::Uri,
        /// File with the roots that verify an `https` server; absent: the system's.
        roots: Option<PathBuf>,
        /// File with a bearer token for the server.
        bearer: Option<PathBuf>,
    },
}

impl Config {
    /// Parses the settings from arguments (the first is the program's name) and the environment.
    pub fn read<I, T>(arguments: I) -> Result<Self, ConfigError>
    where
        I: IntoIterator<Item = T>,
        T: Into<OsString> + Clone,
    {
        let raw = Raw::try_parse_from(arguments)?;
        let mut errors = Errors::default();
        let config = Self::check(raw, &mut errors);
        match config {
            Some(config) if errors.0.is_empty() => Ok(config),
            _ => Err(ConfigError::Wrong(errors.0)),
        }
    }

    fn check(raw: Raw, errors: &mut Errors) -> Option<Self> {
        let address: Option<IpAddr> =
            errors.parse("--address", &raw.address, "write an IP address such as 0.0.0.0");
        let port: Option<u16> = errors.parse("--port", &raw.port, PORT_HINT);
        let http_port: Option<u16> = errors.parse("--http-port", &raw.http_port, PORT_HINT);
        let trust_domain = errors.keep("--trust-domain", TrustDomain::configured(&raw.trust_domain));
        let rate =
            errors.parse("--rate-limit", &raw.rate_limit, "write requests per second, or 0 for no limit");
        let namespace = raw.namespace.clone().unwrap_or_else(|| raw.pod_namespace.clone());
        let cluster = cluster(&raw, &namespace);
        let default_account = if cluster.is_some() { CLUSTER_ACCOUNT } else { ACCOUNT };
        let account = raw.service_account.as_deref().unwrap_or(default_account);
        let own_id = trust_domain.as_ref().and_then(|domain| {
            let id = SpiffeId::workload(domain, &namespace, account);
            errors.keep("--namespace and --service-account", id)
        });
        let control_plane = control_plane(&raw, &namespace, errors);
        let own_names = own_names(&raw, control_plane.as_ref(), account, errors);
        let tokens = Tokens::check(&raw, errors);
        let policy = policy(&raw, trust_domain, control_plane, errors);
        Some(Self {
            grpc: SocketAddr::new(address?, port?),
            http: SocketAddr::new(address?, http_port?),
            root_folder: raw.root_dir,
            publish_root: raw.publish_root,
            tokens: tokens?,
            policy: policy?,
            rate: rate?,
            cluster,
            own_id: own_id?,
            own_names,
            log_level: raw.log_level,
            log_format: if raw.log_as_json { Format::Json } else { Format::Text },
        })
    }
}

impl Tokens {
    fn check(raw: &Raw, errors: &mut Errors) -> Option<Self> {
        let (issuer, audience, keys) =
            (raw.token_issuer.trim(), raw.token_audience.trim(), raw.token_jwks.trim());
        if audience.is_empty() {
            errors.add("--token-audience", "it is empty: tokens for any audience would pass");
        }
        if raw.is_in_cluster() && issuer.is_empty() && keys.is_empty() {
            return Some(Self { audience: audience.to_owned(), issuer: None });
        }
        if issuer.is_empty() {
            errors.add("--token-issuer", "it is required: the issuer (`iss`) of workloads' tokens");
        }
        if keys.is_empty() {
            errors.add("--token-jwks", "it is required: a file or URL with the token issuer's keys");
        }
        let keys = if keys.starts_with("http://") || keys.starts_with("https://") {
            let url =
                errors.parse::<http::Uri>("--token-jwks", keys, "write a URL such as https://host/keys")?;
            if url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
                errors.add(
                    "--token-jwks",
                    "a URL with a user and password is not allowed; use --token-jwks-bearer",
                );
            }
            KeySource::Url { url, roots: raw.token_jwks_ca.clone(), bearer: raw.token_jwks_bearer.clone() }
        } else {
            KeySource::File(PathBuf::from(keys))
        };
        Some(Self { audience: audience.to_owned(), issuer: Some(Issuer { name: issuer.to_owned(), keys }) })
    }
}

fn cluster(raw: &Raw, namespace: &str) -> Option<Cluster> {
    raw.is_in_cluster().then(|| Cluster {
        access: Access { kubeconfig: raw.kubeconfig.clone(), context: raw.context.clone() },
        namespace: namespace.to_owned(),
        pod: raw.pod_name.clone(),
        accepts_unbound: raw.allow_unbound_tokens,
        takes_over_bundles: raw.take_over_trust_bundles,
        config_map: raw.mesh_config_map.clone(),
    })
}

fn control_plane(raw: &Raw, namespace: &str, errors: &mut Errors) -> Option<ControlPlane> {
    let domain = raw.cluster_domain.trim();
    if !is_dns_name(domain) {
        errors.add("--cluster-domain", &format!("`{domain}` is not a DNS name"));
    }
    raw.is_in_cluster().then(|| ControlPlane { namespace: namespace.to_owned(), domain: domain.to_owned() })
}

fn policy(
    raw: &Raw,
    trust_domain: Option<TrustDomain>,
    control_plane: Option<ControlPlane>,
    errors: &mut Errors,
) -> Option<Policy> {
    let default_ttl = errors.keep("--default-ttl", duration::parse(&raw.default_ttl));
    let max_ttl = errors.keep("--max-ttl", duration::parse(&raw.max_ttl));
    let mut dns_names = BTreeMap::new();
    for grant in raw.service_account_dns.iter().filter(|grant| !grant.trim().is_empty()) {
        match read_grant(grant) {
            Ok((account, names)) => dns_names.entry(account).or_insert_with(Vec::new).extend(names),
            Err(reason) => errors.add("--service-account-dns", &reason),
        }
    }
    let (default_ttl, max_ttl) = (default_ttl?, max_ttl?);
    if default_ttl < MIN_TTL {
        errors.add(
            "--default-ttl",
            "it is shorter than a minute: certificates would expire before they are used",
        );
    }
    if default_ttl > max_ttl {
        errors.add("--default-ttl", "it is longer than --max-ttl, which has to be raised too");
    }
    Some(Policy { trust_domain: trust_domain?, default_ttl, max_ttl, dns_names, control_plane })
}

/// Parses `NAMESPACE/ACCOUNT=name,name`.
fn read_grant(text: &str) -> Result<((String, String), Vec<String>), String> {
    let form = || format!("`{text}` is not of the form NAMESPACE/ACCOUNT=name,name");
    let (account, names) = text.trim().split_once('=').ok_or_else(form)?;
    let (namespace, account) = account.split_once('/').ok_or_else(form)?;
    let names: Vec<String> = names.split(',').map(|name| name.trim().to_owned()).collect();
    if namespace.is_empty() || account.is_empty() || account.contains('/') {
        return Err(form());
    }
    match names.iter().find(|name| !is_dns_name(name)) {
        Some(name) => Err(format!("`{name}` is not a DNS name")),
        None => Ok(((namespace.to_owned(), account.to_owned()), names)),
    }
}

/// The names in this server's own certificate. In a cluster its Service has the name of its account.
fn own_names(
    raw: &Raw,
    control_plane: Option<&ControlPlane>,
    account: &str,
    errors: &mut Errors,
) -> Vec<String> {
    let mut names = match control_plane {
        Some(plane) => plane.service_names(account),
        None => OWN_NAMES.iter().map(|name| (*name).to_owned()).collect(),
    };
    for name in raw.dns_names.iter().map(|name| name.trim()).filter(|name| !name.is_empty()) {
        if !is_dns_name(name) {
            errors.add("--dns-names", &format!("`{name}` is not a DNS name"));
        } else if !names.iter().any(|present| present == name) {
            names.push(name.to_owned());
        }
    }
    names
}

fn is_dns_name(name: &str) -> bool {
    rustls_pki_types::DnsName::try_from(name.strip_prefix("*.").unwrap_or(name)).is_ok()
}

impl ControlPlane {
    /// The DNS names of a Service of the control plane, as clients write them. The API server calls webhooks by the
    /// second.
    pub fn service_names(&self, service: &str) -> Vec<String> {
        let (namespace, domain) = (&self.namespace, &self.domain);
        vec![
            format!("{service}.{namespace}"),
            format!("{service}.{namespace}.svc"),
            format!("{service}.{namespace}.svc.{domain}"),
        ]
    }
}

/// Why the process cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The command line cannot be parsed, or help was requested.
    #[error(transparent)]
    CommandLine(#[from] clap::Error),
    /// The values that are wrong, all of them.
    #[error("invalid settings:\n  {}", .0.join("\n  "))]
    Wrong(Vec<String>),
}

#[derive(Default)]
struct Errors(Vec<String>);

impl Errors {
    fn add(&mut self, flag: &str, reason: &str) {
        self.0.push(format!("{flag}: {reason}"));
    }

    fn keep<T, E: Display>(&mut self, flag: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.add(flag, &error.to_string())).ok()
    }

    fn parse<T: FromStr>(&mut self, flag: &str, text: &str, hint: &str) -> Option<T> {
        self.keep(flag, text.trim().parse().map_err(|_| format!("`{text}` cannot be read; {hint}")))
    }
}

const PORT_HINT: &str = "write a port from 0 to 65535; 0 takes any free one";
const OWN_NAMES: [&str; 4] =
    ["istiod.istio-system.svc", "citadel.istio-system.svc", "istio-ca.istio-system.svc", "localhost"];
/// The default service account, and the name of the Service.
const CLUSTER_ACCOUNT: &str = "ostria-citadel";
const ACCOUNT: &str = "citadel";
const MIN_TTL: Duration = Duration::from_mins(1);

#[cfg(test)]
mod tests;
