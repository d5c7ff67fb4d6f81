//! Pure. Known kinds that this version does not support. They are refused, so that no policy is silently ignored. Each
//! has advice for the user. The advice must not weaken the intended protection: it never suggests removing a policy
//! that denies requests.

use crate::resource::column::{AGE, Column};
use crate::resource::descriptor::{
    Descriptor, GATEWAY, NETWORKING, NETWORKING_VERSIONS, SECURITY, SECURITY_VERSIONS,
};

/// A refused kind.
#[derive(Debug)]
pub struct Refused {
    /// The kind's names.
    pub descriptor: Descriptor,
    /// The advice to the user.
    pub instead: &'static str,
}

impl Refused {
    /// Whether Istio installs its definition in a cluster, so that objects of it can be stored there.
    pub fn is_of_istio(&self) -> bool {
        !self.descriptor.versions.is_empty()
    }

    /// Whether its objects exist to deny requests, so that a user who relies on one is not protected.
    pub fn protects(&self) -> bool {
        [DENIES, VERIFIES, PACKETS].contains(&self.instead)
    }

    /// Why a stored object of the kind has no effect.
    pub fn reason(&self) -> String {
        let Descriptor { kind, group, .. } = self.descriptor;
        let effect = if self.protects() {
            "no proxy of Ostria enforces the object"
        } else {
            "the object has no effect on proxies of Ostria"
        };
        format!("{kind} of {group} is not supported by this version of Ostria: {effect}")
    }
}

/// The refused kinds whose definitions Istio installs.
pub fn of_istio() -> impl Iterator<Item = &'static Refused> {
    REFUSED.iter().filter(|kind| kind.is_of_istio())
}

/// The refused kind with these names.
pub fn find(group: &str, kind: &str) -> Option<&'static Refused> {
    REFUSED.iter().find(|known| known.descriptor.group == group && known.descriptor.kind == kind)
}

