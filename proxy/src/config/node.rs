//! Pure. The node that the proxy sends to the control plane: ID and metadata, in the form of Istio's agent.

use super::mistakes::Mistakes;
use super::pod::Pod;
use super::ports::Ports;
use super::proxy_config::ProxyConfig;
use super::raw::Raw;
use api::wire::xds::NodeInfo;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

pub(super) fn info(
    pod: &Pod,
    raw: &Raw,
    annotations: &BTreeMap<String, String>,
    proxy: &ProxyConfig,
    ports: Ports,
    mistakes: &mut Mistakes,
) -> NodeInfo {
    NodeInfo {
        id: pod.node_id().to_string(),
        cluster: service_cluster(pod, proxy),
        metadata: metadata(pod, raw, annotations, proxy, ports, mistakes),
        extensions: EXTENSIONS.map(str::to_owned).into(),
        user_agent: concat!("ostria-proxy/", env!("CARGO_PKG_VERSION")).to_owned(),
        ..NodeInfo::default()
    }
}

fn service_cluster(pod: &Pod, proxy: &ProxyConfig) -> String {
    if let Some(given) = proxy.service_cluster.as_ref().filter(|given| !given.is_empty()) {
        return given.clone();
    }
    let name = pod.labels.get("app").unwrap_or(&pod.workload_name);
    format!("{name}.{}", pod.namespace)
}

fn metadata(
    pod: &Pod,
    raw: &Raw,
    annotations: &BTreeMap<String, String>,
    proxy: &ProxyConfig,
    ports: Ports,
    mistakes: &mut Mistakes,
) -> Map<String, Value> {
    let mut metadata = Map::new();
    let instance_ips = raw.text("INSTANCE_IP").unwrap_or_default();
    for (name, value) in [
        ("NAME", pod.name.as_str()),
        ("NAMESPACE", &pod.namespace),
        ("INSTANCE_IPS", instance_ips),
        ("SERVICE_ACCOUNT", &pod.service_account),
        ("WORKLOAD_NAME", &pod.workload_name),
        ("CLUSTER_ID", &pod.cluster_id),
        // Peers' metadata is requested by address instead of being exchanged in headers.
        ("METADATA_DISCOVERY", "true"),
    ] {
        if !value.is_empty() {
            metadata.insert(name.to_owned(), value.into());
        }
    }
    metadata.insert("ENVOY_STATUS_PORT".into(), ports.health.into());
    metadata.insert("ENVOY_PROMETHEUS_PORT".into(), ports.prometheus.into());
    if !proxy.document.is_empty() {
        metadata.insert("PROXY_CONFIG".into(), Value::Object(proxy.document.clone()));
    }
    if !annotations.is_empty() {
        metadata.insert("ANNOTATIONS".into(), object(&within(annotations, MAX_ANNOTATIONS)));
    }
    metadata.insert("LABELS".into(), object(&pod.labels));
    for (name, value) in &raw.environment {
        if let Some(name) = name.strip_prefix("ISTIO_META_").filter(|_| !value.is_empty()) {
            metadata.insert(name.to_owned(), value.as_str().into());
        } else if let Some(inner) = name.strip_prefix("ISTIO_METAJSON_") {
            match serde_json::from_str(value) {
                Ok(value) => drop(metadata.insert(inner.to_owned(), value)),
                Err(error) => mistakes.add(name, format!("is not JSON: {error}")),
            }
        }
    }
    metadata
}

/// As many annotations as fit: control planes accept at most 64 KiB of metadata, and no configuration depends on
/// annotations.
fn within(annotations: &BTreeMap<String, String>, mut room: usize) -> BTreeMap<String, String> {
    let fits = |(name, value): &(&String, &String)| {
        let left = room.checked_sub(name.len() + value.len());
        room = left.unwrap_or(room);
        left.is_some()
    };
    annotations.iter().filter(fits).map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn object(words: &BTreeMap<String, String>) -> Value {
    words
        .iter()
        .map(|(name, value)| (name.clone(), Value::from(value.as_str())))
        .collect::<Map<_, _>>()
        .into()
}

/// Parses a downward API file: lines of `key="value"`, with the value quoted as in Go.
pub fn podinfo(text: &str) -> Result<BTreeMap<String, String>, String> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(index, line)| {
            let malformed = || format!("line {} is not key=\"value\"", index + 1);
            let (key, value) = line.split_once('=').ok_or_else(malformed)?;
            Ok((key.trim().to_owned(), unquoted(value.trim()).ok_or_else(malformed)?))
        })
        .collect()
}

fn unquoted(text: &str) -> Option<String> {
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    let mut out = String::with_capacity(inner.len());
    let mut bytes = vec![];
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match if c == '\\' { escaped(&mut chars)? } else { Part::Char(c) } {
            Part::Byte(byte) => bytes.push(byte),
            Part::Char(c) => {
                out.push_str(&String::from_utf8_lossy(&std::mem::take(&mut bytes)));
                out.push(c);
            }
        }
    }
    out.push_str(&String::from_utf8_lossy(&bytes));
    Some(out)
}

/// A piece of quoted text.
enum Part {
    Char(char),
    /// One byte of a multi-byte character.
    Byte(u8),
}

/// Parses the characters after a backslash.
fn escaped(chars: &mut std::str::Chars<'_>) -> Option<Part> {
    let letter = chars.next()?;
    let mut code = |digits: usize| {
        let text: String = chars.by_ref().take(digits).collect();
        u32::from_str_radix(&text, 16).ok().filter(|_| text.len() == digits)
    };
    let plain = match letter {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        'a' => '\x07',
        'b' => '\x08',
        'f' => '\x0c',
        'v' => '\x0b',
        '\\' | '"' | '\'' => letter,
        'u' => char::from_u32(code(4)?)?,
        'U' => char::from_u32(code(8)?)?,
        'x' => {
            return Some(Part::Byte(u8::try_from(code(2)?).ok()?));
        }
        _ => return None,
    };
    Some(Part::Char(plain))
}

/// The most bytes of annotations that are sent; Kubernetes allows 256 KiB.
const MAX_ANNOTATIONS: usize = 16 << 10;

/// Istio's own extensions that this proxy supports; a control plane sends such filters only to nodes that list them.
const EXTENSIONS: [&str; 8] = [
    "istio.alpn",
    "istio.stats",
    "istio.metadata_exchange",
    "envoy.filters.http.alpn",
    "envoy.filters.http.peer_metadata",
    "envoy.filters.network.metadata_exchange",
    "envoy.filters.network.peer_metadata",
    "envoy.filters.http.istio_stats",
];
