//! Pure. The downward API: values of a pod's fields and resources for its own containers.

use api::resource::quantity;
use k8s_openapi::api::core::v1::{Container, Pod, ResourceFieldSelector};

/// Values of the downward API that are not in the pod's object.
#[derive(Debug, Clone, Default)]
pub struct Place {
    /// The pod's address.
    pub address: String,
    /// The node's address.
    pub node: String,
    /// Number of processors of the node.
    pub processors: u64,
    /// Memory of the node in bytes.
    pub memory: u64,
}

/// Why a `fieldRef` or a `resourceFieldRef` has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// The path is not a field of the downward API.
    #[error("{0} is not a supported field of a pod")]
    UnknownField(String),
    /// The resource is neither a limit nor a request.
    #[error("resource must be limits.NAME or requests.NAME")]
    UnknownResource,
    /// The amount is not a valid quantity of Kubernetes.
    #[error("{0} is not a quantity")]
    NotAQuantity(String),
}

/// The value of a `fieldRef`; fails if there is none.
pub fn field(pod: &Pod, place: &Place, path: &str) -> Result<String, FieldError> {
    let metadata = &pod.metadata;
    let spec = pod.spec.as_ref();
    let value = match path {
        "metadata.name" => metadata.name.clone(),
        "metadata.namespace" => metadata.namespace.clone(),
        "metadata.uid" => metadata.uid.clone(),
        "metadata.labels" => metadata.labels.as_ref().map(listed),
        "metadata.annotations" => Some(metadata.annotations.as_ref().map(listed).unwrap_or_default()),
        "spec.nodeName" => spec.and_then(|spec| spec.node_name.clone()),
        "spec.serviceAccountName" => spec.and_then(|spec| spec.service_account_name.clone()),
        "status.podIP" | "status.podIPs" => Some(place.address.clone()),
        "status.hostIP" | "status.hostIPs" => Some(place.node.clone()),
        _ => {
            let keyed = path.strip_suffix("']").and_then(|path| path.split_once("['"));
            match keyed {
                Some(("metadata.labels", key)) => {
                    metadata.labels.as_ref().map(|map| map.get(key).cloned().unwrap_or_default())
                }
                Some(("metadata.annotations", key)) => Some(
                    metadata.annotations.as_ref().and_then(|map| map.get(key).cloned()).unwrap_or_default(),
                ),
                _ => return Err(FieldError::UnknownField(path.into())),
            }
        }
    };
    Ok(value.unwrap_or_default())
}

/// The value of a `resourceFieldRef`. If the container has no limit, this is the node's capacity.
pub fn resource(
    container: &Container,
    place: &Place,
    selector: &ResourceFieldSelector,
) -> Result<String, FieldError> {
    let (kind, name) = selector.resource.split_once('.').ok_or(FieldError::UnknownResource)?;
    let resources = container.resources.as_ref();
    let limits = resources.and_then(|resources| resources.limits.as_ref());
    let list =
        if kind == "requests" { resources.and_then(|resources| resources.requests.as_ref()) } else { limits };
    let given = list.and_then(|list| list.get(name)).map(|quantity| quantity.0.as_str());
    let amount = match (given, name) {
        (Some(text), _) => quantity::parse(text).ok_or_else(|| FieldError::NotAQuantity(text.into()))?,
        (None, "cpu") => place.processors as f64,
        (None, "memory") => place.memory as f64,
        (None, _) => 0.0,
    };
    let divisor = selector
        .divisor
        .as_ref()
        .map_or(Some(1.0), |divisor| quantity::parse(&divisor.0))
        .filter(|divisor| *divisor > 0.0);
    Ok(format!("{:.0}", (amount / divisor.unwrap_or(1.0)).ceil()))
}

fn listed(map: &std::collections::BTreeMap<String, String>) -> String {
    map.iter().map(|(key, value)| format!("{key}={value:?}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_of_a_pod() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "web-0", "namespace": "shop", "labels": {"app": "web"}},
            "spec": {"containers": [], "serviceAccountName": "web"}
        }))
        .unwrap();
        let place = Place { address: "10.244.0.9".into(), ..Place::default() };
        let cases = [
            ("metadata.name", "web-0"),
            ("metadata.labels['app']", "web"),
            ("metadata.labels['none']", ""),
            ("metadata.labels", "app=\"web\""),
            ("metadata.annotations", ""),
            ("spec.serviceAccountName", "web"),
            ("status.podIP", "10.244.0.9"),
        ];
        for (path, expected) in cases {
            assert_eq!(field(&pod, &place, path).as_deref(), Ok(expected), "{path}");
        }
        assert!(field(&pod, &place, "spec.magic").is_err());
    }

    #[test]
    fn resources_are_divided_and_rounded_up() {
        let container: Container = serde_json::from_value(
            json!({"name": "a", "resources": {"limits": {"cpu": "1500m", "memory": "1Gi"}}}),
        )
        .unwrap();
        let place = Place { processors: 4, ..Place::default() };
        let value = |resource: &str, divisor: &str| {
            let selector = serde_json::from_value(json!({"resource": resource, "divisor": divisor})).unwrap();
            resource_of(&container, &place, &selector)
        };
        assert_eq!(value("limits.cpu", "1"), "2");
        assert_eq!(value("limits.cpu", "1m"), "1500");
        assert_eq!(value("limits.memory", "1Mi"), "1024");
        assert_eq!(value("requests.cpu", "1"), "4");
    }

    fn resource_of(container: &Container, place: &Place, selector: &ResourceFieldSelector) -> String {
        resource(container, place, selector).unwrap()
    }
}
