//! Pure. Checks names, labels and annotations of objects of every kind, and the keys of ConfigMaps and Secrets.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::kubelet::check::format::{self, Verdict};
use crate::manifest::object::{Key, text};

/// Reports an invalid field: path, reason and next step.
pub type Report<'a> = &'a mut dyn FnMut(String, String, &'static str);

/// Checks the metadata of an object of any kind.
pub fn check(object: &Value, key: &Key, report: Report<'_>) {
    let core = key.group.is_empty();
    let form = match key.kind.as_str() {
        "Namespace" if core => format::label,
        "Service" if core => format::service,
        _ => format::subdomain,
    };
    check_text("metadata.name", &key.name, form, report);
    if !key.namespace.is_empty() {
        check_text("metadata.namespace", &key.namespace, format::label, report);
    }
    head(&object["metadata"], "metadata", report);
    match key.kind.as_str() {
        "Service" if core => {
            labels(&object["spec"]["selector"], "spec.selector", report);
            ports(&object["spec"]["ports"], report);
        }
        "Deployment" | "StatefulSet" | "Job" => {
            head(&object["spec"]["template"]["metadata"], "spec.template.metadata", report);
            let selector = &object["spec"]["selector"]["matchLabels"];
            labels(selector, "spec.selector.matchLabels", report);
            let service = text(object, "/spec/serviceName");
            if !service.is_empty() {
                check_text("spec.serviceName", service, format::subdomain, report);
            }
        }
        "ConfigMap" if core => config(object, &["data", "binaryData"], "binaryData", report),
        "Secret" if core => config(object, &["data", "stringData"], "data", report),
        _ => {}
    }
}

/// Checks labels and annotations.
pub fn head(metadata: &Value, path: &str, report: Report<'_>) {
    labels(&metadata["labels"], &format!("{path}.labels"), report);
    let mut size = 0;
    for (name, value) in entries(&metadata["annotations"]) {
        size += name.len() + value.as_str().map_or(0, str::len);
        check_text(
            &format!("{path}.annotations"),
            name,
            |name| format::qualified(&name.to_lowercase()),
            report,
        );
    }
    if size > ANNOTATIONS {
        report(format!("{path}.annotations"), "hold more than 256 KiB".into(), "shorten them");
    }
}

fn labels(labels: &Value, path: &str, report: Report<'_>) {
    for (name, value) in entries(labels) {
        check_text(path, name, format::qualified, report);
        check_text(&format!("{path}.{name}"), value.as_str().unwrap_or_default(), format::value, report);
    }
}

fn ports(ports: &Value, report: Report<'_>) {
    let ports = ports.as_array().map(Vec::as_slice).unwrap_or_default();
    let mut names = std::collections::BTreeSet::new();
    for (index, port) in ports.iter().enumerate() {
        let path = format!("spec.ports[{index}].name");
        match port["name"].as_str() {
            None | Some("") if ports.len() > 1 => {
                report(path, "is required if there are several ports".into(), "name the port");
            }
            None | Some("") => {}
            Some(name) => {
                check_text(&path, name, format::label, report);
                if !names.insert(name) {
                    report(path, format!("{name} is used twice"), "use unique port names");
                }
            }
        }
    }
}

/// Checks keys, because they become file names, and base64 content, because invalid content would be dropped silently.
fn config(object: &Value, fields: &[&str; 2], encoded: &str, report: Report<'_>) {
    let mut size = 0;
    for field in fields {
        for (key, value) in entries(&object[*field]) {
            let content = value.as_str().unwrap_or_default();
            check_text(field, key, format::config_key, report);
            let plain: String = content.split_whitespace().collect();
            if *field == encoded && STANDARD.decode(plain).is_err() {
                report(format!("{field}.{key}"), "is not base64".into(), "encode the value");
            }
            size += content.len();
        }
    }
    for (key, _) in entries(&object["binaryData"]) {
        if object["data"].get(key).is_some() {
            report(format!("binaryData.{key}"), "is also a key of data".into(), "keep one of the two");
        }
    }
    if size > CONTENT {
        report(fields[0].into(), "holds more than 1 MiB".into(), "split the object");
    }
}

fn entries(map: &Value) -> impl Iterator<Item = (&String, &Value)> {
    map.as_object().into_iter().flatten()
}

/// Reports a text with a wrong syntax. Values may be long or secret, so only the beginning is shown.
pub fn check_text(path: &str, text: &str, form: impl FnOnce(&str) -> Verdict, report: Report<'_>) {
    if let Some(reason) = form(text) {
        let shown: String = text.chars().take(80).collect();
        report(path.into(), format!("{shown:?} {reason}"), "correct the text");
    }
}

const ANNOTATIONS: usize = 256 * 1024;
/// The limit of Kubernetes, in characters of base64, which is a third longer than the content.
const CONTENT: usize = 1_398_104;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refused(object: &Value) -> Vec<String> {
        let mut found = Vec::new();
        check(object, &Key::of(object), &mut |path, _, _| found.push(path));
        found
    }

    fn of(kind: &str, more: &Value) -> Value {
        let (version, kind) = kind.rsplit_once(' ').unwrap();
        let mut object = json!({"apiVersion": version, "kind": kind, "metadata": {"name": "a"}});
        for (field, value) in more.as_object().unwrap() {
            object[field] = value.clone();
        }
        object
    }

    #[test]
    fn names_of_all_kinds_are_checked() {
        for kind in ["v1 Pod", "v1 ConfigMap", "apps/v1 Deployment", "networking.istio.io/v1 VirtualService"]
        {
            for name in ["../../etc", "a/b", "..", "A", "a\nb"] {
                assert_eq!(
                    refused(&of(kind, &json!({"metadata": {"name": name}}))),
                    ["metadata.name"],
                    "{kind}"
                );
            }
            let metadata = json!({"metadata": {"name": "a", "namespace": "../x"}});
            assert_eq!(refused(&of(kind, &metadata)), ["metadata.namespace"]);
        }
        assert_eq!(refused(&of("v1 Service", &json!({"metadata": {"name": "1a"}}))), ["metadata.name"]);
        assert_eq!(refused(&of("v1 Namespace", &json!({"metadata": {"name": "a.b"}}))), ["metadata.name"]);
    }

    #[test]
    fn labels_and_annotations_are_checked_in_templates_too() {
        let metadata =
            json!({"metadata": {"name": "a", "labels": {"a/": "x", "b": "x y"}, "annotations": {"c d": ""}}});
        let expected = ["metadata.labels", "metadata.labels.b", "metadata.annotations"];
        assert_eq!(refused(&of("networking.istio.io/v1 Gateway", &metadata)), expected);
        let template = json!({"spec": {"template": {"metadata": {"labels": {"a": "\n"}}}, "selector": {"matchLabels": {"a": "\n"}}}});
        let expected = ["spec.template.metadata.labels.a", "spec.selector.matchLabels.a"];
        assert_eq!(refused(&of("apps/v1 Deployment", &template)), expected);
    }

    #[test]
    fn keys_of_configuration_are_file_names() {
        let map = json!({"data": {"../../x": "", "ok": ""}, "binaryData": {"ok": "AA==", "b": "*"}});
        assert_eq!(refused(&of("v1 ConfigMap", &map)), ["data", "binaryData.b", "binaryData.ok"]);
        let secret = json!({"data": {"/abs": "AA=="}, "stringData": {"..": "x"}});
        assert_eq!(refused(&of("v1 Secret", &secret)), ["data", "stringData"]);
        let large = json!({"data": {"a": "x".repeat(1_400_000)}});
        assert_eq!(refused(&of("v1 ConfigMap", &large)), ["data"]);
    }

    #[test]
    fn ports_of_a_service_have_names_of_their_own() {
        let ports = json!({"spec": {"ports": [{"name": "a"}, {"name": "a"}, {}, {"name": "A_b"}]}});
        let expected = ["spec.ports[1].name", "spec.ports[2].name", "spec.ports[3].name"];
        assert_eq!(refused(&of("v1 Service", &ports)), expected);
    }
}
