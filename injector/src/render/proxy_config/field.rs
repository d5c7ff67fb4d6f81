//! Pure. The fields of Istio's `ProxyConfig` and their types, parsed as protobuf's JSON: names in either spelling,
//! numbers as text, null for an unset field. Accepts only what the proxy accepts at start; with any other value the
//! pod would never become ready.

use api::process::duration;
use serde_json::{Map, Value};

use crate::excerpt::excerpt;

/// The type of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Address,
    Number(u64),
    Port,
    Boolean,
    Duration,
    Words,
    List,
    Message,
    OneOf(&'static [&'static str]),
}

/// A document with canonical field names and typed values.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Checked {
    pub(super) document: Map<String, Value>,
    /// Names that are not fields.
    pub(super) unknown: Vec<String>,
}

/// Checks a document, or returns the first mistake with its path. If a field is present in both spellings, the JSON
/// spelling counts.
pub(super) fn checked(document: Map<String, Value>) -> Result<Checked, String> {
    let mut checked = Checked::default();
    for (name, value) in document {
        let Some((field, kind)) = FIELDS.iter().find(|(field, _)| is_spelling(&name, field)) else {
            checked.unknown.push(name);
            continue;
        };
        if value.is_null() {
            continue;
        }
        let value = typed(*kind, value).map_err(|reason| format!("{name}: {reason}"))?;
        if name == *field || !checked.document.contains_key(*field) {
            checked.document.insert((*field).to_owned(), value);
        }
    }
    Ok(checked)
}

fn typed(kind: Kind, value: Value) -> Result<Value, String> {
    let expected = match kind {
        Kind::Number(most) => return number(&value, 0, most),
        Kind::Port => {
            return number(&value, 1, u16::MAX.into())
                .map_err(|_| format!("must be a port from 1 to 65535, not {}", shown(&value)));
        }
        Kind::Words => return words(value),
        Kind::Message => return message(value),
        Kind::OneOf(words) => return one_of(words, value),
        Kind::Text if value.is_string() => return Ok(value),
        Kind::Boolean if value.is_boolean() => return Ok(value),
        Kind::Boolean if value.as_str().and_then(truth).is_some() => {
            return Ok(value.as_str().and_then(truth).into());
        }
        Kind::List if value.is_array() => return Ok(value),
        Kind::Duration if value.as_str().is_some_and(|text| duration::parse(text).is_ok()) => {
            return Ok(value);
        }
        Kind::Address if value.as_str().is_some_and(is_address) => return Ok(value),
        Kind::Text => "text",
        Kind::Boolean => "true or false",
        Kind::List => "a list",
        Kind::Duration => "a duration as 5s",
        Kind::Address => "HOST:PORT",
    };
    Err(format!("must be {expected}, not {}", shown(&value)))
}

/// Parses the words for true and false of YAML 1.1, which Istio parses the annotation with.
fn truth(word: &str) -> Option<bool> {
    match word {
        "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(true),
        "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

fn number(value: &Value, least: u64, most: u64) -> Result<Value, String> {
    let number = value.as_u64().or_else(|| value.as_str()?.parse().ok());
    match number.filter(|number| (least..=most).contains(number)) {
        Some(number) => Ok(number.into()),
        None => Err(format!("must be a whole number from {least} to {most}, not {}", shown(value))),
    }
}

/// Converts values to strings: users write `true` and `1` without quotes, while protobuf's JSON requires strings.
fn words(value: Value) -> Result<Value, String> {
    let plain = |value: &Value| !value.is_object() && !value.is_array();
    match value {
        Value::Object(mut entries) if entries.values().all(plain) => {
            entries.values_mut().for_each(|value| *value = Value::String(word(value)));
            Ok(Value::Object(entries))
        }
        value => Err(format!("must be an object of names and words, not {}", shown(&value))),
    }
}

/// Returns a value as a string.
pub(super) fn word(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        value => value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned),
    }
}

fn message(value: Value) -> Result<Value, String> {
    match value {
        Value::Object(fields) => {
            Ok(fields.into_iter().map(|(name, value)| (camel(&name), value)).collect::<Map<_, _>>().into())
        }
        value => Err(format!("must be an object of fields, not {}", shown(&value))),
    }
}

fn one_of(words: &[&str], value: Value) -> Result<Value, String> {
    if value == "TPROXY" {
        return Err("TPROXY is not available: use REDIRECT".to_owned());
    }
    match value.as_str() {
        Some(word) if words.contains(&word) => Ok(value),
        _ => Err(format!("must be {}, not {}", words.join(" or "), shown(&value))),
    }
}

fn shown(value: &Value) -> String {
    excerpt(&value.to_string())
}

fn is_address(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

/// Whether `name` is the field's name, in the spelling of JSON or of the protobuf file.
fn is_spelling(name: &str, field: &str) -> bool {
    name == field || (name.contains('_') && camel(name) == field)
}

fn camel(name: &str) -> String {
    let mut parts = name.split('_');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |mut camel, part| {
        let mut letters = part.chars();
        camel.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        camel + letters.as_str()
    })
}

