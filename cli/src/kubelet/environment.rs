//! Pure. A container's environment and command line. `$(NAME)` is replaced as in Kubernetes.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, EnvVarSource, Pod};

use crate::kubelet::field::{self, FieldError, Place};

/// The entries of a ConfigMap.
pub type Texts = BTreeMap<String, String>;

/// The entries of a Secret.
pub type Secrets = BTreeMap<String, Vec<u8>>;

/// Look-ups of ConfigMaps and Secrets in the pod's namespace.
pub struct Sources<'a> {
    /// Returns the entries of a ConfigMap.
    pub config_map: &'a dyn Fn(&str) -> Option<Texts>,
    /// Returns the entries of a Secret.
    pub secret: &'a dyn Fn(&str) -> Option<Secrets>,
}

/// Why a container's environment cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvironmentError {
    /// A required object does not exist.
    #[error("{kind} {name} not found")]
    Missing {
        /// ConfigMap or Secret.
        kind: &'static str,
        /// Name of the object.
        name: String,
    },
    /// A required key is missing in an object.
    #[error("key {key} not found in {kind} {name}")]
    MissingKey {
        /// The key.
        key: String,
        /// ConfigMap or Secret.
        kind: &'static str,
        /// Name of the object.
        name: String,
    },
    /// The downward API has no value for the field.
    #[error(transparent)]
    Field(#[from] FieldError),
}

/// The environment in order. A later entry replaces an earlier one of the same name. Fails with what is missing.
pub fn environment(
    pod: &Pod,
    container: &Container,
    place: &Place,
    sources: &Sources<'_>,
) -> Result<Vec<(String, String)>, EnvironmentError> {
    let mut variables = Variables::default();
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        if let Some(reference) = &from.config_map_ref {
            let map = (sources.config_map)(&reference.name);
            let map = present(map, reference.optional, "ConfigMap", &reference.name)?;
            for (key, value) in map {
                variables.set(format!("{prefix}{key}"), value);
            }
        }
        if let Some(reference) = &from.secret_ref {
            let map =
                present((sources.secret)(&reference.name), reference.optional, "Secret", &reference.name)?;
            for (key, value) in map {
                variables.set(format!("{prefix}{key}"), String::from_utf8_lossy(&value).into_owned());
            }
        }
    }
    for entry in container.env.iter().flatten() {
        let value = match (&entry.value, &entry.value_from) {
            (_, Some(from)) => sourced(pod, container, place, sources, from)?,
            (Some(text), None) => Some(expand(text, &|name| variables.value(name))),
            (None, None) => Some(String::new()),
        };
        if let Some(value) = value {
            variables.set(entry.name.clone(), value);
        }
    }
    Ok(variables.0)
}

/// Replaces `$(NAME)`. `$$(NAME)` becomes `$(NAME)`, and unknown names stay unchanged.
pub fn expand(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        result.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(escaped) = rest.strip_prefix('$') {
            result.push('$');
            rest = escaped;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            result.push_str(&lookup(name).unwrap_or_else(|| format!("$({name})")));
            rest = after;
        } else {
            result.push('$');
        }
    }
    result.push_str(rest);
    result
}

/// The value of a variable in an environment.
pub fn value_of(environment: &[(String, String)], name: &str) -> Option<String> {
    environment.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
}

#[derive(Default)]
struct Variables(Vec<(String, String)>);

impl Variables {
    fn set(&mut self, name: String, value: String) {
        self.0.retain(|(known, _)| *known != name);
        self.0.push((name, value));
    }

    fn value(&self, name: &str) -> Option<String> {
        value_of(&self.0, name)
    }
}

