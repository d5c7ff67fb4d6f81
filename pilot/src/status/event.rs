//! Writes Kubernetes Events about Ingresses, which `kubectl describe ingress` shows: what keeps an Ingress from being served as
//! it is written, and when nothing does any more. The mesh's own kinds have conditions instead.
//!
//! One replica writes, only what has changed, and only what lasts: a Secret that is applied a moment after its Ingress is
//! not reported as missing.

use crate::replica::Replicas;
use crate::verdict::Channel;
use api::resource::document::Problem;
use api::resource::kind::Kind;
use api::resource::verdict::ObjectVerdict;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, PostParams};
use kube::{Client, Error};
use kubernetes::client::reason;
use kubernetes::leader;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Writes while `leads` is true, until `drain` is cancelled. `replica` names this process.
pub async fn keep(
    (client, replica): (Client, String),
    (verdicts, replicas): (Channel, Replicas),
    leads: watch::Receiver<bool>,
    drain: CancellationToken,
) {
    let work = leader::in_each_term(leads, || async {
        let mut writer =
            Writer { client: client.clone(), replica: replica.clone(), journal: Journal::default() };
        writer.run(&verdicts, &replicas).await;
    });
    drain.run_until_cancelled(work).await;
}

struct Writer {
    client: Client,
    replica: String,
    journal: Journal,
}

