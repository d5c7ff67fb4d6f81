//! Admission reviews: every review gets a response, every patch applies to the pod it was made for, and a pod with its
//! sidecar gets no other one.

use crate::words;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use injector::config::Settings;
use injector::flow::{Outcome, Skip};
use injector::pipeline::process;
use serde::Deserialize;
use serde_json::{Value, json};

/// See the module. The first byte chooses: a whole review, or the pod in one.
pub fn run(data: &[u8]) {
    let Some((choice, rest)) = words::choice(data, 2) else { return };
    let settings = Settings::default();
    if choice == 0 {
        check_response(rest, &settings);
    } else if let Ok(pod) = serde_json::from_slice::<Value>(rest) {
        check_response(review(&pod).to_string().as_bytes(), &settings);
    }
}

fn check_response(body: &[u8], settings: &Settings) {
    let Ok(outcome) = process(body, settings) else { return };
    let review: ParsedReview = serde_json::from_slice(body).expect("only JSON is accepted");
    let response = serde_json::to_value(&outcome.response).expect("a response is JSON");
    assert_eq!(response["uid"], review.request.uid, "a response repeats the uid");
    match &outcome.outcome {
        Outcome::Injected { patch, .. } => {
            let encoded = response["patch"].as_str().expect("an injected pod has a patch");
            let sent: json_patch::Patch =
                serde_json::from_slice(&STANDARD.decode(encoded).expect("base64")).expect("a patch");
            assert_eq!(sent, *patch);
            let mut pod = review.request.object.clone();
            json_patch::patch(&mut pod, &sent).unwrap_or_else(|error| panic!("{error}: {patch}"));
            twice(&pod, settings);
        }
        Outcome::Denied(reason) => assert!(!reason.is_empty(), "a refusal says why"),
        Outcome::Skipped(_) => assert_eq!(response["allowed"], true),
    }
}

/// The fields that the response depends on. Fields that are not read may contain any bytes between their quotes.
#[derive(Deserialize)]
struct ParsedReview {
    request: Request,
}

#[derive(Deserialize)]
struct Request {
    uid: Value,
    #[serde(default)]
    object: Value,
}

fn twice(pod: &Value, settings: &Settings) {
    let again = process(review(pod).to_string().as_bytes(), settings).expect("a patched pod is reviewed");
    assert_eq!(again.outcome, Outcome::Skipped(Skip::AlreadyInjected), "{pod}");
}

fn review(pod: &Value) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "1", "namespace": "shop", "operation": "CREATE",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "object": pod,
        }
    })
}
