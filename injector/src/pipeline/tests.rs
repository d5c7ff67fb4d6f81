//! Whole reviews: pods as people write them against golden patches and pods, what is answered to pods that stay as
//! they are or cannot be injected, and bodies that no API server sends.

use std::{fs, path::Path};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::config::{Policy, Settings};

fn golden_pods() -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/pipeline/golden");
    let mut pods: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            (path.file_stem().unwrap().to_string_lossy().into_owned(), serde_saphyr::from_str(&text).unwrap())
        })
        .collect();
    pods.sort_by(|one, other| one.0.cmp(&other.0));
    assert!(pods.len() >= 8);
    pods
}

fn review(pod: &Value) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5", "namespace": "shop", "operation": "CREATE",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "userInfo": {"username": "system:admin"}, "dryRun": false,
            "object": pod,
        }
    })
}

fn answered(review: &Value, settings: &Settings) -> Answered {
    answer(review.to_string().as_bytes(), settings).unwrap()
}

/// The answer's JSON as the API server reads it: the patch, if any, and the pod after it.
fn injected(pod: &Value, settings: &Settings) -> (Value, Value) {
    let answer = serde_json::to_value(answered(&review(pod), settings).answer).unwrap();
    assert_eq!(answer["response"]["uid"], "705ab4f5");
    assert_eq!(answer["response"]["allowed"], true, "{answer}");
    let Some(patch) = answer["response"]["patch"].as_str() else { return (Value::Null, pod.clone()) };
    assert_eq!(answer["response"]["patchType"], "JSONPatch");
    let patch = STANDARD.decode(patch).unwrap();
    let patch: json_patch::Patch = serde_json::from_slice(&patch).unwrap();
    let mut patched = pod.clone();
    json_patch::patch(&mut patched, &patch).unwrap();
    (serde_json::to_value(patch).unwrap(), patched)
}

#[test]
fn pods_get_their_golden_sidecars() {
    for (name, pod) in golden_pods() {
        let (patch, patched) = injected(&pod, &Settings::default());
        insta::assert_snapshot!(format!("{name}.pod"), serde_saphyr::to_string(&patched).unwrap());
        insta::assert_snapshot!(format!("{name}.patch"), serde_json::to_string_pretty(&patch).unwrap());
    }
}

