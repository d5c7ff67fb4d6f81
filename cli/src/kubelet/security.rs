//! Pure. Security contexts: the user and the privileges of a container, and the settings that are not supported here.
//! Each field either works or is rejected by name, so that no user relies on a protection that is not in force.

use k8s_openapi::api::core::v1::{
    AppArmorProfile, Capabilities, Container, PodSecurityContext, PodSpec, SeccompProfile, SecurityContext,
};

/// The identity and privileges of a container's process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Its user id.
    pub user: Option<u32>,
    /// Its group id.
    pub group: Option<u32>,
    /// Its supplementary group ids.
    pub groups: Vec<u32>,
    /// Its capabilities, one bit each, with the kernel's numbers.
    pub capabilities: u64,
    /// Whether its root file system is read-only.
    pub read_only_root: bool,
}

/// The settings of a container in a pod.
pub fn settings(spec: &PodSpec, container: &Container) -> Settings {
    let of_pod = spec.security_context.as_ref();
    let own = container.security_context.as_ref();
    let number = |value: Option<i64>| value.and_then(|value| u32::try_from(value).ok());
    let group = own.and_then(|own| own.run_as_group).or_else(|| of_pod.and_then(|pod| pod.run_as_group));
    let groups = of_pod
        .into_iter()
        .flat_map(|pod| pod.fs_group.into_iter().chain(pod.supplemental_groups.iter().flatten().copied()));
    Settings {
        user: number(user(spec, container)),
        group: number(group),
        groups: groups.filter_map(|group| u32::try_from(group).ok()).collect(),
        capabilities: capabilities(own.and_then(|own| own.capabilities.as_ref())),
        read_only_root: own.and_then(|own| own.read_only_root_filesystem) == Some(true),
    }
}

/// Kernel settings for a pod's network and IPC namespaces.
pub fn sysctls(spec: &PodSpec) -> Vec<(String, String)> {
    let given = spec.security_context.iter().flat_map(|context| context.sysctls.iter().flatten());
    given.map(|one| (one.name.replace('/', "."), one.value.clone())).collect()
}

fn user(spec: &PodSpec, container: &Container) -> Option<i64> {
    let own = container.security_context.as_ref().and_then(|own| own.run_as_user);
    own.or_else(|| spec.security_context.as_ref().and_then(|pod| pod.run_as_user))
}

fn capabilities(given: Option<&Capabilities>) -> u64 {
    let list = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
    let (add, drop) = given.map(|given| (list(&given.add), list(&given.drop))).unwrap_or_default();
    let bits = |names: &[String]| names.iter().filter_map(|name| bit(name)).fold(0, |all, bit| all | bit);
    let base = if drop.iter().any(|name| name == ALL) { 0 } else { bits(&DEFAULT.map(String::from)) };
    (base | bits(&add)) & !bits(&drop)
}

/// The bit of a capability. The name may start with `CAP_`.
fn bit(name: &str) -> Option<u64> {
    let name = name.strip_prefix("CAP_").unwrap_or(name);
    NAMES.iter().position(|known| *known == name).map(|at| 1 << at)
}

/// The capability to configure a network namespace.
pub const NET_ADMIN: u64 = 1 << 12;

