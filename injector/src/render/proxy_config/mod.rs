//! Pure. Merges a pod's annotation `proxy.istio.io/config` into the mesh's `ProxyConfig`. The sidecar reads the
//! result; the injector needs a few of its fields to render the pod. A value that the sidecar would not start with is
//! refused. An unknown field or one without effect is a warning.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::render::error::RenderError;

mod field;

/// How traffic reaches the sidecar.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Interception {
    /// Packet filter rules in the pod redirect it.
    #[default]
    Redirect,
    /// The application sends it there itself.
    None,
}

/// Checks the mesh's `defaults`, or returns the first invalid field.
pub fn checked(defaults: Map<String, Value>) -> Result<Map<String, Value>, String> {
    let checked = field::checked(defaults)?;
    match checked.unknown.first() {
        Some(name) => Err(format!("{name}: is not a field of ProxyConfig")),
        None => Ok(checked.document),
    }
}

/// The fields of a checked document that have no effect.
pub fn unsupported(document: &Map<String, Value>) -> impl Iterator<Item = &str> {
    document.keys().map(String::as_str).filter(|name| !field::is_supported(name))
}

/// The merged configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct ProxyConfig {
    document: Map<String, Value>,
    warnings: Vec<String>,
}

impl ProxyConfig {
    /// Merges the pod's own settings into the mesh's `defaults`.
    pub fn merged(
        defaults: &Map<String, Value>,
        annotations: &BTreeMap<String, String>,
    ) -> Result<Self, RenderError> {
        let (mut document, mut warnings) = (defaults.clone(), Vec::new());
        if let Some(text) = annotations.get(ANNOTATION) {
            let refuse = |reason: String| RenderError::Annotation {
                name: ANNOTATION.to_owned(),
                value: text.clone(),
                reason,
            };
            let own = parse(text).map_err(refuse)?;
            let of = |name: &str, reason| format!("annotation {ANNOTATION}: {name} {reason}");
            let unknown =
                own.unknown.iter().map(|name| of(name, "is not a field of ProxyConfig and has no effect"));
            warnings.extend(unknown);
            warnings.extend(
                unsupported(&own.document).map(|name| of(name, "is not supported and has no effect")),
            );
            merge(&mut document, own.document);
        }
        Ok(Self { document, warnings })
    }

    /// Warnings about settings of the pod that have no effect.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        self.warnings.iter().cloned()
    }

    /// The whole configuration as JSON, for the sidecar.
    pub fn to_json(&self) -> String {
        Value::Object(self.document.clone()).to_string()
    }

    /// The port of the sidecar's health checks; 0: none.
    pub fn status_port(&self) -> u16 {
        let port = self.document.get("statusPort").and_then(Value::as_u64);
        port.and_then(|port| port.try_into().ok()).unwrap_or(DEFAULT_STATUS_PORT)
    }

    /// Whether the application waits for the sidecar.
    pub fn holds_application(&self) -> bool {
        self.document.get("holdApplicationUntilProxyStarts") == Some(&Value::Bool(true))
    }

    /// How traffic reaches the sidecar.
    pub fn interception(&self) -> Interception {
        match self.document.get("interceptionMode").and_then(Value::as_str) {
            Some("NONE") => Interception::None,
            _ => Interception::Redirect,
        }
    }

    /// Variables for the sidecar's environment.
    pub fn metadata(&self) -> BTreeMap<String, String> {
        let entries = self.document.get("proxyMetadata").and_then(Value::as_object);
        entries.into_iter().flatten().map(|(name, value)| (name.clone(), field::word(value))).collect()
    }
}

fn parse(text: &str) -> Result<field::Checked, String> {
    let document: Option<Map<String, Value>> = serde_saphyr::from_str(text)
        .map_err(|error| format!("is not a ProxyConfig in YAML: {}", error.without_snippet()))?;
    field::checked(document.unwrap_or_default())
}