/// All known kinds that are refused.
pub const REFUSED: &[Refused] = &[
    known(NETWORKING, "WorkloadEntry", "workloadentries", &["we"], ENDPOINTS)
        .in_versions(NETWORKING_VERSIONS),
    known(NETWORKING, "WorkloadGroup", "workloadgroups", &["wg"], ENDPOINTS).in_versions(NETWORKING_VERSIONS),
    known(
        NETWORKING,
        "EnvoyFilter",
        "envoyfilters",
        &[],
        "use the fields of VirtualService, DestinationRule and the mesh's configuration",
    )
    .in_versions(&["v1alpha3"]),
    known(NETWORKING, "ProxyConfig", "proxyconfigs", &[], "annotate the pods with `proxy.istio.io/config`")
        .in_versions(&["v1beta1"]),
    Refused {
        descriptor: Descriptor {
            columns: &[Column::path("ACTION", ".spec.action", "Action for matching requests."), AGE],
            versions: SECURITY_VERSIONS,
            ..known(SECURITY, "AuthorizationPolicy", "authorizationpolicies", &["ap"], DENIES).descriptor
        },
        instead: DENIES,
    },
    known(SECURITY, "RequestAuthentication", "requestauthentications", &["ra"], VERIFIES)
        .in_versions(SECURITY_VERSIONS),
    known(
        "telemetry.istio.io",
        "Telemetry",
        "telemetries",
        &["telemetry"],
        "set `accessLogFile` and `accessLogFormat` of the mesh's configuration; metrics need no setting",
    )
    .in_versions(&["v1", "v1alpha1"]),
    known(EXTENSIONS, "WasmPlugin", "wasmplugins", &[], FILTER).in_versions(&["v1alpha1"]),
    known(EXTENSIONS, "ExtensionFilter", "extensionfilters", &[], FILTER).in_versions(&["v1alpha1"]),
    known(EXTENSIONS, "TrafficExtension", "trafficextensions", &[], FILTER).in_versions(&["v1alpha1"]),
    known("authentication.istio.io", "Policy", "policies", &[], PEER),
    cluster("authentication.istio.io", "MeshPolicy", "meshpolicies", &[], PEER),
    known("rbac.istio.io", "ServiceRole", "serviceroles", &[], DENIES),
    known("rbac.istio.io", "ServiceRoleBinding", "servicerolebindings", &[], DENIES),
    known("rbac.istio.io", "RbacConfig", "rbacconfigs", &[], DENIES),
    cluster("rbac.istio.io", "ClusterRbacConfig", "clusterrbacconfigs", &[], DENIES),
    known("config.istio.io", "rule", "rules", &[], DENIES),
    known("config.istio.io", "handler", "handlers", &[], DENIES),
    known("config.istio.io", "instance", "instances", &[], DENIES),
    known("config.istio.io", "attributemanifest", "attributemanifests", &[], DENIES),
    known("config.istio.io", "QuotaSpec", "quotaspecs", &[], DENIES),
    known("config.istio.io", "QuotaSpecBinding", "quotaspecbindings", &[], DENIES),
    cluster(GATEWAY, "GatewayClass", "gatewayclasses", &["gc"], ISTIOS),
    known(GATEWAY, "Gateway", "gateways", &["gtw"], ISTIOS),
    known(GATEWAY, "ListenerSet", "listenersets", &["lset"], ISTIOS),
    known(GATEWAY, "HTTPRoute", "httproutes", &[], ROUTE),
    known(GATEWAY, "GRPCRoute", "grpcroutes", &[], ROUTE),
    known(GATEWAY, "TLSRoute", "tlsroutes", &[], ROUTE),
    known(GATEWAY, "TCPRoute", "tcproutes", &[], ROUTE),
    known(GATEWAY, "UDPRoute", "udproutes", &[], "leave it out: UDP passes the mesh untouched"),
    known(
        GATEWAY,
        "ReferenceGrant",
        "referencegrants",
        &["refgrant"],
        "put Secrets into the namespace of the gateway's pods",
    ),
    known(
        GATEWAY,
        "BackendTLSPolicy",
        "backendtlspolicies",
        &["btlspolicy"],
        "write a DestinationRule with `tls.mode: SIMPLE`",
    ),
    known("networking.k8s.io", "NetworkPolicy", "networkpolicies", &["netpol"], PACKETS),
    known("apps", "DaemonSet", "daemonsets", &["ds"], "write a Deployment: there is one node"),
    known(
        "apps",
        "ControllerRevision",
        "controllerrevisions",
        &[],
        "leave it out: controllers keep their own",
    ),
    known("batch", "CronJob", "cronjobs", &["cj"], "write a Job, and start it by the machine's scheduler"),
    cluster("", "PersistentVolume", "persistentvolumes", &["pv"], VOLUME),
    known("", "PersistentVolumeClaim", "persistentvolumeclaims", &["pvc"], VOLUME),
    known("", "Event", "events", &["ev"], ELSEWHERE),
    known("", "LimitRange", "limitranges", &["limits"], RESOURCES),
    known("", "ResourceQuota", "resourcequotas", &["quota"], RESOURCES),
    known("", "ReplicationController", "replicationcontrollers", &["rc"], "write a Deployment"),
    known("", "PodTemplate", "podtemplates", &[], "write a Deployment"),
    known(
        "policy",
        "PodDisruptionBudget",
        "poddisruptionbudgets",
        &["pdb"],
        "leave it out: nothing evicts pods",
    ),
    known(
        "autoscaling",
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
        &["hpa"],
        "set `replicas` of the Deployment",
    ),
    known("rbac.authorization.k8s.io", "Role", "roles", &[], API_SERVER),
    known("rbac.authorization.k8s.io", "RoleBinding", "rolebindings", &[], API_SERVER),
    cluster("rbac.authorization.k8s.io", "ClusterRole", "clusterroles", &[], API_SERVER),
    cluster("rbac.authorization.k8s.io", "ClusterRoleBinding", "clusterrolebindings", &[], API_SERVER),
    cluster(
        "apiextensions.k8s.io",
        "CustomResourceDefinition",
        "customresourcedefinitions",
        &["crd", "crds"],
        "leave it out: the mesh's kinds are built in",
    ),
    cluster(WEBHOOKS, "MutatingWebhookConfiguration", "mutatingwebhookconfigurations", &[], CHECKED),
    cluster(WEBHOOKS, "ValidatingWebhookConfiguration", "validatingwebhookconfigurations", &[], CHECKED),
    cluster(WEBHOOKS, "ValidatingAdmissionPolicy", "validatingadmissionpolicies", &[], CHECKED),
];

