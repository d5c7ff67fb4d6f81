//! Whole reviews: pods as users write them against golden patches and pods, the responses to pods that are not changed
//! or cannot be injected, and bodies that no API server sends.

use std::{fs, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::config::{Policy, Settings, Standard};

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

fn processed(review: &Value, settings: &Settings) -> Reviewed {
    process(review.to_string().as_bytes(), settings).unwrap()
}

/// The response's JSON as the API server reads it: the patch, if any, and the pod with the patch applied.
fn injected(pod: &Value, settings: &Settings) -> (Value, Value) {
    let response = AdmissionReview::with_response(processed(&review(pod), settings).response);
    let response = serde_json::to_value(response).unwrap();
    assert_eq!(response["response"]["uid"], "705ab4f5");
    assert_eq!(response["response"]["allowed"], true, "{response}");
    let Some(patch) = response["response"]["patch"].as_str() else { return (Value::Null, pod.clone()) };
    assert_eq!(response["response"]["patchType"], "JSONPatch");
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
fn mesh_settings_appear_in_the_pod() {
    let mut settings = Settings::default();
    let template = &mut settings.template;
    template.image = "example.com/proxy:2".to_owned();
    template.image_pull_policy = "Never".to_owned();
    template.image_pull_secrets = vec!["pull".to_owned()];
    template.network = "west".to_owned();
    template.mesh_id = "mesh1".to_owned();
    template.revision = "canary".to_owned();
    template.native_sidecar = Some(false);
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
        let processed = processed(&review, &Settings::default());
        assert_eq!(processed.outcome, Outcome::Skipped(expected), "{review}");
        assert!(processed.response.allowed && processed.response.patch.is_none());
    }
    let mut disabled = Settings::default();
    disabled.selection.policy = Policy::Disabled;
    assert_eq!(processed(&review(&plain), &disabled).outcome, Outcome::Skipped(Skip::PolicyDisabled));
}

#[test]
fn a_pod_that_cannot_be_injected_is_refused_with_its_name_and_the_annotation() {
    let annotation = "traffic.sidecar.istio.io/excludeInboundPorts";
    let pod = json!({
        "metadata": {"generateName": "cart-", "annotations": {annotation: "80,http"}},
        "spec": {"containers": [{"name": "a"}]}
    });
    let response = processed(&review(&pod), &Settings::default()).response;
    let status = response.status.expect("a refusal has a status");
    assert!(!response.allowed && response.patch.is_none());
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
        match processed(&review(&pod), &Settings::default()).outcome {
            Outcome::Denied(reason) => assert!(reason.contains(part), "{pod}: {reason}"),
            other => panic!("{pod}: {other:?}"),
        }
    }
}

#[test]
fn an_annotation_without_effect_is_a_warning_for_the_user() {
    let (_, pod) = golden_pods().into_iter().find(|(name, _)| name == "annotations").unwrap();
    let warnings = processed(&review(&pod), &Settings::default()).response.warnings;
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("componentLogLevel"), "{warnings:?}");
}

#[test]
fn a_namespace_with_a_pod_security_standard_admits_gateways_and_pods_without_capture_only() {
    let standards = std::sync::Arc::new([("shop".to_owned(), Standard::Restricted)].into());
    let settings = Settings { standards, ..Settings::default() };
    let spec = json!({"containers": [{"name": "app"}]});
    for (annotations, namespace, admitted) in [
        (json!({}), "shop", false),
        (json!({}), "bank", true),
        (json!({"sidecar.istio.io/nativeSidecar": "false"}), "shop", false),
        (json!({"sidecar.istio.io/interceptionMode": "NONE"}), "shop", true),
        (json!({"inject.istio.io/templates": "gateway"}), "shop", true),
    ] {
        let mut review = review(&pod(&annotations, &spec));
        review["request"]["namespace"] = json!(namespace);
        review["request"]["object"]["metadata"]["namespace"] = json!(namespace);
        let response = processed(&review, &settings).response;
        assert_eq!(response.allowed, admitted, "{annotations} in {namespace}: {:?}", response.status);
        let message = serde_json::to_string(&response.status).unwrap();
        assert!(admitted || message.contains("NET_ADMIN"), "{message}");
    }
}

