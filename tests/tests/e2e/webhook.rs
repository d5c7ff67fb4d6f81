//! The webhooks: mistakes are refused, a mistake that is stored anyway harms nothing else, and a registration that is
//! damaged is mended.

use serde_json::Value;
use tests::wait;

use crate::cluster::{self, CHANGE, applied, apply, containers, kubectl, must, run};
use crate::mesh::{self, SYSTEM};
use crate::namespace::Namespace;
use crate::shop::{self, NAMESPACE, page, reviews};

/// What registers the webhook of pilot.
pub(crate) const VALIDATION: &str = "validatingwebhookconfiguration/ostria-pilot-istio-system";
/// What registers the webhook of the injector.
pub(crate) const INJECTION: &str = "mutatingwebhookconfiguration/ostria-injector-istio-system";

/// Mistakes are refused when they are applied, with the field; what worked goes on working.
pub(crate) fn mistakes_are_refused() {
    shop::open();
    let (_forward, mut browser) = shop::visit();
    for (kind, spec, field) in MISTAKES {
        let yaml = object(kind, "reviews", spec);
        let refusal = apply(NAMESPACE, &yaml).expect_err("a mistake is refused");
        assert!(refusal.contains(field), "the refusal does not name {field}: {refusal}");
    }
    let (spec, warning) = WARNING;
    let told = wait::until("an object with a warning is accepted", CHANGE, || {
        apply(NAMESPACE, &object("VirtualService", "doubtful", spec))
    });
    assert!(told.contains("Warning") && told.contains(warning), "{told}");
    must(&["-n", NAMESPACE, "delete", "virtualservice", "doubtful"]);
    for (kind, spec) in RIGHT {
        applied(NAMESPACE, &object(kind, "right", spec));
        wait::until(&format!("{kind} gets its status"), CHANGE, || {
            let text = kubectl(&["-n", NAMESPACE, "get", &kind.to_lowercase(), "right", "-o", "json"])?;
            let stored: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
            if cluster::has_condition(&stored, "Accepted", "True") {
                Ok(())
            } else {
                Err(stored["status"].to_string())
            }
        });
        must(&["-n", NAMESPACE, "delete", &kind.to_lowercase(), "right"]);
    }
    for _ in 0..10 {
        page(&mut browser, &[]).unwrap_or_else(|error| panic!("{error}"));
    }
}

fn object(kind: &str, name: &str, spec: &str) -> String {
    let group = if kind == "PeerAuthentication" { "security" } else { "networking" };
    format!("apiVersion: {group}.istio.io/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n")
}

/// Kind, spec, and the field that the refusal names: some are found by the schema, some by pilot alone.
const MISTAKES: &[(&str, &str, &str)] = &[
    (
        "VirtualService",
        "{hosts: [reviews], http: [{route: [{destination: {host: reviews}, weight: -5}]}]}",
        "weight",
    ),
    (
        "VirtualService",
        "{hosts: [reviews], http: [{match: [{uri: {regex: \"(\"}}], route: [{destination: {host: reviews}}]}]}",
        "regex",
    ),
    (
        "VirtualService",
        "{hosts: [reviews], http: [{route: [{destination: {host: reviews}}], timeot: 1s}]}",
        "timeot",
    ),
    ("DestinationRule", "{host: reviews, trafficPolicy: {loadBalancer: {simple: ROUND_ROBBIN}}}", "simple"),
    ("PeerAuthentication", "{mtls: {mode: STRICTT}}", "mode"),
];

/// Kind and spec of objects that are right, and change nothing for bookinfo.
const RIGHT: &[(&str, &str)] = &[
    (
        "ServiceEntry",
        "{hosts: [api.example.com], ports: [{number: 443, name: tls, protocol: TLS}], resolution: DNS}",
    ),
    ("Sidecar", "{workloadSelector: {labels: {app: none}}, egress: [{hosts: [\"./*\"]}]}"),
    ("PeerAuthentication", "{selector: {matchLabels: {app: none}}, mtls: {mode: STRICT}}"),
];

/// A rule that has no effect, and a word of the warning.
const WARNING: (&str, &str) =
    ("{hosts: [reviews], http: [{route: [{destination: {host: no-such-service}}]}]}", "no-such-service");

