//! Pure. The settings as they are given, before they are parsed.

use std::collections::BTreeMap;

/// The unparsed inputs of the settings.
#[derive(Debug, Clone, Default)]
pub struct Raw {
    /// The environment variables.
    pub environment: BTreeMap<String, String>,
    /// The content of the downward API's `labels` file.
    pub labels: String,
    /// The content of the downward API's `annotations` file.
    pub annotations: String,
    /// The CPU limit enforced by the kernel, in cores.
    pub cpu_limit: Option<f64>,
}

impl Raw {
    /// The value of a variable, unless it is unset or empty.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.environment.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }
}
