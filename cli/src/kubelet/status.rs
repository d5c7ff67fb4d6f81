//! Pure. Computes a pod's status from the states of its containers: the object's `status`, the columns of `get pods`,
//! and readiness.

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::manifest::object::text;
use crate::wire::PodLine;

/// The role of a container in its pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Role {
    /// Runs to its end before the next container starts.
    Init,
    /// Starts before the application containers and ends after them.
    Sidecar,
    /// An application container.
    #[default]
    App,
}

/// The phase of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Not running.
    Waiting {
        /// The reason: one word, as in Kubernetes.
        reason: String,
        /// The message: a sentence.
        message: String,
    },
    /// Running.
    Running {
        /// Start time in RFC 3339.
        since: String,
    },
    /// Ended.
    Ended {
        /// Its exit code.
        code: i32,
        /// End time in RFC 3339.
        at: String,
        /// Whether the kernel ended it because memory was short.
        out_of_memory: bool,
    },
}

impl Phase {
    fn object(&self) -> Value {
        match self {
            Self::Waiting { reason, message } => json!({"waiting": {"reason": reason, "message": message}}),
            Self::Running { since } => json!({"running": {"startedAt": since}}),
            Self::Ended { code, at, .. } => {
                json!({"terminated": {"exitCode": code, "reason": self.reason(), "finishedAt": at}})
            }
        }
    }

    /// Why a container does not run: one word, as in Kubernetes.
    fn reason(&self) -> Option<&str> {
        match self {
            Self::Waiting { reason, .. } => Some(reason),
            Self::Running { .. } => None,
            Self::Ended { out_of_memory: true, .. } => Some("OOMKilled"),
            Self::Ended { code: 0, .. } => Some("Completed"),
            Self::Ended { .. } => Some("Error"),
        }
    }
}

impl Default for Phase {
    fn default() -> Self {
        Self::Waiting { reason: "PodInitializing".into(), message: String::new() }
    }
}

/// The state of one container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// Its phase.
    pub phase: Phase,
    /// How its last run ended, if another followed.
    pub last: Option<Phase>,
    /// Whether its startup probe succeeded.
    pub started: bool,
    /// Whether it is ready by its readiness probe.
    pub ready: bool,
    /// Number of restarts.
    pub restarts: u32,
    /// The failure of its probe, once the probe has failed for a while.
    pub probe_failure: Option<String>,
}

impl Container {
    fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running { .. })
    }

    /// Changes the phase. The end of a run is kept when another phase follows.
    pub fn enter(&mut self, phase: Phase) {
        let before = std::mem::replace(&mut self.phase, phase);
        if matches!(before, Phase::Ended { .. }) {
            self.last = Some(before);
        }
    }

    fn object(&self) -> Value {
        let last = self.last.as_ref().map_or_else(|| json!({}), Phase::object);
        json!({"name": self.name, "state": self.phase.object(), "lastState": last, "started": self.started,
            "ready": self.ready, "restartCount": self.restarts, "image": "", "imageID": ""})
    }
}

/// The state of a pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pod {
    /// Its address; empty until it is allocated.
    pub address: String,
    /// Its containers.
    pub containers: Vec<Container>,
    /// Whether all init containers have completed.
    pub initialized: bool,
    /// `None` while the pod runs; then whether it succeeded.
    pub finished: Option<bool>,
    /// The reason for the failure of the pod as a whole, in one word.
    pub reason: Option<String>,
    /// Whether it is being terminated.
    pub leaving: bool,
    /// Why it cannot be started.
    pub trouble: Option<String>,
    /// Creation time in RFC 3339.
    pub created: String,
    /// Time of the last change of readiness, in RFC 3339.
    pub changed: String,
}

impl Pod {
    /// Whether it is ready for traffic.
    pub fn is_ready(&self) -> bool {
        !self.leaving
            && self.initialized
            && self.finished.is_none()
            && self.serving().all(|container| container.ready && container.is_running())
    }

    /// Time of the last change of readiness, or of its creation.
    pub fn since(&self) -> OffsetDateTime {
        OffsetDateTime::parse(&self.changed, &Rfc3339).unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }

    /// Number of restarts of its containers, without sidecars.
    pub fn restarts(&self) -> u64 {
        let own = self.containers.iter().filter(|container| container.role != Role::Sidecar);
        own.map(|container| u64::from(container.restarts)).sum()
    }

    /// Why it is not ready; `None` if it only has to wait.
    pub fn problem(&self) -> Option<String> {
        let container = |container: &Container| match &container.phase {
            Phase::Waiting { reason, message } if reason != "PodInitializing" => {
                Some(format!("container {}: {reason}: {message}", container.name))
            }
            Phase::Ended { out_of_memory: true, .. } => {
                Some(format!("container {} was killed: OOMKilled", container.name))
            }
            Phase::Ended { code, .. } if *code != 0 => {
                Some(format!("container {} ended with exit code {code}", container.name))
            }
            _ => None,
        };
        self.trouble.clone().or_else(|| self.containers.iter().find_map(container))
    }

