//! Certificates that live for seconds: they are renewed repeatedly without affecting traffic.

use std::time::{Duration, Instant};

use api::process::tls;
use api::process::tls::verifier::PresentedChain;
use nix::sys::signal::Signal;
use rustls_pki_types::UnixTime;
use serde_json::Value;
use tests::mesh::{self, Mesh};
use tests::report::Report;
use tests::{program, wait};

use crate::PROBE;

const CLIENT: &str = "deployment/client";
/// The lifetime that the annotation below requests.
const LIFE: Duration = Duration::from_secs(10);

/// `samples/echo`, with sidecars whose certificates live for ten seconds.
fn short_lived() -> String {
    let yaml = std::fs::read_to_string(program::repository("samples/echo/echo.yaml")).expect("it is there");
    let before = "  template:\n    metadata:\n";
    assert_eq!(yaml.matches(before).count(), 4, "the sample has four deployments");
    let annotation =
        "      annotations:\n        proxy.istio.io/config: |\n          proxyMetadata: {SECRET_TTL: 10s}\n";
    yaml.replace(before, &format!("{before}{annotation}"))
}

/// The secrets of a sidecar as JSON, including serial number and expiry of its own certificate.
fn certificate(mesh: &Mesh, pod: &str) -> String {
    let text = mesh.ostria(&["proxy-config", "secrets", pod, "-n", "echo", "-o", "json"]).text();
    let secrets: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let all = serde_json::to_string(&secrets).expect("it was read a moment ago");
    assert!(!all.contains("PRIVATE"), "{all}");
    text
}

/// The number of streams: a debug build is busy with a tenth of the number in the test's name.
fn streams() -> u64 {
    let given = std::env::var("RENEWAL_STREAMS").ok();
    let usual = if program::is_release() { 1_000 } else { 100 };
    given.map_or(usual, |text| text.parse().expect("RENEWAL_STREAMS is a number"))
}

fn short_lived_mesh() -> Mesh {
    let folder = tempfile::tempdir().expect("a folder can be made");
    std::fs::write(folder.path().join("echo.yaml"), short_lived()).expect("it can be written");
    let mut mesh = Mesh::up(&[&folder.path().display().to_string()], PROBE);
    mesh.observe();
    mesh
}

#[test]
fn a_thousand_open_streams_outlive_the_certificates_they_began_with() {
    let mesh = short_lived_mesh();
    let server = mesh.pod_of_version("echo", "v1");
    let pods =
        ["client", &server].map(|app| if app == "client" { mesh.pod("echo", app).name } else { app.into() });
    let half = (streams() / 2).to_string();
    let before = pods.clone().map(|pod| certificate(&mesh, &pod));
    let begin = Instant::now();
    // Each worker keeps its WebSocket open from the first message to the last.
    let sockets = ["ws://echo-server:8080/chat", "-c", &half, "--rate", "100", "--duration", "14s"];
    let sockets = mesh.start_echo("echo", CLIENT, &sockets);
    // Each request is one HTTP/2 stream, also between the sidecars.
    let streams = [
        "http://echo-server:8080/?delay=12s",
        "--http2",
        "-c",
        &half,
        "-n",
        &half,
        "--rate",
        "250",
        "--timeout",
        "60s",
    ];
    let streams = mesh.start_echo("echo", CLIENT, &streams);
    // Citadel hangs for part of the renewal period; certificates remain valid for longer than that.
    let (citadel, _) = mesh.processes("ostria-citadel")[0];
    wait::pause(Duration::from_secs(3));
    mesh::signal(citadel, Signal::SIGSTOP);
    wait::pause(Duration::from_secs(3));
    mesh::signal(citadel, Signal::SIGCONT);
    let streams = Report::of(&streams.finish(Duration::from_secs(60)));
    let sockets = Report::of(&sockets.finish(Duration::from_secs(60)));
    assert!(begin.elapsed() > LIFE, "{:?}", begin.elapsed());
    assert_eq!(streams.all_good().ok.to_string(), half);
    assert!(sockets.all_good().ok > 1_000, "{sockets:?}");
    let after = pods.map(|pod| certificate(&mesh, &pod));
    assert!(before.iter().zip(&after).all(|(before, after)| before != after), "{before:?} {after:?}");
    // The initial certificates have expired: these connections rely on renewed ones.
    let tcp = mesh.echo("echo", CLIENT, &["tcp://echo-server:9000", "-n", "20", "--new-connection"]);
    assert_eq!(tcp.all_good().by_version.len(), 2, "{tcp:?}");
    mesh.echo("echo", CLIENT, &["http://echo-server:8080/?close=1", "-n", "20", "--new-connection"])
        .all_good();
    let client = mesh.pod("echo", "client");
    let left = mesh.metrics(&client).sum("envoy_agent_cert_expiry_seconds", &[]);
    assert!((1..=10).contains(&left), "{left} s are left");
}

