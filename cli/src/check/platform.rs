//! Pure. Findings about the cluster itself: the version of its API server, its nodes, and Helm's record of the release.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Node, Secret};

use crate::check::finding::{Finding, count, some};

/// The finding about the API server's version, as in `v1.34.0`.
pub fn version(server: &str) -> Finding {
    match minor_of(server) {
        Some(minor) if minor >= OLDEST => Finding::ok(
            VERSION,
            format!("the API server runs Kubernetes {server}; 1.{OLDEST} or later is needed"),
        ),
        Some(_) => Finding::error(
            VERSION,
            format!("the API server runs Kubernetes {server}, and 1.{OLDEST} or later is needed"),
            "upgrade the cluster",
        ),
        None => Finding::warning(
            VERSION,
            format!("the API server's version {server:?} cannot be read; 1.{OLDEST} or later is needed"),
            "look at `kubectl version`",
        ),
    }
}

/// The findings about nodes.
pub fn nodes(nodes: &[Node]) -> Vec<Finding> {
    let mut findings = vec![];
    let with = |what: &dyn Fn(&Node) -> Option<String>| -> Vec<String> {
        let named = |node: &Node| Some(format!("{} ({})", node.metadata.name.as_deref()?, what(node)?));
        nodes.iter().filter_map(named).collect()
    };
    let old = with(&|node| {
        let kubelet = info(node, |info| &info.kubelet_version);
        minor_of(kubelet).is_some_and(|minor| minor < OLDEST).then(|| format!("kubelet {kubelet}"))
    });
    let kernels = with(&|node| {
        let kernel = info(node, |info| &info.kernel_version);
        (is_linux(node) && kernel_of(kernel).is_some_and(|version| version < KERNEL))
            .then(|| format!("Linux {kernel}"))
    });
    let linux = nodes.iter().filter(|node| is_linux(node));
    let machines: BTreeSet<&str> = linux.map(|node| info(node, |info| &info.architecture)).collect();
    let others =
        with(&|node| (!is_linux(node)).then(|| info(node, |info| &info.operating_system).to_owned()));
    if !old.is_empty() {
        findings.push(Finding::error(
            NODES,
            format!(
                "the kubelet is older than 1.{OLDEST}, and does not start sidecars before applications: {}",
                some(&old)
            ),
            "upgrade these nodes",
        ));
    }
    if !kernels.is_empty() {
        findings.push(Finding::error(
            NODES,
            format!(
                "the kernel is older than 5.2 and cannot redirect the traffic of pods: {}",
                some(&kernels)
            ),
            "upgrade these nodes, or keep pods with a sidecar away from them",
        ));
    }
    if machines.len() > 1 {
        findings.push(Finding::warning(
            NODES,
            format!("nodes differ in architecture: {}", some(&machines)),
            "use images that exist for each, or keep pods with a sidecar on the nodes of one (nodeSelector \
             kubernetes.io/arch)",
        ));
    }
    if !others.is_empty() {
        findings.push(Finding::warning(
            NODES,
            format!("pods on these nodes cannot have a sidecar: {}", some(&others)),
            "keep pods with a sidecar away from them (nodeSelector kubernetes.io/os: linux)",
        ));
    }
    if nodes.is_empty() {
        findings.push(Finding::error(NODES, "the cluster has no nodes", "add a node"));
    } else if findings.is_empty() {
        findings.push(Finding::ok(NODES, format!("{} can run sidecars", count(nodes.len(), "node"))));
    }
    findings
}

/// The finding about Helm's records of a release, if there are any: Secrets with the labels `status` and `version`.
pub fn release(name: &str, records: &[Secret]) -> Option<Finding> {
    let label = |secret: &Secret, key: &str| secret.metadata.labels.as_ref()?.get(key).cloned();
    let number = |secret: &&Secret| label(secret, "version").and_then(|text| text.parse::<u64>().ok());
    let newest = records.iter().max_by_key(number)?;
    let status = label(newest, "status").unwrap_or_default();
    let version = label(newest, "version").unwrap_or_default();
    Some(match status.as_str() {
        "deployed" | "superseded" => {
            Finding::ok(RELEASE, format!("release {name} exists (revision {version} in `helm history`)"))
        }
        "failed" => Finding::warning(
            RELEASE,
            format!("the last change of release {name} failed"),
            "install again: Helm repairs the release",
        ),
        "uninstalled" => {
            Finding::ok(RELEASE, format!("release {name} was uninstalled with its history kept"))
        }
        other => Finding::error(
            RELEASE,
            format!("release {name} is {other}: another Helm command runs, or was interrupted"),
            format!("wait for it; if none runs: helm rollback {name}, or helm uninstall {name}"),
        ),
    })
}

