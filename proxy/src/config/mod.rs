//! Pure. The settings of one proxy, parsed once from the command line and the environment that injection provides.
//! All mistakes are collected, so that a user sees them at once, before any port is bound.

mod node;
mod pod;
mod ports;
mod probers;
mod proxy_config;

mod mistakes;
mod raw;

pub mod args;
pub mod environment;

pub use mistakes::ConfigError;
pub use node::podinfo;
pub use pod::Pod;
pub use ports::Ports;
pub use probers::{Action, HttpProbe, Prober, Scrape};
pub use raw::Raw;

use api::identity::{IdentityError, TrustDomain};
use api::name::NodeKind;
use api::process::tls::expected::Expected;
use api::wire::xds::NodeInfo;
use args::{MeshArgs, Role};
use mistakes::Mistakes;
use ports::ports;
use proxy_config::ProxyConfig;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

/// The settings of a proxy in a mesh.
#[derive(Debug, Clone)]
pub struct Config {
    /// The proxy's node, as sent to the control plane.
    pub node: NodeInfo,
    /// The workload that the proxy belongs to.
    pub pod: Pod,
    /// The source of configuration.
    pub discovery: Discovery,
    /// The certificate authority as `host:port`.
    pub authority: String,
    /// The identity expected of the certificate authority.
    pub authority_server: Expected,
    /// The requested lifetime of the certificate; `None`: the authority's default.
    pub certificate_life: Option<Duration>,
    /// The folder for mounted certificates, which replace the authority's if there are any.
    pub mounted: PathBuf,
    /// The number of worker threads.
    pub concurrency: usize,
    /// Ports on which the proxy itself serves.
    pub ports: Ports,
    /// Times of the shutdown.
    pub drain: DrainTimes,
    /// The application's probes, by the path under which the kubelet requests them from the proxy.
    pub probers: BTreeMap<String, Prober>,
    /// Where to fetch the application's own metrics.
    pub scrape: Vec<Scrape>,
    /// Whether to resolve names of the mesh on the DNS port.
    pub dns: bool,
    /// The mark of the proxy's own sockets, if capture recognizes them by a mark.
    pub socket_mark: Option<u32>,
    /// Whether to check at startup that the pod's traffic is captured.
    pub checks_capture: bool,
    /// The interfaces that the pod's annotation excludes from capture, unparsed.
    pub excluded_interfaces: String,
    /// Which lines to log.
    pub log_level: String,
    /// Settings that are given but have no effect.
    pub ignored: Vec<String>,
}

/// The source of configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovery {
    /// `host:port`.
    pub address: String,
    /// Whether to connect over TLS, with roots, own certificate and token.
    pub tls: bool,
    /// The identity expected of the control plane over TLS.
    pub server: Expected,
    /// PEM file with the control plane's trust anchors.
    pub roots: PathBuf,
    /// File with the projected token.
    pub token: PathBuf,
}

/// Times of the shutdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainTimes {
    /// Time from the request to shut down until connections drain.
    pub termination: Duration,
    /// Active requests may take this long after that.
    pub limit: Duration,
    /// Whether to wait until no connection is open instead of a fixed time.
    pub until_idle: bool,
    /// With `until_idle`: the least time to wait.
    pub minimum: Duration,
    /// How long an ending pod waits at most until other proxies have stopped sending requests to it.
    pub removal: Duration,
}

impl Config {
    /// Parses the settings, or returns all mistakes in them.
    pub fn parse(args: &MeshArgs, raw: &Raw) -> Result<Self, Vec<ConfigError>> {
        let mut mistakes = Mistakes::default();
        let proxy = ProxyConfig::parse(raw.text("PROXY_CONFIG"), &mut mistakes);
        // The metadata in PROXY_CONFIG sets variables; the environment itself takes precedence.
        let mut environment = proxy.metadata.clone();
        environment.extend(raw.environment.clone());
        let raw = Raw { environment, ..raw.clone() };

        let pod = pod(args, &raw, &mut mistakes);
        let annotations =
            mistakes.take("annotations of the pod", podinfo(&raw.annotations).map(Some), BTreeMap::new());
        let ports = ports(&proxy, &raw, &mut mistakes);
        let domain = trust_domain(&pod, &mut mistakes);
        let discovery = discovery(&proxy, &raw, domain.as_ref(), &mut mistakes);
        let drain = drain(&proxy, &raw, &mut mistakes);
        let config = Self {
            node: node::info(&pod, &raw, &annotations, &proxy, ports, &mut mistakes),
            authority: address(raw.text("CA_ADDR"), "CA_ADDR", &discovery.address, &mut mistakes),
            authority_server: authority_server(&raw, domain.as_ref(), &discovery, &mut mistakes),
            certificate_life: mistakes.take("SECRET_TTL", life(raw.text("SECRET_TTL")).map(Some), None),
            mounted: PathBuf::from(MOUNTED),
            concurrency: concurrency(args, &proxy, &raw, &mut mistakes),
            ports,
            drain,
            probers: mistakes.take(
                "ISTIO_KUBE_APP_PROBERS",
                probers::read(raw.text("ISTIO_KUBE_APP_PROBERS")),
                BTreeMap::new(),
            ),
            scrape: mistakes.take(
                "ISTIO_PROMETHEUS_ANNOTATIONS",
                probers::read_scrape(raw.text("ISTIO_PROMETHEUS_ANNOTATIONS")).map(Some),
                vec![],
            ),
            dns: mistakes.take("ISTIO_META_DNS_CAPTURE", boolean(raw.text("ISTIO_META_DNS_CAPTURE")), false),
            socket_mark: mistakes.take(
                "OSTRIA_SOCKET_MARK",
                mark(raw.text("OSTRIA_SOCKET_MARK")).map(Some),
                None,
            ),
            checks_capture: checks_capture(args.role, &raw, &mut mistakes),
            excluded_interfaces: annotations.get(EXCLUDED_INTERFACES).cloned().unwrap_or_default(),
            log_level: args.level().to_owned(),
            ignored: proxy.ignored.clone(),
            discovery,
            pod,
        };
        if mistakes.0.is_empty() { Ok(config) } else { Err(mistakes.0) }
    }
}

