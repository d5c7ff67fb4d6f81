//! What holds for every rendering of the chart.

use crate::object::{Object, labels};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Checks a rendering; `from` says what it was rendered from.
pub(crate) fn check(objects: &[Object], from: &str) {
    let mut seen = BTreeSet::new();
    for object in objects.iter().filter(|object| !object.is_hook()) {
        assert!(
            seen.insert((object.kind(), object.name())),
            "{from}: twice {} {}",
            object.kind(),
            object.name()
        );
    }
    for object in objects {
        let at = format!("{from}: {} {}", object.kind(), object.name());
        match object.kind() {
            "Deployment" => deployment(objects, object, &at),
            "Service" => service(objects, object, &at),
            "PodDisruptionBudget" => selects(objects, &object.0["spec"]["selector"]["matchLabels"], &at),
            "NetworkPolicy" => selects(objects, &object.0["spec"]["podSelector"]["matchLabels"], &at),
            "HorizontalPodAutoscaler" => scaler(objects, object, &at),
            "RoleBinding" | "ClusterRoleBinding" => binding(objects, object, &at),
            "Role" | "ClusterRole" => role(object, &at),
            "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration" => {
                webhooks(objects, object, &at);
            }
            _ => {}
        }
    }
}

/// The object of a kind and name.
fn find<'a>(objects: &'a [Object], kind: &str, name: &Value, at: &str) -> &'a Object {
    let same = |object: &&Object| object.kind() == kind && object.name() == name;
    objects.iter().find(same).unwrap_or_else(|| panic!("{at}: there is no {kind} {name}"))
}

fn selected<'a>(objects: &'a [Object], selector: &Value, at: &str) -> &'a Object {
    let selector = labels(selector);
    assert!(!selector.is_empty(), "{at}: selects everything");
    let matches = |object: &&Object| {
        let labels = object.pod_labels();
        selector.iter().all(|(key, value)| labels.get(key) == Some(value))
    };
    let mut found = objects.iter().filter(|object| object.kind() == "Deployment").filter(matches);
    let one = found.next().unwrap_or_else(|| panic!("{at}: selects no Deployment's pods"));
    assert!(found.next().is_none(), "{at}: selects the pods of several Deployments");
    one
}

fn selects(objects: &[Object], selector: &Value, at: &str) {
    selected(objects, selector, at);
}

fn deployment(objects: &[Object], object: &Object, at: &str) {
    assert_eq!(
        selected(objects, &object.0["spec"]["selector"]["matchLabels"], at).name(),
        object.name(),
        "{at}"
    );
    let pod = &object.pod()["spec"];
    find(objects, "ServiceAccount", &pod["serviceAccountName"], at);
    assert_eq!(pod["enableServiceLinks"], false, "{at}: variables of Services would be taken for settings");
    // The profile `restricted` of Pod Security.
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{at}");
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault", "{at}");
    for container in pod["containers"].as_array().unwrap() {
        let security = &container["securityContext"];
        assert_eq!(security["allowPrivilegeEscalation"], false, "{at}");
        assert_eq!(security["readOnlyRootFilesystem"], true, "{at}");
        assert_eq!(security["capabilities"], json!({"drop": ["ALL"]}), "{at}");
        assert!(container["resources"]["requests"].is_object(), "{at}");
        assert!(container["resources"]["limits"]["memory"].is_string(), "{at}");
        mounts(container, pod, at);
    }
    let injected = &object.pod()["metadata"]["labels"]["sidecar.istio.io/inject"];
    let gateway = object.name().ends_with("gateway");
    assert_eq!(injected, if gateway { "true" } else { "false" }, "{at}");
    let scaled = objects.iter().any(|o| o.kind() == "HorizontalPodAutoscaler" && o.name() == object.name());
    assert_eq!(object.0["spec"]["replicas"].is_null(), scaled, "{at}: an upgrade would undo the scaling");
}

/// Each mount has a volume, and each volume is mounted.
fn mounts(container: &Value, pod: &Value, at: &str) {
    let names = |list: &Value| -> BTreeSet<String> {
        let list = list.as_array().into_iter().flatten();
        list.map(|entry| entry["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&container["volumeMounts"]), names(&pod["volumes"]), "{at}");
}

fn service(objects: &[Object], object: &Object, at: &str) {
    let target = selected(objects, &object.0["spec"]["selector"], at);
    let ports: Vec<&Value> =
        target.pod()["spec"]["containers"][0]["ports"].as_array().unwrap().iter().collect();
    for port in object.0["spec"]["ports"].as_array().unwrap() {
        let wanted = &port["targetPort"];
        let serves = |port: &&&Value| port["name"] == *wanted || port["containerPort"] == *wanted;
        assert!(ports.iter().any(|port| serves(&port)), "{at}: nothing listens on {wanted}");
    }
}

fn scaler(objects: &[Object], object: &Object, at: &str) {
    let spec = &object.0["spec"];
    find(objects, "Deployment", &spec["scaleTargetRef"]["name"], at);
    assert!(spec["minReplicas"].as_u64() <= spec["maxReplicas"].as_u64(), "{at}");
}

fn binding(objects: &[Object], object: &Object, at: &str) {
    let role = &object.0["roleRef"];
    find(objects, role["kind"].as_str().unwrap(), &role["name"], at);
    for subject in object.0["subjects"].as_array().unwrap() {
        find(objects, "ServiceAccount", &subject["name"], at);
        assert_eq!(subject["namespace"], "istio-system", "{at}");
    }
}

/// No rule names everything, and a rule that writes names what it writes, unless nobody can name it beforehand.
fn role(object: &Object, at: &str) {
    for rule in object.0["rules"].as_array().unwrap() {
        let text = rule.to_string();
        assert!(!text.contains("\"*\""), "{at}: {text}");
        let verbs: Vec<&str> = rule["verbs"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        let status =
            rule["resources"].as_array().unwrap().iter().all(|r| r.as_str().unwrap().ends_with("/status"));
        let writes = verbs.iter().any(|verb| ["update", "patch", "delete"].contains(verb));
        assert!(!writes || status || rule["resourceNames"].is_array(), "{at}: writes any object: {text}");
        assert!(!verbs.contains(&"delete") && !verbs.contains(&"deletecollection"), "{at}: {text}");
    }
}

fn webhooks(objects: &[Object], object: &Object, at: &str) {
    for webhook in object.0["webhooks"].as_array().unwrap() {
        let service = &webhook["clientConfig"]["service"];
        if object.is_hook() {
            assert_eq!(service["name"], "the-injector-is-not-ready", "{at}");
            continue;
        }
        let service = find(objects, "Service", &service["name"], at);
        let ports = service.0["spec"]["ports"].as_array().unwrap();
        assert!(ports.iter().any(|port| port["port"] == 443), "{at}");
        if object.kind() == "MutatingWebhookConfiguration" {
            let namespaces = webhook["namespaceSelector"].to_string();
            assert!(namespaces.contains("kube-system") && namespaces.contains("NotIn"), "{at}: {namespaces}");
        }
    }
}
