//! Pure. Events about objects, as Kubernetes' `Event` objects. They are derived from changes of a pod's state, counted
//! when they repeat, and limited in number.

use std::collections::VecDeque;

use serde_json::{Value, json};

use crate::kubelet::status::{Container, Phase, Pod};
use crate::manifest::object::Key;

/// An event without its object and time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventDetails {
    /// Whether its type is `Warning`; otherwise it is `Normal`.
    pub warning: bool,
    /// The reason: one word, as in Kubernetes.
    pub reason: &'static str,
    /// The message: a sentence.
    pub message: String,
}

impl EventDetails {
    /// An event of type `Normal`.
    pub fn normal(reason: &'static str, message: impl Into<String>) -> Self {
        Self { warning: false, reason, message: message.into() }
    }

    /// An event of type `Warning`.
    pub fn warning(reason: &'static str, message: impl Into<String>) -> Self {
        Self { warning: true, reason, message: message.into() }
    }
}

/// The latest events.
#[derive(Debug, Clone, Default)]
pub struct Events(VecDeque<Event>);

#[derive(Debug, Clone)]
struct Event {
    about: Key,
    details: EventDetails,
    count: u64,
    first: String,
    last: String,
    number: u64,
}

impl Events {
    /// Records an event about an object. A repeated event increases the count. Beyond the limit, the oldest event is
    /// dropped.
    pub fn note(&mut self, about: &Key, details: EventDetails, now: &str) {
        let known = self.0.iter().position(|event| event.about == *about && event.details == details);
        let number = self.0.back().map_or(0, |event| event.number + 1);
        let event = match known.and_then(|index| self.0.remove(index)) {
            Some(event) => Event { count: event.count + 1, last: now.into(), ..event },
            None => {
                Event { about: about.clone(), details, count: 1, first: now.into(), last: now.into(), number }
            }
        };
        self.0.push_back(event);
        if self.0.len() > MOST {
            self.0.pop_front();
        }
    }

    /// The events about the objects that a predicate selects, as objects of kind `Event`, the latest last.
    pub fn objects(&self, wanted: impl Fn(&Key) -> bool) -> Vec<Value> {
        self.0.iter().filter(|event| wanted(&event.about)).map(Event::object).collect()
    }
}

impl Event {
    fn object(&self) -> Value {
        let about = &self.about;
        let namespace = if about.namespace.is_empty() { "default" } else { &about.namespace };
        json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": {"name": format!("{}.{:x}", about.name, self.number), "namespace": namespace,
                "creationTimestamp": self.first},
            "involvedObject": {"kind": about.kind, "namespace": about.namespace, "name": about.name},
            "type": if self.details.warning { "Warning" } else { "Normal" },
            "reason": self.details.reason,
            "message": self.details.message,
            "count": self.count,
            "firstTimestamp": self.first,
            "lastTimestamp": self.last,
            "source": {"component": "ostria"},
        })
    }
}

/// The events between two states of a pod.
pub fn of_pod(before: &Pod, after: &Pod) -> Vec<EventDetails> {
    let mut found = Vec::new();
    if before.address.is_empty() && !after.address.is_empty() {
        found.push(EventDetails::normal(
            "Scheduled",
            format!("Successfully assigned to ostria as {}", after.address),
        ));
    }
    if let Some(trouble) = after.trouble.as_ref().filter(|trouble| before.trouble.as_ref() != Some(trouble)) {
        found.push(EventDetails::warning("FailedCreatePodSandBox", trouble));
    }
    for container in &after.containers {
        let old = before.containers.iter().find(|old| old.name == container.name);
        found.extend(of_container(old, container));
    }
    if !before.leaving && after.leaving {
        let running =
            after.containers.iter().filter(|container| matches!(container.phase, Phase::Running { .. }));
        found.extend(running.map(|container| {
            EventDetails::normal("Killing", format!("Stopping container {}", container.name))
        }));
    }
    if before.finished.is_none() && after.finished == Some(false) {
        let reason = after.reason.as_deref().unwrap_or("a container failed and is not restarted");
        found.push(EventDetails::warning("Failed", format!("The pod failed: {reason}")));
    }
    found
}

