//! Turns facts into snapshots: the only writer of pilot's configuration.
//!
//! Changes that arrive together become one snapshot: a short quiet period collects what an `apply` of many files, or a
//! rollout of many pods, writes at once. A limit on that wait ensures that a steady stream of changes is published too.
//! A minimum interval between snapshots keeps frequent changes from occupying all proxies; a change after a pause is
//! published at once.

use crate::catalog::{Catalog, Change, Changes};
use crate::flow::{Fact, Unsupported, Verdict};
use crate::metrics::Metrics;
use crate::snapshot::Snapshot;
use crate::validate;
use crate::verdict::Channel;
use api::resource::kind::Kind;
use api::resource::kind::refused;
use api::resource::verdict::Version;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

/// The task that turns facts into snapshots.
pub struct Pipeline {
    catalog: Catalog,
    generation: u64,
    /// What was read before the source has sent all objects; `None` once it has.
    unread: Option<(Vec<Change>, Vec<Verdict>)>,
    publish: watch::Sender<Arc<Snapshot>>,
    verdicts: Channel,
    /// Objects of kinds that are not supported, which no verdict mentions yet.
    unsupported: Vec<(Unsupported, Option<Version>)>,
    metrics: Metrics,
}

impl Pipeline {
    /// Creates a pipeline with an empty catalog.
    pub fn new(
        catalog: Catalog,
        publish: watch::Sender<Arc<Snapshot>>,
        verdicts: Channel,
        metrics: Metrics,
    ) -> Self {
        let (unread, unsupported) = (Some((vec![], vec![])), vec![]);
        Self { catalog, generation: 0, unread, publish, verdicts, unsupported, metrics }
    }

    /// Publishes a snapshot for each group of changes, until the source ends. The first snapshot has all objects that
    /// exist at the beginning, since proxies must not be served a part of the configuration.
    #[expect(clippy::disallowed_methods, reason = "the pipeline notes when a change was seen")]
    pub async fn run(mut self, mut facts: mpsc::Receiver<Vec<Fact>>) {
        let mut earliest = tokio::time::Instant::now();
        while let Some(first) = facts.recv().await {
            let seen = Instant::now();
            let all = collect(first, &mut facts, earliest).await;
            earliest = tokio::time::Instant::now() + DISTANCE;
            self.take(all, seen);
        }
    }

    fn take(&mut self, mut facts: Vec<Fact>, seen: Instant) {
        for fact in facts.extract_if(.., |fact| matches!(fact, Fact::Unsupported(..))) {
            if let Fact::Unsupported(object, version) = fact {
                self.unsupported.push((object, version));
            }
        }
        let synced = facts.contains(&Fact::Synced);
        let (mut changes, mut verdicts) = validate::judge(facts, self.catalog.mesh());
        for verdict in &verdicts {
            for refusal in &verdict.errors {
                tracing::warn!(%refusal, "an object is rejected; its last valid version stays in force");
            }
            for warning in &verdict.warnings {
                tracing::info!(%warning, "an object has a warning");
            }
        }
        if let Some((mut all, mut of_all)) = self.unread.take() {
            all.append(&mut changes);
            of_all.append(&mut verdicts);
            if !synced {
                self.unread = Some((all, of_all));
                return;
            }
            (changes, verdicts) = (all, of_all);
        }
        let (catalog, changes) = self.catalog.apply(changes);
        self.catalog = catalog;
        // The first snapshot is published even if it is empty, because it shows that the source has been read.
        let publishes = self.generation == 0 || !changes.is_empty();
        self.generation += u64::from(publishes);
        if publishes {
            self.publish(&changes, seen);
        }
        // Recorded after the snapshot is published: a reader of the verdict that an object was removed may then rely on
        // the newest snapshot not containing it.
        self.verdicts.note(verdicts, self.generation);
        let mut recount = self.note_unsupported();
        // Without selectors all objects are known, unless there were some before this change.
        if !self.catalog.mesh().discovery.is_empty() || changes.kinds.contains(&Kind::ConfigMap) {
            self.verdicts.rescope(|namespace| self.catalog.discovers(namespace));
            recount = true;
        }
        if recount {
            self.metrics.show_unsupported(&self.verdicts.unsupported());
        }
        self.metrics.rejected_configs.set(self.verdicts.refused() as i64);
    }

    /// Records the objects of kinds that are not supported. Returns whether there were any.
    fn note_unsupported(&mut self) -> bool {
        let unsupported = std::mem::take(&mut self.unsupported);
        if unsupported.is_empty() {
            return false;
        }
        let appeared = self.verdicts.note_unsupported(unsupported);
        warn(appeared.iter().filter(|object| self.catalog.discovers(&object.namespace)));
        true
    }