const EXTENSIONS: &str = "extensions.istio.io";
const WEBHOOKS: &str = "admissionregistration.k8s.io";

const API_SERVER: &str = "leave it out: it is about a Kubernetes API server, which is not there";
const CHECKED: &str = "leave it out: pods are injected and objects are checked without it";
const DENIES: &str = "do not rely on it: nothing enforces it, so have the application refuse such calls, and keep the object \
                      for a version that does";
const ELSEWHERE: &str = "leave it out: it describes another cluster";
const ENDPOINTS: &str = "list the machines under `endpoints` of a ServiceEntry";
const FILTER: &str = "do it in the application: proxies run no code of others";
const ISTIOS: &str =
    "write a Gateway of networking.istio.io/v1 and a Deployment with `inject.istio.io/templates: gateway`";
const PACKETS: &str = "do not rely on it: nothing filters packets between pods; PeerAuthentication STRICT refuses callers \
                       without an identity of the mesh";
const PEER: &str = "write a PeerAuthentication";
const RESOURCES: &str = "write `resources` in each container";
const ROUTE: &str = "write a VirtualService";
const VERIFIES: &str = "do not rely on it: nothing verifies tokens, so have the application verify them, and keep the object \
                        for a version that does";
const VOLUME: &str = "use a volume of type emptyDir or hostPath";

impl Refused {
    const fn in_versions(self, versions: &'static [&'static str]) -> Self {
        let Self { descriptor, instead } = self;
        Self { descriptor: Descriptor { versions, ..descriptor }, instead }
    }
}

const fn known(
    group: &'static str,
    kind: &'static str,
    plural: &'static str,
    short: &'static [&'static str],
    instead: &'static str,
) -> Refused {
    let categories: &[&str] = &[];
    let versions: &[&str] = &[];
    let columns: &[Column] = &[AGE];
    let descriptor = Descriptor {
        group,
        kind,
        plural,
        short,
        categories,
        namespaced: true,
        versions,
        columns,
        schema: None,
    };
    Refused { descriptor, instead }
}

const fn cluster(
    group: &'static str,
    kind: &'static str,
    plural: &'static str,
    short: &'static [&'static str],
    instead: &'static str,
) -> Refused {
    let Refused { descriptor, instead } = known(group, kind, plural, short, instead);
    Refused { descriptor: Descriptor { namespaced: false, ..descriptor }, instead }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kinds_that_istio_installs_are_known_with_their_versions() {
        let all: Vec<&str> = of_istio().map(|kind| kind.descriptor.kind).collect();
        let expected = [
            "WorkloadEntry",
            "WorkloadGroup",
            "EnvoyFilter",
            "ProxyConfig",
            "AuthorizationPolicy",
            "RequestAuthentication",
            "Telemetry",
            "WasmPlugin",
            "ExtensionFilter",
            "TrafficExtension",
        ];
        assert_eq!(all, expected);
        let protects = of_istio().filter(|kind| kind.protects()).map(|kind| kind.descriptor.kind);
        assert_eq!(protects.collect::<Vec<_>>(), ["AuthorizationPolicy", "RequestAuthentication"]);
        let reason = find(SECURITY, "AuthorizationPolicy").unwrap().reason();
        assert!(reason.contains("no proxy of Ostria enforces"), "{reason}");
    }

    #[test]
    fn advice_never_suggests_removing_a_policy_that_denies() {
        for name in ["AuthorizationPolicy", "RequestAuthentication", "NetworkPolicy", "ServiceRole", "rule"] {
            let kind = REFUSED.iter().find(|kind| kind.descriptor.kind == name).unwrap();
            assert!(kind.instead.starts_with("do not rely on it"), "{name}: {}", kind.instead);
            assert!(!kind.instead.contains("remove") && !kind.instead.contains("leave it out"), "{name}");
        }
    }
}
