//! Certificates of the mesh: those of the webhooks expire while citadel is away, and the root is replaced under load.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tests::wait;

use crate::cluster::{CHANGE, START, kubectl, must, restart, scale};
use crate::mesh::{self, SYSTEM};
use crate::shop::{self, DEPLOYMENTS, NAMESPACE, Until};
use crate::webhook::a_pod_with_a_sidecar;

/// The shortest lifetime that citadel can be told to give.
const LIFETIME: Duration = Duration::from_secs(60);
const SECRET: &str = "secret/istio-ca-secret";

/// First the webhooks' certificates expire, then the root is replaced in the steps of docs/certificates.md.
pub(crate) fn replaced() {
    shop::open();
    mesh::upgrade(&mesh::chart(), &["citadel.defaultTtl=1m,citadel.maxTtl=1m"]);
    webhooks_outlive_an_expired_certificate();
    restart(NAMESPACE, DEPLOYMENTS);
    let customers = shop::customers("root", Until::Stopped);
    replace_the_root();
    shop::all_served(customers);
    mesh::upgrade(&mesh::chart(), &[]);
    restart(NAMESPACE, DEPLOYMENTS);
}

fn webhooks_outlive_an_expired_certificate() {
    restart(SYSTEM, &["ostria-injector"]);
    scale(SYSTEM, "ostria-citadel", 0);
    // The API server may keep a connection that began before, so that some reviews still succeed.
    wait::pause(LIFETIME + CHANGE / 4);
    scale(SYSTEM, "ostria-citadel", 1);
    wait::until("pods get their sidecars again", START, || a_pod_with_a_sidecar(NAMESPACE));
}

/// Both roots, then the authority, then only the new root; each step is awaited as the documentation says.
fn replace_the_root() {
    let old = secret("root-cert.pem");
    let (certificate, key) = authority();
    change(&[("root-cert.pem", &format!("{old}{certificate}"))]);
    until_trusted(&[&old, &certificate]);
    change(&[("ca-cert.pem", &certificate), ("ca-key.pem", &key), ("cert-chain.pem", "")]);
    wait::pause(LIFETIME / 2 + CHANGE / 2);
    change(&[("root-cert.pem", &certificate)]);
    until_trusted(&[&certificate]);
    wait::pause(CHANGE);
    wait::until("pods get their sidecars under the new root", CHANGE, || a_pod_with_a_sidecar(NAMESPACE));
    restart(NAMESPACE, &["details-v1"]);
}

/// A new authority: its certificate and its key.
fn authority() -> (String, String) {
    let key = rcgen::KeyPair::generate().expect("a key can be made");
    let mut parameters = rcgen::CertificateParams::default();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    parameters.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::CrlSign];
    parameters.distinguished_name.push(rcgen::DnType::CommonName, "the next root");
    let certificate = parameters.self_signed(&key).expect("a certificate can be made");
    (certificate.pem(), key.serialize_pem())
}

fn secret(field: &str) -> String {
    let text = must(&["-n", SYSTEM, "get", SECRET, "-o", "json"]);
    let secret: Value = serde_json::from_str(&text).expect("kubectl prints JSON");
    let value = secret["data"][field].as_str().unwrap_or_else(|| panic!("{SECRET} has no {field}"));
    String::from_utf8(BASE64_STANDARD.decode(value).expect("it is base64")).expect("PEM is text")
}

fn change(fields: &[(&str, &str)]) {
    let data: serde_json::Map<String, Value> =
        fields.iter().map(|(field, text)| ((*field).to_owned(), Value::from(*text))).collect();
    must(&["-n", SYSTEM, "patch", SECRET, "--type=merge", "-p", &json!({ "stringData": data }).to_string()]);
}

/// Waits until the bundle of the shop's namespace holds these roots.
fn until_trusted(roots: &[&str]) {
    wait::until("the trust bundle holds the roots", START, || {
        let bundle = kubectl(&[
            "-n",
            NAMESPACE,
            "get",
            "configmap/istio-ca-root-cert",
            "-o",
            r"jsonpath={.data.root-cert\.pem}",
        ])?;
        let own = bundle.matches("BEGIN CERTIFICATE").count();
        let has_all = roots.iter().all(|root| bundle.contains(root.trim()));
        if has_all && own == roots.len() { Ok(()) } else { Err(bundle) }
    });
    // The kubelet brings a changed ConfigMap to the pods within its sync period and its cache's lifetime.
    wait::pause(CHANGE / 2);
}
