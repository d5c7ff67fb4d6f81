//! Pure. Checks a pod's containers and volumes: names, and all paths of the pod.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{
    Container, DownwardAPIVolumeFile, EnvVar, KeyToPath, PodSpec, Volume, VolumeMount, VolumeProjection,
};

use crate::kubelet::check::format;
use crate::kubelet::check::metadata::{Report, check_text};

/// Checks the names and paths of a pod.
pub fn check(spec: &PodSpec, path: &str, report: Report<'_>) {
    for (field, name) in [("hostname", &spec.hostname), ("subdomain", &spec.subdomain)] {
        if let Some(name) = name.as_ref().filter(|name| !name.is_empty()) {
            check_text(&format!("{path}.{field}"), name, format::label, report);
        }
    }
    if let Some(account) = spec.service_account_name.as_ref().filter(|name| !name.is_empty()) {
        check_text(&format!("{path}.serviceAccountName"), account, format::subdomain, report);
    }
    for (index, alias) in spec.host_aliases.iter().flatten().enumerate() {
        let path = format!("{path}.hostAliases[{index}]");
        if alias.ip.parse::<std::net::IpAddr>().is_err() {
            report(
                format!("{path}.ip"),
                format!("{:?} is not an IP address", alias.ip),
                "correct the address",
            );
        }
        for name in alias.hostnames.iter().flatten() {
            check_text(&format!("{path}.hostnames"), name, format::subdomain, report);
        }
    }
    let mut names = BTreeSet::new();
    for (index, one) in spec.volumes.iter().flatten().enumerate() {
        let path = format!("{path}.volumes[{index}]");
        name(&one.name, &path, &mut names, report);
        volume(one, &path, report);
    }
    let mut names = BTreeSet::new();
    let inits = spec.init_containers.iter().flatten().enumerate().map(|one| ("initContainers", one));
    for (list, (index, one)) in inits.chain(spec.containers.iter().enumerate().map(|one| ("containers", one)))
    {
        let path = format!("{path}.{list}[{index}]");
        name(&one.name, &path, &mut names, report);
        container(one, &path, report);
    }
}

fn name<'a>(name: &'a str, path: &str, taken: &mut BTreeSet<&'a str>, report: Report<'_>) {
    let path = format!("{path}.name");
    check_text(&path, name, format::label, report);
    if !taken.insert(name) {
        report(path, format!("{name:?} is used twice"), "use unique names");
    }
}

fn container(container: &Container, path: &str, report: Report<'_>) {
    for (index, variable) in container.env.iter().flatten().enumerate() {
        env(variable, &format!("{path}.env[{index}]"), report);
    }
    for (index, from) in container.env_from.iter().flatten().enumerate() {
        if let Some(prefix) = from.prefix.as_ref().filter(|prefix| !prefix.is_empty()) {
            check_text(&format!("{path}.envFrom[{index}].prefix"), prefix, format::variable, report);
        }
    }
    let mut names = BTreeSet::new();
    for (index, port) in container.ports.iter().flatten().enumerate() {
        let path = format!("{path}.ports[{index}]");
        if !(1..=65_535).contains(&port.container_port) {
            report(format!("{path}.containerPort"), "must be 1 to 65535".into(), "correct the port");
        }
        if let Some(name) = port.name.as_ref().filter(|name| !name.is_empty()) {
            check_text(&format!("{path}.name"), name, format::port, report);
            if !names.insert(name) {
                report(format!("{path}.name"), format!("{name:?} is used twice"), "use unique port names");
            }
        }
    }
    let mut places = BTreeSet::new();
    for (index, one) in container.volume_mounts.iter().flatten().enumerate() {
        let path = format!("{path}.volumeMounts[{index}]");
        mount(one, &path, report);
        // Compared as paths, so that `/a` and `/a/` are equal.
        if !places.insert(std::path::Path::new(&one.mount_path)) {
            let reason = format!("{:?} is used twice", one.mount_path);
            report(format!("{path}.mountPath"), reason, "use unique mount paths");
        }
    }
}