#[test]
fn what_the_author_of_a_pod_will_not_get_is_a_warning() {
    let warned = |labels: Value, annotations: Value, spec: Value| {
        let mut pod = pod(&annotations, &spec);
        pod["metadata"]["labels"] = labels;
        processed(&review(&pod), &Settings::default()).response.warnings
    };
    let ports = |ports: Value| json!({"containers": [{"name": "app", "ports": ports}]});
    let before = |value: &str| json!({"sidecar.istio.io/init-containers-before-proxy": value});
    let inits = json!({"initContainers": [{"name": "vault"}]});
    let volume = |source: Value| json!({"volumes": [source]});
    let (no, none) = (json!({}), [].as_slice());
    let mut classic = before("vault");
    classic["sidecar.istio.io/nativeSidecar"] = json!("false");
    for (labels, annotations, spec, expected) in [
        (
            json!({"istio.io/dataplane-mode": "ambient"}),
            no.clone(),
            no.clone(),
            ["no ambient mode"].as_slice(),
        ),
        (json!({"istio.io/dataplane-mode": "none"}), no.clone(), no.clone(), none),
        (json!({"istio.io/use-waypoint": "w"}), no.clone(), no.clone(), &["istio.io/use-waypoint"]),
        (
            json!({"sidecar.istio.io/logLevel": "debug"}),
            no.clone(),
            no.clone(),
            &["write it as an annotation"],
        ),
        (json!({"sidecar.istio.io/inject": "true", "app": "a"}), no.clone(), no.clone(), none),
        (no.clone(), no.clone(), ports(json!([{"containerPort": 15090}])), &["port 15090"]),
        (no.clone(), no.clone(), ports(json!([{"containerPort": 15020}])), &["port 15020"]),
        (
            no.clone(),
            json!({"status.sidecar.istio.io/port": "16000"}),
            ports(json!([{"containerPort": 16000}])),
            &["port 16000"],
        ),
        (
            no.clone(),
            no.clone(),
            ports(json!([{"containerPort": 15021, "protocol": "UDP"}, {"containerPort": 15014}])),
            none,
        ),
        (no.clone(), before("vault"), inits.clone(), none),
        (no.clone(), before("vault,nope"), inits.clone(), &["\"nope\" is not an init container"]),
        (no.clone(), classic, inits, &["not a native one"]),
        (
            no.clone(),
            no.clone(),
            volume(json!({"name": "istio-token", "emptyDir": {}})),
            &["volume istio-token"],
        ),
        (no.clone(), no.clone(), volume(json!({"name": "istio-data", "emptyDir": {}})), none),
        (no.clone(), no.clone(), json!({"dnsPolicy": "None"}), &["spec.dnsPolicy is None"]),
    ] {
        let warnings = warned(labels.clone(), annotations.clone(), spec.clone());
        assert_eq!(warnings.len(), expected.len(), "{labels} {annotations} {spec}: {warnings:?}");
        assert!(warnings.iter().zip(expected).all(|(warning, part)| warning.contains(part)), "{warnings:?}");
    }
}

#[test]
fn a_long_value_does_not_push_the_reason_out_of_a_message() {
    let long = "x".repeat(5000);
    for (name, value, reason) in [
        ("sidecar.istio.io/proxyCPU", long.clone(), "is not a quantity"),
        ("traffic.sidecar.istio.io/excludeInboundPorts", format!("80,{long}"), "is not a port"),
        ("inject.istio.io/templates", long.clone(), "is not a template"),
        ("prometheus.istio.io/scrape-targets", long.clone(), "is not a target"),
        ("proxy.istio.io/config", format!("statusPort: {long}"), "must be a port"),
        ("proxy.istio.io/config", format!("# {long}\nconcurrency: [{long}]"), "concurrency: must be"),
    ] {
        let message = denied(&pod(&json!({name: value}), &json!({})));
        assert!(message.len() < 500 && message.contains(name) && message.contains(reason), "{message}");
    }
    let pod =
        pod(&json!({"sidecar.istio.io/inject": long, "sidecar.istio.io/nativeSidecar": long}), &json!({}));
    let warnings = processed(&review(&pod), &Settings::default()).response.warnings;
    assert!(warnings.len() == 2 && warnings.iter().all(|warning| warning.len() < 256), "{warnings:?}");
}

#[test]
fn other_documents_than_reviews_of_version_1_are_client_errors() {
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
        let message = process(body.as_bytes(), &Settings::default()).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    }
}

fn pod(annotations: &Value, spec: &Value) -> Value {
    let mut spec = spec.clone();
    if spec.get("containers").is_none() {
        spec["containers"] = json!([{"name": "app"}]);
    }
    json!({"metadata": {"name": "a", "annotations": annotations}, "spec": spec})
}

fn container<'a>(pod: &'a Value, name: &str) -> &'a Value {
    let lists = ["containers", "initContainers"];
    let mut all = lists.iter().filter_map(|list| pod["spec"][list].as_array()).flatten();
    all.find(|container| container["name"] == name).unwrap_or(&Value::Null)
}

fn names(pod: &Value, list: &str) -> Vec<String> {
    let items = pod["spec"][list].as_array().into_iter().flatten();
    items.map(|item| item["name"].as_str().unwrap().to_owned()).collect()
}

fn variable(pod: &Value, name: &str) -> Value {
    let list = container(pod, "istio-proxy")["env"].as_array().cloned().unwrap_or_default();
    list.into_iter()
        .find(|variable| variable["name"] == name)
        .map_or(Value::Null, |found| found["value"].clone())
}

/// The value of a flag of the init container that sets up capture.
fn flag(pod: &Value, name: &str) -> Value {
    let args = container(pod, "istio-init")["args"].as_array().cloned().unwrap_or_default();
    let at = args.iter().position(|word| word == name);
    at.and_then(|at| args.get(at + 1).cloned()).unwrap_or(Value::Null)
}

fn with_defaults(pod: &Value) -> Value {
    injected(pod, &Settings::default()).1
}

fn denied(pod: &Value) -> String {
    match processed(&review(pod), &Settings::default()).outcome {
        Outcome::Denied(reason) => reason,
        other => panic!("{pod}: {other:?}"),
    }
}

#[test]
fn a_container_of_the_sidecars_name_is_laid_over_the_sidecar_whatever_its_image() {
    for (image, expected) in [
        (json!("foo/bar"), "foo/bar"),
        (json!("auto"), "ostria/proxy:latest"),
        (json!(null), "ostria/proxy:latest"),
    ] {
        let own = json!({"name": "istio-proxy", "image": image, "tty": true, "env": [{"name": "MINE", "value": "1"}]});
        for classic in ["true", "false"] {
            let pod = with_defaults(&pod(
                &json!({"sidecar.istio.io/nativeSidecar": classic, "inject.istio.io/templates": "sidecar,sidecar"}),
                &json!({"containers": [{"name": "app"}, own]}),
            ));
            let sidecar = container(&pod, "istio-proxy");
            assert_eq!((&sidecar["image"], &sidecar["tty"]), (&json!(expected), &json!(true)));
            assert_eq!(variable(&pod, "MINE"), "1");
            assert_eq!(variable(&pod, "POD_NAME"), Value::Null, "a field, not a value");
            assert_eq!(sidecar["args"][0], "proxy");
        }
    }
}

