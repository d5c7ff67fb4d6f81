//! Pure. Renders the proxy's container, as sidecar or as gateway, merged with the user's container of the same name.

use std::collections::BTreeMap;

use api::resource::quantity;
use k8s_openapi::{
    DeepMerge as _,
    api::core::v1::{
        Capabilities, Container, ContainerPort, ExecAction, HTTPGetAction, Lifecycle, LifecycleHandler,
        Probe, ResourceRequirements, SecurityContext,
    },
    apimachinery::pkg::{api::resource::Quantity, util::intstr::IntOrString},
};

use crate::render::{
    context::{Context, PROXY_ID, PROXY_NAME},
    ending,
    environment::{self, Inputs},
    proxy_config::DEFAULT_STATUS_PORT,
    volume,
};

/// The program of the proxy.
pub const PROGRAM: &str = "ostria-proxy";

/// Renders the proxy's container; `own` is the user's container of that name.
pub fn proxy(context: &Context, inputs: &Inputs, own: Option<Container>) -> Container {
    let security = security(context, own.as_ref());
    let template = Container {
        name: PROXY_NAME.to_owned(),
        image: Some(context.image()),
        image_pull_policy: pull_policy(context),
        command: Some(vec![PROGRAM.to_owned()]),
        args: Some(arguments(context)),
        ports: Some(vec![metrics_port()]),
        lifecycle: lifecycle(context),
        env: Some(environment::variables(context, inputs)),
        startup_probe: startup(context),
        readiness_probe: readiness(context),
        resources: Some(resources(context)),
        security_context: Some(security),
        volume_mounts: Some(volume::mounts(context)),
        restart_policy: context.is_native().then(|| "Always".to_owned()),
        ..Container::default()
    };
    overlaid(template, own)
}

/// Merges `own` into `template`, field by field. Where both together would be invalid (a probe with two handlers, a
/// hook with two actions, a variable with two values), only the user's counts.
pub fn overlaid(mut template: Container, own: Option<Container>) -> Container {
    let Some(mut own) = own else { return template };
    let automatic = matches!(own.image.as_deref(), None | Some("" | "auto"));
    own.image = own.image.filter(|_| !automatic);
    // The API server sets this policy for an image without a tag, before a webhook sees the pod.
    own.image_pull_policy = own.image_pull_policy.filter(|policy| !automatic || policy != "Always");
    let named = |name: &str| own.env.iter().flatten().any(|variable| variable.name == name);
    if let Some(variables) = &mut template.env {
        variables.retain(|variable| !named(&variable.name));
    }
    make_room(template.startup_probe.as_mut(), own.startup_probe.as_ref());
    make_room(template.readiness_probe.as_mut(), own.readiness_probe.as_ref());
    if let (Some(hooks), Some(own)) = (&mut template.lifecycle, &own.lifecycle) {
        hooks.pre_stop = hooks.pre_stop.take().filter(|_| own.pre_stop.is_none());
        hooks.post_start = hooks.post_start.take().filter(|_| own.post_start.is_none());
    }
    template.merge_from(own);
    template
}

/// Removes the handler from the template's probe if the user's probe has another; its timing stays.
fn make_room(template: Option<&mut Probe>, own: Option<&Probe>) {
    let (Some(template), Some(own)) = (template, own) else { return };
    if own.exec.is_some() || own.grpc.is_some() || own.tcp_socket.is_some() {
        template.http_get = None;
    }
}

/// The image pull policy, if the mesh sets one.
pub fn pull_policy(context: &Context) -> Option<String> {
    let policy = &context.template.image_pull_policy;
    (!policy.is_empty()).then(|| policy.clone())
}

fn arguments(context: &Context) -> Vec<String> {
    let role = if context.is_gateway() { "router" } else { "sidecar" };
    let domain = format!("$(POD_NAMESPACE).svc.{}", context.template.cluster_domain);
    ["proxy", role, "--domain", &domain, "--log-level", context.log_level()].map(ToOwned::to_owned).into()
}

