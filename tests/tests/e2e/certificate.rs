//! Certificates of the mesh: the root is replaced under load, and all certificates expire while citadel is away.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Value, json};
use tests::wait;

use crate::cluster::{CHANGE, START, kubectl, must, restart, scale};
use crate::forward::Forward;
use crate::handshake;
use crate::mesh::{self, SYSTEM};
use crate::ostria::{certificates, with_sidecars};
use crate::shop::{self, NAMESPACE, Until};
use crate::webhook::{self, a_pod_with_a_sidecar};

/// The shortest lifetime that citadel can be told to give.
const LIFETIME: Duration = Duration::from_secs(60);
const SECRET: &str = "secret/istio-ca-secret";
const AUTHORITY: &str = "the next root";
const WEBHOOKS: [&str; 2] = ["ostria-injector", "ostria-pilot"];

/// With certificates that live for a minute, the root is replaced in the steps of docs/certificates.md and loses no request.
/// Then citadel is away until every certificate has expired, those of the webhooks too, and all works again when it is back.
pub(crate) fn replaced() {
    shop::open();
    mesh::upgrade(&mesh::chart(), &["citadel.defaultTtl=1m,citadel.maxTtl=1m"]);
    let customers = shop::customers("root", Until::Stopped);
    let root = replace_the_root();
    shop::all_served(customers);
    citadel_is_away(&root);
    shop::goes_on();
}

/// Both roots, then the authority, then only the new root. Each step waits until every proxy has the last one's change.
fn replace_the_root() -> String {
    let old = secret("root-cert.pem");
    let (certificate, key) = authority();
    change(&[("root-cert.pem", &format!("{old}{certificate}"))]);
    until_trusted(&[&old, &certificate]);
    change(&[("ca-cert.pem", &certificate), ("ca-key.pem", &key), ("cert-chain.pem", "")]);
    wait::until("every proxy has a certificate of the new root", LIFETIME / 2 + CHANGE, || {
        of_every_proxy("default", |chain| {
            let leaf = CertificateDer::from_pem_slice(chain.as_bytes()).map_err(|error| error.to_string())?;
            let is_new = leaf.windows(AUTHORITY.len()).any(|part| part == AUTHORITY.as_bytes());
            if is_new { Ok(()) } else { Err("one of the old root".to_owned()) }
        })
    });
    change(&[("root-cert.pem", &certificate)]);
    until_trusted(&[&certificate]);
    webhooks_serve(&certificate);
    restart(NAMESPACE, &["details-v1"]);
    certificate
}

/// A new authority: its certificate and its key.
fn authority() -> (String, String) {
    let key = rcgen::KeyPair::generate().expect("a key can be made");
    let mut parameters = rcgen::CertificateParams::default();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    parameters.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::CrlSign];
    parameters.distinguished_name.push(rcgen::DnType::CommonName, AUTHORITY);
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

/// Waits until the trust bundles, the webhooks' registrations and every proxy hold these roots and no others.
fn until_trusted(roots: &[&str]) {
    let exactly = |bundle: &str| {
        let is_right = roots.iter().all(|root| bundle.contains(root.trim()))
            && bundle.matches("BEGIN CERTIFICATE").count() == roots.len();
        if is_right { Ok(()) } else { Err(format!("not these {} roots: {bundle}", roots.len())) }
    };
    for namespace in [NAMESPACE, SYSTEM] {
        wait::until("the trust bundle holds the roots", CHANGE, || {
            let path = r"jsonpath={.data.root-cert\.pem}";
            exactly(&kubectl(&["-n", namespace, "get", "configmap/istio-ca-root-cert", "-o", path])?)
        });
        // A kubelet looks for changed ConfigMaps once in one and a half minutes, and when a pod changes.
        let mark = format!("ostria-e2e/roots={}", roots.len());
        must(&["-n", namespace, "annotate", "pods", "--all", "--overwrite", &mark]);
    }
    wait::until("every proxy trusts the roots", 2 * CHANGE, || of_every_proxy("ROOTCA", exactly));
    for registration in [webhook::INJECTION, webhook::VALIDATION] {
        wait::until(&format!("{registration} holds the roots"), CHANGE, || {
            let bundle =
                kubectl(&["get", registration, "-o", "jsonpath={.webhooks[0].clientConfig.caBundle}"])?;
            let bundle = BASE64_STANDARD.decode(bundle.trim()).map_err(|error| error.to_string())?;
            exactly(&String::from_utf8_lossy(&bundle))
        });
    }
}

/// Checks the same secret of every proxy, those of the gateways included.
fn of_every_proxy(secret: &str, check: impl Fn(&str) -> Result<(), String>) -> Result<(), String> {
    for namespace in [NAMESPACE, SYSTEM] {
        for pod in with_sidecars(namespace)? {
            check(&certificates(namespace, &pod, secret)?).map_err(|reason| format!("{pod}: {reason}"))?;
        }
    }
    Ok(())
}

fn citadel_is_away(root: &str) {
    scale(SYSTEM, "ostria-citadel", 0);
    // None is older than half of its lifetime.
    wait::pause(LIFETIME / 2);
    for service in WEBHOOKS {
        wait::until(&format!("the certificate of {service} expires"), LIFETIME, || {
            match served(service, root) {
                Err(error) if error.contains("expired") => Ok(()),
                other => {
                    wait::pause(CHANGE / 10);
                    Err(format!("{other:?}"))
                }
            }
        });
    }
    // Helm gives it its replica back, and the usual lifetimes.
    mesh::upgrade(&mesh::chart(), &[]);
    webhooks_serve(root);
    // Each proxy tries again after half a minute at most.
    wait::until("every proxy is connected to pilot again", 2 * CHANGE, || crate::ostria::in_step(NAMESPACE));
}

/// Waits until the webhooks' servers have valid certificates of this root, and the API server calls them.
fn webhooks_serve(root: &str) {
    for service in WEBHOOKS {
        wait::until(&format!("the certificate of {service} is valid"), START, || served(service, root));
    }
    wait::until("pods get their sidecars", CHANGE, || a_pod_with_a_sidecar(NAMESPACE));
    wait::until("mistakes are refused", CHANGE, || webhook::a_mistake_is_refused(NAMESPACE));
}

fn served(service: &str, root: &str) -> Result<(), String> {
    let forward = Forward::start(SYSTEM, &format!("service/{service}"), 443);
    let name = format!("{service}.{SYSTEM}.svc");
    wait::within(CHANGE / 10, &mut || handshake::complete(forward.address(), &name, root))
}
