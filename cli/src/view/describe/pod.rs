//! Pure. Describes a Pod with its containers.

use serde_json::Value;

use super::part::{conditions, head, labels, moment, scalar};
use crate::manifest::object::text;
use crate::view::sheet::Sheet;

pub(super) fn pod(sheet: &mut Sheet, pod: &Value) {
    head(sheet, pod);
    sheet.field(0, "Service Account", text(pod, "/spec/serviceAccountName"));
    let node = [text(pod, "/spec/nodeName"), text(pod, "/status/hostIP")];
    sheet.field(
        0,
        "Node",
        node.iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join("/").as_str(),
    );
    sheet.field(0, "Start Time", &moment(text(pod, "/status/startTime")));
    labels(sheet, 0, &pod["metadata"]);
    let leaving = !text(pod, "/metadata/deletionTimestamp").is_empty();
    sheet.field(0, "Status", if leaving { "Terminating" } else { text(pod, "/status/phase") });
    for (label, pointer) in [("Reason", "/status/reason"), ("Message", "/status/message")] {
        if !text(pod, pointer).is_empty() {
            sheet.field(0, label, text(pod, pointer));
        }
    }
    sheet.field(0, "IP", text(pod, "/status/podIP"));
    if let Some(owner) = pod.pointer("/metadata/ownerReferences/0") {
        sheet.field(0, "Controlled By", &format!("{}/{}", text(owner, "/kind"), text(owner, "/name")));
    }
    containers(sheet, 0, &pod["spec"], Some(&pod["status"]));
    conditions(
        sheet,
        pod,
        &[("Type", "/type"), ("Status", "/status"), ("Reason", "/reason"), ("Message", "/message")],
    );
    volumes(sheet, 0, &pod["spec"]);
}

/// The containers of a pod spec; with their states if the pod runs.
pub(super) fn containers(sheet: &mut Sheet, indent: usize, spec: &Value, status: Option<&Value>) {
    let lists = [
        ("Init Containers", "initContainers", "initContainerStatuses"),
        ("Containers", "containers", "containerStatuses"),
    ];
    for (label, list, states) in lists {
        let Some(all) = spec[list].as_array().filter(|all| !all.is_empty()) else { continue };
        sheet.line(indent, &format!("{label}:"));
        for container in all {
            let states = status.and_then(|status| status[states].as_array());
            let state = states.and_then(|all| all.iter().find(|state| state["name"] == container["name"]));
            one(sheet, indent + 2, container, state);
        }
    }
}

fn one(sheet: &mut Sheet, indent: usize, container: &Value, state: Option<&Value>) {
    sheet.line(indent, &format!("{}:", text(container, "/name")));
    let indent = indent + 2;
    if !text(container, "/image").is_empty() {
        sheet.field(indent, "Image", text(container, "/image"));
    }
    let ports = container["ports"].as_array().into_iter().flatten();
    let ports = ports.map(|port| {
        let protocol = if text(port, "/protocol").is_empty() { "TCP" } else { text(port, "/protocol") };
        let name = text(port, "/name");
        let named = if name.is_empty() { String::new() } else { format!(" ({name})") };
        format!("{}/{protocol}{named}", port["containerPort"])
    });
    sheet.field(indent, "Ports", &ports.collect::<Vec<_>>().join(", "));
    for (label, field) in [("Command", "command"), ("Args", "args")] {
        if let Some(words) = container[field].as_array().filter(|words| !words.is_empty()) {
            sheet.line(indent, &format!("{label}:"));
            for word in words {
                sheet.line(indent + 2, &scalar(word));
            }
        }
    }
    if let Some(state) = state {
        running(sheet, indent, "State", &state["state"]);
        if state["lastState"].as_object().is_some_and(|last| !last.is_empty()) {
            running(sheet, indent, "Last State", &state["lastState"]);
        }
        sheet.field(indent, "Ready", if state["ready"] == true { "True" } else { "False" });
        sheet.field(indent, "Restart Count", &scalar(&state["restartCount"]));
    }
    for (label, field) in [("Limits", "limits"), ("Requests", "requests")] {
        if let Some(amounts) = container["resources"][field].as_object().filter(|amounts| !amounts.is_empty())
        {
            sheet.line(indent, &format!("{label}:"));
            for (name, amount) in amounts {
                sheet.field(indent + 2, name, &scalar(amount));
            }
        }
    }
    for (label, field) in
        [("Liveness", "livenessProbe"), ("Readiness", "readinessProbe"), ("Startup", "startupProbe")]
    {
        if let Some(probe) = container.get(field) {
            sheet.field(indent, label, &self::probe(probe));
        }
    }
    environment(sheet, indent, container);
    mounts(sheet, indent, container);
}

