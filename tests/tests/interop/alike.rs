//! Compares Envoy and `ostria-proxy` with the same configuration file and a table of requests: what clients see,
//! what the server behind the proxy sees, and what is logged. The table is `requests.txt`; each of its sections is
//! named after a configuration file in the same folder.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tests::program::{self, Running};
use tests::request::{self, Request};
use tests::{wait, wire};

use crate::PROBE;

#[test]
#[ignore = "fetches Envoy"]
fn a_front_proxy_responds_alike() {
    alike("front.yaml");
}

#[test]
#[ignore = "fetches Envoy"]
fn route_conditions_match_alike() {
    alike("match.yaml");
}

#[test]
#[ignore = "fetches Envoy"]
fn timeouts_retries_and_faults_are_alike() {
    alike("resilience.yaml");
}

#[test]
#[ignore = "fetches Envoy"]
fn edge_proxies_trust_and_sanitize_headers_alike() {
    alike("edge.yaml");
}

#[test]
#[ignore = "fetches Envoy"]
fn access_is_denied_alike() {
    alike("rbac.yaml");
}

#[test]
#[ignore = "fetches Envoy"]
fn clusters_are_reached_alike() {
    alike("clusters.yaml");
}

#[test]
#[ignore = "fetches Envoy"]
fn tls_and_tcp_are_served_alike() {
    alike("tls.yaml");
}

#[test]
#[ignore = "fetches Envoy"]
fn operators_are_rendered_alike() {
    alike("operators.yaml");
}

#[test]
#[ignore = "fetches Envoy"]
fn clients_are_known_by_their_certificates_alike() {
    alike("peers.yaml");
}

#[test]
#[ignore = "fetches Envoy"]
fn filters_act_alike() {
    alike("filters.yaml");
}

#[test]
#[ignore = "fetches Envoy"]
fn listener_filters_are_disabled_by_port_alike() {
    alike("listeners.yaml");
}

fn alike(name: &str) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let folder = folder.path();
    tests::certificates::write(folder);
    let beside = program::repository("tests/tests/interop");
    let read = |name: &str| std::fs::read_to_string(beside.join(name)).expect("the file is there");
    let file = folder.join(name);
    let text = read(name).replace("TLSDIR", &folder.display().to_string());
    std::fs::write(&file, text).expect("the folder can be written");
    let requests = request::section(&read("requests.txt"), name);
    assert!(requests.len() >= 10, "{name} has hardly any requests");

    let servers = servers(folder);
    let node = servers[0].pid();
    let file = file.display().to_string();
    let line = ["-c", &file, "--disable-hot-restart", "--concurrency", "1", "-l", "error"];
    let envoy = answers(node, wire::enter(node, &crate::envoy(), &line), &requests, folder);
    let line = ["run", "--bootstrap", &file, "--concurrency", "1"];
    let own = answers(node, wire::enter(node, &program::path("ostria-proxy"), &line), &requests, folder);
    for server in servers {
        server.end();
    }
    compare(&requests, &envoy, &own);
}

/// The observations for each request, and the lines of the log.
type Answers = (Vec<Value>, Vec<String>);

fn compare(requests: &[Request], envoy: &Answers, own: &Answers) {
    let mut differences = vec![];
    for (request, (envoy, own)) in requests.iter().zip(envoy.0.iter().zip(&own.0)) {
        let (envoy, own) = (flat(envoy), flat(own));
        let keys = envoy.keys().chain(own.keys()).collect::<std::collections::BTreeSet<_>>();
        for key in keys.into_iter().filter(|key| envoy.get(*key) != own.get(*key)) {
            let shown = |all: &BTreeMap<String, String>| all.get(key).cloned().unwrap_or_default();
            differences.push(format!(
                "{}\n    {key}: Envoy {} ours {}",
                request.line,
                shown(&envoy),
                shown(&own)
            ));
        }
    }
    // For a malformed request Envoy logs no head, or no line at all; for a path that it refuses it logs what the
    // path would have become. We log the request as received.
    let unlogged = own.1.len() > envoy.1.len();
    let owns: Vec<_> = own.1.iter().filter(|line| !(unlogged && line.starts_with("LOG - -"))).collect();
    let headless =
        |line: &str| line.starts_with("LOG - -") || line.contains(" 400 - path_normalization_failed");
    let pairs = envoy.1.iter().zip(&owns).filter(|(envoy, _)| !headless(envoy));
    for (envoy, own) in pairs.filter(|(envoy, own)| plain(envoy) != plain(own)) {
        differences.push(format!("log\n    Envoy {envoy}\n    ours  {own}"));
    }
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
    assert_eq!(envoy.1.len(), owns.len(), "not as many requests are logged");
}

