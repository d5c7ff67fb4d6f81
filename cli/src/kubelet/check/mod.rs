//! Pure. Checks before anything is started whether Kubernetes objects can be run here. Each problem has its field path
//! and the next step.

pub mod volume;
pub mod metadata;

pub mod format;

use api::resource::check::Given;
use api::resource::document::Problem;
use api::resource::kind::{self, Kind, KindLookup};
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, Probe};
use serde_json::Value;

use crate::kubelet::template::{pod_place, pod_spec};
use crate::kubelet::{address, host_port, limit, rules, security, shape, support};
use crate::manifest::object::{Key, group, text};

/// Returns whether a program exists.
pub type Programs<'a> = &'a dyn Fn(&str) -> bool;

/// All problems that prevent an object from being run.
pub fn check(given: &Given, programs: Programs<'_>) -> Vec<Problem> {
    let key = Key::of(&given.object);
    let mut found = Found { given, key: &key, problems: Vec::new() };
    let api_version = text(&given.object, "/apiVersion");
    let kind = match kind::known(api_version, &key.kind) {
        KindLookup::Served(Kind::ReplicaSet) => {
            found.add("kind", "a ReplicaSet without a Deployment is not supported", "write a Deployment");
            return found.problems;
        }
        KindLookup::Served(kind) => kind,
        _ => {
            found.add("kind", format!("{api_version} {} is unknown", key.kind), NEXT_KIND);
            return found.problems;
        }
    };
    metadata::check(&given.object, &key, &mut |path, reason, next| found.add(&path, reason, next));
    if kind.is_mesh() {
        return found.problems;
    }
    let misshapen = shape::problems(&key.kind, &given.object);
    if !misshapen.is_empty() {
        found.all(misshapen, "correct the field");
        return found.problems;
    }
    let template = pod_place(&key.kind);
    found.all(rules::problems(&key.kind, &given.object), "correct the field");
    found.all(support::unsupported(&key.kind, &given.object, template).refused, "remove the field");
    if key.kind == "Service" {
        service(&given.object, &mut found);
    }
    if let Some(path) = template {
        pod(&given.object, path, programs, &mut found);
    }
    if matches!(key.kind.as_str(), "Deployment" | "StatefulSet") {
        selector(&given.object, &mut found);
    }
    found.problems
}

/// Fields of an object that have no effect here.
pub fn warnings(given: &Given) -> Vec<Problem> {
    let key = Key::of(&given.object);
    let mut found = Found { given, key: &key, problems: Vec::new() };
    if kind::of(&key.group, &key.kind).is_some_and(|kind| !kind.is_mesh()) {
        let place = pod_place(&key.kind);
        found.all(support::unsupported(&key.kind, &given.object, place).warned, "");
        if let Some(place) = place
            && let Some(spec) = pod_spec(&given.object, place)
        {
            found.all(limit::unsupported(spec, place), "");
        }
    }
    found.problems
}

struct Found<'a> {
    given: &'a Given,
    key: &'a Key,
    problems: Vec<Problem>,
}

impl Found<'_> {
    fn all(&mut self, problems: Vec<(String, String)>, next: &str) {
        for (path, reason) in problems {
            self.add(&path, reason, next);
        }
    }

    fn add(&mut self, path: &str, reason: impl Into<String>, next: &str) {
        self.problems.push(Problem {
            file: self.given.file.clone(),
            object: self.key.to_string(),
            path: path.into(),
            reason: reason.into(),
            next: next.into(),
        });
    }
}

fn pod(object: &Value, path: &str, programs: Programs<'_>, found: &mut Found<'_>) {
    let Some(spec) = pod_spec(object, path) else {
        found.add(path, "is required", "add the pod's containers");
        return;
    };
    let spec: PodSpec = match serde_json::from_value(spec.clone()) {
        Ok(spec) => spec,
        Err(error) => {
            found.add(path, error.to_string(), "correct the field");
            return;
        }
    };
    if spec.containers.is_empty() {
        found.add(&format!("{path}.containers"), "is empty", "add a container");
    }
    bounds(&spec, path, &mut |path, reason, next| found.add(&path, reason, next));
    for (list, containers) in lists(&spec) {
        for (index, one) in containers.iter().enumerate() {
            let path = format!("{path}.{list}[{index}]");
            container(one, &path, programs, found);
            mounts(one, &spec, &path, found);
        }
    }
}