fn env(variable: &EnvVar, path: &str, report: Report<'_>) {
    check_text(&format!("{path}.name"), &variable.name, format::variable, report);
    if variable.value.as_deref().is_some_and(|value| value.contains('\0')) {
        report(format!("{path}.value"), "holds a zero byte".into(), "correct the value");
    }
    if variable.value.as_deref().is_some_and(|value| !value.is_empty()) && variable.value_from.is_some() {
        report(format!("{path}.valueFrom"), "cannot be combined with value".into(), "keep one of the two");
    }
}

fn mount(mount: &VolumeMount, path: &str, report: Report<'_>) {
    check_text(&format!("{path}.mountPath"), &mount.mount_path, format::mount_path, report);
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let (plain, expanded) = (given(&mount.sub_path), given(&mount.sub_path_expr));
    for (field, text) in [("subPath", &plain), ("subPathExpr", &expanded)] {
        if let Some(text) = text {
            check_text(&format!("{path}.{field}"), text, format::descending, report);
        }
    }
    if plain.is_some() && expanded.is_some() {
        report(
            format!("{path}.subPathExpr"),
            "cannot be combined with subPath".into(),
            "keep one of the two",
        );
    }
    if mount.mount_propagation.as_ref().is_some_and(|kind| kind != "None") {
        let reason = "is not supported by `ostria up`: pods cannot propagate mounts";
        report(format!("{path}.mountPropagation"), reason.into(), "remove the field");
    }
}

fn volume(volume: &Volume, path: &str, report: Report<'_>) {
    if let Some(map) = &volume.config_map {
        let path = format!("{path}.configMap");
        source(&map.name, map.items.as_deref(), &path, "name", report);
        mode(map.default_mode, &format!("{path}.defaultMode"), report);
    }
    if let Some(secret) = &volume.secret {
        let path = format!("{path}.secret");
        let name = secret.secret_name.as_deref().unwrap_or_default();
        source(name, secret.items.as_deref(), &path, "secretName", report);
        mode(secret.default_mode, &format!("{path}.defaultMode"), report);
    }
    if let Some(downward) = &volume.downward_api {
        let path = format!("{path}.downwardAPI");
        mode(downward.default_mode, &format!("{path}.defaultMode"), report);
        described(downward.items.as_deref(), &path, report);
    }
    if let Some(host) = &volume.host_path {
        check_text(&format!("{path}.hostPath.path"), &host.path, format::host_path, report);
        let kind = host.type_.as_deref().unwrap_or_default();
        if !HOST_KINDS.contains(&kind) {
            let reason = format!("{kind:?} is not supported by `ostria up`");
            report(
                format!("{path}.hostPath.type"),
                reason,
                "use Directory, DirectoryOrCreate, File, FileOrCreate or Socket",
            );
        }
    }
    if let Some(projected) = &volume.projected {
        let path = format!("{path}.projected");
        mode(projected.default_mode, &format!("{path}.defaultMode"), report);
        for (index, one) in projected.sources.iter().flatten().enumerate() {
            projection(one, &format!("{path}.sources[{index}]"), report);
        }
    }
}

fn projection(one: &VolumeProjection, path: &str, report: Report<'_>) {
    if let Some(token) = &one.service_account_token {
        let path = format!("{path}.serviceAccountToken");
        check_text(&format!("{path}.path"), &token.path, format::file_path, report);
        if token.expiration_seconds.is_some_and(|seconds| !(600..=1 << 32).contains(&seconds)) {
            report(
                format!("{path}.expirationSeconds"),
                "must be 600 to 4294967296".into(),
                "correct the time",
            );
        }
    }
    if let Some(map) = &one.config_map {
        source(&map.name, map.items.as_deref(), &format!("{path}.configMap"), "name", report);
    }
    if let Some(secret) = &one.secret {
        source(&secret.name, secret.items.as_deref(), &format!("{path}.secret"), "name", report);
    }
    if let Some(downward) = &one.downward_api {
        described(downward.items.as_deref(), &format!("{path}.downwardAPI"), report);
    }
    let foreign = [
        ("clusterTrustBundle", one.cluster_trust_bundle.is_some()),
        ("podCertificate", one.pod_certificate.is_some()),
    ];
    for (field, _) in foreign.into_iter().filter(|(_, is_set)| *is_set) {
        report(format!("{path}.{field}"), "is not supported by `ostria up`".into(), "remove the source");
    }
}

