//! A hundred changes of configuration per second under load: no request fails, pilot batches changes, the proxies
//! end with the last change, and memory does not grow. `CHURN_SECONDS` sets the duration.

use std::path::Path;
use std::time::{Duration, Instant};

use tests::mesh::{Mesh, Options};
use tests::program::TIMEOUT;
use tests::remains::resident;
use tests::report::Report;
use tests::wait;

use crate::PROBE;

const CLIENT: &str = "deployment/client";
const URL: &str = "http://echo-server:8080/";

#[test]
fn a_hundred_changes_a_second_fail_no_request_and_the_last_one_holds() {
    let seconds = seconds();
    let folders = vec!["samples/echo".into()];
    let mut mesh = Mesh::begin(&Options { folders, alone: true, ..Options::default() }, PROBE);
    mesh.until_up();
    let file = mesh.config().join("mesh/churn.json");
    // Memory that is allocated on first use is kept; only growth after that is a leak.
    calls(&mesh, 2, |until| {
        churn(&file, until);
    });
    wait::pause(Duration::from_secs(1));
    let (before, pushes) = (memory(&mesh), pushes(&mesh));
    let mut made = 0;
    let report = calls(&mesh, seconds, |until| made = churn(&file, until));
    report.all_good();
    assert!(u64::from(made) >= seconds * 60, "only {made} changes were made in {seconds} s");
    wait::until("the last change is at the sidecar", Duration::from_secs(2), || {
        let report = mesh.echo("echo", CLIENT, &[URL, "--show"]);
        match report.seen_header("x-change") {
            Some(value) if value == made.to_string() => Ok(()),
            other => Err(format!("{other:?} of {made}")),
        }
    });
    let pushed = self::pushes(&mesh) - pushes;
    let sidecars = mesh.processes("ostria-proxy").len() as u64;
    // Pilot batches changes for at least a few milliseconds, and until the previous push is acknowledged.
    let (most, least) = (sidecars * seconds * 50, sidecars * seconds);
    assert!(
        (least..=most).contains(&pushed),
        "{pushed} pushes for {made} changes, {least} to {most} expected"
    );
    eprintln!(
        "{made} changes in {seconds} s under {} requests; {pushed} pushes to {sidecars} sidecars",
        report.requests
    );
    wait::until("memory is as it was", Duration::from_secs(20), || {
        let grown: Vec<String> = before
            .iter()
            .filter_map(|(id, name, held)| {
                let now = resident(*id)?;
                (now > held * 1.1 + SLACK).then(|| format!("{name} {id}: {held:.1} MiB, then {now:.1}"))
            })
            .collect();
        if grown.is_empty() { Ok(()) } else { Err(grown.join("; ")) }
    });
}

/// The duration: five seconds, or the environment's value for a run of this test alone.
fn seconds() -> u64 {
    std::env::var("CHURN_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(5)
}

/// Runs a function while a client sends requests, for this long. Returns the client's report.
fn calls(mesh: &Mesh, seconds: u64, act: impl FnOnce(Instant)) -> Report {
    let time = format!("{}s", seconds + 1);
    let line = [URL, "-c", "10", "--rate", "200", "--duration", &time];
    let running = mesh.start_echo("echo", CLIENT, &line);
    act(Instant::now() + Duration::from_secs(seconds));
    Report::of(&running.finish(TIMEOUT + Duration::from_secs(seconds)))
}

/// Rewrites one rule a hundred times a second, each time with different content. Returns the number of writes.
fn churn(file: &Path, until: Instant) -> u32 {
    let begin = Instant::now();
    let draft = file.with_file_name(".churn");
    let mut made = 0;
    while Instant::now() < until {
        made += 1;
        let rule = serde_json::json!({
            "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
            "metadata": {"name": "churn", "namespace": "echo"},
            "spec": {"hosts": ["echo-server"], "http": [{
                "headers": {"request": {"set": {"x-change": made.to_string()}}},
                "route": [{"destination": {"host": "echo-server"}}],
            }]},
        });
        let folder = file.parent().expect("a file is in a folder");
        let write = std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(&draft, rule.to_string()))
            .and_then(|()| std::fs::rename(&draft, file));
        write.expect("the mesh's folder can be written");
        wait::pause((begin + PERIOD * made).saturating_duration_since(Instant::now()));
    }
    made
}

/// The memory of pilot and the sidecars: process ID, name, resident MiB.
fn memory(mesh: &Mesh) -> Vec<(u32, &'static str, f64)> {
    let of = |name: &'static str| mesh.processes(name).into_iter().map(move |(id, held)| (id, name, held));
    of("ostria-pilot").chain(of("ostria-proxy")).collect()
}

/// How many route responses pilot has sent.
fn pushes(mesh: &Mesh) -> u64 {
    mesh.pilot().sum("pilot_xds_pushes", &[("type", "rds")])
}

const PERIOD: Duration = Duration::from_millis(10);
/// Growth in MiB that does not indicate a leak.
const SLACK: f64 = 2.0;
