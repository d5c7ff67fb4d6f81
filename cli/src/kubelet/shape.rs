//! Pure. Checks an object against the schema of its kind in Kubernetes' API, as strictly as `kubectl apply`: no unknown
//! fields, and each value of the right type.

use api::resource::strict;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Endpoints, Namespace, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The problems: field path and reason. All unknown fields come first, then the first value of a wrong type.
pub fn problems(kind: &str, object: &Value) -> Vec<(String, String)> {
    match kind {
        "Namespace" => read::<Namespace>(object),
        "ServiceAccount" => read::<ServiceAccount>(object),
        "Service" => read::<Service>(object),
        "ConfigMap" => read::<ConfigMap>(object),
        "Secret" => read::<Secret>(object),
        "Pod" => read::<Pod>(object),
        "Deployment" => read::<Deployment>(object),
        "StatefulSet" => read::<StatefulSet>(object),
        "Job" => read::<Job>(object),
        "Endpoints" => read::<Endpoints>(object),
        "EndpointSlice" => read::<EndpointSlice>(object),
        _ => Vec::new(),
    }
}

fn read<T: DeserializeOwned>(object: &Value) -> Vec<(String, String)> {
    let faults = strict::read::<T>(object).err().unwrap_or_default();
    faults.into_iter().map(|fault| (fault.path, fault.reason)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn unknown_fields_and_wrong_types_are_named_by_their_path() {
        let object = |spec: &Value| json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a", "creationTimestamp": null}, "spec": spec, "status": {}});
        let selector = json!({"matchLabels": {"app": "a"}});
        let with = |field: &str, value: Value| {
            let mut spec =
                json!({"selector": selector, "template": {"spec": {"containers": [{"name": "c"}]}}});
            spec[field] = value;
            problems("Deployment", &object(&spec)).into_iter().map(|(path, _)| path).collect::<Vec<_>>()
        };
        assert_eq!(with("replicas", json!(2)), Vec::<String>::new());
        assert_eq!(with("replicas", json!("2")), ["spec.replicas"]);
        assert_eq!(with("replica", json!(2)), ["spec.replica"]);
        assert_eq!(
            with(
                "template",
                json!({"spec": {"containers": [{"name": "c"}, {"name": "d", "comand": ["x"]}]}})
            ),
            ["spec.template.spec.containers[1].comand"]
        );
        assert_eq!(
            with(
                "template",
                json!({"spec": {"containers": [{"name": "c", "ports": [{"containerPort": "80"}]}]}})
            ),
            ["spec.template.spec.containers[0].ports[0].containerPort"]
        );
    }
}
