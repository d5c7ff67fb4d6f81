//! Pure. Fits a pod with its sidecar into the Pod Security Standard that its namespace enforces. The API server checks
//! the standard after injection and names only the container at fault; whoever reads its message in an event knows
//! nothing of that container.

use k8s_openapi::api::core::v1::{Container, Pod, SeccompProfile};

use crate::{
    config::Standard,
    render::{
        context::{INIT_NAME, PROXY_NAME},
        error::RenderError,
    },
};

/// Adds what the standard requires of the sidecar. Refuses a pod whose init container needs more than the standard
/// permits.
pub fn fit(pod: &mut Pod, standard: Standard) -> Result<(), RenderError> {
    let Some(spec) = &mut pod.spec else { return Ok(()) };
    let inits = spec.init_containers.iter().flatten();
    let mut setups = inits.chain(&spec.containers).filter(|container| container.name == INIT_NAME);
    if setups.any(|setup| refused(setup).next().is_some()) {
        return Err(RenderError::Standard { standard: standard.as_str() });
    }
    let of_pod = spec.security_context.as_ref().and_then(|security| security.seccomp_profile.as_ref());
    if standard == Standard::Baseline || of_pod.is_some() {
        return Ok(());
    }
    let inits = spec.init_containers.iter_mut().flatten();
    for container in inits.chain(&mut spec.containers).filter(|container| container.name == PROXY_NAME) {
        let security = container.security_context.get_or_insert_default();
        let default = || SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None };
        security.seccomp_profile.get_or_insert_with(default);
    }
    Ok(())
}

/// The capabilities that a container adds and neither standard permits.
fn refused(container: &Container) -> impl Iterator<Item = &str> {
    let security = container.security_context.as_ref();
    let added = security.and_then(|security| security.capabilities.as_ref()?.add.as_deref());
    let names = added.unwrap_or_default().iter().map(|name| name.trim_start_matches("CAP_"));
    names.filter(|name| ["NET_ADMIN", "NET_RAW"].contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn fitted(spec: &Value, standard: Standard) -> Result<Value, String> {
        let mut pod: Pod = serde_json::from_value(json!({"spec": spec})).unwrap();
        fit(&mut pod, standard).map_err(|error| error.to_string())?;
        let pod = serde_json::to_value(pod).unwrap();
        Ok(pod.pointer("/spec/containers/0/securityContext/seccompProfile/type").cloned().unwrap_or_default())
    }

    fn init(capabilities: &Value) -> Value {
        json!({
            "initContainers": [{"name": "istio-init", "securityContext": {"capabilities": {"add": capabilities}}}],
            "containers": [{"name": "app"}],
        })
    }

    #[test]
    fn an_init_container_that_needs_capabilities_is_refused_with_the_remedy() {
        for standard in [Standard::Baseline, Standard::Restricted] {
            let message = fitted(&init(&json!(["NET_ADMIN", "NET_RAW"])), standard).unwrap_err();
            for part in [standard.as_str(), "istio-init", "NET_ADMIN", "enforce=privileged"] {
                assert!(message.contains(part), "{message}");
            }
            assert!(fitted(&init(&json!(["CAP_NET_RAW"])), standard).is_err());
            assert!(fitted(&init(&json!([])), standard).is_ok(), "the user's own, which needs no capability");
        }
    }

    #[test]
    fn a_proxy_without_a_seccomp_profile_gets_one_where_it_must_have_one() {
        let proxy = |pod: &Value, own: &Value| {
            json!({
                "securityContext": {"seccompProfile": pod},
                "containers": [{"name": "istio-proxy", "securityContext": {"seccompProfile": own}}],
            })
        };
        let localhost = json!({"type": "Localhost", "localhostProfile": "a"});
        for (spec, standard, expected) in [
            (proxy(&json!(null), &json!(null)), Standard::Restricted, json!("RuntimeDefault")),
            (proxy(&json!(null), &json!(null)), Standard::Baseline, json!(null)),
            (proxy(&localhost, &json!(null)), Standard::Restricted, json!(null)),
            (proxy(&json!(null), &localhost), Standard::Restricted, json!("Localhost")),
        ] {
            assert_eq!(fitted(&spec, standard).unwrap(), expected, "{spec} {standard:?}");
        }
    }
}
