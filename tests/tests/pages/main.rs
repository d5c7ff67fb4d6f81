//! Runs the task pages of `docs/tasks/kubernetes` as they are written, on the cluster of `KUBECONFIG`, which must hold no
//! mesh. Needs `kubectl`, `helm`, `curl`, `openssl`, and images that the cluster can start (`E2E_HUB`, `E2E_TAG`,
//! `E2E_PULL`): `make pages` provides them.
#![allow(
    clippy::disallowed_methods,
    reason = "tests measure time and read their settings where they need them"
)]

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

use tests::page::checkout::{Images, checkout};
use tests::{page, program};

/// The pages in an order in which they can run: the first two prepare the others, and the last removes the mesh.
const PAGES: &[&str] = &[
    "install",
    "first-application",
    "canary",
    "blue-green",
    "dark-launch",
    "ingress-https",
    "network-policy",
    "egress",
    "mtls-migration",
    "autoscaling",
    "troubleshooting",
    "upgrade",
    "uninstall",
];
const FOLDER: &str = "docs/tasks/kubernetes";
/// What the other pages need. If one of these fails, no further page is run.
const NEEDED: &[&str] = &["install", "first-application"];
/// A page that needs an API that not every cluster has, such as that of kind.
const METRICS: (&str, &str) = ("autoscaling", "/apis/metrics.k8s.io/v1beta1/nodes");

/// `PAGES` limits the test to some pages, such as `PAGES=canary,egress`; the pages that they need must have run before.
#[test]
#[ignore = "needs a cluster: make pages"]
fn every_page_works_as_written() {
    let images = Images { hub: setting("E2E_HUB"), tag: setting("E2E_TAG"), pull: setting("E2E_PULL") };
    let folder = checkout(&images);
    let only = std::env::var("PAGES").ok();
    let only: Option<BTreeSet<&str>> = only.as_deref().map(|only| only.split(',').collect());
    let unknown: Vec<&&str> = only.iter().flatten().filter(|name| !PAGES.contains(name)).collect();
    assert!(unknown.is_empty(), "PAGES: there are no pages {unknown:?}");
    let mut failures = vec![];
    for name in PAGES.iter().filter(|name| only.as_ref().is_none_or(|only| only.contains(*name))) {
        if *name == METRICS.0 && !serves(METRICS.1) {
            eprintln!("{name}: left out, because the cluster has no {}", METRICS.1);
            continue;
        }
        let begin = Instant::now();
        let result =
            page::run(&format!("{FOLDER}/{name}.md"), folder.path(), &[], |text| images.replace(text));
        eprintln!("{name}: {} after {:.0?}", if result.is_ok() { "works" } else { "fails" }, begin.elapsed());
        let needed = result.is_err() && NEEDED.contains(name);
        failures.extend(result.err());
        if needed {
            break;
        }
    }
    if only.is_none_or(|only| only.contains("uninstall")) {
        for namespace in ["bookinfo", "echo"] {
            let arguments = ["delete", "namespace", namespace, "--ignore-not-found", "--wait=false"];
            program::run(Path::new("kubectl"), &arguments);
        }
    }
    assert!(failures.is_empty(), "{} pages fail:\n{}", failures.len(), failures.join("\n\n"));
}

#[test]
fn every_page_is_run() {
    let files = std::fs::read_dir(program::repository(FOLDER)).unwrap();
    let files: BTreeSet<String> =
        files.map(|file| file.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned()).collect();
    let listed: BTreeSet<String> = PAGES.iter().map(ToString::to_string).collect();
    assert_eq!(files, listed);
}

/// Whether the API server responds to a path.
fn serves(path: &str) -> bool {
    program::run(Path::new("kubectl"), &["get", "--raw", path]).code == 0
}

fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `make pages`, which sets it"))
}