fn running(sheet: &mut Sheet, indent: usize, label: &str, state: &Value) {
    let (word, fields) = ["running", "waiting", "terminated"]
        .into_iter()
        .find_map(|word| Some((word, state.get(word)?)))
        .unwrap_or(("waiting", &Value::Null));
    let mut letters = word.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    let word: String = first.into_iter().chain(letters).collect();
    sheet.field(indent, label, &word);
    for (label, field) in [("Reason", "reason"), ("Message", "message"), ("Exit Code", "exitCode")] {
        if let Some(value) = fields.get(field).filter(|value| **value != "") {
            sheet.field(indent + 2, label, &scalar(value));
        }
    }
    for (label, field) in [("Started", "startedAt"), ("Finished", "finishedAt")] {
        if let Some(value) = fields[field].as_str() {
            sheet.field(indent + 2, label, &moment(value));
        }
    }
}

fn probe(probe: &Value) -> String {
    let port = |of: &Value| scalar(&of["port"]);
    let what = if let Some(get) = probe.get("httpGet") {
        let scheme = text(get, "/scheme").to_lowercase();
        let scheme = if scheme.is_empty() { "http".to_string() } else { scheme };
        format!("http-get {scheme}://{}:{}{}", text(get, "/host"), port(get), text(get, "/path"))
    } else if let Some(tcp) = probe.get("tcpSocket") {
        format!("tcp-socket {}:{}", text(tcp, "/host"), port(tcp))
    } else if let Some(grpc) = probe.get("grpc") {
        format!("grpc <pod>:{} {}", port(grpc), text(grpc, "/service"))
    } else {
        let words = probe.pointer("/exec/command").and_then(Value::as_array).into_iter().flatten();
        format!("exec [{}]", words.map(scalar).collect::<Vec<_>>().join(" "))
    };
    let number = |field: &str, default: u64| probe[field].as_u64().unwrap_or(default);
    format!(
        "{what} delay={}s timeout={}s period={}s #success={} #failure={}",
        number("initialDelaySeconds", 0),
        number("timeoutSeconds", 1),
        number("periodSeconds", 10),
        number("successThreshold", 1),
        number("failureThreshold", 3)
    )
}

/// The environment. Values from Secrets are shown by reference only.
fn environment(sheet: &mut Sheet, indent: usize, container: &Value) {
    let all = container["env"].as_array().map(Vec::as_slice).unwrap_or_default();
    if all.is_empty() {
        sheet.field(indent, "Environment", "<none>");
        return;
    }
    sheet.line(indent, "Environment:");
    for variable in all {
        let from = |kind: &str, what: &str| {
            let source = variable.pointer(&format!("/valueFrom/{kind}"))?;
            Some(format!("<set to the key '{}' of {what} '{}'>", text(source, "/key"), text(source, "/name")))
        };
        let field = || {
            let path = text(variable, "/valueFrom/fieldRef/fieldPath");
            (!path.is_empty()).then(|| format!("({path})"))
        };
        let value =
            from("secretKeyRef", "secret").or_else(|| from("configMapKeyRef", "config map")).or_else(field);
        sheet.field(
            indent + 2,
            text(variable, "/name"),
            &value.unwrap_or_else(|| text(variable, "/value").into()),
        );
    }
}

fn mounts(sheet: &mut Sheet, indent: usize, container: &Value) {
    let all = container["volumeMounts"].as_array().map(Vec::as_slice).unwrap_or_default();
    if all.is_empty() {
        sheet.field(indent, "Mounts", "<none>");
        return;
    }
    sheet.line(indent, "Mounts:");
    for mount in all {
        let mode = if mount["readOnly"] == true { "ro" } else { "rw" };
        sheet.line(
            indent + 2,
            &format!("{} from {} ({mode})", text(mount, "/mountPath"), text(mount, "/name")),
        );
    }
}

/// The volumes of a pod spec.
pub(super) fn volumes(sheet: &mut Sheet, indent: usize, spec: &Value) {
    let all = spec["volumes"].as_array().map(Vec::as_slice).unwrap_or_default();
    if all.is_empty() {
        sheet.field(indent, "Volumes", "<none>");
        return;
    }
    sheet.line(indent, "Volumes:");
    for volume in all {
        sheet.line(indent + 2, &format!("{}:", text(volume, "/name")));
        let source = volume.as_object().into_iter().flatten().find(|(name, _)| *name != "name");
        let Some((kind, source)) = source else { continue };
        sheet.field(indent + 4, "Type", kind);
        for (name, value) in source.as_object().into_iter().flatten() {
            if !value.is_object() && !value.is_array() {
                sheet.field(indent + 4, name, &scalar(value));
            }
        }
    }
}
