//! Pure. Findings about the CustomResourceDefinitions of the mesh's kinds. Another owner's are left as they are, so their
//! versions may differ from those that pilot reads.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::check::finding::{Finding, count, some};
use crate::check::owner::{self, name, owner};

/// A definition of one of the mesh's kinds, as it is in the cluster.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Definition {
    /// Its metadata.
    pub metadata: ObjectMeta,
    /// The versions that the API server serves.
    pub served: Vec<String>,
    /// The versions that pilot reads, one of which suffices.
    pub wanted: Vec<String>,
}

/// The findings about definitions of the mesh's kinds that exist.
pub fn definitions(found: &[Definition], release: &str, namespace: &str) -> Vec<Finding> {
    let is_own =
        |definition: &&Definition| owner::release(&definition.metadata) == Some((release, namespace));
    let mut owners: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for definition in found.iter().filter(|definition| !is_own(definition)) {
        owners.entry(owner(&definition.metadata)).or_default().push(name(&definition.metadata));
    }
    let mut findings: Vec<Finding> = owners
        .iter()
        .map(|(owner, names)| {
            let number = count(names.len(), "definition");
            Finding::ok(
                CHECK,
                format!("{number} of the mesh's kinds belong to {owner}, and stay as they are"),
            )
        })
        .collect();
    let unread = |definition: &&Definition| {
        !definition.wanted.iter().any(|version| definition.served.contains(version))
    };
    let unread: Vec<String> = found
        .iter()
        .filter(unread)
        .map(|definition| format!("{} ({})", name(&definition.metadata), definition.wanted.join(", ")))
        .collect();
    if !unread.is_empty() {
        findings.push(Finding::error(
            CHECK,
            format!("the API server serves none of the versions that pilot reads: {}", some(&unread)),
            "upgrade their owner (Istio 1.22 or later has these versions), or replace them: ostria crds | kubectl \
             apply --server-side --force-conflicts -f -",
        ));
    }
    if findings.is_empty() {
        let text = if found.is_empty() { "none exists yet" } else { "all that exist belong to this release" };
        findings.push(Finding::ok(CHECK, text));
    }
    findings
}

const CHECK: &str = "definitions";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::finding::Level;

    fn definition(plural: &str, release: Option<&str>, served: &[&str]) -> Definition {
        let metadata = ObjectMeta {
            name: Some(format!("{plural}.networking.istio.io")),
            annotations: release.map(|release| {
                let pairs = [
                    ("meta.helm.sh/release-name", release),
                    ("meta.helm.sh/release-namespace", "istio-system"),
                ];
                pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
            }),
            ..ObjectMeta::default()
        };
        let served = served.iter().map(|version| (*version).to_owned()).collect();
        Definition { metadata, served, wanted: vec!["v1".into(), "v1beta1".into()] }
    }

    fn check(found: &[Definition]) -> Vec<Finding> {
        definitions(found, "ostria", "istio-system")
    }

    #[test]
    fn definitions_of_others_are_counted_by_owner() {
        let all = [
            definition("gateways", Some("istio-base"), &["v1", "v1alpha3"]),
            definition("virtualservices", Some("istio-base"), &["v1"]),
            definition("sidecars", Some("ostria"), &["v1"]),
        ];
        let findings = check(&all);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!(
            findings[0].message,
            "2 definitions of the mesh's kinds belong to the Helm release istio-base in istio-system, and stay as they are"
        );
        assert_eq!(check(&all[2..])[0].message, "all that exist belong to this release");
        assert_eq!(check(&[])[0].message, "none exists yet");
    }

    #[test]
    fn a_definition_that_lacks_all_versions_that_pilot_reads_is_an_error() {
        let findings = check(&[definition("gateways", Some("istio-base"), &["v1alpha3"])]);
        let error = findings.iter().find(|finding| finding.level == Level::Error).unwrap();
        assert!(error.message.ends_with("gateways.networking.istio.io (v1, v1beta1)"), "{}", error.message);
    }
}