/// Checks that a pod stays within its bounds: names, paths and security contexts.
fn bounds(spec: &PodSpec, path: &str, report: metadata::Report<'_>) {
    volume::check(spec, path, report);
    security::check_pod(spec, path, report);
    if let Some(resources) = &spec.resources {
        limit::problems(resources, &format!("{path}.resources"), report);
    }
    for (list, containers) in lists(spec) {
        for (index, container) in containers.iter().enumerate() {
            let path = format!("{path}.{list}[{index}]");
            security::check_container(spec, container, &path, report);
            if let Some(resources) = &container.resources {
                limit::problems(resources, &format!("{path}.resources"), report);
            }
        }
    }
}

/// The forbidden fields of an injected pod, all of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct OutOfBounds(pub Vec<String>);

/// Checks a pod after injection. Annotations can add fields that are not in the user's files.
pub fn injected(pod: &Pod) -> Result<(), OutOfBounds> {
    let mut found = Vec::new();
    let mut report = |path: String, reason: String, _: &'static str| found.push(format!("{path} {reason}"));
    let metadata = serde_json::to_value(&pod.metadata).unwrap_or_default();
    metadata::head(&metadata, "metadata", &mut report);
    if let Some(spec) = &pod.spec {
        bounds(spec, "spec", &mut report);
    }
    if found.is_empty() { Ok(()) } else { Err(OutOfBounds(found)) }
}

fn lists(spec: &PodSpec) -> [(&'static str, &[Container]); 2] {
    [
        ("initContainers", spec.init_containers.as_deref().unwrap_or_default()),
        ("containers", &spec.containers),
    ]
}

fn container(container: &Container, path: &str, programs: Programs<'_>, found: &mut Found<'_>) {
    // A container with only the image `auto` marks the place of the proxy; the injector completes it.
    if container.image.as_deref() == Some("auto") && container.name == "istio-proxy" {
        return;
    }
    match container.command.as_deref().and_then(<[String]>::first) {
        None => found.add(
            &format!("{path}.command"),
            format!(
                "is required: container {} has no program, and `ostria up` does not run images",
                container.name
            ),
            "set it to a program beside `ostria` or on PATH",
        ),
        Some(program) if !program.contains('$') && !programs(program) => found.add(
            &format!("{path}.command[0]"),
            format!("program {program} is not beside `ostria` or on PATH"),
            "install the program or correct its name",
        ),
        Some(_) => {}
    }
    let probes = [
        ("startupProbe", &container.startup_probe),
        ("readinessProbe", &container.readiness_probe),
        ("livenessProbe", &container.liveness_probe),
    ];
    for (name, probe) in probes {
        if probe.as_ref().is_some_and(|probe: &Probe| {
            probe.http_get.is_none()
                && probe.tcp_socket.is_none()
                && probe.grpc.is_none()
                && probe.exec.is_none()
        }) {
            found.add(&format!("{path}.{name}"), "has no action", "add httpGet, tcpSocket, grpc or exec");
        }
    }
}

fn mounts(container: &Container, spec: &PodSpec, path: &str, found: &mut Found<'_>) {
    for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
        if !spec.volumes.iter().flatten().any(|volume| volume.name == mount.name) {
            found.add(
                &format!("{path}.volumeMounts[{index}].name"),
                format!("there is no volume {}", mount.name),
                "add the volume to the pod or correct the name",
            );
        }
    }
}