#[test]
fn a_probe_of_the_users_own_keeps_the_times_of_the_template() {
    let readiness = |own: Value| {
        let spec = json!({"containers": [{"name": "app"}, {"name": "istio-proxy", "readinessProbe": own}]});
        container(&with_defaults(&pod(&json!({}), &spec)), "istio-proxy")["readinessProbe"].clone()
    };
    let times = |mut probe: Value, failures: u8| {
        let fields = json!({"periodSeconds": 15, "timeoutSeconds": 3, "failureThreshold": failures});
        probe.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        probe
    };
    let exec = json!({"exec": {"command": ["true"]}});
    assert_eq!(readiness(exec.clone()), times(exec, 4));
    let tcp = json!({"tcpSocket": {"port": 80}});
    assert_eq!(readiness(tcp.clone()), times(tcp, 4));
    let page = |port: u16, path: &str| json!({"httpGet": {"port": port, "path": path}});
    assert_eq!(readiness(page(80, "/r")), times(page(80, "/r"), 4));
    assert_eq!(readiness(json!({"httpGet": {"port": 80}})), times(page(80, "/healthz/ready"), 4));
    assert_eq!(readiness(json!({"failureThreshold": 9})), times(page(15021, "/healthz/ready"), 9));
}

#[test]
fn capture_identifies_the_proxy_by_its_user_and_group() {
    for (security, user, group) in [
        (json!({}), json!("1337"), json!(null)),
        (json!({"runAsUser": 1234, "runAsGroup": 4321}), json!("1234"), json!("4321")),
        (json!({"runAsUser": 1234}), json!("1234"), json!(null)),
        (json!({"runAsGroup": 4321}), json!("1337"), json!("4321")),
        (json!({"runAsUser": 0, "runAsNonRoot": false}), json!("1337"), json!(null)),
    ] {
        for list in ["containers", "initContainers"] {
            let mut spec = json!({"containers": [{"name": "app"}], "initContainers": []});
            spec[list]
                .as_array_mut()
                .unwrap()
                .push(json!({"name": "istio-proxy", "securityContext": security}));
            let pod = with_defaults(&pod(&json!({}), &spec));
            assert_eq!((flag(&pod, "-u"), flag(&pod, "-g")), (user.clone(), group.clone()), "{security}");
        }
    }
    let root = json!({"name": "istio-proxy", "securityContext": {"runAsUser": 0, "runAsGroup": 0}});
    let reason = denied(&pod(&json!({}), &json!({"containers": [{"name": "app"}, root]})));
    assert!(reason.contains("istio-proxy") && reason.contains("runAsUser"), "{reason}");
}

#[test]
fn an_application_that_runs_as_the_proxys_user_is_warned_of() {
    let warnings =
        |spec: Value| processed(&review(&pod(&json!({}), &spec)), &Settings::default()).response.warnings;
    let as_user = |user: i64| json!({"runAsUser": user});
    for spec in [
        json!({"containers": [{"name": "app", "securityContext": as_user(1337)}]}),
        json!({"securityContext": as_user(1337)}),
        json!({"securityContext": {"runAsGroup": 1337}}),
        json!({"containers": [
            {"name": "app", "securityContext": as_user(7)},
            {"name": "istio-proxy", "securityContext": as_user(7)},
        ]}),
    ] {
        let warnings = warnings(spec.clone());
        assert!(
            matches!(&warnings[..], [one] if one.contains("app") && one.contains("not captured")),
            "{spec}"
        );
    }
    for spec in [
        json!({"securityContext": as_user(1000)}),
        json!({"securityContext": as_user(1337), "containers": [{"name": "app", "securityContext": as_user(5)}]}),
    ] {
        assert_eq!(warnings(spec), Vec::<String>::new());
    }
}

#[test]
fn a_gateway_may_bind_low_ports_and_keeps_its_own_settings() {
    let gateway = json!({"inject.istio.io/templates": "gateway,gateway"});
    let spec =
        |security: Value| json!({"securityContext": security, "containers": [{"name": "istio-proxy"}]});
    let sysctls = |security: Value| {
        let pod = with_defaults(&pod(&gateway, &spec(security)));
        pod["spec"]["securityContext"]["sysctls"].clone()
    };
    let low = |value: &str| json!({"name": "net.ipv4.ip_unprivileged_port_start", "value": value});
    let other = json!({"name": "net.ipv4.tcp_syncookies", "value": "1"});
    assert_eq!(sysctls(json!(null)), json!([low("0")]));
    assert_eq!(sysctls(json!({"fsGroup": 5, "sysctls": [other]})), json!([other, low("0")]));
    assert_eq!(sysctls(json!({"sysctls": [low("80")]})), json!([low("80")]));
    let sidecar = with_defaults(&pod(&json!({}), &json!({})));
    assert_eq!(sidecar["spec"]["securityContext"], Value::Null);
}

