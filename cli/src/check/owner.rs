//! Pure. Who installed an object of a cluster.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Who installed an object, according to its labels and annotations.
pub fn owner(metadata: &ObjectMeta) -> String {
    let label = |key: &str| metadata.labels.as_ref()?.get(key).cloned();
    if let Some((release, namespace)) = release(metadata) {
        return format!("the Helm release {release} in {namespace}");
    }
    if label("install.operator.istio.io/owning-resource").is_some()
        || label("operator.istio.io/component").is_some()
    {
        return "istioctl".to_owned();
    }
    let mut managers = metadata.managed_fields.iter().flatten().filter_map(|entry| entry.manager.clone());
    managers.next().unwrap_or_else(|| "an unknown owner".to_owned())
}

/// Whether an object is part of an Ostria.
pub fn is_ours(metadata: &ObjectMeta) -> bool {
    labels_of(metadata).get(PART_OF).is_some_and(|part| part == "ostria")
}

/// The labels of an object.
pub fn labels_of(metadata: &ObjectMeta) -> BTreeMap<String, String> {
    metadata.labels.clone().unwrap_or_default()
}

/// The name of an object.
pub fn name(metadata: &ObjectMeta) -> &str {
    metadata.name.as_deref().unwrap_or_default()
}

/// The Helm release that an object belongs to, and the namespace of the release.
pub fn release(metadata: &ObjectMeta) -> Option<(&str, &str)> {
    let annotation = |key: &str| metadata.annotations.as_ref()?.get(key).map(String::as_str);
    Some((annotation(RELEASE)?, annotation(RELEASE_NAMESPACE).unwrap_or_default()))
}

const PART_OF: &str = "app.kubernetes.io/part-of";
const RELEASE: &str = "meta.helm.sh/release-name";
const RELEASE_NAMESPACE: &str = "meta.helm.sh/release-namespace";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_owner_is_the_release_the_operator_or_the_first_writer() {
        let table = [
            (
                json!({"annotations": {"meta.helm.sh/release-name": "base", "meta.helm.sh/release-namespace": "i"}}),
                "the Helm release base in i",
            ),
            (json!({"labels": {"operator.istio.io/component": "Base"}}), "istioctl"),
            (json!({"managedFields": [{"manager": "kubectl-create"}]}), "kubectl-create"),
            (json!({}), "an unknown owner"),
        ];
        for (metadata, expected) in table {
            assert_eq!(owner(&serde_json::from_value(metadata).unwrap()), expected);
        }
    }
}
