//! Pure. Converts a Pod to a workload.

use crate::catalog::node;
use crate::catalog::workload::{ContainerPort, Workload};
use crate::check::finding::Findings;
use api::name::NodeKind;
use api::resource::object::Object;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, PodStatus};
use std::net::IpAddr;

pub(super) fn workload(f: &mut Findings, object: &Object, pod: &Pod) -> Workload {
    let spec = pod.spec.clone().unwrap_or_default();
    let status = pod.status.clone().unwrap_or_default();
    let workload_name = workload_name(object, pod);
    let label = |names: &[&str]| names.iter().find_map(|n| object.labels.get(*n)).cloned();
    let canonical_name = label(&["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"]);
    let revision = label(&["service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"]);
    Workload {
        name: object.name().to_owned(),
        namespace: object.namespace().to_owned(),
        addresses: addresses(f, &status),
        labels: object.labels.clone(),
        service_account: spec.service_account_name.clone().unwrap_or_else(|| "default".into()),
        ready: is_true(&status, "Ready"),
        cut_off: is_cut_off(&spec, &status),
        terminating: pod.metadata.deletion_timestamp.is_some(),
        finished: matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")),
        mtls: object.labels.get("security.istio.io/tlsMode").is_some_and(|mode| mode == "istio"),
        node: spec.node_name.clone().unwrap_or_default(),
        locality: node::labelled(&object.labels),
        host_network: spec.host_network == Some(true),
        proxy: proxy(&spec),
        http_10: takes_http_10(&spec),
        canonical_name: canonical_name.unwrap_or_else(|| workload_name.clone()),
        canonical_revision: revision.unwrap_or_else(|| "latest".into()),
        workload_name: label(&["service.istio.io/workload-name"]).unwrap_or(workload_name),
        ports: ports(&spec),
    }
}

fn addresses(f: &mut Findings, status: &PodStatus) -> Vec<IpAddr> {
    let all = status.pod_ips.iter().flatten().map(|p| &p.ip).chain(&status.pod_ip);
    let mut addresses: Vec<IpAddr> = vec![];
    for text in all.filter(|text| !text.is_empty()) {
        match text.parse() {
            Ok(address) if addresses.contains(&address) => {}
            Ok(address) => addresses.push(address),
            Err(_) => f.error("status.podIP", format!("`{text}` is not an IP address"), "correct it"),
        }
    }
    addresses
}

fn is_true(status: &PodStatus, condition: &str) -> bool {
    status.conditions.iter().flatten().any(|c| c.type_ == condition && c.status == "True")
}

/// The kubelet derives `Ready` from `ContainersReady` and the readiness gates. Without gates, the two differ when the node
/// controller, which does not hear from the kubelet, writes `Ready` alone.
fn is_cut_off(spec: &PodSpec, status: &PodStatus) -> bool {
    let is_gated = spec.readiness_gates.iter().flatten().next().is_some();
    !is_gated && !is_true(status, "Ready") && is_true(status, "ContainersReady")
}

/// The kind of proxy that the pod runs: `proxy sidecar` or `proxy router` on a container's command line, as Istio's
/// injection and charts write it.
fn proxy(spec: &PodSpec) -> Option<NodeKind> {
    let stays = |c: &&Container| c.restart_policy.as_deref() == Some("Always");
    let mut all: Vec<&Container> =
        spec.containers.iter().chain(spec.init_containers.iter().flatten().filter(stays)).collect();
    // The container `istio-proxy` takes precedence.
    all.sort_by_key(|container| container.name != "istio-proxy");
    all.into_iter().find_map(role)
}

/// Whether the proxy's environment enables HTTP/1.0, as `proxyMetadata` does in Istio.
fn takes_http_10(spec: &PodSpec) -> bool {
    let all = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let environment = all.filter(|c| c.name == "istio-proxy").flat_map(|c| c.env.iter().flatten());
    environment.into_iter().any(|e| e.name == "ISTIO_META_HTTP10" && e.value.as_deref() == Some("1"))
}

fn role(container: &Container) -> Option<NodeKind> {
    let arguments = container.command.iter().chain(&container.args).flatten();
    let words: Vec<&str> = arguments.flat_map(|argument| argument.split_whitespace()).collect();
    words.windows(2).find_map(|pair| match pair {
        ["proxy", "sidecar"] => Some(NodeKind::Sidecar),
        ["proxy", "router"] => Some(NodeKind::Router),
        _ => None,
    })
}

/// The ports of the containers that run together. Of the init containers, only native sidecars count.
fn ports(spec: &PodSpec) -> Vec<ContainerPort> {
    let stays = |c: &&Container| c.restart_policy.as_deref() == Some("Always");
    let initial = spec.init_containers.iter().flatten().filter(stays);
    let containers = spec.containers.iter().chain(initial);
    containers
        .flat_map(|c| c.ports.iter().flatten())
        .filter_map(|p| {
            let number = u16::try_from(p.container_port).ok()?;
            Some(ContainerPort { name: p.name.clone().unwrap_or_default(), number })
        })
        .collect()
}

/// The name of the pod's controller: the Deployment behind a ReplicaSet, the CronJob behind a Job.
fn workload_name(object: &Object, pod: &Pod) -> String {
    let owners = pod.metadata.owner_references.iter().flatten();
    let Some(owner) = owners.clone().find(|o| o.controller == Some(true)).or_else(|| owners.clone().next())
    else {
        return object.name().to_owned();
    };
    let stripped = match owner.kind.as_str() {
        "ReplicaSet" => match object.labels.get("pod-template-hash") {
            Some(hash) => owner.name.strip_suffix(hash.as_str()).and_then(|n| n.strip_suffix('-')),
            None => owner.name.rsplit_once('-').map(|(name, _)| name),
        },
        "Job" => {
            let dated = |(_, end): &(&str, &str)| end.len() >= 8 && end.bytes().all(|b| b.is_ascii_digit());
            owner.name.rsplit_once('-').filter(dated).map(|(name, _)| name)
        }
        _ => None,
    };
    stripped.unwrap_or(&owner.name).to_owned()
}
