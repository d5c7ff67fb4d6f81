//! Bookinfo on a cluster, from `helm install` to `helm uninstall`.

use tests::browser::{Browser, Page};
use tests::metrics::Metrics;
use tests::wait;

use crate::cluster::{self, CHANGE, Installed, Namespace, START, SYSTEM, apply, kubectl, sample};
use crate::forward::Forward;

const NAMESPACE: &str = "ostria-e2e";
const PAGE: &str = "/productpage";
const PARTS: [&str; 2] = ["Reviews served by: reviews-", "Book details"];
const PAGES: usize = 100;

#[test]
#[ignore = "needs a cluster: make e2e"]
fn helm_install_and_a_labelled_namespace_are_enough_for_bookinfo_over_mutual_tls() {
    let installed = Installed::install();
    let namespace = Namespace::with_sidecars(NAMESPACE);
    for file in ["bookinfo.yaml", "bookinfo-gateway.yaml", "destination-rule-all.yaml"] {
        applied(&sample(file));
    }
    cluster::until_available(NAMESPACE);
    every_pod_has_a_sidecar();
    let forward = Forward::start(SYSTEM, "service/istio-ingressgateway", 80);
    let mut browser = Browser::new(forward.address());
    wait::until("the page through the gateway", START, || page(&mut browser));
    requests_are_authenticated(&mut browser);
    traffic_is_split(&mut browser);
    mistakes_are_refused(&mut browser);
    drop(forward);
    installed.uninstall();
    nothing_stands_in_the_way();
    drop(namespace);
}

/// Applies YAML that is right.
fn applied(yaml: &str) {
    // The webhook's server may be a moment later than its Deployment.
    wait::until("objects are accepted", CHANGE, || apply(NAMESPACE, yaml));
}

/// The page with its parts, or why it isn't there.
fn page(browser: &mut Browser) -> Result<Page, String> {
    let page = browser.get(PAGE, &[])?;
    match PARTS.iter().find(|part| page.status != 200 || !page.text.contains(**part)) {
        Some(part) => Err(format!("{} without {part:?}: {}", page.status, page.text)),
        None => Ok(page),
    }
}

/// The version of `reviews` that a page names.
fn reviews(page: &Page) -> String {
    let after = page.text.split("Reviews served by: reviews-").nth(1);
    after.and_then(|rest| rest.split(['-', '<', ' ']).next()).unwrap_or("none").to_owned()
}

fn every_pod_has_a_sidecar() {
    let pods = cluster::pods(NAMESPACE, "app");
    assert_eq!(pods.len(), 6, "{pods:?}");
    for (pod, _) in pods {
        let path = "jsonpath={.spec.initContainers[*].name} {.spec.containers[*].name}";
        let names = kubectl(&["-n", NAMESPACE, "get", "pod", &pod, "-o", path])
            .unwrap_or_else(|error| panic!("{error}"));
        assert!(names.split_whitespace().any(|name| name == "istio-proxy"), "{pod} has {names}");
    }
}

/// The server side of `details` saw the page's service account over mutual TLS, and nothing in plain text.
fn requests_are_authenticated(browser: &mut Browser) {
    let (pod, _) = cluster::pods(NAMESPACE, "app=details").pop().expect("details runs");
    let caller = format!("spiffe://cluster.local/ns/{NAMESPACE}/sa/bookinfo-productpage");
    wait::until("a request over mutual TLS is counted", CHANGE, || {
        page(browser)?;
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

fn traffic_is_split(browser: &mut Browser) {
    applied(&sample("networking/virtual-service-reviews-80-20.yaml"));
    wait::until("80 % of the pages come from v1, 20 % from v2, and none from v3", CHANGE, || {
        let mut first = 0;
        for _ in 0..PAGES {
            match reviews(&page(browser)?).as_str() {
                "v1" => first += 1,
                "v2" => {}
                other => return Err(format!("reviews {other}")),
            }
        }
        // Four standard deviations of a hundred fair draws.
        if (64..=96).contains(&first) { Ok(()) } else { Err(format!("{first} of {PAGES} from v1")) }
    });
}

/// Mistakes are refused when they are applied, with the field; what worked goes on working.
fn mistakes_are_refused(browser: &mut Browser) {
    for (spec, field) in MISTAKES {
        let yaml = format!(
            "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: reviews}}\nspec: {spec}\n"
        );
        let refusal = apply(NAMESPACE, &yaml).expect_err("a mistake is refused");
        assert!(refusal.contains(field), "the refusal does not name {field}: {refusal}");
    }
    for _ in 0..PAGES / 10 {
        let version = page(browser).map(|page| reviews(&page));
        assert!(matches!(version.as_deref(), Ok("v1" | "v2")), "{version:?}");
    }
}

const MISTAKES: &[(&str, &str)] = &[
    ("{hosts: [reviews], http: [{route: [{destination: {host: reviews}, weight: -5}]}]}", "weight"),
    (
        "{hosts: [reviews], http: [{match: [{uri: {regex: \"(\"}}], route: [{destination: {host: reviews}}]}]}",
        "regex",
    ),
];

/// After the mesh is gone, pods and objects are accepted as before, and pods that run go on answering.
fn nothing_stands_in_the_way() {
    for kind in ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"] {
        let names = kubectl(&["get", kind, "-o", "name"]).unwrap_or_else(|error| panic!("{error}"));
        assert!(!names.contains("ostria"), "{names}");
    }
    let dry = ["-n", NAMESPACE, "run", "plain", "--image=none", "--dry-run=server", "-o", "yaml"];
    let pod = kubectl(&dry).unwrap_or_else(|error| panic!("{error}"));
    assert!(!pod.contains("istio-proxy"), "{pod}");
    let (pod, _) = cluster::pods(NAMESPACE, "app=productpage").pop().expect("productpage runs");
    let page = cluster::ask(NAMESPACE, &pod, 9080, PAGE).unwrap_or_else(|error| panic!("{error}"));
    assert!(PARTS.iter().all(|part| page.contains(part)), "{page}");
}
