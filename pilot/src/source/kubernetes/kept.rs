//! Pure. The parts of a cluster's objects that pilot reads; all others are dropped on arrival.
//!
//! This saves memory, keeps heartbeats and status updates from being taken for changes, and accepts the fields of later
//! versions of Kubernetes. The mesh's own kinds keep their whole `spec`, in which an unknown field is an error.

use api::resource::kind::Kind;
use api::resource::kind::kubernetes::ingress::CLASS_ANNOTATION;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::DynamicObject;
use serde_json::{Map, Value, json};

/// Reduces an object to the parts that are read. `None` if it cannot affect the mesh.
pub fn kept(kind: Kind, api_version: &str, object: DynamicObject) -> Option<Value> {
    let mut fields = match shape(kind).keep(object.data) {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    fields.remove("status").filter(|_| !kind.is_mesh()).map(|status| fields.insert("status".into(), status));
    if kind == Kind::Secret && !is_used(&fields) {
        return None;
    }
    fields.insert("apiVersion".into(), api_version.into());
    fields.insert("kind".into(), kind.name().into());
    fields.insert("metadata".into(), metadata(kind, object.metadata));
    Some(fields.into())
}

/// Whether a Secret has a key that a gateway may read.
fn is_used(secret: &Map<String, Value>) -> bool {
    secret.get("data").and_then(Value::as_object).is_some_and(|data| !data.is_empty())
}

fn metadata(kind: Kind, from: ObjectMeta) -> Value {
    let mut fields = Map::new();
    let mut add = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            fields.insert(name.to_owned(), value);
        }
    };
    add("name", from.name.map(Value::from));
    add("namespace", from.namespace.map(Value::from));
    add("uid", from.uid.map(Value::from));
    add("creationTimestamp", from.creation_timestamp.map(|time| json!(time)));
    add("deletionTimestamp", from.deletion_timestamp.map(|time| json!(time)));
    let mut labels = from.labels.unwrap_or_default();
    // Those that tell where the node is; agents write many others, some of them often.
    labels.retain(|name, _| kind != Kind::Node || PLACE_LABELS.contains(&name.as_str()));
    add("labels", (!labels.is_empty()).then(|| json!(labels)));
    let annotations: Map<String, Value> = from
        .annotations
        .unwrap_or_default()
        .into_iter()
        .filter(|(name, _)| name.contains("istio.io/") || name == CLASS_ANNOTATION)
        .map(|(name, value)| (name, value.into()))
        .collect();
    add("annotations", (!annotations.is_empty()).then(|| annotations.into()));
    if kind == Kind::Pod {
        add("ownerReferences", from.owner_references.map(|owners| json!(owners)));
    }
    if kind.is_mesh() {
        add("generation", from.generation.map(Value::from));
    }
    fields.into()
}

/// The parts of a value that are kept.
enum Shape {
    /// All of it.
    All,
    /// These fields of an object.
    Fields(&'static [(&'static str, Shape)]),
    /// These parts of every item of a list.
    Each(&'static Shape),
    /// The items of a list whose field has one of these values, with these parts.
    Where(&'static str, &'static [&'static str], &'static Shape),
}

impl Shape {
    fn keep(&self, value: Value) -> Value {
        match (self, value) {
            (Self::Fields(kept), Value::Object(mut fields)) => {
                let found = kept.iter().filter_map(|(name, shape)| {
                    let (name, value) = fields.remove_entry(*name)?;
                    Some((name, shape.keep(value)))
                });
                found.collect::<Map<_, _>>().into()
            }
            (Self::Each(shape), Value::Array(items)) => {
                items.into_iter().map(|item| shape.keep(item)).collect()
            }
            (Self::Where(field, values, shape), Value::Array(items)) => {
                let chosen = |item: &Value| item[field].as_str().is_some_and(|value| values.contains(&value));
                items.into_iter().filter(chosen).map(|item| shape.keep(item)).collect()
            }
            // Another type than expected is for the parser to refuse.
            (_, value) => value,
        }
    }
}

fn shape(kind: Kind) -> &'static Shape {
    match kind {
        Kind::Namespace => &Shape::Fields(&[]),
        Kind::Service => &SERVICE,
        Kind::EndpointSlice => &ENDPOINT_SLICE,
        Kind::Pod => &POD,
        Kind::Node => &NODE,
        Kind::Ingress => &INGRESS,
        Kind::IngressClass => &INGRESS_CLASS,
        Kind::ConfigMap => &CONFIG_MAP,
        Kind::Secret => &SECRET,
        _ => &Shape::All,
    }
}