fn source(name: &str, items: Option<&[KeyToPath]>, path: &str, field: &str, report: Report<'_>) {
    check_text(&format!("{path}.{field}"), name, format::subdomain, report);
    let mut paths = BTreeSet::new();
    for (index, item) in items.unwrap_or_default().iter().enumerate() {
        let path = format!("{path}.items[{index}]");
        check_text(&format!("{path}.key"), &item.key, format::config_key, report);
        file(&item.path, item.mode, &path, &mut paths, report);
    }
}

fn described(items: Option<&[DownwardAPIVolumeFile]>, path: &str, report: Report<'_>) {
    let mut paths = BTreeSet::new();
    for (index, item) in items.unwrap_or_default().iter().enumerate() {
        file(&item.path, item.mode, &format!("{path}.items[{index}]"), &mut paths, report);
    }
}

fn file<'a>(text: &'a str, bits: Option<i32>, path: &str, taken: &mut BTreeSet<&'a str>, report: Report<'_>) {
    check_text(&format!("{path}.path"), text, format::file_path, report);
    if !taken.insert(text) {
        report(format!("{path}.path"), format!("{text:?} is used twice"), "use unique paths");
    }
    mode(bits, &format!("{path}.mode"), report);
}

fn mode(bits: Option<i32>, path: &str, report: Report<'_>) {
    if bits.is_some_and(|bits| !(0..=0o777).contains(&bits)) {
        report(path.into(), "must be 0 to 0777 (octal), 0 to 511 in JSON".into(), "correct the mode");
    }
}