#[test]
fn a_native_sidecar_drains_before_it_ends_and_a_hook_of_the_users_joins_in() {
    let own = |lifecycle: Value| json!({"containers": [{"name": "app"}, {"name": "istio-proxy", "lifecycle": lifecycle}]});
    let hooks = |spec: &Value, native: &str| {
        let pod = with_defaults(&pod(&json!({"sidecar.istio.io/nativeSidecar": native}), spec));
        container(&pod, "istio-proxy")["lifecycle"].clone()
    };
    let exec = |words: &[&str]| json!({"exec": {"command": words}});
    let drain = exec(&["ostria-proxy", "drain"]);
    let mine = exec(&["sleep", "10"]);
    assert_eq!(hooks(&json!({}), "true"), json!({"preStop": drain}));
    let wait = json!({"httpGet": {"path": "/app-lifecycle/istio-proxy/prestopz", "port": 15020}});
    assert_eq!(hooks(&json!({}), "false"), json!({"preStop": wait}));
    assert_eq!(hooks(&own(json!({"preStop": mine})), "false"), json!({"preStop": mine}));
    assert_eq!(hooks(&own(json!({"postStart": mine})), "true"), json!({"preStop": drain, "postStart": mine}));
    assert_eq!(hooks(&own(json!({"preStop": mine})), "true"), json!({"preStop": mine}));
    let moved = pod(&json!({"proxy.istio.io/config": "statusPort: 15099"}), &json!({}));
    let hook = container(&with_defaults(&moved), "istio-proxy")["lifecycle"]["preStop"].clone();
    assert_eq!(hook, exec(&["ostria-proxy", "drain", "--port=15099"]));
}

#[test]
fn no_container_of_the_application_is_stopped_before_other_proxies_know() {
    let wait = |name: &str, port: u16| json!({"preStop": {"httpGet": {"path": format!("/app-lifecycle/{name}/prestopz"), "port": port}}});
    let spec = json!({
        "terminationGracePeriodSeconds": 30,
        "initContainers": [{"name": "first"}],
        "containers": [
            {"name": "web"},
            {"name": "started", "lifecycle": {"postStart": {"exec": {"command": ["a"]}}}},
            {"name": "command", "lifecycle": {"preStop": {"exec": {"command": ["sleep", "9"]}}}},
            {"name": "pause", "lifecycle": {"preStop": {"sleep": {"seconds": 9}}}},
            {"name": "page", "lifecycle": {"preStop": {"httpGet": {"path": "/bye", "port": 80}}}},
        ],
    });
    let pod_with = |annotations: &Value| with_defaults(&pod(annotations, &spec));
    let hooks = |pod: &Value, name: &str| container(pod, name)["lifecycle"].clone();
    for native in ["true", "false"] {
        let pod = pod_with(&json!({"sidecar.istio.io/nativeSidecar": native}));
        assert_eq!(hooks(&pod, "web"), wait("web", 15020));
        assert_eq!(hooks(&pod, "started")["preStop"], wait("started", 15020)["preStop"]);
        assert!(hooks(&pod, "started")["postStart"]["exec"].is_object());
        assert_eq!(hooks(&pod, "command")["preStop"]["exec"]["command"][0], "sleep");
        assert_eq!(hooks(&pod, "pause")["preStop"], json!({"sleep": {"seconds": 9}}));
        assert_eq!(
            hooks(&pod, "page"),
            wait("page", 15020),
            "the sidecar waits, and then performs the original"
        );
        assert!(variable(&pod, "ISTIO_KUBE_APP_PROBERS").as_str().unwrap().contains("/bye"));
        assert_eq!(hooks(&pod, "first"), Value::Null);
        assert_eq!(variable(&pod, "ENDPOINT_REMOVAL_WAIT"), Value::Null, "the default");
    }
    let config = |text: &str| pod_with(&json!({"proxy.istio.io/config": text}));
    assert_eq!(hooks(&config("proxyMetadata: {ENDPOINT_REMOVAL_WAIT: 0s}"), "web"), Value::Null);
    let longer = config("proxyMetadata: {ENDPOINT_REMOVAL_WAIT: 20s}");
    assert_eq!(variable(&longer, "ENDPOINT_REMOVAL_WAIT"), "20s");
    assert_eq!(hooks(&config("statusPort: 15099"), "web"), wait("web", 15099));
    let moved = pod_with(&json!({"status.sidecar.istio.io/port": "123"}));
    assert_eq!(hooks(&moved, "web"), wait("web", 123));
    let unprobed = pod_with(&json!({"status.sidecar.istio.io/port": "0"}));
    assert_eq!(hooks(&unprobed, "web"), wait("web", 15020));
    let hasty = json!({"terminationGracePeriodSeconds": 3, "containers": [{"name": "web"}]});
    let hasty = with_defaults(&pod(&json!({}), &hasty));
    assert_eq!(variable(&hasty, "ENDPOINT_REMOVAL_WAIT"), "1500ms", "half of the time is the application's");
    let at_once = json!({"terminationGracePeriodSeconds": 0, "containers": [{"name": "web"}]});
    assert_eq!(hooks(&with_defaults(&pod(&json!({}), &at_once)), "web"), Value::Null);
}

#[test]
fn a_port_for_probes_does_not_move_the_metrics() {
    let probed = json!({"containers": [{"name": "app", "livenessProbe": {"httpGet": {"port": 80}}}]});
    for (port, probes, variable_is, excluded) in [
        ("123", json!(123), json!("123"), "15090,15021,123,15020"),
        ("15020", json!(15020), Value::Null, "15090,15021,15020"),
        ("0", json!(80), Value::Null, "15090,15021,15020"),
    ] {
        let pod = with_defaults(&pod(&json!({"status.sidecar.istio.io/port": port}), &probed));
        let annotations = &pod["metadata"]["annotations"];
        assert_eq!(annotations["prometheus.io/port"], "15020", "{port}");
        assert_eq!(annotations["prometheus.io/path"], "/stats/prometheus");
        assert_eq!(container(&pod, "app")["livenessProbe"]["httpGet"]["port"], probes);
        assert_eq!(variable(&pod, "OSTRIA_PROBE_PORT"), variable_is);
        assert_eq!(flag(&pod, "-d"), excluded);
        assert_eq!(container(&pod, "istio-proxy")["readinessProbe"].is_null(), port == "0");
        assert!(!variable(&pod, "PROXY_CONFIG").as_str().unwrap().contains("statusPort"));
    }
}