    /// The containers that prevent it from being ready, with the reasons.
    pub fn unready(&self) -> Option<String> {
        let reasons = self.containers.iter().filter_map(|container| {
            container.probe_failure.as_ref().map(|failure| format!("container {}: {failure}", container.name))
        });
        let reasons: Vec<String> = self.problem().into_iter().chain(reasons).collect();
        (!self.is_ready() && !reasons.is_empty()).then(|| reasons.join("; "))
    }

    /// The object's `status`.
    pub fn object(&self, node: &str) -> Value {
        let unready = self.unready();
        let condition = |kind: &str, holds: bool| {
            let mut condition = json!({"type": kind, "status": if holds { "True" } else { "False" },
                "lastTransitionTime": self.changed});
            if !holds && self.finished.is_some() {
                condition["reason"] = json!("PodCompleted");
            } else if let Some(reasons) = unready.as_ref().filter(|_| !holds) {
                condition["reason"] = json!("ContainersNotReady");
                condition["message"] = json!(reasons);
            }
            condition
        };
        let ready = self.is_ready();
        let of = |role: fn(&Role) -> bool| -> Vec<Value> {
            self.containers.iter().filter(|container| role(&container.role)).map(Container::object).collect()
        };
        let mut status = json!({
            "phase": self.phase(),
            "hostIP": node,
            "startTime": self.created,
            "conditions": [
                condition("PodReadyToStartContainers", !self.address.is_empty() && self.finished.is_none()),
                condition("PodScheduled", true),
                condition("Initialized", self.initialized || self.finished == Some(true)),
                condition("ContainersReady", ready),
                condition("Ready", ready),
            ],
            "initContainerStatuses": of(|role| *role != Role::App),
            "containerStatuses": of(|role| *role == Role::App),
        });
        if !self.address.is_empty() {
            status["podIP"] = json!(self.address);
            status["podIPs"] = json!([{"ip": self.address}]);
        }
        if let Some(trouble) = &self.trouble {
            status["message"] = json!(trouble);
        }
        if let Some(reason) = &self.reason {
            status["reason"] = json!(reason);
        }
        status
    }

    /// Its row in tables.
    pub fn line(&self, pod: &Value, trust_domain: &str) -> PodLine {
        let serving: Vec<_> = self.serving().collect();
        let ready = serving.iter().filter(|container| container.ready && container.is_running()).count();
        let namespace = text(pod, "/metadata/namespace");
        let account = match text(pod, "/spec/serviceAccountName") {
            "" => "default",
            given => given,
        };
        let has_proxy = self.containers.iter().any(|container| container.name == "istio-proxy");
        PodLine {
            namespace: namespace.into(),
            name: text(pod, "/metadata/name").into(),
            identity: if has_proxy {
                format!("spiffe://{trust_domain}/ns/{namespace}/sa/{account}")
            } else {
                "-".into()
            },
            address: if self.address.is_empty() { "-".into() } else { self.address.clone() },
            ready: format!("{ready}/{}", serving.len()),
            status: self.word(),
            restarts: self.containers.iter().map(|container| container.restarts).sum(),
        }
    }

    fn serving(&self) -> impl Iterator<Item = &Container> {
        self.containers.iter().filter(|container| container.role != Role::Init)
    }