fn pod(args: &MeshArgs, raw: &Raw, mistakes: &mut Mistakes) -> Pod {
    let labels = mistakes.take("labels of the pod", podinfo(&raw.labels).map(Some), BTreeMap::new());
    let domain = args.domain.clone().filter(|domain| !domain.is_empty());
    let namespace = raw.text("POD_NAMESPACE").map(str::to_owned);
    let namespace = namespace.or_else(|| domain.as_ref()?.split('.').next().map(str::to_owned));
    let namespace = namespace.unwrap_or_else(|| "default".to_owned());
    let name = raw.text("POD_NAME").or(raw.text("HOSTNAME")).unwrap_or_default().to_owned();
    if name.is_empty() {
        mistakes.add("POD_NAME", "is not set; it is the name of the pod this proxy belongs to");
    }
    let first = raw.text("INSTANCE_IP").map(|list| list.split(',').next().unwrap_or_default().trim());
    let address = match first.map(str::parse::<IpAddr>) {
        Some(Ok(address)) => address,
        Some(Err(_)) => {
            mistakes.add("INSTANCE_IP", format!("`{}` is not an IP address", first.unwrap_or_default()));
            IpAddr::V4(Ipv4Addr::LOCALHOST)
        }
        None => {
            mistakes.add("INSTANCE_IP", "is not set; it is the address of the pod");
            IpAddr::V4(Ipv4Addr::LOCALHOST)
        }
    };
    let workload_name = raw.text("ISTIO_META_WORKLOAD_NAME").unwrap_or(&name).to_owned();
    Pod {
        kind: match args.role {
            Role::Sidecar => NodeKind::Sidecar,
            Role::Router => NodeKind::Router,
        },
        domain: domain.unwrap_or_else(|| format!("{namespace}.svc.cluster.local")),
        service_account: raw.text("SERVICE_ACCOUNT").unwrap_or_default().to_owned(),
        trust_domain: raw.text("TRUST_DOMAIN").unwrap_or("cluster.local").replace('@', "."),
        cluster_id: raw.text("ISTIO_META_CLUSTER_ID").unwrap_or("Kubernetes").to_owned(),
        name,
        namespace,
        address,
        labels,
        workload_name,
    }
}

const EXCLUDED_INTERFACES: &str = "traffic.sidecar.istio.io/excludeInterfaces";

/// Whether to check traffic capture. For a sidecar it depends on the interception mode that injection sets; a
/// gateway is called directly in any case.
fn checks_capture(role: Role, raw: &Raw, mistakes: &mut Mistakes) -> bool {
    let name = "OSTRIA_CAPTURE_CHECK";
    let asked = mistakes.take(name, boolean(raw.text(name)), true);
    asked && role == Role::Sidecar && raw.text("ISTIO_META_INTERCEPTION_MODE") == Some("REDIRECT")
}

fn discovery(
    proxy: &ProxyConfig,
    raw: &Raw,
    domain: Option<&TrustDomain>,
    mistakes: &mut Mistakes,
) -> Discovery {
    let setting = "PROXY_CONFIG.discoveryAddress";
    let address = address(proxy.discovery_address.as_deref(), setting, DISCOVERY, mistakes);
    let path = |name: &str, default: &str| PathBuf::from(raw.text(name).unwrap_or(default));
    Discovery {
        tls: !address.ends_with(":15010") && !proxy.plaintext,
        server: server("ISTIOD_SAN", raw, domain, Expected::pilot, mistakes),
        address,
        roots: path("XDS_ROOT_CA", ROOTS),
        token: path("OSTRIA_TOKEN_FILE", TOKEN),
    }
}

/// The identity expected of the authority. Without an address of its own, the authority is the control plane, as in
/// Istio.
fn authority_server(
    raw: &Raw,
    domain: Option<&TrustDomain>,
    discovery: &Discovery,
    mistakes: &mut Mistakes,
) -> Expected {
    if raw.text("OSTRIA_CA_SAN").is_none() && raw.text("CA_ADDR").is_none() {
        return discovery.server.clone();
    }
    server("OSTRIA_CA_SAN", raw, domain, Expected::citadel, mistakes)
}

