//! Pure. What to do instead of writing a kind that this version does not serve. Advice must not weaken what the author
//! meant to protect: nobody is told to drop a policy that denies.

/// The advice for an unserved kind.
pub(in crate::resource) fn instead(group: &str, kind: &str) -> &'static str {
    let found =
        KINDS.iter().find(|(of, kinds, _)| *of == group && (kinds.is_empty() || kinds.contains(&kind)));
    found.map_or("keep it out of the files that are given to Ostria", |(_, _, advice)| advice)
}

/// Group, kinds (all of the group's where none is named), advice.
const KINDS: &[(&str, &[&str], &str)] = &[
    ("security.istio.io", &["AuthorizationPolicy"], DENIES),
    (
        "security.istio.io",
        &["RequestAuthentication"],
        "do not rely on it: nothing verifies tokens, so have the application verify them, and keep the object for a version \
         that does",
    ),
    ("rbac.istio.io", &[], DENIES),
    ("authentication.istio.io", &[], "write a PeerAuthentication"),
    (
        "networking.istio.io",
        &["EnvoyFilter"],
        "use the fields of VirtualService, DestinationRule and the mesh's configuration",
    ),
    (
        "networking.istio.io",
        &["WorkloadEntry", "WorkloadGroup"],
        "list the machines under `endpoints` of a ServiceEntry",
    ),
    ("networking.istio.io", &["ProxyConfig"], "annotate the pods with `proxy.istio.io/config`"),
    (
        "telemetry.istio.io",
        &[],
        "set `accessLogFile` and `accessLogFormat` of the mesh's configuration; metrics need no setting",
    ),
    ("extensions.istio.io", &[], "do it in the application: proxies run no code of others"),
    ("config.istio.io", &[], DENIES),
    (
        "gateway.networking.k8s.io",
        &["HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute"],
        "write a VirtualService",
    ),
    (
        "gateway.networking.k8s.io",
        &["Gateway", "GatewayClass", "ListenerSet"],
        "write a Gateway of networking.istio.io/v1 and a Deployment with `inject.istio.io/templates: gateway`",
    ),
    ("gateway.networking.k8s.io", &["BackendTLSPolicy"], "write a DestinationRule with `tls.mode: SIMPLE`"),
    (
        "gateway.networking.k8s.io",
        &["ReferenceGrant"],
        "put Secrets into the namespace of the gateway's pods",
    ),
    ("gateway.networking.k8s.io", &["UDPRoute"], "leave it out: UDP passes the mesh untouched"),
    ("networking.k8s.io", &["Ingress", "IngressClass"], "write a Gateway and a VirtualService"),
    (
        "networking.k8s.io",
        &["NetworkPolicy"],
        "do not rely on it: nothing filters packets between pods; PeerAuthentication STRICT refuses callers without an \
         identity of the mesh",
    ),
    ("apps", &["DaemonSet"], "write a Deployment: there is one node"),
    ("apps", &["ControllerRevision"], "leave it out: controllers keep their own"),
    ("batch", &["CronJob"], "write a Job, and start it by the machine's scheduler"),
    ("", &["PersistentVolume", "PersistentVolumeClaim"], "use a volume of type emptyDir or hostPath"),
    ("", &["ReplicationController", "PodTemplate"], "write a Deployment"),
    ("", &["LimitRange", "ResourceQuota"], "write `resources` in each container"),
    ("", &["Node", "Event"], "leave it out: it tells of another cluster"),
    ("policy", &["PodDisruptionBudget"], "leave it out: nothing evicts pods"),
    ("autoscaling", &["HorizontalPodAutoscaler"], "set `replicas` of the Deployment"),
    (
        "rbac.authorization.k8s.io",
        &[],
        "leave it out: it is about a Kubernetes API server, which is not there",
    ),
    ("apiextensions.k8s.io", &[], "leave it out: the mesh's kinds are built in"),
    (
        "admissionregistration.k8s.io",
        &[],
        "leave it out: pods are injected and objects are checked without it",
    ),
];

const DENIES: &str = "do not rely on it: nothing enforces it, so have the application refuse such calls, and keep the object \
                      for a version that does";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::kind::unserved;

    #[test]
    fn every_unserved_kind_has_advice_that_is_about_it() {
        for (group, kind) in unserved() {
            let advice = instead(group, kind);
            assert!(!advice.starts_with("keep it out"), "{group} {kind}");
        }
    }

    #[test]
    fn what_denies_is_not_called_superfluous() {
        for (group, kind) in [
            ("security.istio.io", "AuthorizationPolicy"),
            ("security.istio.io", "RequestAuthentication"),
            ("networking.k8s.io", "NetworkPolicy"),
            ("rbac.istio.io", "ServiceRole"),
            ("config.istio.io", "rule"),
        ] {
            let advice = instead(group, kind);
            assert!(advice.starts_with("do not rely on it"), "{kind}: {advice}");
            assert!(!advice.contains("remove") && !advice.contains("leave it out"), "{kind}: {advice}");
        }
    }
}