/// Reports a rejected field: path, reason and next step.
pub type Report<'a> = &'a mut dyn FnMut(String, String, &'static str);

/// Checks the security context of a pod.
pub fn check_pod(spec: &PodSpec, path: &str, report: Report<'_>) {
    let host = [
        ("hostNetwork", spec.host_network == Some(true)),
        ("hostPID", spec.host_pid == Some(true)),
        ("hostIPC", spec.host_ipc == Some(true)),
        ("hostUsers", spec.host_users == Some(false)),
        ("runtimeClassName", spec.runtime_class_name.is_some()),
    ];
    for (field, _) in host.into_iter().filter(|(_, is_set)| *is_set) {
        report(format!("{path}.{field}"), NOT_HERE.into(), REMOVE);
    }
    let Some(context) = &spec.security_context else { return };
    let path = format!("{path}.securityContext");
    // Destructured, so that the compiler reports a field that Kubernetes adds.
    let PodSecurityContext {
        app_armor_profile,
        fs_group,
        fs_group_change_policy: _,
        run_as_group,
        run_as_non_root: _,
        run_as_user,
        se_linux_change_policy,
        se_linux_options,
        seccomp_profile,
        supplemental_groups,
        supplemental_groups_policy: _,
        sysctls,
        windows_options,
    } = context;
    numbers(
        &path,
        &[("fsGroup", *fs_group), ("runAsGroup", *run_as_group), ("runAsUser", *run_as_user)],
        report,
    );
    for (index, group) in supplemental_groups.iter().flatten().enumerate() {
        numbers(&path, &[(&format!("supplementalGroups[{index}]"), Some(*group))], report);
    }
    let foreign = [
        ("seLinuxChangePolicy", se_linux_change_policy.is_some()),
        ("seLinuxOptions", se_linux_options.is_some()),
        ("windowsOptions", windows_options.is_some()),
    ];
    for (field, _) in foreign.into_iter().filter(|(_, is_set)| *is_set) {
        report(format!("{path}.{field}"), NOT_HERE.into(), REMOVE);
    }
    profiles(seccomp_profile.as_ref(), app_armor_profile.as_ref(), &path, report);
    for (index, one) in sysctls.iter().flatten().enumerate() {
        if !SYSCTLS.contains(&one.name.replace('/', ".").as_str()) {
            let reason = format!("{} is not a safe sysctl of Kubernetes", one.name);
            report(format!("{path}.sysctls[{index}].name"), reason, REMOVE);
        }
    }
}

/// Checks the security context of a container.
pub fn check_container(spec: &PodSpec, container: &Container, path: &str, report: Report<'_>) {
    let path = format!("{path}.securityContext");
    non_root(spec, container, &path, report);
    let Some(context) = &container.security_context else { return };
    let SecurityContext {
        allow_privilege_escalation,
        app_armor_profile,
        capabilities,
        privileged,
        proc_mount,
        read_only_root_filesystem: _,
        run_as_group,
        run_as_non_root: _,
        run_as_user,
        se_linux_options,
        seccomp_profile,
        windows_options,
    } = context;
    numbers(&path, &[("runAsGroup", *run_as_group), ("runAsUser", *run_as_user)], report);
    let foreign = [
        ("privileged", *privileged == Some(true)),
        ("procMount", proc_mount.as_ref().is_some_and(|kind| kind != "Default")),
        ("seLinuxOptions", se_linux_options.is_some()),
        ("windowsOptions", windows_options.is_some()),
    ];
    for (field, _) in foreign.into_iter().filter(|(_, is_set)| *is_set) {
        report(format!("{path}.{field}"), NOT_HERE.into(), REMOVE);
    }
    if *allow_privilege_escalation == Some(true) {
        let reason = "is not supported by `ostria up`: processes never gain privileges";
        report(format!("{path}.allowPrivilegeEscalation"), reason.into(), "remove the field or write false");
    }
    profiles(seccomp_profile.as_ref(), app_armor_profile.as_ref(), &path, report);
    if let Some(capabilities) = capabilities {
        check_capabilities(capabilities, &format!("{path}.capabilities"), report);
    }
}

fn check_capabilities(given: &Capabilities, path: &str, report: Report<'_>) {
    for (index, name) in given.drop.iter().flatten().enumerate() {
        if name != ALL && bit(name).is_none() {
            let place = format!("{path}.drop[{index}]");
            report(place, format!("{name} is not a capability"), "correct the name");
        }
    }
    for (index, name) in given.add.iter().flatten().enumerate() {
        let place = format!("{path}.add[{index}]");
        let plain = name.strip_prefix("CAP_").unwrap_or(name);
        if name != ALL && bit(name).is_none() {
            report(place, format!("{name} is not a capability"), "correct the name");
        } else if !DEFAULT.contains(&plain) && !MORE.contains(&plain) {
            let reason = format!("{name} is not supported by `ostria up`: it affects more than the pod");
            report(place, reason, "remove the capability");
        }
    }
}

/// With `runAsNonRoot`, a container must set another user, because there is no image to name one.
fn non_root(spec: &PodSpec, container: &Container, path: &str, report: Report<'_>) {
    let own = container.security_context.as_ref().and_then(|own| own.run_as_non_root);
    let of_pod = spec.security_context.as_ref().and_then(|pod| pod.run_as_non_root);
    // A container with only the image `auto` marks the place of the proxy; the injector completes it.
    if container.image.as_deref() == Some("auto") && container.name == "istio-proxy" {
        return;
    }
    if own.or(of_pod) == Some(true) && user(spec, container).unwrap_or(0) == 0 {
        let reason = "is true, but the container would run as root: no image sets another user";
        report(format!("{path}.runAsNonRoot"), reason.into(), "give runAsUser");
    }
}

fn numbers(path: &str, fields: &[(&str, Option<i64>)], report: Report<'_>) {
    for (field, value) in fields {
        if value.is_some_and(|value| !(0..=i64::from(i32::MAX)).contains(&value)) {
            report(format!("{path}.{field}"), "must be 0 to 2147483647".into(), "correct the number");
        }
    }
}

fn profiles(
    seccomp: Option<&SeccompProfile>,
    app_armor: Option<&AppArmorProfile>,
    path: &str,
    report: Report<'_>,
) {
    if let Some(profile) = seccomp.filter(|profile| profile.type_ != "RuntimeDefault") {
        let reason =
            format!("{} is not supported by `ostria up`: RuntimeDefault always applies", profile.type_);
        report(format!("{path}.seccompProfile.type"), reason, "write RuntimeDefault or remove the field");
    }
    if let Some(profile) = app_armor.filter(|profile| profile.type_ != "Unconfined") {
        let reason = format!("{} is not supported by `ostria up`", profile.type_);
        report(format!("{path}.appArmorProfile.type"), reason, REMOVE);
    }
}

const ALL: &str = "ALL";
const NOT_HERE: &str = "is not supported by `ostria up`";
const REMOVE: &str = "remove the field";

/// The default capabilities of container runtimes without MKNOD, because there is no device filter here.
const DEFAULT: [&str; 13] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// Capabilities that a container may add. Their effect ends at the pod's namespaces or the container's own processes.
/// SYS_PTRACE is not among them: a command that `ostria exec` or a probe starts is a process of the host until it has
/// confined itself.
const MORE: [&str; 5] = ["NET_ADMIN", "NET_BROADCAST", "IPC_LOCK", "IPC_OWNER", "LEASE"];

/// All capabilities, sorted by their numbers.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// The kernel settings that Kubernetes considers safe.
const SYSCTLS: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[expect(clippy::needless_pass_by_value, reason = "tables of `json!` read better without references")]
    fn spec(pod: Value, container: Value) -> PodSpec {
        let mut spec = json!({"containers": [{"name": "c"}]});
        spec.as_object_mut().unwrap().extend(pod.as_object().unwrap().clone());
        spec["containers"][0]["securityContext"] = container;
        serde_json::from_value(spec).unwrap()
    }

    fn refused(pod: Value, container: Value) -> Vec<String> {
        let spec = spec(pod, container);
        let mut found = Vec::new();
        let mut report = |path: String, _: String, _: &'static str| found.push(path);
        check_pod(&spec, "spec", &mut report);
        check_container(&spec, &spec.containers[0], "spec.containers[0]", &mut report);
        found
    }

    fn has(capabilities: u64, name: &str) -> bool {
        bit(name).is_some_and(|bit| capabilities & bit != 0)
    }

    #[test]
    fn a_container_has_the_default_capabilities_plus_added_minus_dropped_ones() {
        let of = |context: Value| {
            let spec = spec(json!({}), context);
            settings(&spec, &spec.containers[0]).capabilities
        };
        let default = of(json!({}));
        assert_eq!(default.count_ones(), 13);
        for name in ["SYS_ADMIN", "MKNOD", "NET_ADMIN", "SYS_PTRACE", "DAC_READ_SEARCH"] {
            assert!(!has(default, name), "{name}");
        }
        assert!(has(default, "CHOWN") && has(default, "CAP_NET_RAW"));
        assert_eq!(of(json!({"capabilities": {"drop": ["ALL"]}})), 0);
        let init = of(json!({"capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN", "CAP_NET_RAW"]}}));
        assert_eq!(init, 1 << 12 | 1 << 13);
        assert_eq!(of(json!({"capabilities": {"drop": ["CHOWN"], "add": ["CHOWN"]}})), default & !1);
    }

    #[test]
    fn the_containers_user_wins_over_the_pods() {
        let pod = json!({"securityContext": {"runAsUser": 1, "runAsGroup": 2, "fsGroup": 3, "supplementalGroups": [4]}});
        let spec = spec(pod, json!({"runAsUser": 5, "readOnlyRootFilesystem": true}));
        let settings = settings(&spec, &spec.containers[0]);
        assert_eq!((settings.user, settings.group, settings.groups), (Some(5), Some(2), vec![3, 4]));
        assert!(settings.read_only_root);
    }

    #[test]
    fn unsupported_fields_are_refused_by_path() {
        let none = Vec::<String>::new();
        let of_pod = |pod: Value| refused(pod, json!({}));
        let of_container = |context: Value| refused(json!({}), context);
        for (field, value) in [
            ("hostNetwork", json!(true)),
            ("hostPID", json!(true)),
            ("hostIPC", json!(true)),
            ("hostUsers", json!(false)),
            ("runtimeClassName", json!("kata")),
        ] {
            assert_eq!(of_pod(json!({field: value})), [format!("spec.{field}")]);
        }
        let contexts = [
            (json!({"seLinuxOptions": {"level": "s0"}}), "seLinuxOptions"),
            (json!({"windowsOptions": {}}), "windowsOptions"),
            (json!({"seLinuxChangePolicy": "Recursive"}), "seLinuxChangePolicy"),
            (json!({"sysctls": [{"name": "kernel.core_pattern", "value": "|/x"}]}), "sysctls[0].name"),
            (json!({"sysctls": [{"name": "net/ipv4/ip_forward", "value": "1"}]}), "sysctls[0].name"),
            (json!({"fsGroup": -1}), "fsGroup"),
            (json!({"supplementalGroups": [1, 4_294_967_296_i64]}), "supplementalGroups[1]"),
            (json!({"seccompProfile": {"type": "Unconfined"}}), "seccompProfile.type"),
            (json!({"appArmorProfile": {"type": "RuntimeDefault"}}), "appArmorProfile.type"),
        ];
        for (context, path) in contexts {
            let found = of_pod(json!({"securityContext": context}));
            assert_eq!(found, [format!("spec.securityContext.{path}")]);
        }
        let contexts = [
            (json!({"privileged": true}), "privileged"),
            (json!({"procMount": "Unmasked"}), "procMount"),
            (json!({"allowPrivilegeEscalation": true}), "allowPrivilegeEscalation"),
            (json!({"seLinuxOptions": {}}), "seLinuxOptions"),
            (json!({"runAsUser": -1}), "runAsUser"),
            (
                json!({"seccompProfile": {"type": "Localhost", "localhostProfile": "x"}}),
                "seccompProfile.type",
            ),
            (json!({"capabilities": {"add": ["SYS_ADMIN"]}}), "capabilities.add[0]"),
            (json!({"capabilities": {"add": ["ALL"]}}), "capabilities.add[0]"),
            (json!({"capabilities": {"add": ["CAP_SYS_PTRACE"]}}), "capabilities.add[0]"),
            (json!({"capabilities": {"add": ["CHOWN", "CAP_MKNOD"]}}), "capabilities.add[1]"),
            (json!({"capabilities": {"drop": ["NONSENSE"]}}), "capabilities.drop[0]"),
            (json!({"runAsNonRoot": true}), "runAsNonRoot"),
            (json!({"runAsNonRoot": true, "runAsUser": 0}), "runAsNonRoot"),
        ];
        for (context, path) in contexts {
            assert_eq!(of_container(context), [format!("spec.containers[0].securityContext.{path}")]);
        }
        let fine = json!({"privileged": false, "procMount": "Default", "allowPrivilegeEscalation": false,
            "seccompProfile": {"type": "RuntimeDefault"}, "runAsNonRoot": true, "runAsUser": 7,
            "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN", "CAP_NET_RAW"]}});
        assert_eq!(refused(json!({"shareProcessNamespace": true}), fine), none);
        let port = json!({"securityContext": {"sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}]}});
        assert_eq!(of_pod(port), none);
    }
}