/// An object that was stored before the webhook was there is refused alone, and says so in its status.
pub(crate) fn a_stored_mistake() {
    shop::open();
    let (_forward, mut browser) = shop::visit();
    let registration = without_server_fields(&must(&["get", VALIDATION, "-o", "json"]));
    must(&["delete", VALIDATION]);
    let (kind, spec, field) = MISTAKES[1];
    wait::until("the mistake is stored", CHANGE, || apply(NAMESPACE, &object(kind, "ratings", spec)));
    run("kubectl", &["create", "-f", "-"], &registration).unwrap_or_else(|error| panic!("{error}"));
    wait::until("its status names the field", CHANGE, || {
        let text = kubectl(&["-n", NAMESPACE, "get", "virtualservice", "ratings", "-o", "json"])?;
        let stored: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        let conditions = stored["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let accepted = conditions.iter().find(|condition| condition["type"] == "Accepted");
        let names = accepted
            .is_some_and(|one| one["status"] == "False" && one["message"].to_string().contains(field));
        if names { Ok(()) } else { Err(stored["status"].to_string()) }
    });
    // Also for a pilot that finds it when it starts.
    cluster::restart(SYSTEM, &["ostria-pilot"]);
    applied(NAMESPACE, &cluster::sample("bookinfo/networking/virtual-service-reviews-test-v2.yaml"));
    wait::until("other objects are in force", CHANGE, || {
        match reviews(&page(&mut browser, &[("end-user", "jason")])?).as_str() {
            "v2" => Ok(()),
            other => Err(other.to_owned()),
        }
    });
    drop(browser);
    wait::until("the webhook refuses again", CHANGE, || a_mistake_is_refused(NAMESPACE));
    shop::without_rules();
}

/// Whether a mistake is refused that pilot alone finds: a dry run calls the webhook and stores nothing.
///
/// # Errors
/// Why not.
pub(crate) fn a_mistake_is_refused(namespace: &str) -> Result<(), String> {
    let (kind, spec, field) = MISTAKES[1];
    let dry = ["-n", namespace, "apply", "--dry-run=server", "-f", "-"];
    match run("kubectl", &dry, &object(kind, "tried", spec)) {
        Err(refusal) if refusal.contains(field) => Ok(()),
        Ok(told) | Err(told) => Err(told),
    }
}

/// An object as it was before it was stored.
fn without_server_fields(text: &str) -> String {
    let mut object: Value = serde_json::from_str(text).expect("kubectl prints JSON");
    let metadata = object["metadata"].as_object_mut().expect("an object has metadata");
    for field in ["uid", "resourceVersion", "creationTimestamp", "managedFields", "generation"] {
        metadata.remove(field);
    }
    object.to_string()
}

/// What verifies the webhooks' servers is put back when somebody takes it away or replaces it.
pub(crate) fn certificates_come_back() {
    const NAME: &str = "ostria-e2e-webhooks";
    mesh::ready();
    let _namespace = Namespace::with_sidecars(NAME);
    for registration in [INJECTION, VALIDATION] {
        let bundle = |number: usize| {
            kubectl(&[
                "get",
                registration,
                "-o",
                &format!("jsonpath={{.webhooks[{number}].clientConfig.caBundle}}"),
            ])
        };
        let before = bundle(0).unwrap_or_else(|error| panic!("{error}"));
        assert!(before.len() > 100, "{registration} has no root: {before:?}");
        for patch in [
            r#"[{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}]"#,
            // "nonsense", a bundle without a certificate.
            r#"[{"op": "replace", "path": "/webhooks/0/clientConfig/caBundle", "value": "bm9uc2Vuc2U="}]"#,
        ] {
            // The API server refuses a bundle that holds no certificate.
            if must_or_refused(registration, patch) {
                wait::until(&format!("{registration} has its root again"), CHANGE, || match bundle(0)? {
                    now if now == before => Ok(()),
                    other => Err(other),
                });
            }
        }
    }
    wait::until("a pod gets its sidecar", CHANGE, || a_pod_with_a_sidecar(NAME));
}

fn must_or_refused(registration: &str, patch: &str) -> bool {
    match kubectl(&["patch", registration, "--type=json", "-p", patch]) {
        Ok(_) => true,
        Err(error) if error.contains("caBundle") => false,
        Err(error) => panic!("{error}"),
    }
}

/// Whether a pod gets a sidecar: a dry run calls the webhooks and stores nothing.
///
/// # Errors
/// Why not.
pub(crate) fn a_pod_with_a_sidecar(namespace: &str) -> Result<(), String> {
    let dry = ["-n", namespace, "run", "tried", "--image=none", "--dry-run=server", "-o", "json"];
    let pod: Value = serde_json::from_str(&kubectl(&dry)?).map_err(|error| error.to_string())?;
    let containers = containers(&pod);
    if containers.contains(&"istio-proxy".to_owned()) { Ok(()) } else { Err(format!("{containers:?}")) }
}
