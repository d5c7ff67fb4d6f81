//! Claims of proxies, checked against Pods, certificates and addresses.

use super::*;
use crate::flow::Fact;
use crate::validate;
use api::resource::parse;
use serde_json::json;

/// A sidecar, a gateway and a pod whose command line shows no proxy. Two pods share an account, and one uses its node's
/// network.
const PODS: &str = "
apiVersion: v1
kind: Pod
metadata: {name: reviews, namespace: shop, labels: {app: reviews}}
spec: {serviceAccountName: reviews, containers: [{name: c, command: [x]}, {name: istio-proxy, args: [proxy, sidecar, --domain, x]}]}
status: {podIP: 10.0.0.1, phase: Running}
---
apiVersion: v1
kind: Pod
metadata: {name: reviews-2, namespace: shop, labels: {app: reviews, version: v2}}
spec: {serviceAccountName: reviews, containers: [{name: istio-proxy, args: [proxy, sidecar]}]}
status: {podIP: 10.0.0.2, phase: Running}
---
apiVersion: v1
kind: Pod
metadata: {name: gate, namespace: shop, labels: {istio: ingressgateway}}
spec: {serviceAccountName: gate, containers: [{name: istio-proxy, command: [sh, -c, exec ostria-proxy proxy router]}]}
status: {podIP: 10.0.0.3, podIPs: [{ip: 10.0.0.3}, {ip: 'fd00::3'}], phase: Running}
---
apiVersion: v1
kind: Pod
metadata: {name: bare, namespace: shop, labels: {app: bare}}
spec: {serviceAccountName: reviews, containers: [{name: c, command: [x]}]}
status: {podIP: 10.0.0.4, phase: Running}
---
apiVersion: v1
kind: Pod
metadata: {name: over, namespace: shop, labels: {app: over}}
spec: {serviceAccountName: reviews, restartPolicy: Never, containers: [{name: c, command: [x]}]}
status: {podIP: 10.0.0.5, phase: Succeeded}
---
apiVersion: v1
kind: Pod
metadata: {name: agent, namespace: shop, labels: {app: agent}}
spec: {serviceAccountName: agent, hostNetwork: true, containers: [{name: c, command: [x]}]}
status: {podIP: 192.168.0.1, phase: Running}
";

fn catalog(texts: &str) -> Catalog {
    let parsed = parse::parse("test.yaml", texts);
    assert!(parsed.refusals.is_empty(), "{:?}", parsed.refusals);
    let catalog = Catalog::default();
    let facts = parsed.documents.into_iter().map(Fact::Upsert).collect();
    let (changes, _) = validate::judge(facts, catalog.mesh());
    catalog.apply(changes).0
}

fn node(id: &str, metadata: &Value) -> NodeInfo {
    NodeInfo { id: id.into(), metadata: metadata.as_object().unwrap().clone(), ..NodeInfo::default() }
}

fn claimed(role: &str, pod: &str, account: Option<&str>, address: Option<&str>) -> Claim {
    let identity: Option<SpiffeId> =
        account.map(|account| format!("spiffe://cluster.local/ns/shop/sa/{account}").parse().unwrap());
    // Everything that a proxy could claim falsely.
    let metadata = json!({
        "NAMESPACE": "shop", "LABELS": {"istio": "ingressgateway"}, "INSTANCE_IPS": "10.0.0.3", "NAME": "gate",
    });
    let info = node(&format!("{role}~10.0.0.3~{pod}.shop~shop.svc.cluster.local"), &metadata);
    let address = address.map(|address| address.parse().unwrap());
    claim(&info, Caller { identity: identity.as_ref(), address }).unwrap()
}

/// The scope in short: role, labels and whether the Pod is proven; or the error.
fn outcome(role: &str, pod: &str, account: Option<&str>, address: Option<&str>) -> String {
    match claimed(role, pod, account, address).scope(&catalog(PODS), None) {
        Ok(scope) => {
            let role = if scope.gateway { "router" } else { "sidecar" };
            let labels: Vec<String> = scope.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
            let proven = if scope.proven { "proven" } else { "unknown" };
            format!("{role} {} {proven}", labels.join(",")).replace("  ", " ")
        }
        Err(NodeError::Foreign { reason, .. }) => reason,
        Err(other) => other.to_string(),
    }
}

#[test]
fn role_and_labels_come_from_the_pod() {
    let reviews = Some("reviews");
    let cases = [
        (outcome("sidecar", "reviews", reviews, Some("10.0.0.1")), "sidecar app=reviews proven"),
        (outcome("router", "gate", Some("gate"), Some("10.0.0.3")), "router istio=ingressgateway proven"),
        (outcome("router", "gate", Some("gate"), Some("fd00::3")), "router istio=ingressgateway proven"),
        (outcome("router", "reviews", reviews, Some("10.0.0.1")), "that pod runs a sidecar"),
        (outcome("sidecar", "gate", Some("gate"), Some("10.0.0.3")), "that pod runs a router"),
        // Nothing shows what such a pod runs: its labels decide which Gateways select it.
        (outcome("router", "bare", reviews, Some("10.0.0.4")), "router app=bare proven"),
    ];
    for (found, expected) in cases {
        assert_eq!(found, expected);
    }
}

