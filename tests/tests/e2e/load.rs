//! Clients that run in a pod of the cluster, so that they go on while the API server or the test's own connection is away.

use serde_json::json;
use tests::program;
use tests::report::Report;
use tests::wait;

use crate::cluster::{START, apply, kubectl, setting};

/// Where the clients are.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Place {
    /// In a pod with a sidecar.
    Mesh,
    /// In a pod without one.
    Outside,
}

/// A pod that runs `echo client`.
pub(crate) struct Load {
    namespace: String,
    pod: String,
    is_endless: bool,
}

impl Load {
    /// Starts `echo client` and waits until it runs. Without a number of requests or a duration, it runs until it is stopped.
    pub(crate) fn start(namespace: &str, name: &str, place: Place, line: &[&str]) -> Self {
        let load = Self::begin(namespace, name, place, line);
        load.until_it_runs();
        load
    }

    /// Creates the pod and does not wait for it.
    pub(crate) fn begin(namespace: &str, name: &str, place: Place, line: &[&str]) -> Self {
        let mut arguments = vec!["client", "--allow-failures"];
        arguments.extend(line);
        let is_endless = !line.iter().any(|word| ["-n", "--duration"].contains(word));
        if is_endless {
            arguments.extend(["--duration", "1h"]);
        }
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": name,
                "labels": {"app": name, "sidecar.istio.io/inject": (place == Place::Mesh).to_string()},
                // Nobody calls it, so it need not drain.
                "annotations": {
                    "proxy.istio.io/config":
                        "{terminationDrainDuration: 1s, proxyMetadata: {ENDPOINT_REMOVAL_WAIT: 0s}}",
                },
            },
            "spec": {
                "restartPolicy": "Never",
                "containers": [{
                    "name": "load",
                    "image": format!("{}/ostria-echo:{}", setting("E2E_HUB"), setting("E2E_TAG")),
                    "imagePullPolicy": setting("E2E_PULL"),
                    "command": ["echo"],
                    "args": arguments,
                }],
            },
        });
        apply(namespace, &pod.to_string()).unwrap_or_else(|error| panic!("{error}"));
        Self { namespace: namespace.to_owned(), pod: name.to_owned(), is_endless }
    }

    /// Waits until the clients run.
    pub(crate) fn until_it_runs(&self) {
        wait::until("the clients run", START, || match self.phase()?.as_str() {
            "Pending" => Err("Pending".to_owned()),
            _ => Ok(()),
        });
    }

    /// The pod's name.
    pub(crate) fn name(&self) -> &str {
        &self.pod
    }

    /// Whether it has sent all that it was told to.
    pub(crate) fn has_ended(&self) -> bool {
        self.phase().is_ok_and(|phase| ended(&phase))
    }

    /// Tells clients that have no end of their own to end.
    pub(crate) fn tell_to_end(&self) {
        if self.is_endless {
            // The kubelet sends SIGTERM and keeps the pod with its log, which the end of a deleted pod would take away.
            let deadline = r#"{"spec":{"activeDeadlineSeconds":1}}"#;
            wait::until("the clients are told to end", START, || {
                kubectl(&["-n", &self.namespace, "patch", &format!("pod/{}", self.pod), "-p", deadline])
            });
        }
    }

    /// Ends the clients, or waits until they have sent all that they were told to, and returns their report.
    pub(crate) fn stop(self) -> Report {
        self.tell_to_end();
        let target = format!("pod/{}", self.pod);
        wait::until("the clients end", START, || match self.phase()? {
            phase if ended(&phase) => Ok(()),
            phase => Err(phase),
        });
        let log = ["-n", &self.namespace, "logs", &target, "-c"];
        let report = Report::of(&program::run("kubectl".as_ref(), &[&log[..], &["load"]].concat()));
        if report.failed > 0 {
            let own = kubectl(&[&log[..], &["istio-proxy"]].concat()).unwrap_or_default();
            let failures = own.lines().filter(|line| line.contains("HTTP/1.1\" 5")).take(MOST_FAILURES_SHOWN);
            failures.for_each(|line| eprintln!("{}: {line}", self.pod));
        }
        report
    }

    fn phase(&self) -> Result<String, String> {
        kubectl(&["-n", &self.namespace, "get", "pod", &self.pod, "-o", "jsonpath={.status.phase}"])
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let done = kubectl(&[
            "-n",
            &self.namespace,
            "delete",
            "pod",
            &self.pod,
            "--wait=false",
            "--ignore-not-found",
        ]);
        if let Err(error) = done {
            eprintln!("a pod stays: {error}");
        }
    }
}

fn ended(phase: &str) -> bool {
    ["Succeeded", "Failed"].contains(&phase)
}

/// How many lines of the clients' sidecar about failed requests are printed.
const MOST_FAILURES_SHOWN: usize = 10;
