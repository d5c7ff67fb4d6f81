//! Pure. Reads Envoy's configuration dump: its sections, and the values that several tables share.

use serde_json::{Map, Value};

/// Converts the names of a dump from Protobuf's camel case to Envoy's form.
pub fn normal(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields: Map<String, Value> =
                fields.iter().map(|(key, value)| (snake(key), normal(value))).collect();
            Value::Object(fields)
        }
        Value::Array(items) => items.iter().map(normal).collect(),
        other => other.clone(),
    }
}

/// The resources of one section, such as `dynamic_active_clusters` of the clusters' section. `path` leads from an entry
/// to its resource.
pub fn resources<'a>(dump: &'a Value, lists: &[&str], path: &[&str]) -> Vec<&'a Value> {
    let sections = dump["configs"].as_array().into_iter().flatten();
    sections
        .flat_map(|section| lists.iter().filter_map(|list| section[*list].as_array()).flatten())
        .map(|entry| path.iter().fold(entry, |value, field| &value[*field]))
        .filter(|resource| !resource.is_null())
        .collect()
}

/// The text of a field; empty if the field is missing.
pub fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// An address and its port.
pub fn address(value: &Value) -> (String, String) {
    let socket = &value["socket_address"];
    let port = socket["port_value"].as_u64().map_or("0".to_string(), |port| port.to_string());
    (text(socket, "address").to_string(), port)
}

/// The object that a resource was generated from, as `NAME.NAMESPACE`; empty if the resource does not name it.
pub fn origin(resource: &Value) -> String {
    let config = resource
        .pointer("/metadata/filter_metadata/istio/config")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let parts: Vec<&str> = config.split('/').collect();
    match parts.as_slice() {
        [.., "namespaces", namespace, _, name] => format!("{name}.{namespace}"),
        _ => String::new(),
    }
}

fn snake(name: &str) -> String {
    if !name.chars().all(|c| c.is_ascii_alphanumeric()) {
        return name.into();
    }
    let mut result = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !result.is_empty() {
            result.push('_');
        }
        result.push(letter.to_ascii_lowercase());
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn camel_case_names_become_snake_case() {
        let dump = json!({"dynamicActiveClusters": [{"a.B": 1}], "lb_policy": 2});
        assert_eq!(normal(&dump), json!({"dynamic_active_clusters": [{"a.B": 1}], "lb_policy": 2}));
    }

    #[test]
    fn an_origin_is_name_and_namespace() {
        let config = "/apis/networking.istio.io/v1/namespaces/default/virtual-service/reviews";
        let resource = json!({"metadata": {"filter_metadata": {"istio": {"config": config}}}});
        assert_eq!(origin(&resource), "reviews.default");
        assert_eq!(origin(&json!({})), "");
    }
}
