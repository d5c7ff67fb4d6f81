//! Pure. Rules of Kubernetes' API server for workloads beyond the types of their fields: counts, policies, selectors
//! and immutable fields.

use api::resource::selector::requirement::{Expression, Selector};
use serde_json::Value;

use crate::kubelet::workload::job::is_indexed;
use crate::manifest::object::text;

/// The problems of a workload: field path and reason.
pub fn problems(kind: &str, object: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let counts: &[&str] = match kind {
        "Deployment" => &["replicas", "minReadySeconds", "progressDeadlineSeconds", "revisionHistoryLimit"],
        "StatefulSet" => &["replicas", "minReadySeconds", "revisionHistoryLimit", "ordinals.start"],
        "Job" => &[
            "completions",
            "parallelism",
            "backoffLimit",
            "activeDeadlineSeconds",
            "ttlSecondsAfterFinished",
        ],
        _ => return found,
    };
    for field in counts {
        let value = object.pointer(&format!("/spec/{}", field.replace('.', "/"))).and_then(Value::as_i64);
        if value.is_some_and(|value| value < 0) {
            found.push((format!("spec.{field}"), "must not be negative".into()));
        }
    }
    let mut policy = |path: &str, allowed: &[&str]| {
        let given = text(object, &format!("/{}", path.replace('.', "/")));
        if !given.is_empty() && !allowed.contains(&given) {
            found.push((path.into(), format!("{given} is not one of {}", allowed.join(", "))));
        }
    };
    match kind {
        "Deployment" => policy("spec.strategy.type", &["RollingUpdate", "Recreate"]),
        "StatefulSet" => {
            policy("spec.podManagementPolicy", &["OrderedReady", "Parallel"]);
            policy("spec.updateStrategy.type", &["RollingUpdate", "OnDelete"]);
        }
        _ => {
            policy("spec.completionMode", &["NonIndexed", "Indexed"]);
            policy("spec.podReplacementPolicy", &["TerminatingOrFailed", "Failed"]);
        }
    }
    restart_policy(kind, object, &mut found);
    match kind {
        "Deployment" => rolling_update(object, &mut found),
        "Job" if is_indexed(object) && object.pointer("/spec/completions").is_none_or(Value::is_null) => {
            found.push(("spec.completions".into(), "is required when completionMode is Indexed".into()));
        }
        _ => {}
    }
    found
}

fn restart_policy(kind: &str, object: &Value, found: &mut Vec<(String, String)>) {
    let path = "spec.template.spec.restartPolicy";
    match (kind, text(object, "/spec/template/spec/restartPolicy")) {
        ("Job", "Never" | "OnFailure") | ("Deployment" | "StatefulSet", "" | "Always") => {}
        ("Job", _) => found.push((path.into(), "must be Never or OnFailure".into())),
        _ => found.push((path.into(), "must be Always".into())),
    }
}

fn rolling_update(object: &Value, found: &mut Vec<(String, String)>) {
    let bound = |field: &str| object.pointer(&format!("/spec/strategy/rollingUpdate/{field}"));
    if text(object, "/spec/strategy/type") == "Recreate"
        && object.pointer("/spec/strategy/rollingUpdate").is_some_and(|given| !given.is_null())
    {
        found.push(("spec.strategy.rollingUpdate".into(), "may not be given when type is Recreate".into()));
    }
    for field in ["maxSurge", "maxUnavailable"] {
        let percent = |text: &str| text.strip_suffix('%').is_some_and(|text| text.parse::<u32>().is_ok());
        let good = bound(field).is_none_or(|value| {
            value.is_null() || value.as_u64().is_some() || value.as_str().is_some_and(percent)
        });
        if !good {
            let path = format!("spec.strategy.rollingUpdate.{field}");
            found.push((path, "must be a number or a percentage, not negative".into()));
        }
    }
    let is_zero = |field: &str| bound(field).is_some_and(|value| value == 0 || value == "0%");
    if is_zero("maxSurge") && (is_zero("maxUnavailable") || bound("maxUnavailable").is_none()) {
        let path = "spec.strategy.rollingUpdate.maxUnavailable".into();
        found.push((path, "may not be 0 when maxSurge is 0".into()));
    }
}

/// The changes of immutable fields: field path and reason.
pub fn immutable(kind: &str, old: &Value, new: &Value) -> Vec<(String, String)> {
    let differs = |path: &str| {
        let pointer = format!("/{}", path.replace('.', "/"));
        let value = |object: &Value| object.pointer(&pointer).filter(|value| !value.is_null()).cloned();
        value(old) != value(new)
    };
    let fixed: &[&str] = match kind {
        "Deployment" => &["spec.selector"],
        "StatefulSet" => &["spec.selector", "spec.serviceName", "spec.podManagementPolicy"],
        // Kubernetes allows a change of an indexed Job's completions together with its parallelism. That is not
        // supported here.
        "Job" => &["spec.template", "spec.completions", "spec.completionMode"],
        _ => &[],
    };
    let mut found: Vec<(String, String)> = fixed
        .iter()
        .filter(|path| differs(path))
        .map(|path| ((*path).to_string(), "is immutable: delete the object first".into()))
        .collect();
    if matches!(kind, "ConfigMap" | "Secret") && old["immutable"] == true {
        let fields = ["data", "binaryData", "stringData", "immutable"];
        found.extend(
            fields
                .into_iter()
                .filter(|field| differs(field))
                .map(|field| (field.into(), "is immutable: the object has `immutable: true`".into())),
        );
    }
    found
}

