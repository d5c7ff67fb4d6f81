//! Pure. `ostria get`: kubectl's columns for each kind, and its other forms of output.

use serde_json::{Value, json};

use crate::manifest::kind::Kind;
use crate::manifest::object::{Key, text};
use crate::view::table;

/// How a list is shown.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    /// Whether a column names the namespace.
    pub namespaces: bool,
    /// Whether there are more columns.
    pub wide: bool,
    /// Seconds since 1970, to tell ages.
    pub now: i64,
}

/// A table of objects of one kind.
pub fn table(kind: &Kind, objects: &[Value], style: Style) -> String {
    let columns = columns(kind, style.wide);
    let mut head: Vec<&str> = if style.namespaces && kind.namespaced { vec!["NAMESPACE"] } else { vec![] };
    head.extend(columns.iter().map(|(name, _)| *name));
    let rows: Vec<Vec<String>> = objects
        .iter()
        .map(|object| {
            let namespace = (style.namespaces && kind.namespaced)
                .then(|| text(object, "/metadata/namespace").to_string());
            namespace.into_iter().chain(columns.iter().map(|(_, cell)| cell(object, style.now))).collect()
        })
        .collect();
    table::render(&head, &rows)
}

/// One object as it is, or several as a list, as kubectl gives them.
pub fn document(objects: &[Value], single: bool) -> Value {
    match objects {
        [object] if single => object.clone(),
        _ => json!({"apiVersion": "v1", "kind": "List", "items": objects}),
    }
}

/// Kind and name of each object, a line each.
pub fn names(objects: &[Value]) -> String {
    objects.iter().fold(String::new(), |text, object| text + &Key::of(object).printed() + "\n")
}