/// The identity that a setting expects of a server, or else the one that is usual in the mesh.
fn server(
    setting: &str,
    raw: &Raw,
    domain: Option<&TrustDomain>,
    usual: fn(&TrustDomain) -> Result<Expected, IdentityError>,
    mistakes: &mut Mistakes,
) -> Expected {
    let expected = match (raw.text(setting), domain) {
        (Some(text), _) => Expected::parse(text).map(Some),
        (None, Some(domain)) => usual(domain).map(Some).map_err(|error| error.to_string()),
        (None, None) => Ok(None),
    };
    mistakes.take(setting, expected, Expected::default())
}

fn trust_domain(pod: &Pod, mistakes: &mut Mistakes) -> Option<TrustDomain> {
    let domain = pod.trust_domain.parse().map(Some).map_err(|error: IdentityError| error.to_string());
    mistakes.take("TRUST_DOMAIN", domain.map(Some), None)
}

fn address(text: Option<&str>, setting: &str, default: &str, mistakes: &mut Mistakes) -> String {
    let Some(text) = text else { return default.to_owned() };
    let port =
        text.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
    if !matches!(port, Some(Ok(1..))) {
        mistakes.add(setting, format!("`{text}` is not an address; write it as host:port"));
    }
    text.to_owned()
}

fn drain(proxy: &ProxyConfig, raw: &Raw, mistakes: &mut Mistakes) -> DrainTimes {
    let mut time = |name: &str, given: Option<Duration>, default: Duration| {
        let parsed = raw.text(name).map(api::process::duration::parse).transpose();
        given.unwrap_or_else(|| mistakes.take(name, parsed, default))
    };
    DrainTimes {
        termination: time("TERMINATION_DRAIN_DURATION", proxy.termination_drain, Duration::from_secs(5)),
        limit: time("DRAIN_DURATION", proxy.drain, Duration::from_secs(45)),
        minimum: time("MINIMUM_DRAIN_DURATION", None, Duration::from_secs(5)),
        removal: time("ENDPOINT_REMOVAL_WAIT", None, Duration::from_secs(5)),
        until_idle: mistakes.take(
            "EXIT_ON_ZERO_ACTIVE_CONNECTIONS",
            boolean(raw.text("EXIT_ON_ZERO_ACTIVE_CONNECTIONS")),
            false,
        ),
    }
}

/// The number of worker threads: the flag, then the mesh's setting, then the CPU limit (from injection or the
/// kernel), rounded up; else 2. A limit the size of a large machine does not create more threads than a sidecar can
/// use.
fn concurrency(args: &MeshArgs, proxy: &ProxyConfig, raw: &Raw, mistakes: &mut Mistakes) -> usize {
    let limit = raw.text("ISTIO_CPU_LIMIT").map(|text| {
        text.parse::<f64>()
            .ok()
            .filter(|limit| *limit >= 0.0)
            .ok_or_else(|| format!("`{text}` is not a number of cores"))
    });
    let limit = mistakes.take("ISTIO_CPU_LIMIT", limit.transpose().map(Some), None).or(raw.cpu_limit);
    let by_limit = limit.filter(|limit| *limit > 0.0).map(|limit| limit.ceil() as usize);
    let chosen = args.concurrency.or(proxy.concurrency).filter(|chosen| *chosen > 0).or(by_limit);
    chosen.unwrap_or(DEFAULT_CONCURRENCY).clamp(1, MAX_CONCURRENCY)
}

fn boolean(text: Option<&str>) -> Result<Option<bool>, String> {
    match text.map(str::to_ascii_lowercase).as_deref() {
        None => Ok(None),
        Some("true" | "1" | "t" | "yes") => Ok(Some(true)),
        Some("false" | "0" | "f" | "no") => Ok(Some(false)),
        Some(other) => Err(format!("`{other}` is neither true nor false")),
    }
}

fn life(text: Option<&str>) -> Result<Option<Duration>, String> {
    match text.map(api::process::duration::parse).transpose()? {
        Some(life) if life < SHORTEST_LIFE => {
            Err("is shorter than 10s: certificates would end before they are used".to_owned())
        }
        life => Ok(life),
    }
}

fn mark(text: Option<&str>) -> Result<Option<u32>, String> {
    let Some(text) = text else { return Ok(None) };
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map(Some).map_err(|_| format!("`{text}` is not a mark; write a number as 1337 or 0x539"))
}

const DISCOVERY: &str = "istiod.istio-system.svc:15012";
const ROOTS: &str = "/var/run/secrets/istio/root-cert.pem";
const TOKEN: &str = "/var/run/secrets/tokens/istio-token";
const MOUNTED: &str = "/var/run/secrets/workload-spiffe-credentials";
const SHORTEST_LIFE: Duration = Duration::from_secs(10);
const DEFAULT_CONCURRENCY: usize = 2;
const MAX_CONCURRENCY: usize = 256;

#[cfg(test)]
mod tests;
