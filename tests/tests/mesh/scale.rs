//! Thousands of services pushed at once: no request fails meanwhile, a small change still causes a small push, and
//! memory is released afterwards. `SCALE_SERVICES` sets the number of services.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::metrics::Metrics;
use tests::plane::{Plane, Proxy, front, pod, routes, service};
use tests::program::{self, TIMEOUT};
use tests::report::Report;
use tests::wait;

use crate::PROBE;

const NAMESPACE: &str = "shop";

#[test]
fn thousands_of_services_come_and_go_without_a_failed_request_and_one_change_stays_small() {
    let count = services();
    let plane = Plane::start(PROBE);
    plane.write("front.json", &front(NAMESPACE));
    let server = plane.run("echo", &["server", "--address", "127.1.0.1", "--http", "8080"]);
    let gateway = plane.proxy("router", "gate", "istio-system", &json!({"istio": "ingressgateway"}), 15100);
    let sidecar = plane.proxy("sidecar", "client", NAMESPACE, &json!({"app": "client"}), 15000);
    let proxies = [&gateway, &sidecar];
    plane.until_in_step(&proxies, Duration::from_secs(20));
    wait::until("the gateway serves", Duration::from_secs(10), || plane.page(URL));
    // The load runs from here to the end, so that a failure at any moment is noticed.
    let load = plane.run(
        "echo",
        &["client", "--allow-failures", URL, "-c", "10", "--rate", "100", "--duration", "3600s"],
    );
    warm(&plane, &proxies, count);
    let small = [plane.memory(), gateway.memory(), sidecar.memory()];
    let names = push(&plane, &proxies, count);
    changes(&plane, &proxies, count);
    plane.remove(&names);
    plane.until_in_step(&proxies, Duration::from_secs(60));
    returned(&plane, &proxies, small);
    Report::of(&load.end()).all_good();
    gateway.end();
    sidecar.end();
    server.end();
}

/// The number of services: as many as debug builds push within seconds, unless the environment sets another number.
fn services() -> usize {
    let given = std::env::var("SCALE_SERVICES").ok().and_then(|text| text.parse().ok());
    given.unwrap_or(if program::is_release() { 2_000 } else { 300 })
}

/// Pushes and removes services once, so that memory which is kept after its first use is allocated before the
/// comparison.
fn warm(plane: &Plane, proxies: &[&Proxy], count: usize) {
    let before = known(plane);
    let names = push(plane, proxies, count);
    plane.remove(&names);
    until_known(plane, before);
    plane.until_in_step(proxies, TIMEOUT);
    settled(plane);
}

/// Pushes all services at once. Returns the names of their files.
fn push(plane: &Plane, proxies: &[&Proxy], count: usize) -> Vec<String> {
    let address = |prefix: u8, number: usize| {
        format!("10.{}.{}.{}", usize::from(prefix) + number / 65_536, number / 256 % 256, number % 256)
    };
    let name = |number: usize| format!("service-{number}");
    let (begin, before) = (Instant::now(), known(plane));
    let mut names = vec![];
    for first in (1..=count).step_by(CHUNK) {
        let numbers = first..=(first + CHUNK - 1).min(count);
        let services: Vec<Value> =
            numbers.clone().map(|n| service(&name(n), NAMESPACE, &address(100, n))).collect();
        let pods = numbers.flat_map(|n| [2 * n, 2 * n + 1]);
        let pods: Vec<Value> =
            pods.map(|n| pod(&format!("pod-{n}"), &name(n / 2), NAMESPACE, &address(150, n))).collect();
        for (kind, objects) in [("services", services), ("pods", pods)] {
            names.push(format!("{kind}-{first}.json"));
            plane.write(&names[names.len() - 1], &objects);
        }
    }
    names.push("routes.json".to_owned());
    let rules: Vec<Value> = (1..=count / 10).map(|n| routes(&name(n), NAMESPACE, "5s")).collect();
    plane.write("routes.json", &rules);
    // A service and two pods of it each, and a VirtualService for every tenth.
    until_known(plane, before + 3 * count + rules.len());
    let last = format!("outbound|80||service-{count}.{NAMESPACE}.svc.cluster.local");
    wait::until("the last service is at the sidecar", TIMEOUT, || {
        let page = plane.page("http://127.0.0.1:15000/clusters")?;
        if page.contains(&last) { Ok(()) } else { Err(format!("{} bytes of clusters", page.len())) }
    });
    plane.until_in_step(proxies, TIMEOUT);
    let (pilot, gateway, sidecar) = (plane.memory(), proxies[0].memory(), proxies[1].memory());
    eprintln!(
        "{count} services are at the proxies after {:.1} s; pilot {pilot:.0} MiB, gateway {gateway:.0} MiB, sidecar {sidecar:.0} MiB",
        begin.elapsed().as_secs_f64()
    );
    names
}

/// The number of objects that pilot has read.
fn known(plane: &Plane) -> usize {
    let page = plane.page("http://127.0.0.1:15014/debug/configz").unwrap_or_else(|reason| panic!("{reason}"));
    let page: Value = serde_json::from_str(&page).unwrap_or_else(|error| panic!("{error}: {page}"));
    page["objects"].as_array().unwrap_or_else(|| panic!("no list: {page}")).len()
}

