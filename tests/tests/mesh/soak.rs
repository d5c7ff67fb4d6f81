//! Kills processes of the mesh at random under load: only requests that were active at the killed process may fail.
//! `SOAK_SECONDS` sets the duration, `SOAK_SEED` the order; `make soak` takes ten minutes.
//!
//! The promises: a request that a killed sidecar had not accepted yet goes to another replica, and so does an
//! active one that may be retried; a killed control-plane process affects no request. A request on which the killed
//! sidecar may have acted gets a 503 with the flag UC, immediately.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tests::mesh::{self, Mesh, Options};
use tests::program::{self, Running, TIMEOUT};
use tests::report::Report;
use tests::wait;

use crate::PROBE;

#[test]
fn random_kills_fail_only_requests_to_the_killed_process() {
    let (seconds, seed) = (setting("SOAK_SECONDS", 15), setting("SOAK_SEED", 20_261_121));
    eprintln!("SOAK_SECONDS={seconds} SOAK_SEED={seed}");
    let folder = tempfile::tempdir().expect("a folder can be made");
    let folders = vec!["samples/echo".into(), bystander(folder.path())];
    let mut mesh = Mesh::begin(&Options { folders, alone: true, ..Options::default() }, PROBE);
    mesh.until_up();
    let loads = start(&mesh, seconds);
    let mut chance = Chance(seed);
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut kills: BTreeMap<&str, u32> = BTreeMap::new();
    while Instant::now() < end {
        wait::pause(Duration::from_millis(500 + chance.below(2_500)));
        mesh.observe();
        if let Some((kind, id)) = victim(&mesh, &mut chance) {
            mesh::signal(id, Signal::SIGKILL);
            *kills.entry(kind).or_default() += 1;
        }
    }
    eprintln!("killed: {kills:?}");
    judge(&mesh, loads, seconds, &kills);
    recovered(&mut mesh);
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// A second client whose own sidecar may be killed, too: a copy of the sample's client under another name.
fn bystander(folder: &std::path::Path) -> std::path::PathBuf {
    let text = std::fs::read_to_string(program::repository("samples/echo/echo.yaml")).expect("it is there");
    let client = text
        .split("---\n")
        .find(|part| part.contains("kind: Deployment") && part.contains("\n  name: client\n"));
    let copy = client.expect("the sample has a client").replace(": client\n", ": bystander\n");
    let file = folder.join("bystander.yaml");
    let copy = copy.replace("serviceAccountName: bystander", "serviceAccountName: client");
    std::fs::write(&file, copy).expect("the folder can be written");
    file
}

/// Starts two hundred requests a second from the client whose sidecar is never killed.
fn start(mesh: &Mesh, seconds: u64) -> Vec<Running> {
    let time = format!("{}s", seconds + 2);
    let load = |url: &str, rate: &str, more: &[&str]| {
        let line = [&[url, "-c", CONCURRENCY, "--rate", rate, "--duration", &time][..], more].concat();
        mesh.start_echo("echo", "deployment/client", &line)
    };
    vec![
        load("http://echo-server:8080/?delay=5ms", "100", &[]),
        load("http://echo-server:8080/?delay=5ms", "50", &["--http2"]),
        load("http://echo-server:8080/?delay=5ms", "20", &["-d", "a body that may be acted on once"]),
        load("grpc://echo-server:7070", "30", &[]),
    ]
}

/// Picks the next process to kill: any process of the control plane, the bystander's sidecar, or a server's sidecar
/// if the other replica is ready and the clients know of it. A replica cannot take over if the clients were not
/// informed of it, for example because pilot was killed, too.
fn victim(mesh: &Mesh, chance: &mut Chance) -> Option<(&'static str, u32)> {
    let mut all: Vec<(&'static str, u32)> = vec![];
    for name in ["ostria-pilot", "ostria-citadel", "ostria-injector"] {
        all.extend(mesh.processes(name).into_iter().map(|(id, _)| (name, id)));
    }
    let ready = mesh.get("pods", "echo");
    let ready: Vec<&str> =
        ready.iter().filter(|pod| is_ready(pod)).filter_map(|pod| pod["metadata"]["name"].as_str()).collect();
    let sidecars: Vec<(String, u32)> =
        mesh.processes("ostria-proxy").into_iter().filter_map(|(id, _)| Some((pod_of(id)?, id))).collect();
    let servers =
        ready.iter().filter(|name| name.starts_with("echo-server")).count().min(known_servers(mesh));
    for (pod, id) in sidecars.iter().filter(|(pod, _)| ready.contains(&pod.as_str())) {
        if pod.starts_with("bystander") {
            all.push(("bystander", *id));
        } else if pod.starts_with("echo-server") && servers > 1 {
            // Twice, because only here requests can be lost.
            all.extend([("server", *id); 2]);
        }
    }
    (!all.is_empty()).then(|| all[chance.below(all.len() as u64) as usize])
}

/// How many endpoints of the servers the client's sidecar has.
fn known_servers(mesh: &Mesh) -> usize {
    let client = mesh.pod("echo", "client").name;
    let endpoints = mesh.ostria(&["proxy-config", "endpoints", &client, "-n", "echo"]).text();
    endpoints.lines().filter(|line| line.contains("outbound|8080||echo-server.")).count()
}

fn is_ready(pod: &serde_json::Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions.is_some_and(|all| all.iter().any(|one| one["type"] == "Ready" && one["status"] == "True"))
}

/// The pod that a sidecar belongs to, from its environment.
fn pod_of(process: u32) -> Option<String> {
    let environment = std::fs::read(format!("/proc/{process}/environ")).ok()?;
    let mut pairs = environment.split(|byte| *byte == 0);
    let value = pairs.find_map(|pair| pair.strip_prefix(b"POD_NAME="))?;
    String::from_utf8(value.to_vec()).ok()
}

/// Checks that every request succeeded except those that were active at a killed sidecar.
fn judge(mesh: &Mesh, loads: Vec<Running>, seconds: u64, kills: &BTreeMap<&str, u32>) {
    let timeout = TIMEOUT + Duration::from_secs(seconds);
    let reports: Vec<Report> = loads.into_iter().map(|load| Report::of(&load.finish(timeout))).collect();
    let requests: u64 = reports.iter().map(|report| report.requests).sum();
    let failed: u64 = reports.iter().map(|report| report.failed).sum();
    let servers = u64::from(kills.get("server").copied().unwrap_or_default());
    let metrics = mesh.metrics(&mesh.pod("echo", "client"));
    let source = [("reporter", "source"), ("source_workload", "client")];
    let bad: Vec<_> = metrics
        .matching("istio_requests_total", &source)
        .filter(|series| series.labels["response_flags"] != "-")
        .map(|series| (series.labels["response_flags"].clone(), series.value))
        .collect();
    eprintln!("{requests} requests, {failed} failed at {servers} killed sidecars of servers: {bad:?}");
    assert!(requests >= seconds * 190, "{requests} requests in {seconds} s");
    // Each connection of a load may have had one active request, half of them at the killed sidecar.
    let most: u64 = CONCURRENCY.parse::<u64>().expect("it is a number") * reports.len() as u64;
    assert!(failed <= servers * most, "{failed} requests failed: {reports:#?}");
    assert!(
        bad.iter().all(|(flags, _)| ["UC", "UPE"].contains(&flags.as_str())),
        "something else than the killed ones failed: {bad:?}"
    );
    for idempotent in &reports[..2] {
        assert_eq!(idempotent.failed, 0, "a request that can be repeated was not: {idempotent:#?}");
    }
}

/// Checks that everything works as before.
fn recovered(mesh: &mut Mesh) {
    for client in ["deployment/client", "deployment/bystander"] {
        wait::until(&format!("{client} works"), TIMEOUT, || {
            let report =
                mesh.echo("echo", client, &["http://echo-server:8080/", "-n", "50", "--new-connection"]);
            if report.failed == 0 { Ok(()) } else { Err(format!("{report:?}")) }
        });
    }
    mesh.observe();
}

/// A generator of pseudo-random numbers that are the same for the same seed (splitmix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

/// The number of concurrent requests of each load.
const CONCURRENCY: &str = "5";