fn metrics_port() -> ContainerPort {
    ContainerPort {
        container_port: 15090,
        name: Some("http-envoy-prom".to_owned()),
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

/// The lifecycle hooks. A native sidecar outlives the application, and only its hook tells it of the pod's end: when other
/// proxies know of it, inbound connections drain. A classic sidecar and a gateway get SIGTERM, and their hook waits for
/// other proxies.
fn lifecycle(context: &Context) -> Option<Lifecycle> {
    let drain = || {
        let mut command = vec!["ostria-proxy", "drain"];
        let port = format!("--port={}", context.status_port());
        if context.status_port() != DEFAULT_STATUS_PORT {
            command.push(&port);
        }
        exec(&command)
    };
    let waits = context.holds_application() && !context.is_gateway();
    let post_start = waits.then(|| exec(&["ostria-proxy", "wait"]));
    let pre_stop = if context.is_native() {
        (context.status_port() != 0).then(drain)
    } else {
        ending::of_proxy(context)
    };
    (post_start.is_some() || pre_stop.is_some()).then(|| Lifecycle {
        post_start,
        pre_stop,
        ..Lifecycle::default()
    })
}

fn exec(command: &[&str]) -> LifecycleHandler {
    let command = command.iter().map(|word| (*word).to_owned()).collect();
    LifecycleHandler { exec: Some(ExecAction { command: Some(command) }), ..LifecycleHandler::default() }
}

fn startup(context: &Context) -> Option<Probe> {
    let setting = context.template.startup_probe;
    ready_page(context).filter(|_| setting.enabled).map(|page| Probe {
        initial_delay_seconds: Some(0),
        period_seconds: Some(1),
        timeout_seconds: Some(3),
        failure_threshold: Some(setting.failure_threshold),
        ..page
    })
}

fn readiness(context: &Context) -> Option<Probe> {
    let (requested, mesh) = (context.overrides.readiness, context.template);
    let delay = requested.initial_delay.unwrap_or(mesh.readiness_initial_delay_seconds);
    ready_page(context).map(|page| Probe {
        initial_delay_seconds: (delay != 0).then_some(delay),
        period_seconds: Some(requested.period.unwrap_or(mesh.readiness_period_seconds)),
        timeout_seconds: Some(3),
        failure_threshold: Some(requested.failure_threshold.unwrap_or(mesh.readiness_failure_threshold)),
        ..page
    })
}

fn ready_page(context: &Context) -> Option<Probe> {
    let http_get = HTTPGetAction {
        path: Some("/healthz/ready".to_owned()),
        port: IntOrString::Int(15021),
        ..HTTPGetAction::default()
    };
    // A gateway's readiness does not depend on probes of an application.
    let probed = context.is_gateway() || context.probe_port() != 0;
    probed.then(|| Probe { http_get: Some(http_get), ..Probe::default() })
}

/// The resources of the container. A pod that sets its own gets only those: the mesh's limit could be below the pod's
/// request. A gateway gets those of its Deployment, since the mesh's are sized for the traffic of one application.
pub fn resources(context: &Context) -> ResourceRequirements {
    let requested = &context.overrides.resources;
    let requests = amounts(requested.cpu.as_ref(), requested.memory.as_ref());
    let limits = amounts(requested.cpu_limit.as_ref(), requested.memory_limit.as_ref());
    if requests.is_none() && limits.is_none() {
        return if context.is_gateway() {
            ResourceRequirements::default()
        } else {
            shared(&context.template.resources, context.pod_resources())
        };
    }
    ResourceRequirements { requests, limits, ..ResourceRequirements::default() }
}

/// The mesh's resources of a container in a pod with resources of its own (`pod`), which all of its containers share.
/// Kubernetes refuses a pod whose containers request more than the pod does together, and does not start a container
/// whose limit exceeds the pod's. So this one requests nothing, and its limit is at most the pod's.
fn shared(mesh: &ResourceRequirements, pod: Option<&ResourceRequirements>) -> ResourceRequirements {
    let mut own = mesh.clone();
    let Some(pod) = pod else { return own };
    let of_pod =
        |amounts: &Option<BTreeMap<String, Quantity>>, name: &str| amounts.as_ref()?.get(name).cloned();
    for (name, limit) in own.limits.iter_mut().flatten() {
        let least = of_pod(&pod.limits, name).filter(|least| is_less(least, limit));
        *limit = least.unwrap_or_else(|| limit.clone());
    }
    let named = mesh.requests.iter().chain(&mesh.limits).flat_map(BTreeMap::keys);
    for name in named.filter(|name| of_pod(&pod.requests, name).or(of_pod(&pod.limits, name)).is_some()) {
        own.requests.get_or_insert_default().insert(name.clone(), Quantity("0".to_owned()));
    }
    own
}

fn is_less(one: &Quantity, other: &Quantity) -> bool {
    let amounts = quantity::parse(&one.0).zip(quantity::parse(&other.0));
    amounts.is_some_and(|(one, other)| one < other)
}

fn amounts(cpu: Option<&Quantity>, memory: Option<&Quantity>) -> Option<BTreeMap<String, Quantity>> {
    let named = [("cpu", cpu), ("memory", memory)];
    let amounts: BTreeMap<_, _> =
        named.into_iter().filter_map(|(name, amount)| Some((name.to_owned(), amount?.clone()))).collect();
    (!amounts.is_empty()).then_some(amounts)
}

/// The security context. Leaves out what would contradict the user's own (`own`): Kubernetes refuses a privilege that
/// is forbidden, and does not start root in a container that must not run as root.
fn security(context: &Context, own: Option<&Container>) -> SecurityContext {
    let own = own.and_then(|own| own.security_context.as_ref());
    let is_root = own.is_some_and(|own| own.run_as_user == Some(0));
    let adds = |own: &SecurityContext, name: &str| {
        let added = own.capabilities.iter().flat_map(|capabilities| capabilities.add.iter().flatten());
        added.into_iter().any(|added| added.trim_start_matches("CAP_") == name)
    };
    let is_privileged = own.is_some_and(|own| own.privileged == Some(true) || adds(own, "SYS_ADMIN"));
    let add = context.overrides.bind_low_ports.then(|| vec!["NET_BIND_SERVICE".to_owned()]);
    SecurityContext {
        allow_privilege_escalation: (!is_privileged).then_some(false),
        capabilities: Some(Capabilities { add, drop: Some(vec!["ALL".to_owned()]) }),
        privileged: Some(false),
        read_only_root_filesystem: Some(true),
        run_as_group: Some(PROXY_ID),
        run_as_non_root: (!is_root).then_some(true),
        run_as_user: Some(PROXY_ID),
        ..SecurityContext::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A Deployment of a gateway names the image `auto`, to which the API server adds the policy of `auto:latest`.
    #[test]
    fn the_pull_policy_of_an_automatic_image_is_the_meshs() {
        let container = |image: &str, policy: &str| Container {
            image: Some(image.to_owned()),
            image_pull_policy: Some(policy.to_owned()),
            ..Container::default()
        };
        for (own, expected) in [
            (container("auto", "Always"), ("mesh:1", "Never")),
            (container("auto", "IfNotPresent"), ("mesh:1", "IfNotPresent")),
            (container("mine:2", "Always"), ("mine:2", "Always")),
        ] {
            let merged = overlaid(container("mesh:1", "Never"), Some(own));
            let found = (merged.image.as_deref(), merged.image_pull_policy.as_deref());
            assert_eq!(found, (Some(expected.0), Some(expected.1)));
        }
    }

    #[test]
    fn in_a_pod_with_resources_of_its_own_the_sidecar_requests_nothing_and_stays_below_its_limits() {
        let resources =
            |value: serde_json::Value| serde_json::from_value::<ResourceRequirements>(value).unwrap();
        let mesh = resources(
            json!({"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "2", "memory": "1Gi"}}),
        );
        for (pod, expected) in [
            (json!({}), json!(mesh)),
            (
                json!({"requests": {"cpu": "1"}}),
                json!({"requests": {"cpu": "0", "memory": "128Mi"}, "limits": {"cpu": "2", "memory": "1Gi"}}),
            ),
            (
                json!({"limits": {"cpu": "500m", "memory": "2Gi"}}),
                json!({"requests": {"cpu": "0", "memory": "0"}, "limits": {"cpu": "500m", "memory": "1Gi"}}),
            ),
            (json!({"limits": {"hugepages-2Mi": "2Mi"}}), json!(mesh)),
        ] {
            assert_eq!(json!(shared(&mesh, Some(&resources(pod.clone())))), expected, "{pod}");
        }
        assert_eq!(shared(&mesh, None), mesh);
        let none = ResourceRequirements::default();
        assert_eq!(shared(&none, Some(&mesh)), none);
    }
}
