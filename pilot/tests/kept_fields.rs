//! The parts of a cluster's objects that pilot keeps are those that it reads: an object gives the same checked form with
//! and without the parts that are dropped. A validator that reads a further field needs it in `source/kubernetes/kept.rs`.

#![allow(clippy::unwrap_used, reason = "helpers of a test fail the test")]

use api::resource::document::Place;
use api::resource::parse;
use pilot::catalog::policy::Mesh;
use pilot::source::kubernetes::kept::kept;
use pilot::validate;

/// Objects in which every field that a validator reads has another value than its default.
const OBJECTS: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {a: b}, uid: u, creationTimestamp: '2026-01-01T00:00:00Z'}
---
apiVersion: v1
kind: Service
metadata:
  name: s
  namespace: shop
  uid: u
  creationTimestamp: '2026-01-01T00:00:00Z'
  labels: {a: b}
  annotations: {networking.istio.io/exportTo: x}
spec:
  type: LoadBalancer
  clusterIP: 10.0.0.1
  clusterIPs: [10.0.0.1, 'fd00::1']
  selector: {app: s}
  publishNotReadyAddresses: true
  sessionAffinity: ClientIP
  internalTrafficPolicy: Local
  trafficDistribution: PreferClose
  externalIPs: [192.0.2.1]
  loadBalancerSourceRanges: [192.0.2.0/24]
  ports:
  - {name: a, port: 80, targetPort: web, appProtocol: http}
  - {name: b, port: 81, targetPort: 8081, protocol: SCTP}
---
apiVersion: v1
kind: Service
metadata: {name: e, namespace: shop}
spec: {type: ExternalName, externalName: a.test, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: h, namespace: shop}
spec: {clusterIP: None, selector: {app: h}, ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: s-1
  namespace: shop
  labels:
    kubernetes.io/service-name: s
    endpointslice.kubernetes.io/managed-by: endpointslice-controller.k8s.io
addressType: IPv4
ports: [{name: a, port: 8080, protocol: TCP}]
endpoints:
- addresses: [10.1.0.1]
  conditions: {ready: false, serving: true, terminating: true}
  targetRef: {kind: Pod, namespace: shop, name: p, uid: u}
  nodeName: node
  zone: z
- {addresses: [10.1.0.2], conditions: {ready: false}}
---
apiVersion: v1
kind: Pod
metadata:
  name: p-6d-x
  namespace: shop
  uid: u
  creationTimestamp: '2026-01-01T00:00:00Z'
  deletionTimestamp: '2026-01-01T00:00:00Z'
  labels: {app: p, pod-template-hash: 6d, security.istio.io/tlsMode: istio, version: v1}
  ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: p-6d, uid: u, controller: true}]
spec:
  serviceAccountName: a
  hostNetwork: true
  nodeName: node
  initContainers:
  - name: istio-proxy
    restartPolicy: Always
    command: [ostria-proxy]
    args: [proxy, sidecar]
    env: [{name: ISTIO_META_HTTP10, value: '1'}, {name: OTHER, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
    ports: [{name: metrics, containerPort: 15090}]
  containers:
  - {name: c, image: i, ports: [{name: web, containerPort: 8080, protocol: TCP}]}
status:
  phase: Failed
  podIP: 10.1.0.1
  podIPs: [{ip: 10.1.0.1}, {ip: 'fd00::2'}]
  conditions: [{type: Ready, status: 'True', lastTransitionTime: '2026-01-01T00:00:00Z'}]
---
apiVersion: v1
kind: Secret
metadata: {name: t, namespace: shop}
type: kubernetes.io/tls
data: {tls.crt: LS0tLS1CRUdJTiBBLS0tLS0=, tls.key: LS0tLS1CRUdJTiBCLS0tLS0=, ca.crt: LS0tLS1CRUdJTiBDLS0tLS0=}
---
apiVersion: v1
kind: Secret
metadata: {name: g, namespace: shop}
type: Opaque
data: {cert: LS0tLS1CRUdJTiBBLS0tLS0=, key: LS0tLS1CRUdJTiBCLS0tLS0=, cacert: LS0tLS1CRUdJTiBDLS0tLS0=}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: 'accessLogFile: /dev/stdout', other: x}
";

#[test]
fn dropped_parts_change_no_checked_form() {
    let parsed = parse::parse("a.yaml", OBJECTS);
    assert_eq!(parsed.refusals, []);
    assert!(parsed.documents.len() > 8);
    for document in parsed.documents {
        let object = &document.object;
        let received = serde_json::from_value(document.raw.clone()).unwrap();
        let reduced = kept(object.kind(), &object.api_version, received).unwrap();
        assert!(reduced.to_string().len() <= document.raw.to_string().len());
        let reduced = parse::object(&Place::default(), &reduced).unwrap();
        let check = |object| {
            let checked = validate::object(&Place::default(), object, &Mesh::default());
            let warnings: Vec<String> =
                checked.warnings.iter().map(|w| format!("{} {}", w.path, w.reason)).collect();
            (checked.item, checked.errors.len(), warnings)
        };
        assert_eq!(check(object), check(&reduced), "{}", object.key);
    }
}
