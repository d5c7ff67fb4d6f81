//! Pure. The mesh's `ProxyConfig` with a pod's annotation `proxy.istio.io/config` on top. The sidecar reads the result
//! itself; the injector needs a few fields of it to write the pod, and refuses names that no `ProxyConfig` has, for a
//! misspelt setting would otherwise do nothing and say nothing.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::render::error::RenderError;

/// The merged configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct ProxyConfig {
    document: Map<String, Value>,
}

impl ProxyConfig {
    /// The mesh's `defaults` with the pod's own settings on top.
    pub fn merged(
        defaults: &Map<String, Value>,
        annotations: &BTreeMap<String, String>,
    ) -> Result<Self, RenderError> {
        let mut document = defaults.clone();
        if let Some(text) = annotations.get(ANNOTATION) {
            let refuse = |reason: String| RenderError::Annotation {
                name: ANNOTATION.to_owned(),
                value: text.clone(),
                reason,
            };
            merge(&mut document, parse(text).map_err(refuse)?);
        }
        Ok(Self { document })
    }

    /// The whole as JSON, for the sidecar.
    pub fn to_json(&self) -> String {
        Value::Object(self.document.clone()).to_string()
    }

    /// Where the sidecar answers health checks; 0 for nowhere.
    pub fn status_port(&self) -> u16 {
        let port = self.document.get("statusPort").and_then(Value::as_u64);
        port.and_then(|port| port.try_into().ok()).unwrap_or(DEFAULT_STATUS_PORT)
    }

    /// Whether the application waits for the sidecar.
    pub fn holds_application(&self) -> bool {
        self.document.get("holdApplicationUntilProxyStarts") == Some(&Value::Bool(true))
    }

    /// Variables for the sidecar's environment.
    pub fn metadata(&self) -> BTreeMap<String, String> {
        let entries = self.document.get("proxyMetadata").and_then(Value::as_object);
        entries.into_iter().flatten().map(|(name, value)| (name.clone(), word(value))).collect()
    }
}

fn parse(text: &str) -> Result<Map<String, Value>, String> {
    let document: Option<Map<String, Value>> = serde_saphyr::from_str(text)
        .map_err(|error| format!("is not a ProxyConfig in YAML: {}", error.without_snippet()))?;
    let mut document = document.unwrap_or_default();
    if let Some(name) = document.keys().find(|name| !FIELDS.contains(&name.as_str())) {
        return Err(format!("{name}: is not a field of ProxyConfig; its fields are {}", FIELDS.join(", ")));
    }
    check_types(&document)?;
    if let Some(Value::Object(entries)) = document.get_mut("proxyMetadata") {
        entries.values_mut().for_each(|value| *value = Value::String(word(value)));
    }
    Ok(document)
}

fn check_types(document: &Map<String, Value>) -> Result<(), String> {
    let wrong = |name: &str, expected: &str, holds: fn(&Value) -> bool| match document.get(name) {
        Some(value) if !holds(value) => Err(format!("{name}: must be {expected}, not {value}")),
        _ => Ok(()),
    };
    wrong("statusPort", "a port from 1 to 65535", |value| matches!(value.as_u64(), Some(1..=65_535)))?;
    wrong("holdApplicationUntilProxyStarts", "true or false", Value::is_boolean)?;
    wrong("concurrency", "a whole number from 0", |value| matches!(value.as_u64(), Some(0..=1024)))?;
    wrong("discoveryAddress", "HOST:PORT", |value| {
        value
            .as_str()
            .and_then(|text| text.rsplit_once(':'))
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok())
    })?;
    wrong("image", "an object as {imageType: debug}", Value::is_object)?;
    wrong("proxyMetadata", "an object of names and words", |value| {
        value.as_object().is_some_and(|map| map.values().all(|value| !value.is_object() && !value.is_array()))
    })
}