impl Writer {
    /// Ends when there are no further verdicts.
    async fn run(&mut self, verdicts: &Channel, replicas: &Replicas) {
        let mut revisions = verdicts.watch();
        loop {
            revisions.mark_unchanged();
            let (_, mut ingresses) = verdicts.since(0, is_ingress);
            let claims = replicas.claims();
            let is_own = |one: &ObjectVerdict| claims.includes(&one.version.revision, &one.namespace);
            ingresses.retain(|verdict| verdict.accepted && is_own(verdict));
            let due = self.journal.due(&ingresses, tokio::time::Instant::now().into_std());
            for notice in due {
                self.write(&notice).await;
                tokio::time::sleep(BETWEEN_WRITES).await;
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
            if !self.journal.waits && revisions.changed().await.is_err() {
                return;
            }
        }
    }

    async fn write(&self, notice: &Notice) {
        let api: Api<Event> = Api::namespaced(self.client.clone(), &notice.namespace);
        let event = notice.event(&self.replica, Timestamp::now());
        match api.create(&PostParams::default(), &event).await {
            Ok(_) => {}
            // The namespace ends, or the role is of an older chart. An event is not worth another attempt.
            Err(Error::Api(status)) if matches!(status.code, 403 | 404) => {
                tracing::debug!(ingress = notice.name, reason = status.message, "no event is written");
            }
            Err(error) => {
                let error = reason(&error);
                tracing::warn!(ingress = notice.name, error, "an event cannot be written");
            }
        }
    }
}

fn is_ingress(verdict: &ObjectVerdict) -> bool {
    (verdict.group.as_str(), verdict.kind.as_str()) == (Kind::Ingress.group(), Kind::Ingress.name())
        && !verdict.undiscovered
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Notice {
    namespace: String,
    name: String,
    uid: String,
    /// What is wrong; `None`: nothing is any more.
    finding: Option<String>,
}

impl Notice {
    fn new(verdict: &ObjectVerdict, finding: Option<String>) -> Self {
        let (namespace, name) = (verdict.namespace.clone(), verdict.name.clone());
        Self { namespace, name, uid: verdict.version.uid.to_string(), finding }
    }

    fn event(&self, replica: &str, now: Timestamp) -> Event {
        let (kind, reason, note) = match &self.finding {
            Some(finding) => ("Warning", "Misconfigured", finding.as_str()),
            None => ("Normal", "Resolved", "nothing that it refers to is missing any more"),
        };
        Event {
            metadata: ObjectMeta {
                namespace: Some(self.namespace.clone()),
                generate_name: Some(format!("{}-", self.name)),
                ..ObjectMeta::default()
            },
            action: Some("Configure".into()),
            event_time: Some(MicroTime(now)),
            note: Some(note[..note.floor_char_boundary(MAX_NOTE)].to_owned()),
            reason: Some(reason.into()),
            regarding: Some(ObjectReference {
                api_version: Some("networking.k8s.io/v1".into()),
                kind: Some("Ingress".into()),
                name: Some(self.name.clone()),
                namespace: Some(self.namespace.clone()),
                uid: Some(self.uid.clone()),
                ..ObjectReference::default()
            }),
            reporting_controller: Some(super::MANAGER.into()),
            reporting_instance: Some(replica.to_owned()),
            type_: Some(kind.into()),
            ..Event::default()
        }
    }
}

/// What was found about each Ingress, and what was reported of it.
#[derive(Debug, Default)]
struct Journal {
    /// By uid, then by finding.
    entries: BTreeMap<Box<str>, BTreeMap<String, Entry>>,
    /// Whether something becomes due by time alone.
    waits: bool,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    /// Since when it has been found; `None`: it is found no more.
    since: Option<Instant>,
    reported: Option<Instant>,
}

impl Journal {
    /// What is to be reported. Ingresses without a verdict are forgotten.
    fn due(&mut self, ingresses: &[ObjectVerdict], now: Instant) -> Vec<Notice> {
        let mut before = std::mem::take(&mut self.entries);
        let mut due = vec![];
        self.waits = false;
        for verdict in ingresses {
            let mut entries = before.remove(&verdict.version.uid).unwrap_or_default();
            let was_bad = entries.values().any(|entry| entry.since.is_some() && entry.reported.is_some());
            let found: Vec<String> = verdict.warnings.iter().take(MOST).map(Problem::finding).collect();
            entries.retain(|finding, entry| {
                let lasts = found.contains(finding);
                entry.since = entry.since.filter(|_| lasts);
                lasts || entry.reported.is_some_and(|at| now < at + AGAIN)
            });
            for finding in &found {
                let entry = entries.entry(finding.clone()).or_insert(Entry { since: None, reported: None });
                let since = *entry.since.get_or_insert(now);
                // One that comes and goes is reported once in a while.
                if entry.reported.is_some_and(|at| at >= since || now < at + AGAIN) {
                    continue;
                }
                if now < since + PATIENCE {
                    self.waits = true;
                    continue;
                }
                entry.reported = Some(now);
                due.push(Notice::new(verdict, Some(finding.clone())));
            }
            if was_bad && found.is_empty() {
                due.push(Notice::new(verdict, None));
            }
            if !entries.is_empty() {
                self.entries.insert(verdict.version.uid.clone(), entries);
            }
        }
        due
    }
}

/// How long a finding lasts before it is reported.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often one that comes and goes is reported.
const AGAIN: Duration = Duration::from_mins(10);
/// The findings about an Ingress that are reported.
const MOST: usize = 10;
/// Bytes of a note; Kubernetes' limit.
const MAX_NOTE: usize = 1024;
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
const BETWEEN_WRITES: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Verdict;
    use crate::revision::Revision;
    use crate::snapshot::Snapshot;
    use api::resource::document::{Key, Place, Refusal};
    use api::resource::verdict::Version;
    use http::Response;
    use kube::client::Body;
    use serde_json::{Value, json};
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex};

