//! The first quarter of an hour of a user: `helm install`, a labelled namespace, bookinfo, its rules, `helm uninstall`.

use std::collections::BTreeSet;
use std::time::Duration;

use tests::browser::Browser;
use tests::metrics::Metrics;
use tests::wait;

use crate::cluster::{self, CHANGE, START, applied, containers, must, sample};
use crate::mesh;
use crate::shop::{self, NAMESPACE, PAGE, PARTS, page, reviews};
use crate::webhook;

const PAGES: usize = 100;

/// Pods get sidecars, the gateway serves the page, and calls between services are authenticated.
pub(crate) fn over_mutual_tls() {
    shop::open();
    let pods = cluster::pods(NAMESPACE, "app");
    assert_eq!(pods.len(), 6, "{pods:?}");
    for pod in pods {
        assert!(
            containers(&pod).contains(&"istio-proxy".to_owned()),
            "{} has no sidecar",
            cluster::name(&pod)
        );
    }
    let (_forward, mut browser) = shop::visit();
    requests_are_authenticated(&mut browser);
}

/// The server side of `details` saw the page's service account over mutual TLS, and nothing in plain text.
fn requests_are_authenticated(browser: &mut Browser) {
    let pod = cluster::pod(NAMESPACE, "app=details");
    let caller = format!("spiffe://cluster.local/ns/{NAMESPACE}/sa/bookinfo-productpage");
    wait::until("a request over mutual TLS is counted", CHANGE, || {
        page(browser, &[])?;
        let metrics = Metrics::parse(&cluster::ask(NAMESPACE, &pod, 15020, "/stats/prometheus")?);
        let count = |policy: &str, source: &[(&str, &str)]| {
            let labels = [("reporter", "destination"), ("connection_security_policy", policy)];
            metrics.sum("istio_requests_total", &[&labels, source].concat())
        };
        assert_eq!(
            count("none", &[("source_app", "productpage")]),
            0,
            "{}",
            metrics.shown("istio_requests_total")
        );
        match count("mutual_tls", &[("source_principal", &caller)]) {
            0 => Err(metrics.shown("istio_requests_total")),
            _ => Ok(()),
        }
    });
}

/// The table of samples/bookinfo/README.md: who sees which version, and what a fault does.
pub(crate) fn rules_of_the_readme() {
    shop::open();
    let (_forward, mut browser) = shop::visit();
    for (files, jason, others) in RULES {
        for file in *files {
            applied(NAMESPACE, &sample(&format!("bookinfo/networking/{file}")));
        }
        let last = files.last().expect("a row has a file");
        wait::until(&format!("{last} is in force"), CHANGE, || {
            versions_are(&mut browser, &[("end-user", "jason")], jason)?;
            versions_are(&mut browser, &[], others)
        });
    }
    traffic_is_split(&mut browser);
    faults_are_injected(&mut browser);
    applied(NAMESPACE, &sample("bookinfo/networking/destination-rule-all-mtls.yaml"));
    for _ in 0..10 {
        page(&mut browser, &[]).unwrap_or_else(|error| panic!("with required mutual TLS: {error}"));
    }
    applied(NAMESPACE, &sample("bookinfo/networking/destination-rule-all.yaml"));
    drop(browser);
    shop::without_rules();
}

/// Files of `networking/`, the versions that jason sees then, and those that others see.
const RULES: &[(&[&str], &[&str], &[&str])] = &[
    (&["virtual-service-all-v1.yaml"], &["v1"], &["v1"]),
    (&["virtual-service-reviews-test-v2.yaml"], &["v2"], &["v1"]),
    (&["virtual-service-reviews-jason-v2-v3.yaml"], &["v2"], &["v3"]),
    (&["virtual-service-reviews-50-v3.yaml"], &["v1", "v3"], &["v1", "v3"]),
];

fn versions_are(browser: &mut Browser, headers: &[(&str, &str)], expected: &[&str]) -> Result<(), String> {
    // Forty fair draws from two miss one of them once in half a million million.
    let count = if expected.len() == 1 { 5 } else { 40 };
    let seen: Result<BTreeSet<String>, String> =
        (0..count).map(|_| page(browser, headers).map(|page| reviews(&page))).collect();
    let seen = seen?;
    if seen.iter().map(String::as_str).eq(expected.iter().copied()) {
        Ok(())
    } else {
        Err(format!("{seen:?}"))
    }
}

fn traffic_is_split(browser: &mut Browser) {
    applied(NAMESPACE, &sample("bookinfo/networking/virtual-service-reviews-80-20.yaml"));
    wait::until("80 % of the pages come from v1, 20 % from v2, and none from v3", CHANGE, || {
        let mut first = 0;
        for _ in 0..PAGES {
            match reviews(&page(browser, &[])?).as_str() {
                "v1" => first += 1,
                "v2" => {}
                other => return Err(format!("reviews {other}")),
            }
        }
        // Four standard deviations of a hundred fair draws.
        if (64..=96).contains(&first) { Ok(()) } else { Err(format!("{first} of {PAGES} from v1")) }
    });
}

/// The two exercises with faults of `ratings`, which jason meets and others don't.
fn faults_are_injected(browser: &mut Browser) {
    let jason = [("end-user", "jason")];
    applied(NAMESPACE, &sample("bookinfo/networking/virtual-service-reviews-test-v2.yaml"));
    applied(NAMESPACE, &sample("bookinfo/networking/virtual-service-ratings-test-abort.yaml"));
    wait::until("jason sees reviews without stars", CHANGE, || {
        let page = page(browser, &jason)?;
        let unavailable = page.text.contains("Ratings service is currently unavailable");
        if unavailable { Ok(()) } else { Err(page.text) }
    });
    applied(NAMESPACE, &sample("bookinfo/networking/virtual-service-ratings-test-delay.yaml"));
    wait::until("the page gives up on reviews after 6 s for jason", START, || {
        let seen = browser.get(PAGE, &jason)?;
        let gave_up = seen.text.contains("product reviews are currently unavailable");
        let in_time = (Duration::from_secs(5)..Duration::from_secs(8)).contains(&seen.elapsed);
        if gave_up && in_time { Ok(()) } else { Err(format!("after {:?}: {}", seen.elapsed, seen.text)) }
    });
    let others = page(browser, &[]).unwrap_or_else(|error| panic!("{error}"));
    assert!(others.elapsed < Duration::from_secs(3), "others wait, too: {:?}", others.elapsed);
}

/// After the mesh is gone, pods and objects are accepted as before, and pods that run go on serving.
pub(crate) fn way_out() {
    shop::open();
    mesh::uninstall().unwrap_or_else(|error| panic!("{error}"));
    for kind in ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"] {
        let names = must(&["get", kind, "-o", "name"]);
        assert!(!names.contains("ostria"), "{names}");
    }
    let pod = webhook::a_pod_with_a_sidecar(NAMESPACE);
    assert_eq!(pod, Err("[\"tried\"]".to_owned()), "a pod without a mesh");
    let pod = cluster::pod(NAMESPACE, "app=productpage");
    for _ in 0..10 {
        let page = cluster::ask(NAMESPACE, &pod, 9080, PAGE).unwrap_or_else(|error| panic!("{error}"));
        assert!(PARTS.iter().all(|part| page.contains(part)), "{page}");
    }
}