fn selector(object: &Value, found: &mut Found<'_>) {
    let labels = &object["spec"]["template"]["metadata"]["labels"];
    let selector = &object["spec"]["selector"];
    if selector.as_object().is_none_or(serde_json::Map::is_empty) {
        found.add("spec.selector", "is required", "select the labels of the template");
        return;
    }
    match rules::selects(selector, labels) {
        Ok(true) => {}
        Ok(false) => {
            found.add("spec.selector", "does not match the template's labels", "use the same labels in both");
        }
        Err((path, reason)) => found.add(&format!("spec.selector.{path}"), reason, "correct the field"),
    }
}

fn service(object: &Value, found: &mut Found<'_>) {
    let address = text(object, "/spec/clusterIP");
    if !address.is_empty() && address != "None" && !address.parse().is_ok_and(address::is_service) {
        found.add("spec.clusterIP", format!("{address} is not in 10.96.0.0/12"), "remove the field");
    }
    for (index, port) in
        object.pointer("/spec/ports").and_then(Value::as_array).into_iter().flatten().enumerate()
    {
        if !port.get("port").and_then(Value::as_u64).is_some_and(|port| (1..=65535).contains(&port)) {
            found.add(&format!("spec.ports[{index}].port"), "must be 1 to 65535", "correct the port");
        }
        let node_port = port.get("nodePort").and_then(Value::as_u64).filter(|port| *port != 0);
        if node_port.is_some_and(|port| !host_port::is_node_port(port)) {
            found.add(&format!("spec.ports[{index}].nodePort"), "must be 30000 to 32767", "remove the field");
        } else if node_port.is_some() && !matches!(text(object, "/spec/type"), "NodePort" | "LoadBalancer") {
            let reason = "may only be given when type is NodePort or LoadBalancer";
            found.add(&format!("spec.ports[{index}].nodePort"), reason, "write type: NodePort");
        }
    }
    debug_assert!(group(object).is_empty(), "services are of the core group");
}

const NEXT_KIND: &str =
    "correct apiVersion and kind; `ostria up` runs workloads, services and configuration of the mesh";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn problems(object: &Value) -> Vec<String> {
        let given = Given { file: "a.yaml:1".into(), object: object.clone() };
        check(&given, &|program| program == "sh")
            .iter()
            .map(|problem| format!("{}: {}", problem.path, problem.reason))
            .collect()
    }

    fn deployment(container: &Value) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}}}})
    }

    #[test]
    fn a_container_needs_an_installed_program() {
        assert_eq!(problems(&deployment(&json!({"name": "c", "command": ["sh"]}))), Vec::<String>::new());
        let missing = problems(&deployment(&json!({"name": "c", "image": "nginx"})));
        assert!(
            missing[0].starts_with("spec.template.spec.containers[0].command: is required"),
            "{missing:?}"
        );
        let unknown = problems(&deployment(&json!({"name": "c", "command": ["nonesuch"]})));
        assert!(unknown[0].contains("program nonesuch is not beside"), "{unknown:?}");
    }

    #[test]
    fn a_mount_needs_its_volume_and_a_probe_needs_an_action() {
        let found = problems(&deployment(
            &json!({"name": "c", "command": ["sh"], "livenessProbe": {}, "volumeMounts": [{"name": "v", "mountPath": "/v"}]}),
        ));
        assert_eq!(found.len(), 2, "{found:?}");
    }

    #[test]
    fn unknown_kinds_invalid_selectors_and_foreign_addresses_are_refused() {
        assert!(
            problems(&json!({"apiVersion": "v2", "kind": "Pot", "metadata": {"name": "x"}}))[0]
                .contains("v2 Pot")
        );
        for (api_version, kind) in [("apps/v1", "ReplicaSet"), ("networking.k8s.io/v1", "NetworkPolicy")] {
            let object = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}});
            assert!(problems(&object)[0].starts_with("kind: "), "{kind}");
        }
        let mut object = deployment(&json!({"name": "c", "command": ["sh"]}));
        object["spec"]["selector"]["matchLabels"]["app"] = json!("other");
        assert!(problems(&object)[0].starts_with("spec.selector"));
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"},
            "spec": {"clusterIP": "1.2.3.4", "ports": [{"port": 0}]}});
        assert_eq!(problems(&service).len(), 2);
    }
}