#[test]
fn several_metrics_pages_are_merged_by_the_sidecar() {
    let name = "prometheus.istio.io/scrape-targets";
    let rendered = |annotations: Value| {
        variable(&with_defaults(&pod(&annotations, &json!({}))), "ISTIO_PROMETHEUS_ANNOTATIONS")
    };
    let both = rendered(json!({name: "8080:/metrics,9100:/custom-metrics", "prometheus.io/scrape": "true"}));
    let expected = json!({
        "scrape": "true", "path": "/metrics", "port": "8080",
        "targets": [{"port": "8080", "path": "/metrics"}, {"port": "9100", "path": "/custom-metrics"}],
    });
    assert_eq!(serde_json::from_str::<Value>(both.as_str().unwrap()).unwrap(), expected);
    let one = rendered(json!({name: "8080:/m"}));
    let expected = json!({"scrape": "true", "path": "/m", "port": "8080"});
    assert_eq!(serde_json::from_str::<Value>(one.as_str().unwrap()).unwrap(), expected);
    assert_eq!(rendered(json!({name: "8080:/m", "prometheus.io/scrape": "false"})), Value::Null);
    assert_eq!(rendered(json!({name: "8080:/m", "prometheus.istio.io/merge-metrics": "false"})), Value::Null);
    for annotations in [
        json!({name: "8080:/m,15020:/x"}),
        json!({name: "16020:/m", "proxy.istio.io/config": "statusPort: 16020"}),
        json!({name: "123:/m", "status.sidecar.istio.io/port": "123"}),
    ] {
        let reason = denied(&pod(&annotations, &json!({})));
        assert!(reason.contains(name) && reason.contains("of the proxy"), "{reason}");
    }
}

#[test]
fn an_unclear_injection_label_is_a_warning() {
    let mut pod = pod(&json!({}), &json!({}));
    pod["metadata"]["labels"] = json!({"sidecar.istio.io/inject": "yes"});
    let mut disabled = Settings::default();
    disabled.selection.policy = Policy::Disabled;
    for settings in [Settings::default(), disabled] {
        let processed = processed(&review(&pod), &settings);
        let injected = matches!(processed.outcome, Outcome::Injected { .. });
        assert_eq!(injected, settings.selection.policy == Policy::Enabled);
        let warnings = processed.response.warnings;
        assert!(matches!(&warnings[..], [one] if one.contains("\"yes\"")), "{warnings:?}");
    }
}

#[test]
fn the_network_is_a_label_of_the_pod_and_the_pods_own_stays() {
    let mut settings = Settings::default();
    settings.template.network = "west".to_owned();
    for (own, expected) in [(json!({}), "west"), (json!({"topology.istio.io/network": "east"}), "east")] {
        for templates in ["sidecar", "gateway"] {
            let mut pod = pod(&json!({"inject.istio.io/templates": templates}), &json!({}));
            pod["metadata"]["labels"] = own.clone();
            let (_, pod) = injected(&pod, &settings);
            assert_eq!(pod["metadata"]["labels"]["topology.istio.io/network"], expected);
            assert_eq!(variable(&pod, "ISTIO_META_NETWORK"), expected);
        }
    }
    let alone = with_defaults(&pod(&json!({}), &json!({})));
    assert_eq!(alone["metadata"]["labels"]["topology.istio.io/network"], Value::Null);
}

#[test]
fn the_interception_mode_is_the_annotations_or_that_of_proxy_config() {
    let mode = "sidecar.istio.io/interceptionMode";
    let config = "proxy.istio.io/config";
    for (annotations, expected) in [
        (json!({}), "REDIRECT"),
        (json!({config: "interceptionMode: NONE"}), "NONE"),
        (json!({config: "interceptionMode: NONE", mode: "REDIRECT"}), "REDIRECT"),
        (json!({mode: "NONE"}), "NONE"),
    ] {
        let pod = with_defaults(&pod(&annotations, &json!({})));
        assert_eq!(variable(&pod, "ISTIO_META_INTERCEPTION_MODE"), expected, "{annotations}");
        assert_eq!(container(&pod, "istio-init").is_null(), expected == "NONE", "{annotations}");
    }
    let own = json!({"initContainers": [{"name": "istio-init", "image": "own"}]});
    let own = with_defaults(&pod(&json!({mode: "NONE"}), &own));
    assert_eq!(container(&own, "istio-init"), &json!({"name": "istio-init", "image": "own"}));
    let reason = denied(&pod(&json!({config: "interceptionMode: TPROXY"}), &json!({})));
    assert!(reason.contains(config) && reason.contains("TPROXY is not available"), "{reason}");
}

#[test]
fn a_label_names_the_workload_for_metrics_and_not_its_owner() {
    let mut pod = pod(&json!({}), &json!({}));
    pod["metadata"]["labels"] = json!({"service.istio.io/workload-name": "cart"});
    let pod = with_defaults(&pod);
    assert_eq!(variable(&pod, "ISTIO_META_WORKLOAD_NAME"), "cart");
    assert_eq!(variable(&pod, "ISTIO_META_OWNER"), "kubernetes://apis/v1/namespaces/shop/pods/a");
    assert_eq!(pod["metadata"]["labels"]["service.istio.io/canonical-name"], "a");
}