fn info<'a>(
    node: &'a Node,
    field: impl Fn(&'a k8s_openapi::api::core::v1::NodeSystemInfo) -> &'a String,
) -> &'a str {
    node.status.as_ref().and_then(|status| status.node_info.as_ref()).map_or("", |info| field(info))
}

fn is_linux(node: &Node) -> bool {
    matches!(info(node, |info| &info.operating_system), "linux" | "")
}

/// The minor version of Kubernetes 1, as in `v1.29.3-gke.1` or `1.30+`.
fn minor_of(version: &str) -> Option<u32> {
    let rest = version.trim_start_matches('v').strip_prefix("1.")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Major and minor version of a kernel, as in `6.1.0-13-amd64`.
fn kernel_of(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

const VERSION: &str = "Kubernetes";
const NODES: &str = "nodes";
const RELEASE: &str = "Helm";
/// The oldest minor version of Kubernetes 1: the chart's `kubeVersion`.
const OLDEST: u32 = 29;
/// The first kernel that translates addresses in nftables tables of the family `inet`.
const KERNEL: (u32, u32) = (5, 2);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::finding::Level;
    use serde_json::json;

    #[test]
    fn versions_from_1_29_on_are_supported() {
        let table = [
            ("v1.29.0", Level::Ok),
            ("v1.34.1+k3s1", Level::Ok),
            ("1.30+", Level::Ok),
            ("v1.28.15-eks-1", Level::Error),
            ("v1.9.0", Level::Error),
            ("v2.0.0", Level::Warning),
            ("", Level::Warning),
        ];
        for (text, expected) in table {
            assert_eq!(version(text).level, expected, "{text}");
        }
    }

    fn node(kubelet: &str, kernel: &str, machine: &str, system: &str) -> Node {
        let info = json!({
            "kubeletVersion": kubelet, "kernelVersion": kernel, "architecture": machine, "operatingSystem": system,
            "bootID": "", "containerRuntimeVersion": "", "kubeProxyVersion": "", "machineID": "", "osImage": "",
            "systemUUID": "",
        });
        serde_json::from_value(json!({"metadata": {"name": "n"}, "status": {"nodeInfo": info}})).unwrap()
    }

    #[test]
    fn nodes_are_judged_by_kubelet_kernel_architecture_and_system() {
        let good = || node("v1.31.0", "6.1.0-13-amd64", "amd64", "linux");
        let table = [
            (vec![good()], vec![Level::Ok]),
            (vec![], vec![Level::Error]),
            (vec![good(), node("v1.28.3", "6.1.0", "amd64", "linux")], vec![Level::Error]),
            (vec![node("v1.31.0", "4.18.0-553.el8", "amd64", "linux")], vec![Level::Error]),
            (vec![node("v1.31.0", "5.2.0", "amd64", "linux")], vec![Level::Ok]),
            (vec![good(), node("v1.31.0", "6.1.0", "arm64", "linux")], vec![Level::Warning]),
            (vec![good(), node("v1.31.0", "10.0.20348", "amd64", "windows")], vec![Level::Warning]),
        ];
        for (list, expected) in table {
            let levels: Vec<Level> = nodes(&list).iter().map(|finding| finding.level).collect();
            assert_eq!(levels, expected, "{list:?}");
        }
        let text = nodes(&[node("v1.28.3", "6.1.0", "amd64", "linux")]).remove(0).message;
        assert!(text.ends_with("n (kubelet v1.28.3)"), "{text}");
    }

    #[test]
    fn the_newest_record_of_a_release_counts() {
        let record = |version: &str, status: &str| -> Secret {
            let labels = json!({"version": version, "status": status, "owner": "helm"});
            serde_json::from_value(json!({"metadata": {"labels": labels}})).unwrap()
        };
        let level = |records: &[Secret]| release("ostria", records).map(|finding| finding.level);
        assert_eq!(level(&[]), None);
        assert_eq!(level(&[record("9", "superseded"), record("10", "deployed")]), Some(Level::Ok));
        assert_eq!(level(&[record("10", "pending-upgrade"), record("9", "deployed")]), Some(Level::Error));
        assert_eq!(level(&[record("1", "failed")]), Some(Level::Warning));
    }
}