    fn verdict(findings: &[&str]) -> ObjectVerdict {
        let warnings =
            findings.iter().map(|reason| Problem { reason: (*reason).into(), ..Problem::default() });
        ObjectVerdict {
            namespace: "shop".into(),
            name: "web".into(),
            version: Version { uid: "u".into(), ..Version::default() },
            warnings: warnings.collect(),
            accepted: true,
            ..ObjectVerdict::default()
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test's own clock")]
    fn what_lasts_is_reported_once_and_so_is_its_end() {
        let (mut journal, start) = (Journal::default(), Instant::now());
        let mut check = |second: u64, findings: &[&str], expected: &[&str], waits: bool| {
            let due = journal.due(&[verdict(findings)], start + Duration::from_secs(second));
            let due: Vec<&str> = due.iter().map(|one| one.finding.as_deref().unwrap_or("resolved")).collect();
            assert_eq!((due, journal.waits), (expected.to_vec(), waits), "second {second}");
        };
        check(0, &["a"], &[], true);
        check(4, &[], &[], false);
        check(5, &["a", "b"], &[], true);
        check(10, &["a", "b"], &["a", "b"], false);
        check(11, &["a", "b"], &[], false);
        check(12, &["a"], &[], false);
        check(20, &[], &["resolved"], false);
        check(21, &[], &[], false);
        check(30, &["a"], &[], false);
        check(300, &["a"], &[], false);
        check(700, &["a"], &["a"], false);
        check(2000, &["a"], &[], false);
        assert!(journal.due(&[], start).is_empty() && journal.entries.is_empty());
    }

    #[test]
    fn an_event_names_the_ingress_and_its_note_fits() {
        let long = "ä".repeat(MAX_NOTE);
        let notice = Notice::new(&verdict(&[]), Some(long));
        let event = notice.event("pilot-1", Timestamp::UNIX_EPOCH);
        assert_eq!(
            (event.type_.as_deref(), event.reason.as_deref()),
            (Some("Warning"), Some("Misconfigured"))
        );
        assert_eq!(event.note.unwrap().len(), MAX_NOTE);
        assert_eq!(event.regarding.unwrap().uid.as_deref(), Some("u"));
        let event = Notice::new(&verdict(&[]), None).event("pilot-1", Timestamp::UNIX_EPOCH);
        assert_eq!((event.type_.as_deref(), event.reason.as_deref()), (Some("Normal"), Some("Resolved")));
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_leader_writes_and_only_about_ingresses() {
        let written: Arc<Mutex<Vec<(String, Value)>>> = Arc::default();
        let record = written.clone();
        let reply = move |request: http::Request<Body>| {
            let record = record.clone();
            async move {
                let (head, body) = request.into_parts();
                let body: Value = serde_json::from_slice(&body.collect_bytes().await.unwrap()).unwrap();
                record.lock().unwrap().push((head.uri.path().to_owned(), body.clone()));
                let body = Body::from(body.to_string().into_bytes());
                Ok::<_, Infallible>(Response::builder().status(201).body(body).unwrap())
            }
        };
        let client = Client::new(tower::service_fn(reply), "default");
        let (verdicts, drain) = (Channel::default(), CancellationToken::new());
        let (leads, leading) = watch::channel(false);
        let empty = Snapshot::new(Arc::default(), 1, tokio::time::Instant::now().into_std());
        let (_publish, snapshots) = watch::channel(Arc::new(empty));
        let replicas = Replicas::new(snapshots, "istio-system", ("pilot-1", Revision::default()));
        tokio::spawn(keep((client, "pilot-1".into()), (verdicts.clone(), replicas), leading, drain.clone()));
        for kind in [Kind::Ingress, Kind::VirtualService] {
            let missing = Refusal { reason: "there is no Secret".into(), ..Refusal::default() };
            let clean = Verdict::clean(Some(Key::new(kind, "shop", "web")), Place::cluster("c", "1"));
            verdicts.note(vec![Verdict { warnings: vec![missing], ..clean }], 1);
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(written.lock().unwrap().len(), 0);
        leads.send_replace(true);
        tokio::time::sleep(Duration::from_secs(60)).await;
        let written = written.lock().unwrap().clone();
        assert_eq!(written.len(), 1);
        let (path, event) = &written[0];
        assert_eq!(path, "/apis/events.k8s.io/v1/namespaces/shop/events");
        assert_eq!(event["note"], json!("there is no Secret"));
        drain.cancel();
    }
}
