//! A rendered object.

use serde_json::Value;
use std::collections::BTreeMap;

/// A rendered object.
#[derive(Debug)]
pub(crate) struct Object(pub(crate) Value);

impl Object {
    /// Parses a YAML document; `None` if it is empty.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let value: Option<Value> =
            serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error} in:\n{text}"));
        value.filter(|value| !value.is_null()).map(Self)
    }

    pub(crate) fn kind(&self) -> &str {
        self.0["kind"].as_str().unwrap()
    }

    pub(crate) fn name(&self) -> &str {
        self.0["metadata"]["name"].as_str().unwrap()
    }

    /// What Helm creates apart from the release.
    pub(crate) fn is_hook(&self) -> bool {
        self.0["metadata"]["annotations"]["helm.sh/hook"].is_string()
    }

    /// The pod that a Deployment creates.
    pub(crate) fn pod(&self) -> &Value {
        &self.0["spec"]["template"]
    }

    /// The labels of the pods that a Deployment creates.
    pub(crate) fn pod_labels(&self) -> BTreeMap<String, String> {
        labels(&self.pod()["metadata"]["labels"])
    }
}

/// Labels, or the labels of a selector.
pub(crate) fn labels(value: &Value) -> BTreeMap<String, String> {
    serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{error}: {value}"))
}
