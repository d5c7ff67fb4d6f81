//! The webhook's HTTP interface.

use super::*;
use crate::catalog::Catalog;
use serde_json::{Value, json};
use std::time::Instant;
use tower_service::Service;

fn webhook(generation: u64) -> Webhook {
    #[expect(clippy::disallowed_methods, reason = "a test's own clock")]
    let snapshot = Snapshot::new(Arc::new(Catalog::default()), generation, Instant::now());
    let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
    Webhook { snapshots: watch::channel(Arc::new(snapshot)).1, metrics }
}

async fn post(webhook: &Webhook, kind: &str, body: Vec<u8>) -> (u16, Vec<u8>) {
    let request =
        http::Request::post("/validate").header("content-type", kind).body(Body::from(body)).unwrap();
    let response = router(webhook.clone()).call(request).await.unwrap();
    let status = response.status().as_u16();
    (status, to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec())
}

fn review(protocol: &str) -> Vec<u8> {
    let server = json!({"port": {"number": 80, "name": "http", "protocol": protocol}, "hosts": ["*"]});
    let object = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": {"name": "g", "namespace": "shop"},
        "spec": {"selector": {"app": "g"}, "servers": [server]},
    });
    review_of(&object)
}

fn review_of(object: &Value) -> Vec<u8> {
    let namespace = &object["metadata"]["namespace"];
    let request = json!({"uid": "7", "operation": "CREATE", "namespace": namespace, "object": object});
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request})
        .to_string()
        .into()
}

#[tokio::test]
async fn reviews_are_answered_with_the_field_and_counted() {
    let webhook = webhook(1);
    for (protocol, allowed) in [("HTTP", true), ("NONSENSE", false)] {
        let (status, body) = post(&webhook, "application/json", review(protocol)).await;
        let response = &serde_json::from_slice::<Value>(&body).unwrap()["response"];
        assert_eq!(
            (status, response["uid"].as_str(), response["allowed"].as_bool()),
            (200, Some("7"), Some(allowed))
        );
        let message = response["status"]["message"].as_str().unwrap_or_default();
        assert_eq!(
            message.contains("Gateway shop/g: spec.servers[0].port.protocol: "),
            !allowed,
            "{message}"
        );
    }
    assert_eq!((webhook.metrics.validation_passed.get(), webhook.metrics.validation_failed.get()), (1, 1));
}

#[tokio::test]
async fn the_object_of_the_trial_is_refused_in_the_words_that_the_trial_looks_for() {
    let trial = kubernetes::registration::trial::validation("mesh", "");
    let object = serde_json::to_value(&trial.object).unwrap();
    let (_, body) = post(&webhook(1), "application/json", review_of(&object)).await;
    let response = &serde_json::from_slice::<Value>(&body).unwrap()["response"];
    // The API server passes the webhook's message on after its own words.
    let message =
        format!("denied the request: {}", response["status"]["message"].as_str().unwrap_or_default());
    assert!(trial.marks.iter().all(|mark| message.contains(mark)), "{message}");
}

#[tokio::test]
async fn what_is_no_review_or_comes_too_early_gets_an_error() {
    let heavy = format!("{{\"request\":[{}0]}}", "[],".repeat(1_000_000)).into_bytes();
    let table = [
        (1, "text/plain", review("HTTP"), 415),
        (1, "application/json; charset=utf-8", review("HTTP"), 200),
        (1, "application/json", b"{}".to_vec(), 400),
        (1, "application/json", b"[".to_vec(), 400),
        (1, "application/json", heavy, 413),
        (1, "application/json", vec![b' '; MAX_BODY + 1], 413),
        (0, "application/json", review("HTTP"), 503),
    ];
    for (generation, kind, body, expected) in table {
        let start = String::from_utf8_lossy(&body[..body.len().min(20)]).into_owned();
        assert_eq!(post(&webhook(generation), kind, body).await.0, expected, "{generation} {kind} {start}");
    }
}