#[test]
fn a_canonical_name_is_cut_to_a_valid_label() {
    for (name, expected) in [
        ("a".repeat(70), "a".repeat(63)),
        (format!("{}.-_x", "a".repeat(60)), "a".repeat(60)),
        (format!("{}.com", "a".repeat(62)), "a".repeat(62)),
    ] {
        let mut pod = pod(&json!({}), &json!({}));
        pod["metadata"]["name"] = json!(name);
        let pod = with_defaults(&pod);
        assert_eq!(pod["metadata"]["labels"]["service.istio.io/canonical-name"], expected);
    }
}

#[test]
fn a_gateway_has_only_its_own_resources_and_is_always_probed() {
    let gateway = |own: Value| {
        let mut container = json!({"name": "istio-proxy", "image": "auto"});
        container.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
        with_defaults(&pod(
            &json!({"inject.istio.io/templates": "gateway"}),
            &json!({"containers": [container]}),
        ))
    };
    let plain = gateway(json!({}));
    let proxy = container(&plain, "istio-proxy");
    assert_eq!(proxy["resources"], json!({}));
    let own = json!({"requests": {"cpu": "4"}});
    assert_eq!(container(&gateway(json!({"resources": own})), "istio-proxy")["resources"], own);
    let off = with_defaults(&pod(
        &json!({"inject.istio.io/templates": "gateway", "status.sidecar.istio.io/port": "0"}),
        &json!({"containers": [{"name": "istio-proxy"}]}),
    ));
    assert_eq!(container(&off, "istio-proxy")["readinessProbe"]["httpGet"]["port"], 15021);
}

#[test]
fn the_proxys_security_context_does_not_contradict_the_users() {
    for templates in ["sidecar", "gateway"] {
        let security = |own: Value| {
            let own = json!({"name": "istio-proxy", "image": "auto", "securityContext": own});
            let spec = json!({"containers": [{"name": "app"}, own]});
            let pod = with_defaults(&pod(&json!({"inject.istio.io/templates": templates}), &spec));
            container(&pod, "istio-proxy")["securityContext"].clone()
        };
        let hardened = json!({
            "allowPrivilegeEscalation": false, "privileged": false, "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]}, "runAsUser": 1337, "runAsGroup": 1337, "runAsNonRoot": true,
        });
        assert_eq!(security(json!({})), hardened);
        for (own, dropped) in [
            (json!({"readOnlyRootFilesystem": false}), None),
            (json!({"runAsUser": 0}), Some("runAsNonRoot")),
            (json!({"privileged": true}), Some("allowPrivilegeEscalation")),
            (json!({"capabilities": {"add": ["CAP_SYS_ADMIN"]}}), Some("allowPrivilegeEscalation")),
            (json!({"capabilities": {"add": ["NET_BIND_SERVICE"]}}), None),
        ] {
            let mut expected = hardened.clone();
            let fields = expected.as_object_mut().unwrap();
            let merged = own["capabilities"].as_object().cloned();
            fields.extend(own.as_object().unwrap().clone());
            if let Some(mut capabilities) = merged {
                capabilities.insert("drop".to_owned(), json!(["ALL"]));
                fields.insert("capabilities".to_owned(), Value::Object(capabilities));
            }
            fields.retain(|name, _| Some(name.as_str()) != dropped);
            assert_eq!(security(own.clone()), expected, "{own}");
        }
    }
}

#[test]
fn init_helpers_of_a_gateway_precede_it_and_the_first_is_the_default_container() {
    let containers = json!([{"name": "istio-proxy", "image": "auto"}, {"name": "one"}, {"name": "two"}]);
    for (hold, order) in [("false", ["one", "two", "istio-proxy"]), ("true", ["istio-proxy", "one", "two"])] {
        let pod = with_defaults(&pod(
            &json!({
                "inject.istio.io/templates": "gateway",
                "proxy.istio.io/config": format!("holdApplicationUntilProxyStarts: {hold}"),
            }),
            &json!({"containers": containers}),
        ));
        assert_eq!(names(&pod, "containers"), order);
        assert_eq!(pod["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"], "one");
    }
}

#[test]
fn the_pods_own_image_is_that_of_the_init_container_too() {
    let mut settings = Settings::default();
    settings.template.init_image = "mesh/init:1".to_owned();
    let images = |annotations: Value| {
        let (_, pod) = injected(&pod(&annotations, &json!({})), &settings);
        ["istio-proxy", "istio-init"].map(|name| container(&pod, name)["image"].clone())
    };
    assert_eq!(images(json!({})), ["ostria/proxy:latest", "mesh/init:1"]);
    assert_eq!(images(json!({"sidecar.istio.io/proxyImage": "own/proxy:2"})), ["own/proxy:2", "own/proxy:2"]);
}

#[test]
fn a_sidecar_that_binds_low_ports_is_not_root_for_it() {
    let pod = with_defaults(&pod(&json!({"sidecar.istio.io/capNetBindService": "true"}), &json!({})));
    let sysctls = &pod["spec"]["securityContext"]["sysctls"];
    assert_eq!(sysctls, &json!([{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}]));
    let security = &container(&pod, "istio-proxy")["securityContext"];
    assert_eq!((&security["runAsUser"], &security["runAsNonRoot"]), (&json!(1337), &json!(true)));
}