/// Waits until pilot has read this many objects. It reads file by file, and proxies are in step after each file:
/// without this wait, the pushes for the last files would count as part of the next change.
fn until_known(plane: &Plane, count: usize) {
    wait::until("pilot has read all files", TIMEOUT, || match known(plane) {
        known if known == count => Ok(()),
        known => Err(format!("{known} objects of {count}")),
    });
}

/// Makes one small change among all services, and checks what is sent and how long pilot takes.
fn changes(plane: &Plane, proxies: &[&Proxy], count: usize) {
    let more = pod("pod-more", "service-7", NAMESPACE, "10.250.0.1");
    let (sent, time) = change(plane, proxies, &|| plane.write("more.json", std::slice::from_ref(&more)));
    eprintln!("a pod more: {sent:?} bytes, {:.0} ms until sent", time * 1e3);
    assert_eq!(sent.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), ["eds"], "{sent:?}");
    assert!(sent[0].1 < 2_000 * proxies.len() as u64, "the endpoints of one service were sent: {sent:?}");
    in_time(time, count);
    let rule = routes(&format!("service-{count}"), NAMESPACE, "7s");
    let (sent, time) = change(plane, proxies, &|| plane.write("rule.json", std::slice::from_ref(&rule)));
    eprintln!("a VirtualService more: {sent:?} bytes, {:.0} ms until sent", time * 1e3);
    assert_eq!(sent.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), ["rds"], "{sent:?}");
    in_time(time, count);
    plane.remove(&["more.json".to_owned(), "rule.json".to_owned()]);
    plane.until_in_step(proxies, TIMEOUT);
}

/// Checks a duration. Debug builds are slow, and so is a busy machine, so only release builds have a strict limit.
#[track_caller]
fn in_time(seconds: f64, count: usize) {
    let allowed = if program::is_release() { 0.25 } else { 0.5 + count as f64 / 500.0 };
    assert!(seconds < allowed, "a change was sent after {seconds:.3} s, later than {allowed} s");
}

/// Makes a change and waits until all proxies are in step. Returns the bytes sent by type, and the mean time in
/// seconds until a response was sent.
fn change(plane: &Plane, proxies: &[&Proxy], make: &dyn Fn()) -> (Vec<(&'static str, u64)>, f64) {
    let before = plane.metrics();
    make();
    let kinds = ["cds", "eds", "lds", "rds", "nds"];
    let bytes = |metrics: &Metrics, kind| metrics.sum("pilot_xds_config_size_bytes_sum", &[("type", kind)]);
    let of = |after: &Metrics| -> Vec<(&'static str, u64)> {
        let grown = kinds.into_iter().map(|kind| (kind, bytes(after, kind) - bytes(&before, kind)));
        grown.filter(|(_, grown)| *grown > 0).collect()
    };
    wait::until("something is sent", TIMEOUT, || {
        if of(&plane.metrics()).is_empty() { Err("nothing yet".to_owned()) } else { Ok(()) }
    });
    plane.until_in_step(proxies, TIMEOUT);
    let after = plane.metrics();
    let delta = |name: &str| {
        let sum = |metrics: &Metrics| metrics.matching(name, &[]).map(|series| series.value).sum::<f64>();
        sum(&after) - sum(&before)
    };
    let count = delta("pilot_proxy_convergence_time_count").max(1.0);
    (of(&after), delta("pilot_proxy_convergence_time_sum") / count)
}

/// Waits until memory is back to its earlier size, within a tenth plus what an allocator keeps.
fn returned(plane: &Plane, proxies: &[&Proxy], small: [f64; 3]) {
    let now = || [plane.memory(), proxies[0].memory(), proxies[1].memory()];
    wait::until("memory is given back", Duration::from_secs(20), || {
        let now = now();
        let kept = small.iter().zip(now).all(|(before, now)| now <= before * 1.1 + SLACK);
        if kept {
            Ok(())
        } else {
            Err(format!("pilot, gateway and sidecar held {small:.1?} MiB and hold {now:.1?}"))
        }
    });
    eprintln!("pilot, gateway and sidecar held {small:.1?} MiB before and hold {:.1?} after", now());
}

/// Waits until pilot's memory is steady, after the allocators have released what they keep for a moment.
fn settled(plane: &Plane) {
    let mut last = f64::MAX;
    wait::until("pilot's memory is steady", Duration::from_secs(20), || {
        wait::pause(Duration::from_millis(500));
        let now = plane.memory();
        let steady = (std::mem::replace(&mut last, now) - now).abs() < 0.5;
        if steady { Ok(()) } else { Err(format!("{now:.1} MiB")) }
    });
}

const URL: &str = "http://127.0.0.1:8000/";
/// Objects per file: so few that each file is well below pilot's size limit.
const CHUNK: usize = 2_000;
/// Growth in MiB that does not indicate a leak.
const SLACK: f64 = 3.0;
