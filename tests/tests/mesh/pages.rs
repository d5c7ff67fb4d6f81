//! The task pages for one machine, run as they are written.

use tests::mesh::{Mesh, Options};
use tests::{page, program};

use crate::PROBE;

/// The pages in an order in which they can run: the last one redirects HTTP to HTTPS. What `metrics` says about Prometheus
/// is not run, because that needs its package.
const PAGES: &[&str] = &["troubleshooting", "metrics", "access-logs", "tls-ingress"];
/// Pages that are not run here, with the reason.
const NOT_RUN: &[(&str, &str)] = &[("from-istio", "needs a cluster with Istio")];

#[test]
fn every_task_page_for_one_machine_works_as_written() {
    let options = Options { folders: vec!["samples/bookinfo".into()], https: true, ..Options::default() };
    let mut mesh = Mesh::begin(&options, PROBE);
    mesh.until_up();
    let folder = tempfile::tempdir().unwrap();
    let programs = std::env::var("PATH").unwrap_or_default();
    let programs = format!("{}:{programs}", program::folder().display());
    let state = mesh.state().display().to_string();
    let environment = [("PATH", programs.as_str()), ("OSTRIA_STATE", &state)];
    // The test's own mesh takes the place of the one that a page starts, and it has other ports on the host.
    let adapt = |text: &str| {
        let text = text.replace("$ ostria up ", "$ : ostria up ");
        let text = text.replace("127.0.0.1:9080", &mesh.gateway().to_string());
        text.replace(":9443", &format!(":{}", mesh.https().port()))
    };
    for name in PAGES {
        if let Err(reason) = page::run(&format!("docs/tasks/{name}.md"), folder.path(), &environment, adapt) {
            panic!("{reason}");
        }
    }
}

#[test]
fn every_page_is_run() {
    let files = std::fs::read_dir(program::repository("docs/tasks")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().to_string_lossy().into_owned());
    let mut pages: Vec<String> = names
        .filter_map(|name| name.strip_suffix(".md").map(str::to_owned))
        .filter(|name| name != "README")
        .collect();
    pages.sort();
    let mut listed = PAGES.to_vec();
    listed.extend(NOT_RUN.iter().map(|(name, _)| name));
    listed.sort_unstable();
    assert_eq!(pages, listed);
}
