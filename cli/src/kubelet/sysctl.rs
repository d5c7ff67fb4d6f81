//! Pure. Kernel settings that a pod asks for in its security context. Kubernetes calls some of them safe, because they
//! belong to the pod's own namespaces and cannot harm its neighbours; a kubelet refuses the others unless told
//! otherwise, and so does this one.

use k8s_openapi::api::core::v1::Pod;

/// The pod's kernel settings by the file that holds each below `/proc/sys`, or the field that names another one.
pub fn settings(pod: &Pod) -> Result<Vec<(String, String)>, String> {
    let security = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
    let asked = security.and_then(|security| security.sysctls.as_ref()).into_iter().flatten();
    asked
        .enumerate()
        .map(|(index, sysctl)| {
            let name = sysctl.name.replace('/', ".");
            if !SAFE.contains(&name.as_str()) {
                return Err(format!(
                    "spec.securityContext.sysctls[{index}].name: {:?} is not one of the safe sysctls: {}",
                    sysctl.name,
                    SAFE.join(", ")
                ));
            }
            Ok((name.replace('.', "/"), sysctl.value.clone()))
        })
        .collect()
}

const SAFE: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(sysctls: &serde_json::Value) -> Result<Vec<(String, String)>, String> {
        let pod = json!({"spec": {"containers": [], "securityContext": {"sysctls": sysctls}}});
        settings(&serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn safe_sysctls_are_files_and_others_are_named() {
        let file = ("net/ipv4/ip_unprivileged_port_start".to_owned(), "0".to_owned());
        for name in ["net.ipv4.ip_unprivileged_port_start", "net/ipv4/ip_unprivileged_port_start"] {
            assert_eq!(of(&json!([{"name": name, "value": "0"}])), Ok(vec![file.clone()]));
        }
        assert_eq!(of(&json!([])), Ok(vec![]));
        assert_eq!(settings(&Pod::default()), Ok(vec![]));
        for name in ["kernel.core_pattern", "net.ipv4.ip_forward", "net.ipv4.../../kernel/core_pattern", ""] {
            let refused = of(&json!([file_value(), {"name": name, "value": "1"}])).unwrap_err();
            assert!(refused.starts_with("spec.securityContext.sysctls[1].name: "), "{refused}");
        }
    }

    fn file_value() -> serde_json::Value {
        json!({"name": "net.ipv4.tcp_syncookies", "value": "1"})
    }
}