#[test]
fn a_claimed_pod_must_match_the_clients_account_and_address() {
    let reviews = Some("reviews");
    let cases = [
        (outcome("router", "gate", reviews, Some("10.0.0.1")), "that pod has service account gate"),
        (outcome("router", "gate", Some("gate"), Some("10.0.0.1")), "10.0.0.1 is the address of pod reviews"),
        // They share an account: the address distinguishes them.
        (
            outcome("sidecar", "reviews-2", reviews, Some("10.0.0.1")),
            "10.0.0.1 is the address of pod reviews",
        ),
        (outcome("sidecar", "reviews-2", reviews, Some("10.0.0.2")), "sidecar app=reviews,version=v2 proven"),
        // An address that belongs to no pod may be a translated one.
        (outcome("sidecar", "reviews", reviews, Some("172.16.0.1")), "sidecar app=reviews proven"),
        (outcome("sidecar", "reviews", reviews, Some("10.0.0.5")), "sidecar app=reviews proven"),
        (outcome("sidecar", "agent", Some("agent"), Some("192.168.0.1")), "sidecar app=agent proven"),
        (outcome("sidecar", "reviews", reviews, None), "sidecar app=reviews proven"),
    ];
    for (found, expected) in cases {
        assert_eq!(found, expected);
    }
}

#[test]
fn an_unknown_or_finished_pod_yields_nothing() {
    for pod in ["ghost", "over", "", "gate.shop", "../gate"] {
        let found = outcome("router", pod, Some("reviews"), Some("10.0.0.1"));
        assert_eq!(found, "router unknown", "{pod:?}");
    }
}

#[test]
fn without_a_certificate_the_address_must_be_the_pods() {
    let cases = [
        (outcome("sidecar", "reviews", None, Some("10.0.0.1")), "sidecar app=reviews proven"),
        (outcome("sidecar", "reviews", None, Some("10.0.0.2")), "10.0.0.2 is the address of pod reviews-2"),
        (outcome("sidecar", "reviews", None, Some("172.16.0.1")), "172.16.0.1 is not an address of that pod"),
        (
            outcome("sidecar", "ghost", None, Some("172.16.0.1")),
            "no such pod is known, and there is no certificate to verify the claim",
        ),
        // A process on pilot's own machine can use any address.
        (outcome("sidecar", "reviews", None, None), "sidecar app=reviews proven"),
        (outcome("sidecar", "ghost", None, None), "sidecar unknown"),
    ];
    for (found, expected) in cases {
        assert_eq!(found, expected);
    }
    let scope = claimed("router", "gate", None, None).scope(&catalog(PODS), None).unwrap();
    assert_eq!(scope.service_account, "", "without an account there is no secret");
}

#[test]
fn a_scope_follows_its_pod() {
    let claim = claimed("router", "gate", Some("gate"), Some("10.0.0.3"));
    let early = claim.scope(&Catalog::default(), None).unwrap();
    assert!(!claim.is_proven(&Catalog::default()) && !early.proven && early.labels.is_empty());
    let first = claim.scope(&catalog(PODS), Some(&early)).unwrap();
    assert!(first.proven && first.labels["istio"] == "ingressgateway");
    assert!(Arc::ptr_eq(&first, &claim.scope(&catalog(PODS), Some(&first)).unwrap()), "nothing changed");
    let relabelled = catalog(&PODS.replace("ingressgateway", "retired"));
    assert_eq!(claim.scope(&relabelled, Some(&first)).unwrap().labels["istio"], "retired");
    let gone = claim.scope(&Catalog::default(), Some(&first)).unwrap();
    assert_eq!(*gone, Scope { proven: false, ..Scope::clone(&first) }, "it drains with what it had");
    assert!(Arc::ptr_eq(&gone, &claim.scope(&Catalog::default(), Some(&gone)).unwrap()));
    let replaced = catalog(&PODS.replace("serviceAccountName: gate", "serviceAccountName: other"));
    assert!(matches!(claim.scope(&replaced, Some(&first)), Err(NodeError::Foreign { .. })));
}

#[test]
fn a_certificate_of_another_workload_is_denied() {
    let peer: SpiffeId = "spiffe://cluster.local/ns/default/sa/reviews".parse().unwrap();
    let claims = [
        (json!({"NAMESPACE": "default", "SERVICE_ACCOUNT": "reviews"}), true),
        (json!({"NAMESPACE": "default"}), true),
        (json!({}), true),
        (json!({"NAMESPACE": "other", "SERVICE_ACCOUNT": "reviews"}), false),
        (json!({"NAMESPACE": "default", "SERVICE_ACCOUNT": "ratings"}), false),
        (json!({"NAMESPACE": "x".repeat(10_000)}), false),
    ];
    for (metadata, allowed) in claims {
        let info = node("sidecar~10.0.0.7~reviews-v1-x.default~default.svc.cluster.local", &metadata);
        let found = claim(&info, Caller { identity: Some(&peer), address: None });
        assert_eq!(found.is_ok(), allowed, "{metadata}");
        assert!(
            found.err().is_none_or(|error| error.to_string().len() < 3_000),
            "nothing echoes without bound"
        );
    }
}

#[test]
fn a_malformed_node_is_refused() {
    let long = format!("sidecar~10.0.0.1~{}.shop~shop.svc", "x".repeat(2_000));
    for id in ["", "waypoint~1~x", "sidecar~10.0.0.1~pod~d", &long] {
        let found = claim(&node(id, &json!({})), Caller::default());
        assert!(matches!(found, Err(NodeError::Invalid(_))), "{id}");
    }
}