    /// The reason of a failed pod: `OOMKilled` if a container was.
    fn failure(&self) -> &'static str {
        let out_of_memory =
            |container: &Container| matches!(container.phase, Phase::Ended { out_of_memory: true, .. });
        if self.containers.iter().any(out_of_memory) { "OOMKilled" } else { "Error" }
    }

    fn phase(&self) -> &'static str {
        match self.finished {
            Some(true) => "Succeeded",
            Some(false) => "Failed",
            None if self.initialized => "Running",
            None => "Pending",
        }
    }

    fn word(&self) -> String {
        if self.leaving {
            return "Terminating".into();
        }
        if self.trouble.is_some() {
            return "Blocked".into();
        }
        match self.finished {
            Some(true) => return "Completed".into(),
            Some(false) => return self.reason.clone().unwrap_or_else(|| self.failure().into()),
            None => {}
        }
        let waiting = |container: &Container| match &container.phase {
            Phase::Waiting { reason, .. } if reason == "PodInitializing" => None,
            Phase::Ended { code: 0, out_of_memory: false, .. } => None,
            phase => phase.reason().map(str::to_string),
        };
        if !self.initialized {
            let inits: Vec<_> =
                self.containers.iter().filter(|container| container.role != Role::App).collect();
            let done = inits
                .iter()
                .filter(|container| {
                    matches!(container.phase, Phase::Ended { code: 0, .. }) || container.started
                })
                .count();
            let trouble = inits.iter().find_map(|container| waiting(container));
            return format!("Init:{}", trouble.unwrap_or_else(|| format!("{done}/{}", inits.len())));
        }
        self.containers
            .iter()
            .filter(|container| container.role != Role::Init)
            .find_map(waiting)
            .unwrap_or_else(|| "Running".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(role: Role, phase: Phase, ready: bool) -> Container {
        Container { name: "c".into(), role, phase, ready, ..Container::default() }
    }

    fn running() -> Phase {
        Phase::Running { since: "2026-01-01T00:00:00Z".into() }
    }

    fn ended(code: i32) -> Phase {
        Phase::Ended { code, at: String::new(), out_of_memory: false }
    }

    fn killed() -> Phase {
        Phase::Ended { code: 137, at: "2026-01-01T00:00:01Z".into(), out_of_memory: true }
    }

    #[test]
    fn a_pod_is_ready_when_apps_and_sidecars_are() {
        let cases = [
            (vec![container(Role::App, running(), true)], true, true),
            (vec![container(Role::App, running(), true)], false, false),
            (vec![container(Role::App, running(), false)], true, false),
            (vec![container(Role::Init, ended(0), false), container(Role::App, running(), true)], true, true),
            (
                vec![container(Role::Sidecar, running(), false), container(Role::App, running(), true)],
                true,
                false,
            ),
        ];
        for (containers, initialized, expected) in cases {
            let pod = Pod { containers, initialized, ..Pod::default() };
            assert_eq!(pod.is_ready(), expected, "{pod:?}");
        }
        let leaving = Pod { initialized: true, leaving: true, ..Pod::default() };
        assert!(!leaving.is_ready());
    }

    #[test]
    fn the_status_of_a_pod_has_kubectls_words() {
        let waiting = Phase::Waiting { reason: "CrashLoopBackOff".into(), message: String::new() };
        let cases = [
            (
                Pod {
                    containers: vec![container(Role::App, running(), true)],
                    initialized: true,
                    ..Pod::default()
                },
                "Running",
            ),
            (
                Pod {
                    containers: vec![container(Role::App, waiting.clone(), false)],
                    initialized: true,
                    ..Pod::default()
                },
                "CrashLoopBackOff",
            ),
            (
                Pod { containers: vec![container(Role::Init, Phase::default(), false)], ..Pod::default() },
                "Init:0/1",
            ),
            (
                Pod { containers: vec![container(Role::Init, waiting, false)], ..Pod::default() },
                "Init:CrashLoopBackOff",
            ),
            (Pod { finished: Some(true), ..Pod::default() }, "Completed"),
            (
                Pod {
                    containers: vec![container(Role::App, killed(), false)],
                    initialized: true,
                    ..Pod::default()
                },
                "OOMKilled",
            ),
            (
                Pod {
                    containers: vec![container(Role::App, killed(), false)],
                    initialized: true,
                    finished: Some(false),
                    ..Pod::default()
                },
                "OOMKilled",
            ),
            (
                Pod { containers: vec![container(Role::Init, killed(), false)], ..Pod::default() },
                "Init:OOMKilled",
            ),
            (Pod { leaving: true, ..Pod::default() }, "Terminating"),
        ];
        for (pod, expected) in cases {
            let line = pod.line(&json!({}), "cluster.local");
            assert_eq!(line.status, expected);
        }
    }

    #[test]
    fn the_end_of_the_last_run_is_kept_while_the_container_waits_and_runs_again() {
        let mut one = container(Role::App, running(), true);
        one.enter(killed());
        assert_eq!(one.object()["lastState"], json!({}));
        let terminated = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled", "finishedAt": "2026-01-01T00:00:01Z"}});
        assert_eq!(one.object()["state"], terminated);
        one.enter(Phase::Waiting { reason: "CrashLoopBackOff".into(), message: String::new() });
        assert_eq!(one.object()["lastState"], terminated);
        one.enter(running());
        assert_eq!(one.object()["lastState"], terminated);
        one.enter(ended(1));
        assert_eq!(one.object()["lastState"], terminated, "the run before this one");
        one.enter(running());
        assert_eq!(one.object()["lastState"]["terminated"]["exitCode"], 1);
    }

    #[test]
    fn the_line_counts_sidecars_and_names_the_identity() {
        let mut proxy = container(Role::Sidecar, running(), true);
        proxy.name = "istio-proxy".into();
        let pod = Pod {
            containers: vec![proxy, container(Role::App, running(), true)],
            initialized: true,
            ..Pod::default()
        };
        let object = json!({"metadata": {"namespace": "default", "name": "web"}, "spec": {"serviceAccountName": "web"}});
        let line = pod.line(&object, "cluster.local");
        assert_eq!(
            (line.ready.as_str(), line.identity.as_str()),
            ("2/2", "spiffe://cluster.local/ns/default/sa/web")
        );
        assert_eq!(pod.object("10.244.0.1")["conditions"][4]["status"], "True");
    }
}
