//! Objects as `describe` prints them.

use super::*;
use api::resource::document::Problem;
use api::resource::relation::Related;
use api::resource::verdict::{ObjectVerdict, ProxyProgress, ProxyRefusal, Version};
use serde_json::json;

const NOW: i64 = 1_767_225_720;

fn shown(object: Value) -> String {
    render(&Description { object, ..Description::default() }, NOW)
}

fn has(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.lines().any(|one| one == *line), "no line {line:?} in\n{text}");
    }
}

#[test]
fn a_mesh_object_is_described_field_by_field() {
    let text = shown(json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": "reviews", "namespace": "shop", "generation": 2, "labels": {"app": "reviews"}},
        "spec": {"hosts": ["reviews"], "http": [{"route": [{"destination": {"host": "reviews", "subset": "v1"}, "weight": 80}]}]},
    }));
    has(
        &text,
        &[
            "Name:         reviews",
            "Namespace:    shop",
            "Labels:       app=reviews",
            "Annotations:  <none>",
            "API Version:  networking.istio.io/v1",
            "  Generation:  2",
            "Spec:",
            "  Hosts:",
            "    reviews",
            "        Host:    reviews",
            "        Subset:  v1",
            "      Weight:    80",
            "Events:          <none>",
        ],
    );
}

#[test]
fn a_secret_shows_the_lengths_of_its_values_only() {
    let text = shown(json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "cert", "namespace": "shop"},
        "data": {"tls.key": "c2VjcmV0"}, "stringData": {"password": "hunter2"},
    }));
    has(&text, &["Type:  Opaque", "tls.key:   6 bytes", "password:  7 bytes"]);
    for value in ["c2VjcmV0", "secret\n", "hunter2"] {
        assert!(!text.contains(value), "{text}");
    }
}

#[test]
fn a_pod_shows_its_containers_and_conditions() {
    let text = shown(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "web-1", "namespace": "shop", "ownerReferences": [{"kind": "ReplicaSet", "name": "web"}]},
        "spec": {"serviceAccountName": "web", "nodeName": "ostria", "containers": [{
            "name": "app", "command": ["sleep", "9"], "ports": [{"containerPort": 80, "name": "http"}],
            "env": [{"name": "A", "value": "b"}, {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
            "readinessProbe": {"httpGet": {"path": "/ok", "port": 80}},
            "volumeMounts": [{"name": "v", "mountPath": "/v", "readOnly": true}]}],
            "volumes": [{"name": "v", "secret": {"secretName": "s"}}]},
        "status": {"phase": "Running", "podIP": "10.244.0.3", "hostIP": "10.244.0.1", "startTime": "2026-01-01T00:00:00Z",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "app", "ready": true, "restartCount": 1,
                "state": {"running": {"startedAt": "2026-01-01T00:00:05Z"}},
                "lastState": {"terminated": {"exitCode": 3, "reason": "Error"}}}]},
    }));
    has(
        &text,
        &[
            "Node:             ostria/10.244.0.1",
            "Start Time:       Thu, 01 Jan 2026 00:00:00 +0000",
            "Controlled By:    ReplicaSet/web",
            "    Ports:  80/TCP (http)",
            "    Restart Count:  1",
            "      Exit Code:    3",
            "      KEY:  <set to the key 'k' of secret 's'>",
            "      /v from v (ro)",
            "  Ready  True",
        ],
    );
    assert!(
        text.contains("http-get http://:80/ok delay=0s timeout=1s period=10s #success=1 #failure=3"),
        "{text}"
    );
}

#[test]
fn a_deployment_shows_its_pod_count_and_why_there_are_none() {
    let text = shown(json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "app"}]}}},
        "status": {"replicas": 1, "unavailableReplicas": 2, "conditions": [
            {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "no account"}]},
    }));
    has(
        &text,
        &[
            "Selector:           app=web",
            "Replicas:           2 desired | 0 updated | 1 total | 0 available | 2 unavailable",
            "StrategyType:       RollingUpdate",
            "  ReplicaFailure  True    FailedCreate  no account",
        ],
    );
}

#[test]
fn verdict_relations_and_events_follow_the_object() {
    let proxy = |name: &str, acknowledged: u64, refusals: Vec<ProxyRefusal>| ProxyProgress {
        proxy: name.into(),
        acknowledged,
        responded: if refusals.is_empty() { acknowledged } else { 7 },
        refusals,
    };
    let refusal =
        ProxyRefusal { names: vec!["80".into()], detail: "bad".into(), since: 7, ..ProxyRefusal::default() };
    let warning = Problem { path: "spec.http".into(), reason: "is odd".into(), ..Problem::default() };
    let description = Description {
        object: json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"clusterIP": "10.96.0.9", "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}}),
        verdict: Some(ObjectVerdict {
            accepted: true,
            snapshot: 7,
            version: Version { generation: 3, ..Version::default() },
            warnings: vec![warning],
            ..ObjectVerdict::default()
        }),
        proxies: vec![
            proxy("a.shop", 7, vec![]),
            proxy("b.shop", 6, vec![refusal]),
            proxy("c.shop", 6, vec![]),
        ],
        relations: vec![Related {
            kind: "VirtualService".into(),
            namespace: "shop".into(),
            name: "web".into(),
            how: "routes its calls".into(),
        }],
        endpoints: vec![vec!["10.244.0.3:8080".into()]],
        events: vec![
            json!({"type": "Warning", "reason": "FailedCreate", "message": "no account", "count": 3,
            "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:01:30Z",
            "source": {"component": "replicaset-controller"}}),
        ],
    };
    let text = render(&description, NOW);
    has(
        &text,
        &[
            "Port:              http  80/TCP",
            "Endpoints:         10.244.0.3:8080",
            "Verdict:           Accepted (generation 3)",
            "Warnings:          spec.http: is odd",
            "Acknowledged:      1 of 3 proxies",
            "                   a.shop",
            "Not In Force At:   b.shop: rejected 80: bad",
            "                   c.shop: has not acknowledged yet",
            "  VirtualService  shop/web  routes its calls",
            "  Warning  FailedCreate  30s (x3 over 2m)  replicaset-controller  no account",
        ],
    );
}