fn merge(base: &mut Map<String, Value>, top: Map<String, Value>) {
    for (name, value) in top {
        match (base.get_mut(&name), value) {
            (Some(Value::Object(base)), Value::Object(top)) => merge(base, top),
            (_, value) => {
                base.insert(name, value);
            }
        }
    }
}

/// People write `true` and `1` without quotes.
fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

const ANNOTATION: &str = "proxy.istio.io/config";
/// The status port where nothing else is said.
pub const DEFAULT_STATUS_PORT: u16 = 15020;
const FIELDS: [&str; 40] = [
    "availabilityZone",
    "binaryPath",
    "caCertificatesPem",
    "concurrency",
    "configPath",
    "controlPlaneAuthPolicy",
    "customConfigFile",
    "discoveryAddress",
    "discoveryRefreshDelay",
    "drainDuration",
    "envoyAccessLogService",
    "envoyMetricsService",
    "envoyMetricsServiceAddress",
    "extraStatTags",
    "fileFlushInterval",
    "fileFlushMinSizeKb",
    "gatewayTopology",
    "holdApplicationUntilProxyStarts",
    "image",
    "interceptionMode",
    "meshId",
    "parentShutdownDuration",
    "privateKeyProvider",
    "proxyAdminPort",
    "proxyBootstrapTemplatePath",
    "proxyHeaders",
    "proxyMetadata",
    "proxyStatsMatcher",
    "readinessProbe",
    "runtimeValues",
    "sds",
    "serviceCluster",
    "statNameLength",
    "statsCompression",
    "statsdUdpAddress",
    "statusPort",
    "terminationDrainDuration",
    "tracing",
    "tracingServiceName",
    "zipkinAddress",
];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn merged(annotation: &str) -> Result<ProxyConfig, String> {
        let defaults = json!({"discoveryAddress": "a:1", "proxyMetadata": {"A": "1", "B": "2"}});
        let annotations = [(ANNOTATION.to_owned(), annotation.to_owned())].into();
        ProxyConfig::merged(defaults.as_object().unwrap(), &annotations).map_err(|error| error.to_string())
    }

    #[test]
    fn the_pods_settings_lie_on_the_meshs() {
        let config = merged(
            "proxyMetadata:\n  B: 3\n  C: true\nstatusPort: 15099\nholdApplicationUntilProxyStarts: true\n\
             image: {imageType: debug}\n",
        )
        .unwrap();
        let expected = [("A", "1"), ("B", "3"), ("C", "true")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(config.metadata(), expected.into());
        assert!(config.to_json().contains(r#""C":"true""#), "protobuf's JSON takes words only");
        assert_eq!(config.status_port(), 15099);
        assert!(config.holds_application());
        assert!(config.to_json().contains(r#""discoveryAddress":"a:1""#));
    }

    #[test]
    fn an_empty_annotation_changes_nothing() {
        let config = merged("").unwrap();
        assert_eq!((config.status_port(), config.holds_application()), (15020, false));
        assert_eq!(config, merged("{}").unwrap());
    }

    #[test]
    fn a_wrong_annotation_names_the_field() {
        for (text, part) in [
            ("concurency: 2", "concurency: is not a field of ProxyConfig"),
            ("statusPort: 0", "statusPort: must be a port"),
            ("statusPort: high", "statusPort: must be a port"),
            ("concurrency: -1", "concurrency: must be"),
            ("discoveryAddress: pilot", "discoveryAddress: must be HOST:PORT"),
            ("holdApplicationUntilProxyStarts: maybe", "must be true or false"),
            ("proxyMetadata: {A: {}}", "proxyMetadata: must be"),
            ("image: debug", "image: must be"),
            ("- a\n- b", "is not a ProxyConfig in YAML"),
            ("a: [", "is not a ProxyConfig in YAML"),
        ] {
            let message = merged(text).expect_err(text);
            assert!(message.contains(ANNOTATION) && message.contains(part), "{text}: {message}");
        }
    }
}