/// Whether the injector, the proxy or pilot acts on the field.
pub(super) fn is_supported(field: &str) -> bool {
    SUPPORTED.contains(&field)
}

const SUPPORTED: [&str; 11] = [
    "concurrency",
    "controlPlaneAuthPolicy",
    "discoveryAddress",
    "drainDuration",
    "holdApplicationUntilProxyStarts",
    "interceptionMode",
    "proxyAdminPort",
    "proxyMetadata",
    "serviceCluster",
    "statusPort",
    "terminationDrainDuration",
];

const FIELDS: [(&str, Kind); 41] = [
    ("availabilityZone", Kind::Text),
    ("binaryPath", Kind::Text),
    ("caCertificatesPem", Kind::List),
    ("concurrency", Kind::Number(i32::MAX as u64)),
    ("configPath", Kind::Text),
    ("connectionSettings", Kind::Message),
    ("controlPlaneAuthPolicy", Kind::OneOf(&["NONE", "MUTUAL_TLS"])),
    ("customConfigFile", Kind::Text),
    ("discoveryAddress", Kind::Address),
    ("discoveryRefreshDelay", Kind::Duration),
    ("drainDuration", Kind::Duration),
    ("envoyAccessLogService", Kind::Message),
    ("envoyMetricsService", Kind::Message),
    ("envoyMetricsServiceAddress", Kind::Text),
    ("extraStatTags", Kind::List),
    ("fileFlushInterval", Kind::Duration),
    ("fileFlushMinSizeKb", Kind::Number(u32::MAX as u64)),
    ("gatewayTopology", Kind::Message),
    ("holdApplicationUntilProxyStarts", Kind::Boolean),
    ("image", Kind::Message),
    ("interceptionMode", Kind::OneOf(&["REDIRECT", "NONE"])),
    ("meshId", Kind::Text),
    ("parentShutdownDuration", Kind::Duration),
    ("privateKeyProvider", Kind::Message),
    ("proxyAdminPort", Kind::Port),
    ("proxyBootstrapTemplatePath", Kind::Text),
    ("proxyHeaders", Kind::Message),
    ("proxyMetadata", Kind::Words),
    ("proxyStatsMatcher", Kind::Message),
    ("readinessProbe", Kind::Message),
    ("runtimeValues", Kind::Words),
    ("sds", Kind::Message),
    ("serviceCluster", Kind::Text),
    ("statNameLength", Kind::Number(i32::MAX as u64)),
    ("statsCompression", Kind::Boolean),
    ("statsdUdpAddress", Kind::Text),
    ("statusPort", Kind::Port),
    ("terminationDrainDuration", Kind::Duration),
    ("tracing", Kind::Message),
    ("tracingServiceName", Kind::Text),
    ("zipkinAddress", Kind::Text),
];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_come_out_under_their_own_name_and_in_their_own_type() {
        for (text, expected) in [
            (json!({"status_port": 15021}), json!({"statusPort": 15021})),
            (
                json!({"statusPort": "15021", "concurrency": "2"}),
                json!({"statusPort": 15021, "concurrency": 2}),
            ),
            (json!({"concurrency": null, "drainDuration": null}), json!({})),
            (json!({"file_flush_min_size_kb": 5}), json!({"fileFlushMinSizeKb": 5})),
            (json!({"statsd_udp_address": "a:1"}), json!({"statsdUdpAddress": "a:1"})),
            (
                json!({"gateway_topology": {"num_trusted_proxies": 2}}),
                json!({"gatewayTopology": {"numTrustedProxies": 2}}),
            ),
            (
                json!({"proxy_metadata": {"A_B": true, "C": 1, "D": null}}),
                json!({"proxyMetadata": {"A_B": "true", "C": "1", "D": ""}}),
            ),
            (json!({"drainDuration": "1.5s"}), json!({"drainDuration": "1.5s"})),
            (json!({"connectionSettings": {}}), json!({"connectionSettings": {}})),
            (
                json!({"holdApplicationUntilProxyStarts": "yes", "statsCompression": "off"}),
                json!({"holdApplicationUntilProxyStarts": true, "statsCompression": false}),
            ),
            (json!({"statusPort": 1, "status_port": 2}), json!({"statusPort": 1})),
        ] {
            let object = |value: &Value| value.as_object().unwrap().clone();
            let checked = checked(object(&text)).unwrap();
            assert_eq!((checked.document, checked.unknown), (object(&expected), vec![]), "{text}");
        }
    }

    #[test]
    fn supported_fields_exist() {
        assert!(SUPPORTED.iter().all(|supported| FIELDS.iter().any(|(field, _)| field == supported)));
    }

    #[test]
    fn every_field_has_two_spellings_and_none_has_two_meanings() {
        for (name, _) in FIELDS {
            let snake: String = name
                .chars()
                .flat_map(|c| {
                    c.is_ascii_uppercase().then_some('_').into_iter().chain([c.to_ascii_lowercase()])
                })
                .collect();
            let hits = FIELDS.iter().filter(|(field, _)| is_spelling(&snake, field));
            assert_eq!(hits.map(|(field, _)| *field).collect::<Vec<_>>(), [name]);
        }
    }
}