/// Observes a root rotation: writes citadel's folder, and checks what the sidecars use.
struct Roots {
    folder: std::path::PathBuf,
    pods: Vec<String>,
}

impl Roots {
    fn write(&self, files: &[(&str, &str)]) {
        for (name, text) in files {
            // Renamed into place, as an operator's tool would do: no reader sees a partial file.
            let staged = self.folder.join(format!("{name}.next"));
            std::fs::write(&staged, text).expect("the test may write there");
            std::fs::rename(&staged, self.folder.join(name)).expect("it is the same folder");
        }
    }

    /// Waits until every sidecar has this number of roots and a certificate signed by this root; sends requests
    /// meanwhile.
    fn until(&self, mesh: &Mesh, what: &str, roots: usize, signer: &str) {
        wait::until(what, Duration::from_secs(40), || {
            for url in ["http://echo-server:8080/?close=1", "tcp://echo-server:9000"] {
                mesh.echo("echo", CLIENT, &[url, "-n", "20", "-c", "4", "--new-connection"]).all_good();
            }
            self.pods.iter().try_for_each(|pod| {
                let (bundle, chain) = presented(mesh, pod);
                let count = bundle.matches("BEGIN CERTIFICATE").count();
                let signed = chain_is_of(&chain, signer);
                if count == roots && signed { Ok(()) } else { Err(format!("{pod}: {count} roots, {signed}")) }
            })
        });
    }
}

/// The roots and the own certificate of a sidecar in PEM.
fn presented(mesh: &Mesh, pod: &str) -> (String, String) {
    let dump: Value = serde_json::from_str(&certificate(mesh, pod)).expect("it was read before");
    let mut found = (String::new(), String::new());
    collect(&dump, &mut found);
    found
}

fn collect(value: &Value, found: &mut (String, String)) {
    match value {
        Value::Object(fields) => {
            for (name, inner) in fields {
                match (name.as_str(), pem(inner)) {
                    ("trusted_ca", Some(text)) => found.0 = text,
                    ("certificate_chain", Some(text)) => found.1 = text,
                    _ => collect(inner, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|inner| collect(inner, found)),
        _ => {}
    }
}

fn pem(source: &Value) -> Option<String> {
    use base64::Engine;
    let bytes = base64::engine::general_purpose::STANDARD.decode(source["inline_bytes"].as_str()?).ok()?;
    String::from_utf8(bytes).ok()
}

/// Whether the first certificate of a chain is signed by a root.
fn chain_is_of(chain: &str, root: &str) -> bool {
    let (Ok(chain), Ok(roots)) =
        (tls::certificates_from_pem(chain.as_bytes()), tls::roots_from_pem(root.as_bytes()))
    else {
        return false;
    };
    let presented =
        PresentedChain { leaf: &chain[0], intermediates: &chain[1..], dialled: None, now: UnixTime::now() };
    presented.leads_to(&roots).is_ok()
}

#[test]
fn a_root_is_replaced_in_three_steps_and_no_call_fails() {
    let mut mesh = short_lived_mesh();
    let roots = Roots {
        folder: mesh.root_folder(),
        pods: vec![
            mesh.pod("echo", "client").name,
            mesh.pod_of_version("echo", "v1"),
            mesh.pod_of_version("echo", "v2"),
        ],
    };
    let old =
        std::fs::read_to_string(roots.folder.join("root-cert.pem")).expect("citadel keeps its root here");
    let key = rcgen::KeyPair::generate().expect("a key can be made");
    let mut parameters = rcgen::CertificateParams::default();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    parameters.distinguished_name.push(rcgen::DnType::CommonName, "the next root");
    let new = parameters.self_signed(&key).expect("it can sign itself").pem();
    roots.write(&[("root-cert.pem", &format!("{old}{new}"))]);
    roots.until(&mesh, "both roots are trusted", 2, &old);
    roots.write(&[("ca-key.pem", &key.serialize_pem()), ("ca-cert.pem", &new)]);
    roots.until(&mesh, "certificates are of the next root", 2, &new);
    roots.write(&[("root-cert.pem", &new)]);
    roots.until(&mesh, "the old root is trusted no more", 1, &new);

    let gone = mesh.pod_of_version("echo", "v2");
    mesh.ostria(&["delete", "pod", &gone, "-n", "echo"]).text();
    wait::until("a pod that starts is ready", Duration::from_secs(30), || {
        let pods = mesh.pods("echo", "version", "v2");
        let fresh = pods.iter().find(|pod| pod.name != gone && pod.name.starts_with("echo-server"));
        let name = &fresh.ok_or("no pod")?.name;
        if mesh.health("echo", name).0 { Ok(()) } else { Err(mesh.unready("echo", name)) }
    });
    mesh.echo("echo", CLIENT, &["http://echo-server:8080/", "-n", "20", "--new-connection"]).all_good();
    mesh.observe();
}
