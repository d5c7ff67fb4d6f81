//! Pure. A control plane of a cluster: its names, and the labels that select it.

use std::collections::BTreeMap;

/// The control plane that is to be installed, or that is checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plane {
    /// Its namespace.
    pub namespace: String,
    /// Its revision; empty for the one without.
    pub revision: String,
    /// Further values of `istio.io/rev` that select it.
    pub tags: Vec<String>,
}

impl Plane {
    /// The value of `istio.io/rev` that selects it.
    pub fn label(&self) -> &str {
        if self.revision.is_empty() { DEFAULT } else { &self.revision }
    }

    /// The end of names that differ between revisions.
    pub fn suffix(&self) -> String {
        if self.revision.is_empty() { String::new() } else { format!("-{}", self.revision) }
    }

    /// The name of its MutatingWebhookConfiguration.
    pub fn injector(&self) -> String {
        format!("ostria-injector{}-{}", self.suffix(), self.namespace)
    }

    /// The name of its ValidatingWebhookConfiguration.
    pub fn validator(&self) -> String {
        format!("ostria-pilot{}-{}", self.suffix(), self.namespace)
    }

    /// The labels by which a pod asks it for a sidecar where the namespace does not.
    pub fn pod_labels(&self) -> BTreeMap<&'static str, &str> {
        match self.revision.as_str() {
            "" => [("sidecar.istio.io/inject", "true")].into(),
            revision => [(REVISION, revision)].into(),
        }
    }

    /// The labels of namespaces that select it: keys and values.
    pub fn selectors(&self) -> Vec<(&'static str, String)> {
        let revisions = std::iter::once(self.label()).chain(self.tags.iter().map(String::as_str));
        let mut all: Vec<(&str, String)> = revisions.map(|rev| (REVISION, rev.to_owned())).collect();
        if all.iter().any(|(_, revision)| revision == DEFAULT) {
            all.insert(0, (INJECTION, "enabled".to_owned()));
        }
        all
    }
}

const DEFAULT: &str = "default";
const REVISION: &str = "istio.io/rev";
const INJECTION: &str = "istio-injection";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_ends_names_and_only_the_default_one_serves_the_label_of_injection() {
        let plain = Plane { namespace: "istio-system".into(), ..Plane::default() };
        assert_eq!(plain.injector(), "ostria-injector-istio-system");
        assert_eq!(
            plain.selectors(),
            [("istio-injection", "enabled".into()), ("istio.io/rev", "default".into())]
        );
        let canary = Plane { revision: "canary".into(), tags: vec!["stable".into()], ..plain };
        assert_eq!(canary.validator(), "ostria-pilot-canary-istio-system");
        assert_eq!(
            canary.selectors(),
            [("istio.io/rev", "canary".into()), ("istio.io/rev", "stable".into())]
        );
        let tagged = Plane { tags: vec!["default".into()], ..canary };
        assert_eq!(tagged.selectors()[0], ("istio-injection", "enabled".into()));
    }
}