type Column = (&'static str, fn(&Value, i64) -> String);

fn columns(kind: &Kind, wide: bool) -> Vec<Column> {
    const NAME: Column = ("NAME", |object, _| text(object, "/metadata/name").into());
    const AGE: Column = ("AGE", |object, now| age(text(object, "/metadata/creationTimestamp"), now));
    let own: Vec<Column> = match (kind.group, kind.kind) {
        (_, "Pod") => vec![
            ("READY", |pod, _| ready(pod)),
            ("STATUS", |pod, _| word(pod)),
            ("RESTARTS", |pod, _| restarts(pod)),
        ],
        (_, "Service") => vec![
            ("TYPE", |object, _| or(text(object, "/spec/type"), "ClusterIP")),
            ("CLUSTER-IP", |object, _| or(text(object, "/spec/clusterIP"), "<none>")),
            ("PORT(S)", |object, _| ports(object)),
        ],
        (_, "Deployment" | "StatefulSet") => vec![("READY", |object, _| {
            format!("{}/{}", number(object, "/status/readyReplicas", 0), number(object, "/spec/replicas", 1))
        })],
        (_, "Job") => {
            vec![("STATUS", |object, _| job_word(object)), ("COMPLETIONS", |object, _| completions(object))]
        }
        (_, "ConfigMap" | "Secret") => {
            vec![("DATA", |object, _| object["data"].as_object().map_or(0, serde_json::Map::len).to_string())]
        }
        (_, "Namespace") => vec![("STATUS", |_, _| "Active".into())],
        (_, "VirtualService") => vec![
            ("GATEWAYS", |object, _| list(object, "/spec/gateways")),
            ("HOSTS", |object, _| list(object, "/spec/hosts")),
        ],
        (_, "DestinationRule") => vec![("HOST", |object, _| text(object, "/spec/host").into())],
        (_, "ServiceEntry") => vec![("HOSTS", |object, _| list(object, "/spec/hosts"))],
        (_, "PeerAuthentication") => vec![("MODE", |object, _| text(object, "/spec/mtls/mode").into())],
        (_, "AuthorizationPolicy") => vec![("ACTION", |object, _| or(text(object, "/spec/action"), "ALLOW"))],
        _ => vec![],
    };
    let more: Vec<Column> = match kind.kind {
        "Pod" if wide => vec![
            ("IP", |pod, _| or(text(pod, "/status/podIP"), "<none>")),
            ("NODE", |pod, _| or(text(pod, "/spec/nodeName"), "<none>")),
        ],
        "Service" if wide => vec![("SELECTOR", |object, _| pairs(object.pointer("/spec/selector")))],
        "Deployment" if wide => {
            vec![("SELECTOR", |object, _| pairs(object.pointer("/spec/selector/matchLabels")))]
        }
        _ => vec![],
    };
    std::iter::once(NAME).chain(own).chain([AGE]).chain(more).collect()
}

/// The word of kubectl for how far a Job is.
fn job_word(job: &Value) -> String {
    let holds = |kind: &str| {
        let conditions = job.pointer("/status/conditions").and_then(Value::as_array);
        conditions.into_iter().flatten().any(|one| one["type"] == kind && one["status"] == "True")
    };
    ["Complete", "Failed", "Suspended"].into_iter().find(|kind| holds(kind)).unwrap_or("Running").into()
}

/// Without `completions` the first success of any of the parallel pods is enough.
fn completions(job: &Value) -> String {
    let wanted = match (job.pointer("/spec/completions"), number(job, "/spec/parallelism", 1)) {
        (Some(completions), _) => completions.to_string(),
        (None, parallelism) if parallelism > 1 => format!("1 of {parallelism}"),
        (None, _) => "1".into(),
    };
    format!("{}/{wanted}", number(job, "/status/succeeded", 0))
}

fn statuses(pod: &Value) -> impl Iterator<Item = (&Value, bool)> {
    let list = |name: &str| pod["status"][name].as_array().into_iter().flatten();
    let sidecars = pod.pointer("/spec/initContainers").and_then(Value::as_array).into_iter().flatten();
    let sidecars: Vec<&str> = sidecars
        .filter(|container| container["restartPolicy"] == "Always")
        .filter_map(|container| container["name"].as_str())
        .collect();
    let inits = list("initContainerStatuses")
        .map(move |status| (status, status["name"].as_str().is_some_and(|name| sidecars.contains(&name))));
    inits.chain(list("containerStatuses").map(|status| (status, true)))
}

fn ready(pod: &Value) -> String {
    let serving: Vec<&Value> =
        statuses(pod).filter(|(_, serves)| *serves).map(|(status, _)| status).collect();
    format!("{}/{}", serving.iter().filter(|status| status["ready"] == true).count(), serving.len())
}

fn restarts(pod: &Value) -> String {
    statuses(pod).filter_map(|(status, _)| status["restartCount"].as_u64()).sum::<u64>().to_string()
}

fn word(pod: &Value) -> String {
    if !text(pod, "/metadata/deletionTimestamp").is_empty() {
        return "Terminating".into();
    }
    let phase = text(pod, "/status/phase");
    match phase {
        "Succeeded" => return "Completed".into(),
        "Failed" => return "Error".into(),
        _ if !text(pod, "/status/message").is_empty() => return "Blocked".into(),
        _ => {}
    }
    let initializing = phase == "Pending";
    let trouble = statuses(pod).find_map(|(status, _)| {
        let reason = text(status, "/state/waiting/reason");
        let ended = status
            .pointer("/state/terminated/exitCode")
            .and_then(Value::as_i64)
            .is_some_and(|code| code != 0);
        match reason {
            "" | "PodInitializing" => ended.then_some("Error"),
            reason => Some(reason),
        }
    });
    match trouble {
        Some(reason) if initializing => format!("Init:{reason}"),
        Some(reason) => reason.into(),
        None => or(phase, "Pending"),
    }
}

fn ports(service: &Value) -> String {
    let ports = service.pointer("/spec/ports").and_then(Value::as_array).into_iter().flatten();
    let ports: Vec<String> = ports
        .map(|port| {
            let node = port["nodePort"].as_u64().map_or(String::new(), |port| format!(":{port}"));
            format!("{}{node}/{}", port["port"], or(text(port, "/protocol"), "TCP"))
        })
        .collect();
    or(&ports.join(","), "<none>")
}

fn list(object: &Value, pointer: &str) -> String {
    let entries: Vec<&str> = object
        .pointer(pointer)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if entries.is_empty() {
        String::new()
    } else {
        format!("[{}]", entries.iter().map(|entry| format!("\"{entry}\"")).collect::<Vec<_>>().join(","))
    }
}

fn pairs(map: Option<&Value>) -> String {
    let entries = map.and_then(Value::as_object).into_iter().flatten();
    let pairs: Vec<String> =
        entries.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    or(&pairs.join(","), "<none>")
}

fn number(object: &Value, pointer: &str, default: u64) -> u64 {
    object.pointer(pointer).and_then(Value::as_u64).unwrap_or(default)
}

fn or(text: &str, otherwise: &str) -> String {
    if text.is_empty() { otherwise.into() } else { text.into() }
}

fn age(created: &str, now: i64) -> String {
    let format = &time::format_description::well_known::Rfc3339;
    let Ok(created) = time::OffsetDateTime::parse(created, format) else {
        return "<unknown>".into();
    };
    let seconds = (now - created.unix_timestamp()).max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::kind::named;

    fn style(namespaces: bool) -> Style {
        Style { namespaces, wide: false, now: 1_767_225_690 }
    }

    #[test]
    fn pods_look_as_kubectl_shows_them() {
        let pod = json!({"metadata": {"name": "web", "namespace": "shop", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"initContainers": [{"name": "istio-proxy", "restartPolicy": "Always"}]},
            "status": {"phase": "Running",
                "initContainerStatuses": [{"name": "istio-proxy", "ready": true, "restartCount": 0}],
                "containerStatuses": [{"name": "c", "ready": false, "restartCount": 2,
                    "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}});
        assert_eq!(
            table(named("pods").unwrap(), &[pod], style(true)),
            "NAMESPACE   NAME   READY   STATUS             RESTARTS   AGE\nshop        web    1/2     CrashLoopBackOff   2          90s\n"
        );
    }

    #[test]
    fn jobs_show_how_they_ended() {
        let job = |conditions: Value| {
            json!({"metadata": {"name": "a"}, "spec": {"completions": 3},
                "status": {"succeeded": 1, "conditions": conditions}})
        };
        let cases = [
            (json!([]), "Running"),
            (json!([{"type": "Failed", "status": "True"}]), "Failed"),
            (
                json!([{"type": "SuccessCriteriaMet", "status": "True"}, {"type": "Complete", "status": "True"}]),
                "Complete",
            ),
        ];
        for (conditions, word) in cases {
            let text = table(named("jobs").unwrap(), &[job(conditions)], style(false));
            let row: Vec<&str> = text.lines().nth(1).unwrap_or_default().split_whitespace().collect();
            assert_eq!(row[..3], ["a", word, "1/3"]);
        }
    }

    #[test]
    fn virtual_services_show_gateways_and_hosts() {
        let object = json!({"metadata": {"name": "reviews"}, "spec": {"hosts": ["reviews"]}});
        let text = table(named("vs").unwrap(), &[object], style(false));
        assert_eq!(
            text,
            "NAME      GATEWAYS   HOSTS         AGE\nreviews              [\"reviews\"]   <unknown>\n"
        );
    }

    #[test]
    fn one_object_is_itself_and_several_are_a_list() {
        let objects = [json!({"kind": "Pod"})];
        assert_eq!(document(&objects, true)["kind"], "Pod");
        assert_eq!(document(&objects, false)["items"][0]["kind"], "Pod");
    }
}
