//! Pure. The table of Kubernetes' fields that have no effect on one machine without Kubernetes. An object is rejected
//! if the field would change how a workload behaves; otherwise the field causes a warning.

use serde_json::Value;

/// The effect of a field on its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Treatment {
    /// The object is rejected.
    Refused,
    /// The object is accepted with a warning.
    Warned,
}

/// A rule for a field. It applies unless the field is empty, false, zero or one of the `usual` values.
#[derive(Clone, Copy)]
struct Rule {
    /// Field names separated by dots; `*` stands for each entry of a list.
    path: &'static str,
    /// Values, as text, that describe what happens here anyway.
    usual: &'static [&'static str],
    treatment: Treatment,
    reason: &'static str,
}

/// The unsupported fields of an object: field path and reason each.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Lacks {
    /// Fields for which the object is rejected.
    pub refused: Vec<(String, String)>,
    /// Fields that cause a warning.
    pub warned: Vec<(String, String)>,
}

/// Checks an object of a Kubernetes kind. `pod` is the path of its pod spec.
pub fn lacks(kind: &str, object: &Value, pod: Option<&str>) -> Lacks {
    let mut lacks = Lacks::default();
    let own = OWN.iter().filter(|(of, _)| *of == kind).flat_map(|(_, rules)| *rules);
    for rule in own {
        visit(object, "", rule.path, &mut |path, value| lacks.note(rule, path, value));
    }
    if let Some(place) = pod
        && let Some(spec) = object.pointer(&format!("/{}", place.replace('.', "/")))
    {
        for rule in POD {
            visit(spec, place, rule.path, &mut |path, value| lacks.note(rule, path, value));
        }
        for list in ["containers", "initContainers"] {
            let place = format!("{place}.{list}");
            for rule in CONTAINER {
                visit(&spec[list], &place, &format!("*.{}", rule.path), &mut |path, value| {
                    lacks.note(rule, path, value);
                });
            }
        }
    }
    lacks
}

impl Lacks {
    fn note(&mut self, rule: &Rule, path: &str, value: &Value) {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_string);
        let empty = matches!(text.as_str(), "" | "null" | "false" | "0" | "[]" | "{}");
        if empty || rule.usual.contains(&text.as_str()) {
            return;
        }
        let list = match rule.treatment {
            Treatment::Refused => &mut self.refused,
            Treatment::Warned => &mut self.warned,
        };
        list.push((path.into(), rule.reason.into()));
    }
}

/// Calls `call` for each value that a path selects, with the full path of the value.
fn visit(value: &Value, at: &str, path: &str, call: &mut dyn FnMut(&str, &Value)) {
    let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
    let mut follow = |value: &Value, at: String| match rest {
        Some(rest) => visit(value, &at, rest, call),
        None => call(&at, value),
    };
    if name == "*" {
        for (index, entry) in value.as_array().into_iter().flatten().enumerate() {
            follow(entry, format!("{at}[{index}]"));
        }
    } else if let Some(field) = value.get(name) {
        follow(field, if at.is_empty() { name.into() } else { format!("{at}.{name}") });
    }
}

const fn refused(path: &'static str, reason: &'static str) -> Rule {
    Rule { path, usual: &[], treatment: Treatment::Refused, reason }
}

const fn warned(path: &'static str, reason: &'static str) -> Rule {
    Rule { path, usual: &[], treatment: Treatment::Warned, reason }
}

const fn unless(rule: Rule, usual: &'static [&'static str]) -> Rule {
    Rule { usual, ..rule }
}

const IMPOSSIBLE: &str = "is not possible with `ostria up`";
const ONE_NODE: &str = "has no effect: there is one node";
const NO_EFFECT: &str = "has no effect with `ostria up`";