#[test]
fn a_metrics_page_on_a_port_of_the_proxy_is_refused() {
    let with = |port: &str, more: Value| {
        let mut annotations = json!({"prometheus.io/port": port});
        annotations.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        pod(&annotations, &json!({}))
    };
    for (port, part) in
        [("15090", "of the proxy"), ("15021", "of the proxy"), ("http", "not a port"), ("0", "not a port")]
    {
        let reason = denied(&with(port, json!({})));
        assert!(reason.contains("prometheus.io/port") && reason.contains(part), "{reason}");
        for more in
            [json!({"prometheus.io/scrape": "false"}), json!({"prometheus.istio.io/merge-metrics": "false"})]
        {
            let kept = with_defaults(&with(port, more));
            assert_eq!(kept["metadata"]["annotations"]["prometheus.io/port"], port);
        }
    }
    let own = json!({"prometheus.io/port": "15020", "prometheus.io/path": "/own"});
    let kept = with_defaults(&pod(&own, &json!({})));
    assert_eq!(kept["metadata"]["annotations"]["prometheus.io/path"], "/own");
    assert_eq!(variable(&kept, "ISTIO_PROMETHEUS_ANNOTATIONS"), Value::Null);
    let empty = with_defaults(&pod(&json!({"prometheus.io/port": ""}), &json!({})));
    assert_eq!(variable(&empty, "ISTIO_PROMETHEUS_ANNOTATIONS"), Value::Null);
    for (scrape, merged) in
        [("true", true), ("1", true), ("yes", true), ("false", false), ("0", false), ("F", false)]
    {
        let pod = with_defaults(&with("8080", json!({"prometheus.io/scrape": scrape})));
        assert_eq!(pod["metadata"]["annotations"]["prometheus.io/port"] == "15020", merged, "{scrape}");
    }
}

#[test]
fn a_pod_with_its_own_dns_settings_is_a_warning() {
    for (policy, warned) in [("None", true), ("Default", true), ("ClusterFirst", false)] {
        let pod = pod(&json!({}), &json!({"dnsPolicy": policy}));
        let warnings = processed(&review(&pod), &Settings::default()).response.warnings;
        assert_eq!(warnings.iter().any(|warning| warning.contains("spec.dnsPolicy")), warned, "{policy}");
    }
}

#[test]
fn probes_of_the_sidecar_follow_the_mesh_and_then_the_pod() {
    let mut settings = Settings::default();
    let template = &mut settings.template;
    template.status_port = Some(123);
    template.readiness_initial_delay_seconds = 100;
    template.readiness_period_seconds = 200;
    template.readiness_failure_threshold = 300;
    template.startup_probe.enabled = false;
    let (_, mesh) = injected(&pod(&json!({}), &json!({})), &settings);
    let readiness = &container(&mesh, "istio-proxy")["readinessProbe"];
    assert_eq!(
        [&readiness["initialDelaySeconds"], &readiness["periodSeconds"], &readiness["failureThreshold"]],
        [100, 200, 300]
    );
    assert!(container(&mesh, "istio-proxy")["startupProbe"].is_null());
    assert_eq!(flag(&mesh, "-d"), "15090,15021,123,15020");
    let own = json!({"status.sidecar.istio.io/port": "0"});
    let (_, off) = injected(&pod(&own, &json!({})), &settings);
    assert!(container(&off, "istio-proxy")["readinessProbe"].is_null());
    let own = json!({"readiness.status.sidecar.istio.io/initialDelaySeconds": "0"});
    let (_, own) = injected(&pod(&own, &json!({})), &settings);
    assert_eq!(container(&own, "istio-proxy")["readinessProbe"]["initialDelaySeconds"], Value::Null);
}

#[test]
fn init_containers_start_before_a_native_sidecar_where_an_annotation_says_so() {
    let inits =
        json!({"initContainers": [{"name": "a"}, {"name": "first"}, {"name": "b"}, {"name": "second"}]});
    let before = json!({"sidecar.istio.io/init-containers-before-proxy": "second, first"});
    let ordered = names(&with_defaults(&pod(&before, &inits)), "initContainers");
    assert_eq!(ordered, ["istio-init", "second", "first", "istio-proxy", "a", "b"]);
    let without = names(&with_defaults(&pod(&json!({}), &inits)), "initContainers");
    assert_eq!(without, ["istio-init", "istio-proxy", "a", "first", "b", "second"]);
}

#[test]
fn a_second_review_includes_later_additions_and_is_then_stable() {
    for native in ["true", "false"] {
        let first = with_defaults(&pod(
            &json!({"sidecar.istio.io/nativeSidecar": native}),
            &json!({"containers": [{"name": "app", "readinessProbe": {"httpGet": {"port": 80, "path": "/r"}}}]}),
        ));
        let mut changed = first.clone();
        let late = json!({"name": "late", "ports": [{"name": "web", "containerPort": 8008}],
            "livenessProbe": {"httpGet": {"port": "web", "path": "/l"}},
            "readinessProbe": {"exec": {"command": ["true"]}}});
        changed["spec"]["containers"].as_array_mut().unwrap().push(late);
        changed["spec"]["initContainers"]
            .as_array_mut()
            .unwrap()
            .insert(0, json!({"name": "early", "future": 1}));
        let (patch, second) = injected(&changed, &Settings::default());
        assert!(!patch.is_null(), "{native}");
        let probe = &container(&second, "late")["livenessProbe"]["httpGet"];
        assert_eq!(probe, &json!({"port": 15020, "path": "/app-health/late/livez"}));
        assert_eq!(container(&second, "late")["readinessProbe"], json!({"exec": {"command": ["true"]}}));
        assert_eq!(container(&second, "app"), container(&first, "app"));
        let probers: Value =
            serde_json::from_str(variable(&second, "ISTIO_KUBE_APP_PROBERS").as_str().unwrap()).unwrap();
        assert_eq!(probers["/app-health/app/readyz"]["httpGet"]["port"], 80);
        assert_eq!(probers["/app-health/late/livez"]["httpGet"], json!({"port": 8008, "path": "/l"}));
        assert_eq!(variable(&second, "ISTIO_META_APP_CONTAINERS"), "app,late");
        assert!(variable(&second, "ISTIO_META_POD_PORTS").as_str().unwrap().contains("8008"));
        let order: &[&str] =
            if native == "true" { &["istio-init", "istio-proxy", "early"] } else { &["early", "istio-init"] };
        assert_eq!(names(&second, "initContainers"), order);
        assert_eq!(injected(&second, &Settings::default()), (Value::Null, second.clone()));
        let processed = processed(&review(&second), &Settings::default());
        assert_eq!(processed.outcome, Outcome::Skipped(Skip::AlreadyInjected));
    }
}