const SERVICE: Shape = Shape::Fields(&[
    (
        "spec",
        Shape::Fields(&[
            ("clusterIP", Shape::All),
            ("clusterIPs", Shape::All),
            ("externalIPs", Shape::All),
            ("externalName", Shape::All),
            ("internalTrafficPolicy", Shape::All),
            ("loadBalancerSourceRanges", Shape::All),
            (
                "ports",
                Shape::Each(&Shape::Fields(&[
                    ("appProtocol", Shape::All),
                    ("name", Shape::All),
                    ("port", Shape::All),
                    ("protocol", Shape::All),
                    ("targetPort", Shape::All),
                ])),
            ),
            ("publishNotReadyAddresses", Shape::All),
            ("selector", Shape::All),
            ("sessionAffinity", Shape::All),
            ("trafficDistribution", Shape::All),
            ("type", Shape::All),
        ]),
    ),
    ("status", BALANCER),
]);

/// The addresses of a load balancer, in the status of Services and Ingresses.
const BALANCER: Shape = Shape::Fields(&[(
    "loadBalancer",
    Shape::Fields(&[(
        "ingress",
        Shape::Each(&Shape::Fields(&[("hostname", Shape::All), ("ip", Shape::All)])),
    )]),
)]);

const BACKEND: Shape = Shape::Fields(&[
    ("resource", Shape::Fields(&[("apiGroup", Shape::All), ("kind", Shape::All), ("name", Shape::All)])),
    (
        "service",
        Shape::Fields(&[
            ("name", Shape::All),
            ("port", Shape::Fields(&[("name", Shape::All), ("number", Shape::All)])),
        ]),
    ),
]);

const INGRESS: Shape = Shape::Fields(&[
    (
        "spec",
        Shape::Fields(&[
            ("defaultBackend", BACKEND),
            ("ingressClassName", Shape::All),
            (
                "rules",
                Shape::Each(&Shape::Fields(&[
                    ("host", Shape::All),
                    (
                        "http",
                        Shape::Fields(&[(
                            "paths",
                            Shape::Each(&Shape::Fields(&[
                                ("backend", BACKEND),
                                ("path", Shape::All),
                                ("pathType", Shape::All),
                            ])),
                        )]),
                    ),
                ])),
            ),
            ("tls", Shape::Each(&Shape::Fields(&[("hosts", Shape::All), ("secretName", Shape::All)]))),
        ]),
    ),
    ("status", BALANCER),
]);

const INGRESS_CLASS: Shape = Shape::Fields(&[("spec", Shape::Fields(&[("controller", Shape::All)]))]);

const NODE: Shape = Shape::Fields(&[(
    "status",
    Shape::Fields(&[(
        "addresses",
        Shape::Where(
            "type",
            &["ExternalIP"],
            &Shape::Fields(&[("address", Shape::All), ("type", Shape::All)]),
        ),
    )]),
)]);

/// The labels of a node that tell where it is.
const PLACE_LABELS: &[&str] =
    &["topology.kubernetes.io/region", "topology.kubernetes.io/zone", "topology.istio.io/subzone"];

const ENDPOINT_SLICE: Shape = Shape::Fields(&[
    ("addressType", Shape::All),
    (
        "endpoints",
        Shape::Each(&Shape::Fields(&[
            ("addresses", Shape::All),
            (
                "conditions",
                Shape::Fields(&[("ready", Shape::All), ("serving", Shape::All), ("terminating", Shape::All)]),
            ),
            ("targetRef", Shape::Fields(&[("kind", Shape::All), ("name", Shape::All)])),
            ("zone", Shape::All),
        ])),
    ),
    ("ports", Shape::Each(&Shape::Fields(&[("name", Shape::All), ("port", Shape::All)]))),
]);

