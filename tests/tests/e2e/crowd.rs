//! Many pods that are created at once: `E2E_PODS` of them, 60 if it is not set.

use std::time::Instant;

use tests::wait;

use crate::cluster::{self, START, applied, containers, echo, must, number, pods, with_images};
use crate::mesh;
use crate::namespace::Namespace;

const NAMESPACE: &str = "ostria-e2e-crowd";

/// Each of them gets a sidecar, becomes ready, and is called.
pub(crate) fn many_pods() {
    mesh::ready();
    let count = number("E2E_PODS", 60);
    let _namespace = Namespace::with_sidecars(NAMESPACE);
    let begin = Instant::now();
    let yaml = include_str!("crowd.yaml").replace("replicas: 60", &format!("replicas: {count}"));
    applied(NAMESPACE, &with_images(&yaml));
    // On two cores each takes about half a second to start.
    let timeout = format!("--timeout={}s", START.as_secs() + 2 * count);
    must(&["-n", NAMESPACE, "rollout", "status", "deployment/crowd", &timeout]);
    eprintln!("{count} pods with sidecars were ready after {:?}", begin.elapsed());
    let pods = pods(NAMESPACE, "app=crowd");
    assert_eq!(pods.len() as u64, count);
    for pod in &pods {
        assert!(containers(pod).contains(&"istio-proxy".to_owned()), "{} has no sidecar", cluster::name(pod));
    }
    wait::until("a pod calls all others", START, || {
        let requests = (count * 10).to_string();
        let report = echo(NAMESPACE, "crowd", &["http://crowd:8080/", "-n", &requests, "-c", "4"]);
        report.all_good();
        if report.by_pod.len() as u64 == count {
            Ok(())
        } else {
            Err(format!("{} of them", report.by_pod.len()))
        }
    });
}