#[test]
fn a_probe_that_another_webhook_replaces_is_sent_through_the_sidecar_again() {
    let probe = |port: u16| json!({"httpGet": {"port": port}});
    let first = with_defaults(&pod(
        &json!({}),
        &json!({"containers": [{"name": "app", "livenessProbe": probe(80)}]}),
    ));
    let mut changed = first.clone();
    changed["spec"]["containers"][0]["livenessProbe"] = probe(81);
    let second = with_defaults(&changed);
    assert_eq!(container(&second, "app"), container(&first, "app"));
    let probers = variable(&second, "ISTIO_KUBE_APP_PROBERS");
    assert_eq!(probers, r#"{"/app-health/app/livez":{"httpGet":{"port":81}}}"#);
}

#[test]
fn a_pod_that_istio_has_injected_gets_its_late_probes_rewritten_and_nothing_else() {
    let probers = r#"{"/app-health/hello/livez":{"httpGet":{"port":80}}}"#;
    let istio = json!({
        "metadata": {"name": "a", "annotations": {
            "sidecar.istio.io/status": "{\"containers\":[\"istio-proxy\"]}",
            "prometheus.io/path": "/stats/prometheus", "prometheus.io/port": "15020", "prometheus.io/scrape": "true"}},
        "spec": {"containers": [
            {"name": "istio-proxy", "image": "istio/proxyv2", "env": [
                {"name": "ISTIO_META_POD_PORTS", "value": "[\n    {\"name\":\"http\",\"containerPort\":80}\n]"},
                {"name": "ISTIO_META_APP_CONTAINERS", "value": "hello"},
                {"name": "ISTIO_KUBE_APP_PROBERS", "value": probers}]},
            {"name": "hello", "ports": [{"name": "http", "containerPort": 80}],
                "livenessProbe": {"httpGet": {"path": "/app-health/hello/livez", "port": 15020}}},
        ]}
    });
    assert_eq!(injected(&istio, &Settings::default()).0, Value::Null);
    let mut changed = istio.clone();
    let new = json!({"name": "new", "livenessProbe": {"httpGet": {"path": "/testLive", "port": 8008}}});
    changed["spec"]["containers"].as_array_mut().unwrap().push(new);
    let (patch, second) = injected(&changed, &Settings::default());
    assert_eq!(container(&second, "new")["livenessProbe"]["httpGet"]["path"], "/app-health/new/livez");
    let expected = r#"{"/app-health/hello/livez":{"httpGet":{"port":80}},"/app-health/new/livez":{"httpGet":{"path":"/testLive","port":8008}}}"#;
    assert_eq!(variable(&second, "ISTIO_KUBE_APP_PROBERS"), expected);
    assert_eq!(variable(&second, "ISTIO_META_POD_PORTS"), variable(&istio, "ISTIO_META_POD_PORTS"));
    let paths: Vec<&str> =
        patch.as_array().unwrap().iter().map(|step| step["path"].as_str().unwrap()).collect();
    assert!(paths.iter().all(|path| path.starts_with("/spec/containers/")), "{patch}");
}

#[test]
fn a_pod_that_opts_out_is_left_alone_although_an_injector_was_there() {
    let mut pod = with_defaults(&pod(&json!({}), &json!({})));
    pod["metadata"]["labels"]["sidecar.istio.io/inject"] = json!("false");
    pod["spec"]["containers"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "x", "livenessProbe": {"tcpSocket": {"port": 1}}}));
    assert_eq!(processed(&review(&pod), &Settings::default()).outcome, Outcome::Skipped(Skip::OptedOut));
}

/// Annotations of which any combination is valid.
const ANNOTATIONS: [(&str, &str); 12] = [
    ("sidecar.istio.io/nativeSidecar", "false"),
    ("sidecar.istio.io/nativeSidecar", "true"),
    ("inject.istio.io/templates", "gateway"),
    ("inject.istio.io/templates", "sidecar"),
    ("sidecar.istio.io/interceptionMode", "NONE"),
    ("status.sidecar.istio.io/port", "0"),
    ("status.sidecar.istio.io/port", "123"),
    ("prometheus.io/scrape", "true"),
    ("prometheus.istio.io/scrape-targets", "8080:/a,9090:/b"),
    ("sidecar.istio.io/init-containers-before-proxy", "migrate,wait"),
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

/// Values of every JSON type, to replace a pod's field.
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
        let _ = process(&body, &Settings::default());
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
        if let Ok(processed) = process(review.to_string().as_bytes(), &Settings::default()) {
            serde_json::to_string(&processed.response).unwrap();
        }
    }
}