const OWN: &[(&str, &[Rule])] = &[
    ("Deployment", &[refused("spec.paused", IMPOSSIBLE)]),
    (
        "StatefulSet",
        &[
            refused("spec.volumeClaimTemplates", IMPOSSIBLE),
            refused("spec.updateStrategy.rollingUpdate.maxUnavailable", IMPOSSIBLE),
        ],
    ),
    (
        "Job",
        &[
            refused("spec.podFailurePolicy", IMPOSSIBLE),
            refused("spec.successPolicy", IMPOSSIBLE),
            refused("spec.backoffLimitPerIndex", IMPOSSIBLE),
            refused("spec.maxFailedIndexes", IMPOSSIBLE),
            unless(refused("spec.managedBy", IMPOSSIBLE), &["kubernetes.io/job-controller"]),
            refused("spec.manualSelector", IMPOSSIBLE),
            refused("spec.selector", "is made by the Job itself"),
        ],
    ),
    (
        "Service",
        &[
            refused("spec.loadBalancerSourceRanges", IMPOSSIBLE),
            unless(refused("spec.ipFamilyPolicy", IMPOSSIBLE), &["SingleStack", "PreferDualStack"]),
            unless(refused("spec.ipFamilies.*", "must be IPv4: pods have no other addresses"), &["IPv4"]),
            unless(refused("spec.ports.*.protocol", IMPOSSIBLE), &["TCP", "UDP"]),
            warned("spec.externalIPs", NO_EFFECT),
            warned("spec.loadBalancerIP", NO_EFFECT),
            warned("spec.loadBalancerClass", NO_EFFECT),
            warned("spec.healthCheckNodePort", NO_EFFECT),
            unless(
                warned("spec.type", "is served as ClusterIP: no port of the host is opened"),
                &["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"],
            ),
        ],
    ),
];

/// Fields of a pod's spec.
const POD: &[Rule] = &[
    refused("ephemeralContainers", IMPOSSIBLE),
    refused("hostnameOverride", IMPOSSIBLE),
    refused("readinessGates", IMPOSSIBLE),
    refused("resourceClaims", IMPOSSIBLE),
    refused("schedulingGates", IMPOSSIBLE),
    refused("setHostnameAsFQDN", IMPOSSIBLE),
    unless(refused("os.name", IMPOSSIBLE), &["linux"]),
    unless(refused("dnsPolicy", IMPOSSIBLE), &["ClusterFirst", "ClusterFirstWithHostNet"]),
    refused("dnsConfig", IMPOSSIBLE),
    warned("affinity", ONE_NODE),
    warned("nodeSelector", ONE_NODE),
    unless(warned("nodeName", ONE_NODE), &["ostria"]),
    unless(warned("schedulerName", ONE_NODE), &["default-scheduler"]),
    warned("topologySpreadConstraints", ONE_NODE),
    warned("priorityClassName", ONE_NODE),
    warned("enableServiceLinks", NO_EFFECT),
    warned("automountServiceAccountToken", "has no effect: there is no API server to present a token to"),
    warned("resources", "is not enforced"),
];

/// Fields of a container.
const CONTAINER: &[Rule] = &[
    refused("lifecycle.stopSignal", IMPOSSIBLE),
    refused("lifecycle.postStart.tcpSocket", IMPOSSIBLE),
    refused("lifecycle.preStop.tcpSocket", IMPOSSIBLE),
    refused("restartPolicyRules", IMPOSSIBLE),
    refused("volumeDevices", IMPOSSIBLE),
    refused("env.*.valueFrom.fileKeyRef", IMPOSSIBLE),
    warned("resources.claims", NO_EFFECT),
    warned("resources.limits", "is not enforced"),
    warned("stdin", NO_EFFECT),
    warned("tty", NO_EFFECT),
];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn unsupported_fields_are_warnings_if_harmless_and_errors_otherwise() {
        let object = json!({"spec": {"paused": true, "template": {"spec": {
            "nodeSelector": {"a": "b"}, "tolerations": [{}], "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler",
            "readinessGates": [], "containers": [{"name": "a"}, {"name": "b", "tty": true, "stdin": true}]}}}});
        let found = lacks("Deployment", &object, Some("spec.template.spec"));
        let paths = |list: &[(String, String)]| list.iter().map(|(path, _)| path.clone()).collect::<Vec<_>>();
        assert_eq!(paths(&found.refused), ["spec.paused"]);
        assert_eq!(
            paths(&found.warned),
            [
                "spec.template.spec.nodeSelector",
                "spec.template.spec.containers[1].stdin",
                "spec.template.spec.containers[1].tty"
            ]
        );
    }

    #[test]
    fn default_values_are_not_reported() {
        let object =
            json!({"spec": {"type": "ClusterIP", "ipFamilies": ["IPv4"], "ports": [{"protocol": "TCP"}]}});
        assert_eq!(lacks("Service", &object, None), Lacks::default());
        let other = json!({"spec": {"type": "NodePort", "ipFamilies": ["IPv4", "IPv6"], "ports": [{"protocol": "SCTP"}]}});
        let found = lacks("Service", &other, None);
        assert_eq!(
            found.refused.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(),
            ["spec.ipFamilies[1]", "spec.ports[0].protocol"]
        );
        assert_eq!(found.warned, []);
    }
}
