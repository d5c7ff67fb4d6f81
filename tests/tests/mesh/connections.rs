//! Many connections: a series of short ones at the highest rate, then thousands of concurrent requests. Afterwards
//! a proxy holds no more resources than before. `STORM_SECONDS` and `IN_FLIGHT` set the amounts.

use std::time::Duration;

use serde_json::json;
use tests::plane::{Plane, Proxy, front};
use tests::program::{Running, TIMEOUT};
use tests::report::Report;
use tests::wait;

use crate::PROBE;

const URL: &str = "http://127.0.0.1:8000/";

#[test]
fn a_storm_of_connections_and_thousands_of_requests_at_once_leave_nothing() {
    let (seconds, in_flight) = (setting("STORM_SECONDS", 2), setting("IN_FLIGHT", 500));
    let plane = Plane::start(PROBE);
    let server = plane.run("echo", &["server", "--address", "127.1.0.1", "--http", "8080"]);
    let gateway = plane.proxy("router", "gate", "istio-system", &json!({"istio": "ingressgateway"}), 15100);
    // Resources that the first round makes a proxy keep for the next one are not a leak.
    let before = round(&plane, &gateway, 1, in_flight).1;
    let (made, mut after) = round(&plane, &gateway, seconds, in_flight);
    eprintln!("{made} connections in {seconds} s");
    wait::until("what was open is closed and given back", Duration::from_secs(30), || {
        let same = after.0 <= before.0 + FILES && after.1 <= before.1 * 1.1 + SLACK;
        let output = format!("files and MiB: {before:?} before, {after:?} after");
        after = held(&gateway);
        if same { Ok(()) } else { Err(output) }
    });
    gateway.end();
    server.end();
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Runs a storm and a crowd, then removes the gateway's configuration, which closes the idle connections. Returns
/// the number of connections of the storm, and what the proxy holds afterwards.
fn round(plane: &Plane, gateway: &Proxy, seconds: u64, in_flight: u64) -> (u64, (usize, f64)) {
    plane.write("front.json", &front("shop"));
    wait::until("the gateway serves", Duration::from_secs(20), || plane.page(URL));
    let made = storm(plane, seconds);
    crowd(plane, in_flight);
    plane.remove(&["front.json".to_owned()]);
    wait::until("connections are closed", Duration::from_secs(20), || match held(gateway) {
        (files, _) if (files as u64) < in_flight / 2 => Ok(()),
        held => Err(format!("{held:?}")),
    });
    wait::pause(Duration::from_secs(1));
    (made, held(gateway))
}

/// Opens connections as fast as the machine allows, with one request each. Returns their number.
fn storm(plane: &Plane, seconds: u64) -> u64 {
    let time = format!("{seconds}s");
    let line = ["client", "--allow-failures", URL, "-c", "32", "--new-connection", "--duration", &time];
    let report = Report::of(&plane.run("echo", &line).finish(TIMEOUT));
    report.all_good().requests
}

/// Sends this many concurrent requests, each of which takes a second; all of them must succeed.
fn crowd(plane: &Plane, in_flight: u64) {
    let url = format!("{URL}?delay=1s");
    let clients: Vec<Running> = (0..in_flight.div_ceil(MOST))
        .map(|number| (in_flight - number * MOST).min(MOST).to_string())
        .map(|count| plane.run("echo", &["client", "--allow-failures", &url, "-c", &count, "-n", &count]))
        .collect();
    for client in clients {
        Report::of(&client.finish(TIMEOUT)).all_good();
    }
}

/// The open files of a proxy, and its memory in MiB.
fn held(proxy: &Proxy) -> (usize, f64) {
    (proxy.files(), proxy.memory())
}

/// The most connections of one client process.
const MOST: u64 = 2_500;
/// The number of files that a proxy may open in addition.
const FILES: usize = 16;
/// Growth in MiB that does not indicate a leak.
const SLACK: f64 = 3.0;
