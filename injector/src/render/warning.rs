//! Pure. Warnings about a pod that is accepted, and will not do all that its author expects.

use k8s_openapi::api::core::v1::{Container, ContainerPort};

use crate::{
    excerpt::quoted,
    render::{
        context::{Context, Owner},
        overrides::GROUPS,
        volume,
    },
};

/// The warnings about a pod that gets its sidecar.
pub fn of_rendering(context: &Context) -> Vec<String> {
    of_pod(context).into_iter().chain(own_volumes(context)).collect()
}

/// The warnings that do not depend on whether the pod has its sidecar already.
pub fn of_pod(context: &Context) -> Vec<String> {
    let annotations = context.overrides.warnings.iter().cloned().chain(context.proxy_config.warnings());
    let labels = ambient(context).chain(misplaced(context));
    let containers = uncaptured(context).chain(taken_ports(context)).chain(absent(context));
    annotations.chain(foreign_dns(context)).chain(labels).chain(containers).collect()
}

/// Warns of containers whose traffic would be mistaken for the proxy's.
fn uncaptured(context: &Context) -> impl Iterator<Item = String> {
    let Owner { user, group } = context.owner;
    let of_pod = context.pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
    let of_pod = of_pod.map(|security| (security.run_as_user, security.run_as_group)).unwrap_or_default();
    let passes = move |container: &&Container| {
        let own = container.security_context.as_ref();
        let own = own.map(|security| (security.run_as_user, security.run_as_group)).unwrap_or_default();
        own.0.or(of_pod.0) == Some(user) || own.1.or(of_pod.1) == Some(group)
    };
    context.application().filter(|_| context.captures()).filter(passes).map(move |container| {
        format!(
            "container {} runs as user {user} or group {group}, which are the proxy's: what it sends is not captured",
            container.name
        )
    })
}

/// Warns of ports on which the proxy listens: of two listeners in a pod, the second does not start.
fn taken_ports(context: &Context) -> impl Iterator<Item = String> {
    let own = [context.status_port(), context.probe_port()].map(i32::from);
    let is_taken = move |port: &&ContainerPort| {
        let number = port.container_port;
        let listens = own.contains(&number) || LISTENS.contains(&number);
        number != 0 && listens && port.protocol.as_deref().unwrap_or("TCP") == "TCP"
    };
    context.application().flat_map(move |container| {
        container.ports.iter().flatten().filter(is_taken).map(|port| {
            let (name, number) = (&container.name, port.container_port);
            format!("container {name}: port {number} is one of the proxy's, so the application cannot listen on it")
        })
    })
}

/// Warns of names in the list of containers that start before the sidecar which cannot do so.
fn absent(context: &Context) -> impl Iterator<Item = String> {
    let inits = context.pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
    let inits: Vec<&str> = inits.map(|container| container.name.as_str()).collect();
    context.overrides.before_proxy.iter().filter_map(move |name| {
        let reason = match inits.contains(&name.as_str()) {
            true if context.is_native() => return None,
            true => "has no effect: the sidecar is not a native one, and starts after all init containers",
            false => "is not an init container of the pod",
        };
        Some(format!("annotation {BEFORE}: {} {reason}", quoted(name)))
    })
}

/// Warns of volumes that the sidecar would find another content in.
fn own_volumes(context: &Context) -> impl Iterator<Item = String> {
    let sidecars = volume::volumes(context);
    let own = context.pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let clashing = own.filter(move |own| {
        sidecars.iter().any(|volume| volume.name == own.name && volume != *own)
            && !context.overrides.volumes.iter().any(|volume| volume.name == own.name)
    });
    clashing.map(|volume| {
        format!(
            "volume {} of the pod takes the place of the sidecar's own volume of that name: rename it, unless it has what \
             the sidecar needs",
            volume.name
        )
    })
}

/// Warns of labels that are annotations.
fn misplaced(context: &Context) -> impl Iterator<Item = String> {
    let labels = context.pod.metadata.labels.iter().flatten().map(|(name, _)| name.as_str());
    let of_the_sidecar = |name: &&str| {
        name.split_once('/').is_some_and(|(group, _)| GROUPS.contains(&group)) && *name != INJECT
    };
    labels.filter(of_the_sidecar).map(|name| format!("label {name} has no effect: write it as an annotation"))
}

/// Warns of foreign DNS: the control plane's names resolve only in the cluster's DNS.
fn foreign_dns(context: &Context) -> Option<String> {
    let policy = context.pod.spec.as_ref()?.dns_policy.as_deref()?;
    (!matches!(policy, "" | "ClusterFirst" | "ClusterFirstWithHostNet")).then(|| {
        format!("spec.dnsPolicy is {policy}: the proxy finds the control plane by the DNS of the cluster (ClusterFirst)")
    })
}

/// Warns of the labels that ask for ambient mode.
fn ambient(context: &Context) -> impl Iterator<Item = String> {
    let labels = AMBIENT.iter().filter_map(|name| Some((*name, context.label(name)?)));
    labels.filter(|(_, value)| *value != "none").map(|(name, value)| {
        let value = quoted(value);
        format!("label {name} is {value} and has no effect: there is no ambient mode, the pod gets a sidecar")
    })
}

/// Ports on which every sidecar listens.
const LISTENS: [i32; 6] = [15000, 15001, 15006, 15021, 15053, 15090];
const INJECT: &str = "sidecar.istio.io/inject";
const BEFORE: &str = "sidecar.istio.io/init-containers-before-proxy";
const AMBIENT: [&str; 3] =
    ["istio.io/dataplane-mode", "istio.io/use-waypoint", "istio.io/ingress-use-waypoint"];
