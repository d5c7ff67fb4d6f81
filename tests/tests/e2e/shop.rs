//! Bookinfo in a namespace of its own, shared by the tests, with clients that load it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use tests::browser::{Browser, Page};
use tests::report::Report;
use tests::wait;

use crate::cluster::{CHANGE, START, applied, must, number, sample, until_settled};
use crate::forward::Forward;
use crate::load::{Load, Place};
use crate::mesh::{self, SYSTEM};

/// Its namespace.
pub(crate) const NAMESPACE: &str = "ostria-e2e";
/// Its Deployments.
pub(crate) const DEPLOYMENTS: &[&str] =
    &["details-v1", "productpage-v1", "ratings-v1", "reviews-v1", "reviews-v2", "reviews-v3"];
/// The path of its page.
pub(crate) const PAGE: &str = "/productpage";
/// What a page shows if all of the services behind it were called.
pub(crate) const PARTS: [&str; 2] = ["Reviews served by: reviews-", "Book details"];
/// The text of a page if a service could not be called.
const MISSING: &str = "currently unavailable";

static OPEN: AtomicBool = AtomicBool::new(false);

/// Makes sure that the mesh and the shop run, with the rules that are in force from the start.
pub(crate) fn open() {
    mesh::ready();
    if !OPEN.swap(true, Ordering::SeqCst) {
        must(&["create", "namespace", NAMESPACE]);
        must(&["label", "namespace", NAMESPACE, "istio-injection=enabled"]);
        for file in ["bookinfo.yaml", "bookinfo-gateway.yaml", "destination-rule-all.yaml"] {
            applied(NAMESPACE, &sample(&format!("bookinfo/{file}")));
        }
    }
    until_settled(NAMESPACE);
}

/// Marks the shop as closed. Returns whether it was open.
pub(crate) fn close() -> bool {
    OPEN.swap(false, Ordering::SeqCst)
}

/// Waits for a page with all of its parts, through the gateway as a user would.
pub(crate) fn visit() -> (Forward, Browser) {
    let forward = Forward::start(SYSTEM, "service/istio-ingressgateway", 80);
    let mut browser = Browser::new(forward.address());
    wait::until("the page through the gateway", START, || page(&mut browser, &[]));
    (forward, browser)
}

/// The page with its parts, or why it isn't there.
pub(crate) fn page(browser: &mut Browser, headers: &[(&str, &str)]) -> Result<Page, String> {
    let page = browser.get(PAGE, headers)?;
    match PARTS.iter().find(|part| page.status != 200 || !page.text.contains(**part)) {
        Some(part) => Err(format!("{} without {part:?}: {}", page.status, page.text)),
        None => Ok(page),
    }
}

/// The version of `reviews` that a page names.
pub(crate) fn reviews(page: &Page) -> String {
    let after = page.text.split("Reviews served by: reviews-").nth(1);
    after.and_then(|rest| rest.split(['-', '<', ' ']).next()).unwrap_or("none").to_owned()
}

/// How many clients are in the mesh, and how many outside.
pub(crate) const CLIENTS: u64 = 25;

/// The rate of each half of the clients, in pages a second.
pub(crate) fn rate() -> u64 {
    (number("E2E_RATE", 60) / 2).max(1)
}

/// When the clients stop.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Until {
    /// When the test says so.
    Stopped,
    /// After this number of pages in total.
    Pages(u64),
}

/// Fifty clients with connections that they keep: half of them in the mesh, half outside, through the gateway. Together they
/// ask for `E2E_RATE` pages a second.
pub(crate) fn customers(name: &str, until: Until) -> Vec<Load> {
    let (clients, rate) = (CLIENTS.to_string(), rate().to_string());
    let mut line = vec!["-c", &clients, "--rate", &rate, "--expect-not", MISSING];
    let end = match until {
        Until::Stopped => vec![],
        Until::Pages(count) => vec!["-n".to_owned(), count.div_ceil(2).to_string()],
    };
    line.extend(end.iter().map(String::as_str));
    line.extend(PARTS.iter().flat_map(|part| ["--expect", part]));
    let gateway = format!("http://istio-ingressgateway.{SYSTEM}{PAGE}");
    let inside = format!("http://productpage:9080{PAGE}");
    let both = [("inside", Place::Mesh, &inside), ("outside", Place::Outside, &gateway)].map(
        |(name_of_place, place, url)| {
            let line = [&[url.as_str()], &line[..]].concat();
            Load::begin(NAMESPACE, &format!("{name}-{name_of_place}"), place, &line)
        },
    );
    both.iter().for_each(Load::until_it_runs);
    both.into()
}

/// Stops clients together; returns the name of each with its report.
pub(crate) fn stopped(customers: Vec<Load>) -> Vec<(String, Report)> {
    customers.iter().for_each(Load::tell_to_end);
    customers.into_iter().map(|load| (load.name().to_owned(), load.stop())).collect()
}

/// Stops clients; fails the test if one of their requests failed, or if they have sent few.
#[track_caller]
pub(crate) fn all_served(customers: Vec<Load>) {
    let mut failed = vec![];
    for (name, report) in stopped(customers) {
        let p99 = report.latency_ms.get("p99");
        eprintln!("{name}: {} requests, {} failed, p99 {p99:?} ms", report.requests, report.failed);
        if report.failed > 0 || report.requests == 0 {
            failed.push((name, report));
        }
    }
    assert!(failed.is_empty(), "not all requests succeeded: {failed:#?}");
}

/// Fifty pages in a row, through the gateway as a user gets them.
pub(crate) fn goes_on() {
    let (_forward, mut browser) = visit();
    for number in 0..50 {
        page(&mut browser, &[]).unwrap_or_else(|error| panic!("page {number}: {error}"));
    }
}

/// Deletes the rules that a test has applied.
pub(crate) fn without_rules() {
    must(&["-n", NAMESPACE, "delete", "virtualservices", "--field-selector", "metadata.name!=bookinfo"]);
    let (_forward, mut browser) = visit();
    wait::until("all versions of reviews are called again", CHANGE, || {
        let seen: Result<BTreeSet<String>, String> =
            (0..20).map(|_| page(&mut browser, &[]).map(|page| reviews(&page))).collect();
        if seen?.len() == 3 { Ok(()) } else { Err("not all".to_owned()) }
    });
}
