//! Pure. Limits of memory and processors (`resources.limits`): which a pod and its containers have, and the values of
//! the control group files that enforce them, as the kubelet computes both.

use std::collections::BTreeMap;

use api::resource::check::Given;
use api::resource::document::Problem;
use api::resource::quantity;
use k8s_openapi::api::core::v1::{Container, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde_json::Value;

use crate::kubelet::delegation::Lack;
use crate::kubelet::template::{pod_place, pod_spec};
use crate::manifest::object::Key;

/// The limits of a container or a pod. `None` is unlimited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Processors, in thousandths.
    pub cpu: Option<u64>,
}

impl Limits {
    /// The limits of a container. If the pod as a whole has a limit, it also is that of containers without their own.
    pub fn of_container(spec: &PodSpec, container: &Container) -> Self {
        let (own, whole) = (Self::of(container.resources.as_ref()), Self::of(spec.resources.as_ref()));
        Self { memory: own.memory.or(whole.memory), cpu: own.cpu.or(whole.cpu) }
    }

    /// The limits of a pod: its own, or the sum of its containers' if each of them has one.
    pub fn of_pod(spec: &PodSpec) -> Self {
        let own = Self::of(spec.resources.as_ref());
        Self {
            memory: own.memory.or_else(|| sum(spec, |limits| limits.memory)),
            cpu: own.cpu.or_else(|| sum(spec, |limits| limits.cpu)),
        }
    }

    fn of(resources: Option<&ResourceRequirements>) -> Self {
        let limits = resources.and_then(|resources| resources.limits.as_ref());
        let amount = |name: &str, unit: f64| {
            let amount = quantity::parse(&limits?.get(name)?.0)? * unit;
            // As in Kubernetes, parts are rounded up, and zero means that there is no limit.
            Some(amount.ceil() as u64).filter(|amount| *amount > 0)
        };
        Self { memory: amount(MEMORY, 1.0), cpu: amount(CPU, 1000.0) }
    }

    /// The files of a control group that enforce the limits, with their values.
    pub fn settings(self) -> Vec<(&'static str, String)> {
        let mut settings = vec![];
        if let Some(memory) = self.memory {
            // As with the kubelet's default, pods do not swap. They would exceed their limit by that.
            settings.push((SWAP, "0".to_string()));
            settings.push(("memory.max", memory.to_string()));
        }
        if let Some(cpu) = self.cpu {
            let quota = cpu.saturating_mul(PERIOD / 1000).max(SHORTEST);
            settings.push(("cpu.max", format!("{quota} {PERIOD}")));
        }
        settings
    }
}

/// The largest sum of the limits of containers that run at the same time; `None` if one of them is unlimited. An init
/// container runs beside the sidecars that are listed before it.
fn sum(spec: &PodSpec, of: impl Fn(Limits) -> Option<u64>) -> Option<u64> {
    let limit = |container: &Container| of(Limits::of(container.resources.as_ref()));
    let (mut sidecars, mut most) = (0_u64, 0);
    for init in spec.init_containers.iter().flatten() {
        let both = sidecars.saturating_add(limit(init)?);
        if init.restart_policy.as_deref() == Some("Always") {
            sidecars = both;
        }
        most = most.max(both);
    }
    let apps = spec.containers.iter().map(limit).try_fold(0_u64, |sum, one| Some(sum.saturating_add(one?)));
    Some(most.max(sidecars.saturating_add(apps?)))
}