/// Whether a label selector selects these labels; fails if the selector is invalid.
pub fn selects(selector: &Value, labels: &Value) -> Result<bool, (String, String)> {
    let label = |key: &str| labels.get(key).and_then(Value::as_str);
    // Keys and values of `matchLabels` are checked together with all other labels.
    let equal = serde_json::from_value(selector["matchLabels"].clone()).unwrap_or_default();
    let rules: Vec<&Value> = selector["matchExpressions"].as_array().into_iter().flatten().collect();
    let values: Vec<Vec<String>> =
        rules.iter().map(|rule| serde_json::from_value(rule["values"].clone()).unwrap_or_default()).collect();
    let expressions: Vec<Expression<'_>> = rules
        .iter()
        .zip(&values)
        .map(|(rule, values)| Expression {
            key: text(rule, "/key"),
            operator: text(rule, "/operator"),
            values,
        })
        .collect();
    let expressions =
        Selector::of_object([], &expressions).map_err(|error| (error.path().to_string(), error.reason()))?;
    Ok(Selector::of_labels(&equal).matches(label) && expressions.matches(label))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn paths(kind: &str, spec: &Value) -> Vec<String> {
        problems(kind, &json!({"spec": spec})).into_iter().map(|(path, _)| path).collect()
    }

    #[test]
    fn workloads_are_checked_as_by_the_api_server() {
        let cases = [
            ("Deployment", json!({"replicas": 1}), vec![]),
            ("Deployment", json!({"replicas": -1}), vec!["spec.replicas"]),
            ("Deployment", json!({"strategy": {"type": "Recreate"}}), vec![]),
            ("Deployment", json!({"strategy": {"type": "Fast"}}), vec!["spec.strategy.type"]),
            (
                "Deployment",
                json!({"strategy": {"type": "Recreate", "rollingUpdate": {}}}),
                vec!["spec.strategy.rollingUpdate"],
            ),
            (
                "Deployment",
                json!({"strategy": {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}}}),
                vec![],
            ),
            (
                "Deployment",
                json!({"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}}}),
                vec!["spec.strategy.rollingUpdate.maxUnavailable"],
            ),
            (
                "Deployment",
                json!({"strategy": {"rollingUpdate": {"maxSurge": "many"}}}),
                vec!["spec.strategy.rollingUpdate.maxSurge"],
            ),
            (
                "Deployment",
                json!({"template": {"spec": {"restartPolicy": "Never"}}}),
                vec!["spec.template.spec.restartPolicy"],
            ),
            (
                "StatefulSet",
                json!({"updateStrategy": {"type": "Recreate"}}),
                vec!["spec.updateStrategy.type"],
            ),
            ("StatefulSet", json!({"ordinals": {"start": -1}}), vec!["spec.ordinals.start"]),
            ("Job", json!({}), vec!["spec.template.spec.restartPolicy"]),
            (
                "Job",
                json!({"template": {"spec": {"restartPolicy": "Always"}}}),
                vec!["spec.template.spec.restartPolicy"],
            ),
            (
                "Job",
                json!({"completionMode": "Indexed", "template": {"spec": {"restartPolicy": "Never"}}}),
                vec!["spec.completions"],
            ),
            (
                "Job",
                json!({"completionMode": "Indexed", "completions": 2, "template": {"spec": {"restartPolicy": "Never"}}}),
                vec![],
            ),
        ];
        for (kind, spec, expected) in cases {
            assert_eq!(paths(kind, &spec), expected, "{kind} {spec}");
        }
    }

    #[test]
    fn immutable_fields_may_not_change() {
        let job = |name: &str| json!({"spec": {"template": {"spec": {"containers": [{"name": name}]}}, "parallelism": 1}});
        let mut more = job("a");
        more["spec"]["parallelism"] = json!(2);
        assert_eq!(immutable("Job", &job("a"), &more), vec![]);
        assert_eq!(immutable("Job", &job("a"), &job("b"))[0].0, "spec.template");
        let map = |immutable: bool, value: &str| json!({"data": {"a": value}, "immutable": immutable});
        assert_eq!(immutable("ConfigMap", &map(false, "1"), &map(false, "2")), vec![]);
        assert_eq!(immutable("ConfigMap", &map(true, "1"), &map(true, "2"))[0].0, "data");
    }

    #[test]
    fn selectors_match_by_labels_and_expressions() {
        let labels = json!({"app": "web", "tier": "front"});
        let with = |operator: &str, key: &str, values: Value| {
            selects(
                &json!({"matchLabels": {"app": "web"}, "matchExpressions": [{"key": key, "operator": operator, "values": values}]}),
                &labels,
            )
        };
        assert_eq!(with("In", "tier", json!(["front", "back"])), Ok(true));
        assert_eq!(with("In", "tier", json!(["back"])), Ok(false));
        assert_eq!(with("NotIn", "none", json!(["back"])), Ok(true));
        assert_eq!(with("Exists", "tier", json!([])), Ok(true));
        assert_eq!(with("DoesNotExist", "tier", json!([])), Ok(false));
        assert!(with("In", "tier", json!([])).is_err());
        assert!(with("Like", "tier", json!(["x"])).is_err());
        assert_eq!(selects(&json!({"matchLabels": {"app": "other"}}), &labels), Ok(false));
    }
}