fn sourced(
    pod: &Pod,
    container: &Container,
    place: &Place,
    sources: &Sources<'_>,
    from: &EnvVarSource,
) -> Result<Option<String>, EnvironmentError> {
    if let Some(selector) = &from.field_ref {
        return Ok(Some(field::field(pod, place, &selector.field_path)?));
    }
    if let Some(selector) = &from.resource_field_ref {
        return Ok(Some(field::resource(container, place, selector)?));
    }
    if let Some(selector) = &from.config_map_key_ref {
        let value = (sources.config_map)(&selector.name).and_then(|mut map| map.remove(&selector.key));
        return keyed(value, selector.optional, "ConfigMap", &selector.name, &selector.key);
    }
    if let Some(selector) = &from.secret_key_ref {
        let value = (sources.secret)(&selector.name).and_then(|mut map| map.remove(&selector.key));
        let value = value.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        return keyed(value, selector.optional, "Secret", &selector.name, &selector.key);
    }
    Ok(None)
}

/// The object, which must exist unless it is optional.
pub fn present<T: Default>(
    found: Option<T>,
    optional: Option<bool>,
    kind: &'static str,
    name: &str,
) -> Result<T, EnvironmentError> {
    match found {
        Some(found) => Ok(found),
        None if optional == Some(true) => Ok(T::default()),
        None => Err(EnvironmentError::Missing { kind, name: name.into() }),
    }
}

fn keyed(
    value: Option<String>,
    optional: Option<bool>,
    kind: &'static str,
    name: &str,
    key: &str,
) -> Result<Option<String>, EnvironmentError> {
    match value {
        None if optional != Some(true) => {
            Err(EnvironmentError::MissingKey { key: key.into(), kind, name: name.into() })
        }
        value => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_in_brackets_are_replaced() {
        let lookup = |name: &str| (name == "A").then(|| "1".to_string());
        let cases = [
            ("$(A)", "1"),
            ("x$(A)y$(A)", "x1y1"),
            ("$$(A)", "$(A)"),
            ("$(B)", "$(B)"),
            ("$A $", "$A $"),
            ("$(A", "$(A"),
            ("$$$(A)", "$1"),
        ];
        for (text, expected) in cases {
            assert_eq!(expand(text, &lookup), expected, "{text}");
        }
    }

    fn of(container: serde_json::Value) -> Result<Vec<(String, String)>, EnvironmentError> {
        let pod: Pod =
            serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": {"containers": []}})).unwrap();
        let container: Container = serde_json::from_value(container).unwrap();
        let config_map =
            |name: &str| (name == "m").then(|| BTreeMap::from([("K".to_string(), "v".to_string())]));
        let secret = |name: &str| (name == "s").then(|| BTreeMap::from([("K".to_string(), b"w".to_vec())]));
        environment(
            &pod,
            &container,
            &Place::default(),
            &Sources { config_map: &config_map, secret: &secret },
        )
    }

    #[test]
    fn later_variables_win_and_may_refer_to_earlier_ones() {
        let result = of(json!({"name": "c",
        "envFrom": [{"configMapRef": {"name": "m"}, "prefix": "P_"}],
        "env": [
            {"name": "A", "value": "1"},
            {"name": "B", "value": "$(A)$(P_K)"},
            {"name": "P_K", "valueFrom": {"secretKeyRef": {"name": "s", "key": "K"}}},
            {"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
        ]}));
        let expected = [("A", "1"), ("B", "1v"), ("P_K", "w"), ("N", "p")];
        assert_eq!(result.unwrap(), expected.map(|(name, value)| (name.to_string(), value.to_string())));
    }

    #[test]
    fn missing_configuration_is_named_unless_optional() {
        let reference = |optional: bool| {
            json!({"name": "c", "env": [
                {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "none", "optional": optional}}}]})
        };
        assert_eq!(of(reference(false)).unwrap_err().to_string(), "key none not found in ConfigMap m");
        assert_eq!(of(reference(true)), Ok(vec![]));
        let map = of(json!({"name": "c", "envFrom": [{"secretRef": {"name": "x"}}]}));
        assert_eq!(map.unwrap_err().to_string(), "Secret x not found");
    }
}