    fn publish(&mut self, changes: &Changes, seen: Instant) {
        for kind in &changes.kinds {
            self.metrics.triggers.with_label_values(&[&kind.to_string()]).inc();
        }
        self.metrics.services.set(self.catalog.services().count() as i64);
        self.metrics.virtual_services.set(self.catalog.count(Kind::VirtualService) as i64);
        tracing::debug!(generation = self.generation, kinds = ?changes.kinds, "the configuration changed");
        let snapshot = Snapshot::new(Arc::new(self.catalog.clone()), self.generation, seen);
        self.publish.send_replace(Arc::new(snapshot));
    }
}

/// Warns of objects that have no effect because their kind is not supported, loudly if they should deny requests.
fn warn<'a>(objects: impl Iterator<Item = &'a Unsupported>) {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for object in objects {
        let count = counts.entry(object.kind).or_default();
        *count += 1;
        if *count > LOGGED {
            continue;
        }
        let refusal = object.refusal();
        if refused::find(object.group, object.kind).is_some_and(refused::Refused::protects) {
            tracing::error!(%refusal, "a policy is NOT ENFORCED");
        } else {
            tracing::warn!(%refusal, "an object has no effect");
        }
    }
    for (kind, count) in counts.into_iter().filter(|(_, count)| *count > LOGGED) {
        let more = count - LOGGED;
        tracing::warn!(kind, more, "further objects of this kind have no effect; `ostria status` lists them");
    }
}

/// Collects the changes that arrive within a quiet period of each other, up to a limit, and those that arrive before
/// `earliest`.
async fn collect(
    mut all: Vec<Fact>,
    facts: &mut mpsc::Receiver<Vec<Fact>>,
    earliest: tokio::time::Instant,
) -> Vec<Fact> {
    let latest = (tokio::time::Instant::now() + COLLECT_LIMIT).max(earliest);
    loop {
        let quiet = (tokio::time::Instant::now() + QUIET).clamp(earliest.min(latest), latest);
        match tokio::time::timeout_at(quiet, facts.recv()).await {
            Ok(Some(more)) => all.extend(more),
            Ok(None) | Err(_) => return all,
        }
    }
}

/// The quiet period: changes closer than this are published together.
const QUIET: Duration = Duration::from_millis(5);
/// The longest time that a change waits for others.
const COLLECT_LIMIT: Duration = Duration::from_millis(50);
/// The minimum interval between two snapshots.
const DISTANCE: Duration = Duration::from_millis(25);
/// The objects of an unsupported kind that the log names at once.
const LOGGED: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use api::resource::document::Key;
    use api::resource::parse;

    fn facts(text: &str) -> Vec<Fact> {
        let parsed = parse::parse("test.yaml", text);
        let refused = parsed.refusals.into_iter().map(Fact::Refused);
        parsed.documents.into_iter().map(Fact::Upsert).chain(refused).chain([Fact::Synced]).collect()
    }

    fn start() -> (mpsc::Sender<Vec<Fact>>, watch::Receiver<Arc<Snapshot>>, Channel) {
        let (send, receive) = mpsc::channel(8);
        #[expect(clippy::disallowed_methods, reason = "a test's own clock")]
        let empty = Snapshot::new(Arc::default(), 0, Instant::now());
        let (publish, snapshots) = watch::channel(Arc::new(empty));
        let verdicts = Channel::default();
        let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
        let pipeline = Pipeline::new(Catalog::default(), publish, verdicts.clone(), metrics);
        tokio::spawn(pipeline.run(receive));
        (send, snapshots, verdicts)
    }

    const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: a, namespace: default}