/// The problems of the amounts in a container's or a pod's `resources`: field path, reason and next step.
pub fn problems(
    resources: &ResourceRequirements,
    path: &str,
    tell: &mut dyn FnMut(String, String, &'static str),
) {
    let empty = BTreeMap::new();
    let list = |list: &Option<BTreeMap<String, Quantity>>| list.clone().unwrap_or_else(|| empty.clone());
    let (limits, requests) = (list(&resources.limits), list(&resources.requests));
    for (field, amounts) in [("limits", &limits), ("requests", &requests)] {
        for (name, amount) in amounts {
            let reason = match quantity::parse(&amount.0) {
                None => format!("{} is no quantity, such as 500m or 128Mi", amount.0),
                Some(amount) if amount < 0.0 => "must not be negative".into(),
                Some(_) => continue,
            };
            tell(format!("{path}.{field}.{name}"), reason, "correct the field");
        }
    }
    for (name, request) in &requests {
        let Some(limit) = limits.get(name) else { continue };
        if quantity::parse(&request.0) > quantity::parse(&limit.0) {
            let reason = format!("{} is more than the limit of {}", request.0, limit.0);
            tell(format!("{path}.requests.{name}"), reason, "correct one of them");
        }
    }
}

/// The limits that are enforced nowhere here: field path and reason.
pub fn unsupported(spec: &Value, place: &str) -> Vec<(String, String)> {
    let others = limits(spec, place).filter(|(_, name)| name != MEMORY && name != CPU);
    others.map(|(path, _)| (path, "is not enforced".into())).collect()
}

/// A warning if one of these objects limits memory or processors and the machine cannot enforce that.
pub fn unenforced(objects: &[Given], lack: &Lack) -> Option<Problem> {
    objects.iter().find_map(|given| {
        let key = Key::of(&given.object);
        let place = pod_place(&key.kind)?;
        let spec = pod_spec(&given.object, place)?;
        let (path, _) = limits(spec, place).find(|(_, name)| name == MEMORY || name == CPU)?;
        Some(Problem {
            file: given.file.clone(),
            object: key.to_string(),
            path,
            reason: format!(
                "is not enforced, like all limits of memory and cpu of this mesh: {}",
                lack.reason
            ),
            next: lack.next.clone(),
        })
    })
}

/// All limits of a pod and its containers: field path and name.
fn limits<'a>(spec: &'a Value, place: &'a str) -> impl Iterator<Item = (String, String)> + 'a {
    let named = |value: &Value, path: String| {
        let limits =
            value.pointer("/resources/limits").and_then(Value::as_object).cloned().unwrap_or_default();
        limits.into_iter().map(move |(name, _)| (format!("{path}.resources.limits.{name}"), name))
    };
    let containers = ["initContainers", "containers"].into_iter().flat_map(move |list| {
        let all = spec[list].as_array().into_iter().flatten().enumerate();
        all.flat_map(move |(index, container)| named(container, format!("{place}.{list}[{index}]")))
    });
    named(spec, place.into()).chain(containers)
}

/// The file of a group that limits its swap space. Kernels without swap accounting do not have it.
pub const SWAP: &str = "memory.swap.max";
const MEMORY: &str = "memory";
const CPU: &str = "cpu";
/// The period of processor limits in microseconds, as in the kubelet.
const PERIOD: u64 = 100_000;
/// The shortest time in each period that the kernel accepts.
const SHORTEST: u64 = 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn spec(value: Value) -> PodSpec {
        serde_json::from_value(value).unwrap()
    }

    fn files(limits: &Value) -> Vec<(&'static str, String)> {
        let spec = spec(json!({"containers": [{"name": "a", "resources": {"limits": limits}}]}));
        Limits::of_container(&spec, &spec.containers[0]).settings()
    }

    #[test]
    fn quantities_become_values_of_control_group_files() {
        let memory = |value: &str| vec![(SWAP, "0".to_string()), ("memory.max", value.into())];
        let cpu = |value: &str| vec![("cpu.max", value.to_string())];
        let cases = [
            (json!({"memory": "64Mi"}), memory("67108864")),
            (json!({"memory": "1G"}), memory("1000000000")),
            (json!({"memory": "128974848"}), memory("128974848")),
            (json!({"memory": "1e3"}), memory("1000")),
            (json!({"memory": "1500m"}), memory("2")),
            (json!({"memory": "0"}), vec![]),
            (json!({"cpu": "2"}), cpu("200000 100000")),
            (json!({"cpu": "500m"}), cpu("50000 100000")),
            (json!({"cpu": "0.1"}), cpu("10000 100000")),
            (json!({"cpu": "1m"}), cpu("1000 100000")),
            (json!({"cpu": "100u"}), cpu("1000 100000")),
            (json!({"cpu": "0"}), vec![]),
            (json!({"ephemeral-storage": "1Gi"}), vec![]),
            (json!({}), vec![]),
        ];
        for (limits, expected) in cases {
            assert_eq!(files(&limits), expected, "{limits}");
        }
        assert_eq!(
            files(&json!({"cpu": "1", "memory": "1Ki"})),
            [memory("1024"), cpu("100000 100000")].concat()
        );
    }

    #[test]
    fn a_pod_has_its_own_limit_or_the_most_that_its_containers_may_use_at_a_time() {
        let container = |name: &str, memory: &str, sidecar: bool| {
            let mut container = json!({"name": name, "resources": {"limits": {"memory": memory}}});
            if sidecar {
                container["restartPolicy"] = json!("Always");
            }
            container
        };
        let memory = |value: Value| Limits::of_pod(&spec(value)).memory;
        let apps = json!([container("a", "10", false), container("b", "20", false)]);
        let cases = [
            (json!({"containers": apps}), Some(30)),
            (json!({"containers": apps, "initContainers": [container("i", "50", false)]}), Some(50)),
            (json!({"containers": apps, "initContainers": [container("s", "5", true)]}), Some(35)),
            (
                json!({"containers": apps,
                    "initContainers": [container("s", "5", true), container("i", "31", false)]}),
                Some(36),
            ),
            (json!({"containers": [container("a", "10", false), {"name": "b"}]}), None),
            (json!({"containers": apps, "initContainers": [{"name": "i"}]}), None),
            (json!({"containers": [{"name": "a"}], "resources": {"limits": {"memory": "7"}}}), Some(7)),
            (json!({"containers": apps, "resources": {"limits": {"memory": "7"}}}), Some(7)),
        ];
        for (spec, expected) in cases {
            assert_eq!(memory(spec.clone()), expected, "{spec}");
        }
        let whole = spec(json!({"resources": {"limits": {"memory": "7", "cpu": "1"}},
            "containers": [{"name": "a"}, container("b", "3", false)]}));
        let of = |index: usize| Limits::of_container(&whole, &whole.containers[index]);
        assert_eq!(of(0), Limits { memory: Some(7), cpu: Some(1000) });
        assert_eq!(of(1), Limits { memory: Some(3), cpu: Some(1000) });
    }

    #[test]
    fn amounts_that_are_none_and_requests_above_the_limit_are_refused() {
        let found = |resources: Value| {
            let mut found = vec![];
            let resources = serde_json::from_value(resources).unwrap();
            problems(&resources, "r", &mut |path, reason, _| found.push(format!("{path} {reason}")));
            found
        };
        assert_eq!(
            found(json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m"}})),
            [""; 0]
        );
        let cases = [
            (
                json!({"limits": {"memory": "64MB"}}),
                "r.limits.memory 64MB is no quantity, such as 500m or 128Mi",
            ),
            (
                json!({"requests": {"cpu": "half"}}),
                "r.requests.cpu half is no quantity, such as 500m or 128Mi",
            ),
            (json!({"limits": {"cpu": "-1"}}), "r.limits.cpu must not be negative"),
            (
                json!({"limits": {"memory": "1M"}, "requests": {"memory": "1Mi"}}),
                "r.requests.memory 1Mi is more than the limit of 1M",
            ),
        ];
        for (resources, expected) in cases {
            assert_eq!(found(resources), [expected]);
        }
    }

    #[test]
    fn missing_control_groups_are_reported_once_and_other_limits_by_name() {
        let deployment = |limits: Value| Given {
            file: "a.yaml:1".into(),
            object: json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"},
                "spec": {"template": {"spec": {"containers": [{"name": "a"}, {"name": "b", "resources": {"limits": limits}}]}}}}),
        };
        let lack = Lack { reason: "none is mounted".into(), next: "mount one".into() };
        let limited = deployment(json!({"ephemeral-storage": "1Gi", "memory": "1Gi"}));
        let objects = [deployment(json!({})), limited.clone(), limited.clone()];
        let warning = unenforced(&objects, &lack).unwrap();
        assert_eq!(
            warning.line(),
            "a.yaml:1: Deployment shop/web: spec.template.spec.containers[1].resources.limits.memory: is not \
             enforced, like all limits of memory and cpu of this mesh: none is mounted; mount one"
        );
        assert_eq!(unenforced(&[deployment(json!({"ephemeral-storage": "1Gi"}))], &lack), None);
        let spec = pod_spec(&limited.object, "spec.template.spec").unwrap();
        let path = "spec.containers[1].resources.limits.ephemeral-storage".to_string();
        assert_eq!(unsupported(spec, "spec"), [(path, "is not enforced".to_string())]);
        let whole = json!({"containers": [], "resources": {"limits": {"hugepages-2Mi": "2Mi"}}});
        assert_eq!(unsupported(&whole, "spec")[0].0, "spec.resources.limits.hugepages-2Mi");
    }
}