fn of_container(before: Option<&Container>, after: &Container) -> Vec<EventDetails> {
    let mut found = Vec::new();
    let name = &after.name;
    if before.is_none_or(|before| before.phase != after.phase) {
        match &after.phase {
            Phase::Running { .. } => {
                found.push(EventDetails::normal("Started", format!("Started container {name}")));
            }
            Phase::Waiting { reason, message } if reason == "CrashLoopBackOff" => {
                let message = format!("Back-off restarting failed container {name}: {message}");
                found.push(EventDetails::warning("BackOff", message));
            }
            Phase::Waiting { reason, message } if reason == "CreateContainerError" => {
                found.push(EventDetails::warning(
                    "Failed",
                    format!("Container {name} cannot be started: {message}"),
                ));
            }
            Phase::Ended { code, out_of_memory: true, .. } => {
                let message = format!(
                    "Container {name} was killed with exit code {code}: it needed more memory than its limit allows"
                );
                found.push(EventDetails::warning("OOMKilled", message));
            }
            Phase::Ended { code, .. } if *code != 0 => {
                found.push(EventDetails::warning(
                    "Exited",
                    format!("Container {name} ended with exit code {code}"),
                ));
            }
            Phase::Waiting { .. } | Phase::Ended { .. } => {}
        }
    }
    if let Some(failure) = &after.probe_failure
        && before.and_then(|before| before.probe_failure.as_ref()) != Some(failure)
    {
        found.push(EventDetails::warning("Unhealthy", format!("Container {name}: {failure}")));
    }
    found
}

/// Maximum number of events; see docs/limits.md.
const MOST: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(phase: Phase) -> Pod {
        Pod {
            containers: vec![Container { name: "c".into(), phase, ..Container::default() }],
            ..Pod::default()
        }
    }

    fn waiting(reason: &str) -> Phase {
        Phase::Waiting { reason: reason.into(), message: "m".into() }
    }

    fn ended(code: i32, out_of_memory: bool) -> Phase {
        Phase::Ended { code, at: "x".into(), out_of_memory }
    }

    #[test]
    fn changes_of_a_pods_state_are_events() {
        let running = || pod(Phase::Running { since: "x".into() });
        let reasons = |before: &Pod, after: &Pod| -> Vec<&str> {
            of_pod(before, after).into_iter().map(|details| details.reason).collect()
        };
        assert_eq!(reasons(&pod(Phase::default()), &running()), ["Started"]);
        assert_eq!(reasons(&running(), &running()), Vec::<&str>::new());
        assert_eq!(reasons(&running(), &pod(ended(1, false))), ["Exited"]);
        assert_eq!(reasons(&running(), &pod(ended(0, false))), Vec::<&str>::new());
        assert_eq!(reasons(&running(), &pod(ended(137, true))), ["OOMKilled"]);
        assert_eq!(reasons(&running(), &pod(waiting("CrashLoopBackOff"))), ["BackOff"]);
        assert_eq!(reasons(&running(), &pod(waiting("CreateContainerError"))), ["Failed"]);
        assert_eq!(reasons(&running(), &Pod { leaving: true, ..running() }), ["Killing"]);
        let scheduled = Pod { address: "10.244.0.2".into(), ..Pod::default() };
        assert_eq!(reasons(&Pod::default(), &scheduled), ["Scheduled"]);
        let troubled = Pod { trouble: Some("no".into()), ..Pod::default() };
        assert_eq!(reasons(&Pod::default(), &troubled), ["FailedCreatePodSandBox"]);
        let mut ill = running();
        ill.containers[0].probe_failure = Some("its readiness probe fails".into());
        assert_eq!(reasons(&running(), &ill), ["Unhealthy"]);
    }

    #[test]
    fn repeated_events_are_counted_and_the_oldest_are_dropped() {
        let key = |name: &str| Key {
            group: String::new(),
            kind: "Pod".into(),
            namespace: "shop".into(),
            name: name.into(),
        };
        let mut events = Events::default();
        for now in ["1", "2"] {
            events.note(&key("a"), EventDetails::warning("BackOff", "again"), now);
        }
        let found = events.objects(|key| key.name == "a");
        assert_eq!((found.len(), found[0]["count"].as_u64()), (1, Some(2)));
        assert_eq!(
            (found[0]["firstTimestamp"].as_str(), found[0]["lastTimestamp"].as_str()),
            (Some("1"), Some("2"))
        );
        for number in 0..MOST {
            events.note(&key(&format!("b{number}")), EventDetails::normal("Started", "x"), "3");
        }
        let all = events.objects(|_| true);
        assert_eq!((all.len(), all[0]["involvedObject"]["name"].as_str()), (MOST, Some("b0")));
    }
}