spec: {clusterIP: 10.0.0.1, ports: [{port: 80, name: http}]}
";

    #[tokio::test(start_paused = true)]
    async fn simultaneous_changes_become_one_snapshot() {
        let (send, mut snapshots, _) = start();
        for name in ["a", "b", "c"] {
            send.send(facts(&SERVICE.replace("name: a", &format!("name: {name}")))).await.unwrap();
        }
        snapshots.changed().await.unwrap();
        let snapshot = snapshots.borrow_and_update().clone();
        assert_eq!((snapshot.generation, snapshot.catalog.services().count()), (1, 3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_single_change_is_pushed_at_once_and_continuous_changes_forty_times_a_second() {
        let (send, mut snapshots, _) = start();
        let change = |number: u32| facts(&SERVICE.replace("port: 80", &format!("port: {number}")));
        tokio::time::sleep(Duration::from_secs(1)).await;
        let begin = tokio::time::Instant::now();
        send.send(change(1)).await.unwrap();
        snapshots.changed().await.unwrap();
        assert!(begin.elapsed() <= QUIET + Duration::from_millis(1), "{:?}", begin.elapsed());
        for number in 2..=100 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            send.send(change(number)).await.unwrap();
        }
        tokio::time::sleep(COLLECT_LIMIT).await;
        let snapshot = snapshots.borrow_and_update().clone();
        assert!((30..=42).contains(&snapshot.generation), "{} snapshots", snapshot.generation);
        assert_eq!(snapshot.catalog.services().next().unwrap().ports[0].number, 100);
    }

    #[tokio::test(start_paused = true)]
    async fn a_rejected_object_keeps_its_last_valid_version_and_is_listed() {
        let (send, mut snapshots, verdicts) = start();
        send.send(facts(SERVICE)).await.unwrap();
        snapshots.changed().await.unwrap();
        let good = snapshots.borrow_and_update().generation;
        send.send(facts(&SERVICE.replace("port: 80", "port: 99999999"))).await.unwrap();
        while verdicts.refusals().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(snapshots.borrow().generation, good);
        assert_eq!(snapshots.borrow().catalog.services().count(), 1);
        send.send(facts(SERVICE)).await.unwrap();
        while !verdicts.refusals().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_verdict_names_the_snapshot_that_has_the_object() {
        let (send, mut snapshots, verdicts) = start();
        let of = |name: &str| {
            let (_, all) = verdicts.since(0, |verdict| verdict.name == name);
            all.first().map(|verdict| (verdict.accepted, verdict.snapshot))
        };
        let until = async |expected| {
            while of("a") != Some(expected) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        send.send(facts(SERVICE)).await.unwrap();
        snapshots.changed().await.unwrap();
        until((true, 1)).await;
        let changed = SERVICE.replace("port: 80", "port: 81");
        send.send(facts(&changed)).await.unwrap();
        snapshots.changed().await.unwrap();
        let second = snapshots.borrow_and_update().generation;
        until((true, second)).await;
        send.send(facts(&changed.replace("port: 81", "port: 99999999"))).await.unwrap();
        until((false, second)).await;
        send.send(vec![Fact::Delete(Key::new(Kind::Service, "default", "a"))]).await.unwrap();
        while of("a").is_some() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_published_before_all_objects_are_there() {
        let (send, mut snapshots, verdicts) = start();
        let mut first = facts(SERVICE);
        assert_eq!(first.pop(), Some(Fact::Synced));
        send.send(first).await.unwrap();
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!((snapshots.borrow().generation, verdicts.since(0, |_| true).1.len()), (0, 0));
        send.send(facts(&SERVICE.replace("name: a", "name: b"))).await.unwrap();
        snapshots.changed().await.unwrap();
        let snapshot = snapshots.borrow_and_update().clone();
        assert_eq!((snapshot.generation, snapshot.catalog.services().count()), (1, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn an_object_of_an_unsupported_kind_is_refused_and_counted_and_publishes_nothing() {
        let (send, mut snapshots, verdicts) = start();
        let kind = refused::find("security.istio.io", "AuthorizationPolicy").unwrap();
        let object = |version| Fact::Unsupported(Unsupported::new(kind, "shop", "deny"), version);
        send.send(vec![object(Some(Version::default()))]).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(verdicts.refused(), 0, "which namespaces belong to the mesh is not known yet");
        send.send(vec![Fact::Synced]).await.unwrap();
        snapshots.changed().await.unwrap();
        let generation = snapshots.borrow_and_update().generation;
        let until = async |count: usize| {
            while verdicts.refused() != count {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        until(1).await;
        assert_eq!(verdicts.unsupported(), BTreeMap::from([("AuthorizationPolicy", 1)]));
        assert_eq!(verdicts.refusals()[0].object, "AuthorizationPolicy shop/deny");
        send.send(vec![object(None)]).await.unwrap();
        until(0).await;
        assert_eq!(snapshots.borrow().generation, generation);
    }

    #[tokio::test(start_paused = true)]
    async fn an_empty_folder_is_published_too() {
        let (send, mut snapshots, _) = start();
        send.send(vec![Fact::Synced]).await.unwrap();
        snapshots.changed().await.unwrap();
        assert_eq!(snapshots.borrow().generation, 1);
    }
}