/// The line without the error text of the TLS library, which differs between libraries.
fn plain(line: &str) -> String {
    match line.split_once("|TLS_error") {
        Some((before, rest)) => format!("{before}{}", rest.rsplit_once('}').map_or("", |(_, after)| after)),
        None => line.to_owned(),
    }
}

/// Flattens a value: each leaf by its path.
fn flat(value: &Value) -> BTreeMap<String, String> {
    let Value::Object(object) = value else { return BTreeMap::from([(String::new(), value.to_string())]) };
    let inner = object.iter().flat_map(|(key, value)| {
        flat(value).into_iter().map(move |(path, value)| (format!("{key}.{path}"), value))
    });
    inner.collect()
}

fn answers(node: u32, mut proxy: Running, requests: &[Request], folder: &Path) -> Answers {
    let ask = |requests: &[Request]| {
        let folder = folder.display().to_string();
        let mut probe = wire::enter(node, Path::new(PROBE), &["ask", &folder]);
        for request in requests {
            let line = serde_json::to_string(request).expect("requests are JSON");
            probe.feed(format!("{line}\n").as_bytes());
        }
        let out = probe.finish(Duration::from_secs(120)).text();
        out.lines()
            .map(|line| serde_json::from_str(line).expect("the probe prints JSON"))
            .collect::<Vec<Value>>()
    };
    wait::until("the proxy listens", Duration::from_secs(20), || {
        assert!(!proxy.has_ended(), "the proxy refuses the file: run it by hand to see why");
        let ready = Request::parse(&format!("{} tcp x", requests[0].port));
        let seen = ask(&[ready]);
        if seen[0].get("refused").is_some() { Err(seen[0].to_string()) } else { Ok(()) }
    });
    // Names are resolved and endpoints found only after the listeners are up.
    wait::pause(Duration::from_millis(1200));
    let seen = ask(requests);
    wait::pause(Duration::from_millis(200));
    let outcome = proxy.end();
    let log = String::from_utf8_lossy(&outcome.out).into_owned();
    let log = log.lines().filter(|line| line.starts_with(['L', '{'])).map(str::to_owned).collect();
    assert_eq!(seen.len(), requests.len(), "not every request was asked: {outcome}");
    (seen, log)
}

/// Starts the servers behind the proxy in their own network, each with a distinct pod name.
fn servers(folder: &Path) -> Vec<Running> {
    let file = |name: &str| folder.join(name).display().to_string();
    let (certificate, key) = (file("server.pem"), file("server.key"));
    let of = |name, http| {
        let common = ["server", "--address", "127.0.0.1", "--shutdown-delay", "0s", "--pod-name", name];
        [&common[..], &["--http", http]].concat()
    };
    let echo = program::path("echo");
    let tls = ["--https", "9443", "--cert", &certificate, "--key", &key];
    let one = [&of("one", "9081")[..], &["--tcp", "9000"], &tls].concat();
    let first = wire::alone(&echo, &one);
    let node = first.pid();
    wait::until("the first server is there", Duration::from_secs(10), || {
        let outcome = wire::enter(node, Path::new(PROBE), &["get", "http://127.0.0.1:9081/"]).finish(TIMEOUT);
        if outcome.code == 0 { Ok(()) } else { Err(outcome.to_string()) }
    });
    let two = [&of("two", "9082")[..], &["--tcp", "9002"]].concat();
    let others = [two, of("three", "9083")].map(|line| wire::enter(node, &echo, &line));
    let frank = wire::enter(node, Path::new(PROBE), &["origin", "9010", "9011"]);
    std::iter::once(first).chain(others).chain([frank]).collect()
}

const TIMEOUT: Duration = Duration::from_secs(20);