/// The supported types of `hostPath`. Pods get no devices.
const HOST_KINDS: [&str; 6] = ["", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn refused(spec: Value) -> Vec<String> {
        let mut spec = spec;
        if spec.get("containers").is_none() {
            spec["containers"] = json!([]);
        }
        let spec: PodSpec = serde_json::from_value(spec).unwrap();
        let mut found = Vec::new();
        check(&spec, "spec", &mut |path, _, _| found.push(path));
        found
    }

    fn of_volume(volume: Value) -> Vec<String> {
        let mut volume = volume;
        volume["name"] = json!("v");
        let paths = refused(json!({"volumes": [volume]}));
        paths.iter().map(|path| path.replace("spec.volumes[0].", "")).collect()
    }

    fn of_container(container: Value) -> Vec<String> {
        let mut container = container;
        container["name"] = json!("c");
        let paths = refused(json!({"containers": [container]}));
        paths.iter().map(|path| path.replace("spec.containers[0].", "")).collect()
    }

    #[test]
    fn a_pod_name_cannot_be_a_path() {
        for bad in ["../x", "/x", "..", "a/b", "a\nb", "A"] {
            assert_eq!(refused(json!({"containers": [{"name": bad}]})), ["spec.containers[0].name"], "{bad}");
            assert_eq!(refused(json!({"initContainers": [{"name": bad}]})), ["spec.initContainers[0].name"]);
            assert_eq!(refused(json!({"volumes": [{"name": bad}]})), ["spec.volumes[0].name"]);
            assert_eq!(refused(json!({"hostname": bad})), ["spec.hostname"]);
            assert_eq!(refused(json!({"subdomain": bad})), ["spec.subdomain"]);
            assert_eq!(refused(json!({"serviceAccountName": bad})), ["spec.serviceAccountName"]);
        }
        let twice = json!({"initContainers": [{"name": "a"}], "containers": [{"name": "a"}]});
        assert_eq!(refused(twice), ["spec.containers[0].name"]);
        let alias = json!({"hostAliases": [{"ip": "1.2.3.4\n5.6.7.8 x", "hostnames": ["a b"]}]});
        assert_eq!(refused(alias), ["spec.hostAliases[0].ip", "spec.hostAliases[0].hostnames"]);
    }

    #[test]
    fn paths_in_a_volume_cannot_leave_it() {
        for bad in ["../x", "/x", "..", "a/../../b"] {
            let items = json!([{"key": "k", "path": bad}]);
            assert_eq!(
                of_volume(json!({"configMap": {"name": "m", "items": items}})),
                ["configMap.items[0].path"]
            );
            assert_eq!(
                of_volume(json!({"secret": {"secretName": "m", "items": items}})),
                ["secret.items[0].path"]
            );
            let items = json!([{"path": bad, "fieldRef": {"fieldPath": "metadata.name"}}]);
            assert_eq!(of_volume(json!({"downwardAPI": {"items": items}})), ["downwardAPI.items[0].path"]);
            let token = json!({"projected": {"sources": [{"serviceAccountToken": {"path": bad}}]}});
            assert_eq!(of_volume(token), ["projected.sources[0].serviceAccountToken.path"]);
            let items = json!([{"key": "k", "path": bad}]);
            for kind in ["configMap", "secret"] {
                let source = json!({"projected": {"sources": [{kind: {"name": "m", "items": items}}]}});
                assert_eq!(of_volume(source), [format!("projected.sources[0].{kind}.items[0].path")]);
            }
        }
        assert_eq!(
            of_volume(json!({"configMap": {"name": "../m", "defaultMode": 0o1777}})),
            ["configMap.name", "configMap.defaultMode"]
        );
        assert_eq!(of_volume(json!({"secret": {"secretName": ""}})), ["secret.secretName"]);
        assert_eq!(of_volume(json!({"hostPath": {"path": "/a/../b"}})), ["hostPath.path"]);
        assert_eq!(
            of_volume(json!({"hostPath": {"path": "/dev/sda", "type": "BlockDevice"}})),
            ["hostPath.type"]
        );
    }

    #[test]
    fn a_mount_stays_in_its_volume_and_does_not_cover_runtime_files() {
        let of = |mount: Value| of_container(json!({"volumeMounts": [mount]}));
        for bad in ["/", "relative", "/a:b", "/a/../..", "/proc/1", "/sys", "/dev", ""] {
            assert_eq!(of(json!({"name": "v", "mountPath": bad})), ["volumeMounts[0].mountPath"], "{bad}");
        }
        for bad in ["..", "../x", "/x", "a/../.."] {
            for field in ["subPath", "subPathExpr"] {
                let mount = json!({"name": "v", "mountPath": "/v", field: bad});
                assert_eq!(of(mount), [format!("volumeMounts[0].{field}")], "{bad}");
            }
        }
        let both = json!({"name": "v", "mountPath": "/v", "subPath": "a", "subPathExpr": "b"});
        assert_eq!(of(both), ["volumeMounts[0].subPathExpr"]);
        let shared = json!({"name": "v", "mountPath": "/v", "mountPropagation": "Bidirectional"});
        assert_eq!(of(shared), ["volumeMounts[0].mountPropagation"]);
        let twice =
            json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}, {"name": "w", "mountPath": "/v/"}]});
        assert_eq!(of_container(twice), ["volumeMounts[1].mountPath"]);
    }

    #[test]
    fn environment_variables_and_ports_are_checked() {
        let env = json!({"env": [{"name": "A=B"}, {"name": ""}, {"name": "A", "value": "x\u{0}"}]});
        assert_eq!(of_container(env), ["env[0].name", "env[1].name", "env[2].value"]);
        let ports = json!({"ports": [{"containerPort": 0}, {"containerPort": 1, "name": "UP"}]});
        assert_eq!(of_container(ports), ["ports[0].containerPort", "ports[1].name"]);
    }
}