const CONTAINERS: Shape = Shape::Each(&Shape::Fields(&[
    ("args", Shape::All),
    ("command", Shape::All),
    (
        "env",
        Shape::Where(
            "name",
            &["ISTIO_META_HTTP10"],
            &Shape::Fields(&[("name", Shape::All), ("value", Shape::All)]),
        ),
    ),
    ("name", Shape::All),
    ("ports", Shape::Each(&Shape::Fields(&[("containerPort", Shape::All), ("name", Shape::All)]))),
    ("restartPolicy", Shape::All),
]));

const POD: Shape = Shape::Fields(&[
    (
        "spec",
        Shape::Fields(&[
            ("containers", CONTAINERS),
            ("hostNetwork", Shape::All),
            ("initContainers", CONTAINERS),
            ("nodeName", Shape::All),
            ("readinessGates", Shape::All),
            ("serviceAccountName", Shape::All),
        ]),
    ),
    (
        "status",
        Shape::Fields(&[
            (
                "conditions",
                Shape::Where(
                    "type",
                    &["ContainersReady", "Ready"],
                    &Shape::Fields(&[("status", Shape::All), ("type", Shape::All)]),
                ),
            ),
            ("phase", Shape::All),
            ("podIP", Shape::All),
            ("podIPs", Shape::All),
        ]),
    ),
]);

const CONFIG_MAP: Shape = Shape::Fields(&[("data", Shape::Fields(&[("mesh", Shape::All)]))]);

/// The keys of certificates, private keys and roots; see `validate::secret`.
const SECRET: Shape = Shape::Fields(&[
    (
        "data",
        Shape::Fields(&[
            ("ca.crt", Shape::All),
            ("cacert", Shape::All),
            ("cert", Shape::All),
            ("key", Shape::All),
            ("tls.crt", Shape::All),
            ("tls.key", Shape::All),
        ]),
    ),
    ("type", Shape::All),
]);

#[cfg(test)]
mod tests {
    use super::*;

    fn reduced(kind: Kind, object: Value) -> Option<Value> {
        kept(kind, "v1", serde_json::from_value(object).unwrap())
    }

    #[test]
    fn fields_without_a_reader_are_dropped() {
        let pod = json!({
            "metadata": {
                "name": "a", "namespace": "b", "resourceVersion": "7", "generation": 1,
                "managedFields": [{"manager": "kubectl"}],
                "annotations": {
                    "kubectl.kubernetes.io/last-applied-configuration": "{}", "sidecar.istio.io/inject": "true",
                },
            },
            "spec": {
                "nodeName": "n", "aFieldOfLater": {"x": 1}, "volumes": [{"name": "v"}],
                "containers": [{"name": "c", "image": "i", "env": [{"name": "PASSWORD", "value": "p"}], "args": ["x"]}],
            },
            "status": {"conditions": [
                {"type": "Ready", "status": "True", "lastProbeTime": "2026-01-01T00:00:00Z"},
                {"type": "Initialized", "status": "True"},
            ]},
        });
        let expected = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "a", "namespace": "b", "annotations": {"sidecar.istio.io/inject": "true"}},
            "spec": {"containers": [{"name": "c", "env": [], "args": ["x"]}], "nodeName": "n"},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        });
        assert_eq!(reduced(Kind::Pod, pod), Some(expected));
    }

    #[test]
    fn a_secret_without_a_certificate_is_dropped_and_one_with_keeps_nothing_else() {
        let secret = |data: Value| json!({"metadata": {"name": "a", "namespace": "b"}, "type": "Opaque", "data": data});
        assert_eq!(reduced(Kind::Secret, secret(json!({"password": "cA=="}))), None);
        let both = reduced(Kind::Secret, secret(json!({"password": "cA==", "cacert": "cA=="}))).unwrap();
        assert_eq!(both["data"], json!({"cacert": "cA=="}));
    }

    #[test]
    fn an_object_of_the_mesh_keeps_its_spec_and_generation_but_not_its_status() {
        let object = json!({
            "metadata": {"name": "a", "namespace": "b", "generation": 3, "resourceVersion": "9"},
            "spec": {"hosts": ["a"], "oops": 1},
            "status": {"conditions": []},
        });
        let expected = json!({
            "apiVersion": "v1",
            "kind": "VirtualService",
            "metadata": {"name": "a", "namespace": "b", "generation": 3},
            "spec": {"hosts": ["a"], "oops": 1},
        });
        assert_eq!(reduced(Kind::VirtualService, object), Some(expected));
    }
}