#[test]
fn the_meshs_settings_show_in_the_pod() {
    let mut settings = Settings::default();
    let template = &mut settings.template;
    template.image = "example.com/proxy:2".to_owned();
    template.image_pull_policy = "Never".to_owned();
    template.image_pull_secrets = vec!["pull".to_owned()];
    template.network = "west".to_owned();
    template.mesh_id = "mesh1".to_owned();
    template.revision = "canary".to_owned();
    template.native_sidecar = false;
    template.dns_capture = false;
    template.merge_metrics = false;
    template.traffic.exclude_outbound_ports = "25".to_owned();
    let (_, pod) =
        injected(&golden_pods().into_iter().find(|(name, _)| name == "plain").unwrap().1, &settings);
    let proxy = &pod["spec"]["containers"][1];
    assert_eq!(
        (&proxy["image"], &proxy["imagePullPolicy"]),
        (&json!("example.com/proxy:2"), &json!("Never"))
    );
    assert_eq!(pod["spec"]["imagePullSecrets"], json!([{"name": "pull"}]));
    assert_eq!(pod["metadata"]["annotations"]["istio.io/rev"], "canary");
    assert!(pod["metadata"]["annotations"].get("prometheus.io/port").is_none());
    let variable = |name: &str| {
        let list = proxy["env"].as_array().unwrap();
        list.iter().find(|variable| variable["name"] == name).map(|variable| variable["value"].clone())
    };
    assert_eq!(variable("ISTIO_META_NETWORK"), Some(json!("west")));
    assert_eq!(variable("ISTIO_META_MESH_ID"), Some(json!("mesh1")));
    assert_eq!(variable("ISTIO_META_DNS_CAPTURE"), None);
    let arguments = pod["spec"]["initContainers"][0]["args"].to_string();
    assert!(arguments.contains(r#""-o","25""#) && !arguments.contains("--redirect-dns"), "{arguments}");
}

#[test]
fn pods_that_opt_out_and_requests_about_other_things_get_no_patch() {
    let plain = json!({"metadata": {"name": "a"}, "spec": {"containers": [{"name": "a"}]}});
    let mut opted_out = plain.clone();
    opted_out["metadata"]["labels"] = json!({"sidecar.istio.io/inject": "false"});
    let mut host = plain.clone();
    host["spec"]["hostNetwork"] = json!(true);
    let change = |pod: &Value, path: &str, value: Value| {
        let mut review = review(pod);
        let (parent, name) = path.rsplit_once('/').unwrap();
        review.pointer_mut(parent).unwrap()[name] = value;
        review
    };
    let table = [
        (review(&opted_out), Skip::OptedOut),
        (review(&host), Skip::HostNetwork),
        (change(&plain, "/request/namespace", json!("kube-system")), Skip::SystemNamespace),
        (change(&plain, "/request/operation", json!("UPDATE")), Skip::NotAPod),
        (change(&plain, "/request/operation", json!("DELETE")), Skip::NotAPod),
        (change(&plain, "/request/subResource", json!("ephemeralcontainers")), Skip::NotAPod),
        (change(&plain, "/request/kind/kind", json!("Deployment")), Skip::NotAPod),
    ];
    for (review, expected) in table {
        let answered = answered(&review, &Settings::default());
        assert_eq!(answered.outcome, Outcome::Skipped(expected), "{review}");
        assert!(answered.answer.response.allowed && answered.answer.response.patch.is_none());
    }
    let mut disabled = Settings::default();
    disabled.selection.policy = Policy::Disabled;
    assert_eq!(answered(&review(&plain), &disabled).outcome, Outcome::Skipped(Skip::PolicyDisabled));
}

#[test]
fn a_pod_that_cannot_be_injected_is_refused_with_its_name_and_the_annotation() {
    let annotation = "traffic.sidecar.istio.io/excludeInboundPorts";
    let pod = json!({
        "metadata": {"generateName": "cart-", "annotations": {annotation: "80,http"}},
        "spec": {"containers": [{"name": "a"}]}
    });
    let answer = answered(&review(&pod), &Settings::default()).answer;
    let status = answer.response.status.expect("a refusal has a status");
    assert!(!answer.response.allowed && answer.response.patch.is_none());
    assert_eq!(status.code, 422);
    for part in ["shop/cart-*", annotation, "\"http\" is not a port"] {
        assert!(status.message.contains(part), "{part}: {}", status.message);
    }
    let broken = [
        (json!({"metadata": {"name": "a"}}), "spec: is missing"),
        (json!({"spec": {"containers": "none"}}), "the pod cannot be read"),
        (json!({"spec": {"containers": [{"image": 1}]}}), "the pod cannot be read"),
        (json!("pod"), "the pod cannot be read"),
    ];
    for (pod, part) in broken {
        match answered(&review(&pod), &Settings::default()).outcome {
            Outcome::Denied(reason) => assert!(reason.contains(part), "{pod}: {reason}"),
            other => panic!("{pod}: {other:?}"),
        }
    }
}

#[test]
fn an_annotation_without_effect_is_a_warning_for_the_user() {
    let (_, pod) = golden_pods().into_iter().find(|(name, _)| name == "annotations").unwrap();
    let warnings = answered(&review(&pod), &Settings::default()).answer.response.warnings;
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("componentLogLevel"), "{warnings:?}");
}

#[test]
fn what_is_no_review_of_version_1_is_the_senders_mistake() {
    let nested = "[".repeat(100_000);
    let table = [
        ("", "not an AdmissionReview"),
        ("null", "not an AdmissionReview"),
        ("[]", "not an AdmissionReview"),
        ("{}", "admission.k8s.io/v1"),
        (nested.as_str(), "not an AdmissionReview"),
        (r#"{"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview"}"#, "v1beta1"),
        (r#"{"apiVersion":"admission.k8s.io/v1","kind":"Pod"}"#, "\"Pod\""),
        (r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}"#, "request: is missing"),
        (r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{}}"#, "uid"),
        (r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":7}}"#, "line 1"),
    ];
    for (body, part) in table {
        let message = answer(body.as_bytes(), &Settings::default()).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    }
}

/// Annotations of which any subset makes sense.
const ANNOTATIONS: [(&str, &str); 9] = [
    ("sidecar.istio.io/nativeSidecar", "false"),
    ("sidecar.istio.io/nativeSidecar", "true"),
    ("inject.istio.io/templates", "gateway"),
    ("inject.istio.io/templates", "sidecar"),
    ("sidecar.istio.io/interceptionMode", "NONE"),
    ("status.sidecar.istio.io/port", "0"),
    ("prometheus.io/scrape", "true"),
    ("sidecar.istio.io/rewriteAppHTTPProbers", "true"),
    ("proxy.istio.io/config", "{holdApplicationUntilProxyStarts: true, statusPort: 16020}"),
];

fn some_pod() -> impl Strategy<Value = Value> {
    let pods: Vec<Value> = golden_pods().into_iter().map(|(_, pod)| pod).collect();
    let annotations = proptest::sample::subsequence(ANNOTATIONS.to_vec(), 0..=ANNOTATIONS.len());
    (proptest::sample::select(pods), annotations).prop_map(|(mut pod, annotations)| {
        for (name, value) in annotations {
            let all = &mut pod["metadata"]["annotations"];
            if all.is_null() {
                *all = json!({});
            }
            all[name] = json!(value);
        }
        pod
    })
}

/// Something of every shape, to stand where a pod's field is.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            proptest::collection::hash_map("(name|image|env|ports|metadata|spec|annotations|x)", inner, 0..3)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn injecting_an_injected_pod_changes_nothing(pod in some_pod()) {
        let (patch, patched) = injected(&pod, &Settings::default());
        prop_assert!(!patch.is_null());
        prop_assert_eq!(injected(&patched, &Settings::default()), (Value::Null, patched.clone()));
        let _: Pod = serde_json::from_value(patched).unwrap();
    }

    #[test]
    fn every_container_and_volume_of_the_user_is_still_there_once(pod in some_pod()) {
        let (_, patched) = injected(&pod, &Settings::default());
        let names = |pod: &Value, lists: &[&str]| -> Vec<String> {
            let items = lists.iter().filter_map(|list| pod["spec"][list].as_array()).flatten();
            items.map(|item| item["name"].as_str().unwrap().to_owned()).collect()
        };
        for lists in [&["containers", "initContainers"][..], &["volumes"]] {
            let after = names(&patched, lists);
            for name in names(&pod, lists) {
                prop_assert_eq!(after.iter().filter(|other| **other == name).count(), 1, "{}", name);
            }
        }
        let proxies = names(&patched, &["containers", "initContainers"]);
        prop_assert_eq!(proxies.iter().filter(|name| *name == "istio-proxy").count(), 1);
    }

    #[test]
    fn no_bytes_bring_the_injector_down(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = answer(&body, &Settings::default());
    }

    #[test]
    fn no_review_brings_the_injector_down(
        field in "/request(/object(/metadata(/annotations|/labels|/name|/ownerReferences)?\
                  |/spec(/containers(/0(/ports|/readinessProbe|/env)?)?|/volumes)?)?|/namespace|/kind|/uid)?",
        value in any_json(),
    ) {
        let pods = golden_pods();
        let mut review = review(&pods[pods.len() - 1].1);
        if let Some(place) = review.pointer_mut(&field) {
            *place = value;
        }
        if let Ok(answered) = answer(review.to_string().as_bytes(), &Settings::default()) {
            serde_json::to_string(&answered.answer).unwrap();
        }
    }
}