/// Merges two documents. As in Istio, a field of the pod replaces the mesh's as a whole, except for the two that are
/// merged by name.
pub fn merge(base: &mut Map<String, Value>, top: Map<String, Value>) {
    for (name, value) in top {
        match (base.get_mut(&name), value) {
            (Some(Value::Object(base)), Value::Object(top)) if JOINED.contains(&name.as_str()) => {
                base.extend(top);
            }
            (_, value) => {
                base.insert(name, value);
            }
        }
    }
}

const ANNOTATION: &str = "proxy.istio.io/config";
const JOINED: [&str; 2] = ["proxyMetadata", "proxyHeaders"];
/// The default status port.
pub const DEFAULT_STATUS_PORT: u16 = 15020;

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
    fn a_message_replaces_the_meshs_and_unknown_names_are_reported() {
        let defaults = json!({
            "tracing": {"zipkin": {"address": "a:1"}, "sampling": 5},
            "proxyHeaders": {"server": {"disabled": true}},
            "runtimeValues": {"a": "1"},
        });
        let annotations =
            "{tracing: {sampling: 9}, proxyHeaders: {requestId: {}}, runtimeValues: {b: 2}, concurency: 2}";
        let annotations = [(ANNOTATION.to_owned(), annotations.to_owned())].into();
        let config = ProxyConfig::merged(defaults.as_object().unwrap(), &annotations).unwrap();
        let expected = json!({
            "tracing": {"sampling": 9},
            "proxyHeaders": {"server": {"disabled": true}, "requestId": {}},
            "runtimeValues": {"b": "2"},
        });
        assert_eq!(serde_json::from_str::<Value>(&config.to_json()).unwrap(), expected);
        let warnings: Vec<String> = config.warnings().collect();
        for part in [
            "concurency is not a field of ProxyConfig",
            "tracing is not supported",
            "proxyHeaders is not supported",
            "runtimeValues is not supported",
        ] {
            assert!(warnings.iter().any(|warning| warning.contains(part)), "{part}: {warnings:?}");
        }
        assert_eq!(warnings.len(), 4);
        assert_eq!(merged("{concurrency: 2, statusPort: 1}").unwrap().warnings().count(), 0);
        assert!(
            checked(json!({"concurency": 2}).as_object().unwrap().clone()).is_err(),
            "the mesh's own is refused"
        );
    }

    #[test]
    fn the_pods_interception_mode_replaces_the_meshs() {
        let of = |annotation: &str| merged(annotation).unwrap().interception();
        assert_eq!(of(""), Interception::Redirect);
        assert_eq!(of("interceptionMode: NONE"), Interception::None);
        assert_eq!(of("interception_mode: REDIRECT"), Interception::Redirect);
    }

    #[test]
    fn a_wrong_annotation_names_the_field() {
        for (text, part) in [
            ("statusPort: 0", "statusPort: must be a port"),
            ("statusPort: high", "statusPort: must be a port"),
            ("concurrency: -1", "concurrency: must be"),
            ("discoveryAddress: pilot", "discoveryAddress: must be HOST:PORT"),
            ("holdApplicationUntilProxyStarts: maybe", "must be true or false"),
            ("proxyMetadata: {A: {}}", "proxyMetadata: must be"),
            ("image: debug", "image: must be"),
            ("interceptionMode: TPROXY", "interceptionMode: TPROXY is not available"),
            ("interceptionMode: redirect", "interceptionMode: must be REDIRECT or NONE"),
            ("controlPlaneAuthPolicy: SIMPLE", "must be NONE or MUTUAL_TLS"),
            ("drainDuration: soon", "drainDuration: must be a duration"),
            ("terminationDrainDuration: 5", "terminationDrainDuration: must be a duration"),
            ("proxyAdminPort: 70000", "proxyAdminPort: must be a port"),
            ("serviceCluster: 7", "serviceCluster: must be text"),
            ("- a\n- b", "is not a ProxyConfig in YAML"),
            ("a: [", "is not a ProxyConfig in YAML"),
        ] {
            let message = merged(text).expect_err(text);
            assert!(message.contains(ANNOTATION) && message.contains(part), "{text}: {message}");
        }
    }
}
