//! The webhook's responses to requests that an API server does not send, and the resulting metrics.

use axum::{body::Bytes, http::Request};
use prometheus::Registry;
use serde_json::{Value, json};
use tower_service::Service as _;

use super::*;

struct Webhook {
    router: Router,
    counters: Counters,
}

impl Webhook {
    fn new() -> Self {
        let counters = Counters::new(&Registry::new());
        Self { router: router(watch::channel(Arc::default()).1, counters.clone()), counters }
    }

    async fn ask(&mut self, method: &str, kind: &str, body: Body) -> (u16, String) {
        self.ask_at("/inject", method, kind, body).await
    }

    async fn ask_at(&mut self, path: &str, method: &str, kind: &str, body: Body) -> (u16, String) {
        let request = Request::builder().method(method).uri(path).header("content-type", kind);
        let response = self.router.call(request.body(body).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    fn counts(&self) -> [u64; 4] {
        let Counters { requests, success, failure, skip, .. } = &self.counters;
        [requests, success, failure, skip].map(prometheus::IntCounter::get)
    }
}

fn review(pod: &Value) -> Body {
    let review = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {"uid": "1", "kind": {"kind": "Pod"}, "namespace": "shop", "operation": "CREATE", "object": pod}
    });
    Body::from(review.to_string())
}

const JSON: &str = "application/json; charset=utf-8";

#[tokio::test]
async fn the_path_names_the_cluster_of_the_request() {
    let mut webhook = Webhook::new();
    let pod = json!({"metadata": {"name": "a"}, "spec": {"containers": [{"name": "a"}]}});
    for (path, cluster) in [
        ("/inject", "Kubernetes"),
        ("/inject/", "Kubernetes"),
        ("/inject/cluster/east/net/n1", "east"),
        ("/inject/%3AENV%3Acluster%3Dea%2Fst", "ea/st"),
    ] {
        let (status, response) = webhook.ask_at(path, "POST", JSON, review(&pod)).await;
        assert_eq!(status, 200, "{path}");
        let response: Value = serde_json::from_str(&response).unwrap();
        let patch = response["response"]["patch"].as_str().expect("a patch");
        let patch = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, patch).unwrap();
        let patch = String::from_utf8(patch).unwrap();
        assert!(
            patch.contains(&format!(r#"{{"name":"ISTIO_META_CLUSTER_ID","value":"{cluster}"}}"#)),
            "{patch}"
        );
        assert_eq!(patch.contains(r#""topology.istio.io/network":"n1""#), path.ends_with("n1"), "{patch}");
    }
    assert_eq!(webhook.ask_at("/injected", "POST", JSON, review(&pod)).await.0, 404);
}

#[tokio::test]
async fn each_kind_of_invalid_review_has_its_status() {
    let mut webhook = Webhook::new();
    assert_eq!(webhook.ask("GET", JSON, Body::empty()).await.0, 405);
    assert_eq!(webhook.ask("POST", "text/plain", Body::from("{}")).await.0, 415);
    assert_eq!(webhook.ask("POST", "", Body::from("{}")).await.0, 415);
    let (status, reason) = webhook.ask("POST", JSON, Body::from("{}")).await;
    assert_eq!(status, 400);
    assert!(reason.contains("AdmissionReview"), "{reason}");
    assert_eq!(webhook.counts(), [3, 0, 3, 0], "a wrong method is no request for injection");
}

#[tokio::test]
async fn a_review_that_grows_when_it_is_read_is_refused_before() {
    let mut webhook = Webhook::new();
    for bomb in ["[],", "{\"\":0},", "0,"] {
        let text =
            format!("{{\"request\":{{\"object\":[{}0]}}}}", bomb.repeat((MAX_BODY - 100) / bomb.len()));
        let (status, reason) = webhook.ask("POST", JSON, Body::from(text)).await;
        assert_eq!((status, reason.as_str()), (413, "the review has too many values\n"), "{bomb}");
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_with_and_without_a_length() {
    let mut webhook = Webhook::new();
    let large = vec![b' '; MAX_BODY + 1];
    assert_eq!(webhook.ask("POST", JSON, Body::from(large.clone())).await.0, 413);
    let pieces = large.chunks(1 << 20).map(|piece| Ok::<_, std::io::Error>(Bytes::copy_from_slice(piece)));
    let stream = Body::from_stream(futures_util::stream::iter(pieces.collect::<Vec<_>>()));
    assert_eq!(webhook.ask("POST", JSON, stream).await.0, 413);
    let mut fits = vec![b' '; MAX_BODY - 2];
    fits.extend(b"{}");
    assert_eq!(webhook.ask("POST", JSON, Body::from(fits)).await.0, 400);
}

#[tokio::test]
async fn outcomes_are_counted() {
    let mut webhook = Webhook::new();
    let pod = json!({"metadata": {"name": "a"}, "spec": {"containers": [{"name": "a"}]}});
    let (status, response) = webhook.ask("POST", JSON, review(&pod)).await;
    assert_eq!(status, 200);
    let response: Value = serde_json::from_str(&response).unwrap();
    assert_eq!(response["kind"], "AdmissionReview");
    assert!(response["response"]["patch"].is_string());
    let mut out = pod.clone();
    out["metadata"]["labels"] = json!({"sidecar.istio.io/inject": "false"});
    assert_eq!(webhook.ask("POST", JSON, review(&out)).await.0, 200);
    let mut wrong = pod;
    wrong["metadata"]["annotations"] = json!({"inject.istio.io/templates": "unknown"});
    assert_eq!(webhook.ask("POST", JSON, review(&wrong)).await.0, 200);
    assert_eq!(webhook.counts(), [3, 1, 1, 1]);
}
