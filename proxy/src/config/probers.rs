//! Pure. The parts of the pod that injection moved to this proxy: the application's probes and its metrics page.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// One probe of the application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prober {
    /// The kind of probe.
    pub action: Action,
    /// The most time a response may take.
    pub timeout: Duration,
}

/// The kind of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Request a page.
    Http(HttpProbe),
    /// Check that a port is open; `None` stands for the pod's own address.
    Tcp(Option<String>, u16),
    /// Call the gRPC health service; an empty name asks for the whole server.
    Grpc(u16, String),
}

/// The page that an HTTP probe requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpProbe {
    /// Host, if it is not the pod's own address.
    pub host: Option<String>,
    /// Port.
    pub port: u16,
    /// Path, with its leading slash.
    pub path: String,
    /// Whether to use TLS, without verifying the certificate, as the kubelet does.
    pub tls: bool,
    /// Headers to send.
    pub headers: Vec<(String, String)>,
}

/// A page of the application's own metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scrape {
    /// Port.
    pub port: u16,
    /// Path, with its leading slash.
    pub path: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawProber {
    http_get: Option<RawHttp>,
    tcp_socket: Option<RawTcp>,
    grpc: Option<RawGrpc>,
    timeout_seconds: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawHttp {
    host: Option<String>,
    port: RawPort,
    path: Option<String>,
    scheme: Option<String>,
    #[serde(default)]
    http_headers: Vec<RawHeader>,
}

#[derive(Deserialize)]
struct RawHeader {
    name: String,
    value: String,
}

#[derive(Deserialize)]
struct RawTcp {
    host: Option<String>,
    port: RawPort,
}

#[derive(Deserialize)]
struct RawGrpc {
    port: RawPort,
    service: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawPort {
    Number(u16),
    Text(String),
}

/// Parses ISTIO_KUBE_APP_PROBERS.
pub(super) fn read(text: Option<&str>) -> Result<Option<BTreeMap<String, Prober>>, String> {
    let Some(text) = text else { return Ok(None) };
    let raw: BTreeMap<String, RawProber> =
        serde_json::from_str(text).map_err(|error| format!("is not a table of probes in JSON: {error}"))?;
    let probers = raw.into_iter().map(|(path, raw)| {
        let prober = prober(raw).map_err(|reason| format!("`{path}`: {reason}"))?;
        Ok((path, prober))
    });
    probers.collect::<Result<_, String>>().map(Some)
}

fn prober(raw: RawProber) -> Result<Prober, String> {
    let action = match raw {
        RawProber { http_get: Some(http), .. } => Action::Http(page(http)?),
        RawProber { tcp_socket: Some(tcp), .. } => Action::Tcp(tcp.host, port(&tcp.port)?),
        RawProber { grpc: Some(grpc), .. } => {
            Action::Grpc(port(&grpc.port)?, grpc.service.unwrap_or_default())
        }
        _ => return Err("names neither httpGet, tcpSocket nor grpc".to_owned()),
    };
    let seconds = raw.timeout_seconds.filter(|seconds| *seconds > 0).unwrap_or(1);
    Ok(Prober { action, timeout: Duration::from_secs(seconds.into()) })
}

fn page(http: RawHttp) -> Result<HttpProbe, String> {
    Ok(HttpProbe {
        host: http.host.filter(|host| !host.is_empty()),
        port: port(&http.port)?,
        path: absolute(http.path.unwrap_or_default()),
        tls: http.scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("https")),
        headers: http.http_headers.into_iter().map(|header| (header.name, header.value)).collect(),
    })
}

fn port(raw: &RawPort) -> Result<u16, String> {
    match raw {
        RawPort::Number(port) => Ok(*port),
        RawPort::Text(text) => text.parse().map_err(|_| format!("port `{text}` is not a number")),
    }
}

fn absolute(path: String) -> String {
    if path.starts_with('/') { path } else { format!("/{path}") }
}

#[derive(Deserialize)]
struct RawScrape {
    #[serde(default)]
    scrape: String,
    #[serde(default)]
    path: String,
    #[serde(default)]
    port: String,
    #[serde(default)]
    targets: Vec<RawTarget>,
}

#[derive(Deserialize)]
struct RawTarget {
    #[serde(default)]
    path: String,
    #[serde(default)]
    port: String,
}

/// Parses ISTIO_PROMETHEUS_ANNOTATIONS; returns no pages if the pod opts out of scraping. If there are several
/// `targets`, they replace the top-level port and path, which only repeat the first target.
pub(super) fn read_scrape(text: Option<&str>) -> Result<Vec<Scrape>, String> {
    let Some(text) = text else { return Ok(vec![]) };
    let raw: RawScrape =
        serde_json::from_str(text).map_err(|error| format!("is not an object in JSON: {error}"))?;
    if raw.scrape == "false" {
        return Ok(vec![]);
    }
    if raw.targets.is_empty() {
        return Ok(vec![target(&raw.port, raw.path).map_err(|reason| format!("port: {reason}"))?]);
    }
    let targets = raw.targets.into_iter().enumerate().map(|(index, raw)| {
        target(&raw.port, raw.path).map_err(|reason| format!("targets[{index}].port: {reason}"))
    });
    targets.collect()
}

fn target(port: &str, path: String) -> Result<Scrape, String> {
    let port = if port.is_empty() { "80" } else { port };
    let port = port.parse().map_err(|_| format!("`{port}` is not a port"))?;
    let path = if path.is_empty() { "/metrics".to_owned() } else { absolute(path) };
    Ok(Scrape { port, path })
}
