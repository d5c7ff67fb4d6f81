//! Pure. Turns what the watches of a cluster report into facts about objects: added, changed, removed, or refused.
//!
//! A watch that starts again lists all objects. Those that have not changed give no fact, and those that are missing
//! were removed meanwhile. Objects are compared by hash, since the catalog holds them in its own form.

use super::watched::WatchId;
use crate::flow::Fact;
use crate::revision::Revision;
use api::resource::document::{Key, Place};
use api::resource::object::Document;
use api::resource::parse;
use api::resource::verdict::Version;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a watch reports.
#[derive(Debug, Clone)]
pub(super) enum Event {
    /// It begins to list its objects.
    Began(WatchId),
    /// An object exists in this resource version, reduced to the parts that are read.
    Seen(WatchId, Value, Box<str>),
    /// An object was removed, or does not affect the mesh any more.
    Gone(WatchId, Key),
    /// All its objects have been listed.
    Listed(WatchId),
    /// Its kind is not served: there are no objects.
    Unserved(WatchId),
    /// An attempt to read its objects has failed, for this reason.
    Failed(WatchId, String),
    /// Facts that need no comparison.
    Facts(Vec<Fact>),
}

/// The objects that were reported.
#[derive(Debug)]
pub(super) struct Observed {
    cluster: Arc<str>,
    revision: Revision,
    objects: BTreeMap<Key, ReportedObject>,
    /// How often each watch has begun to list.
    rounds: BTreeMap<WatchId, u32>,
    /// The watches that have not listed their objects yet, and why their last attempt failed.
    waiting: BTreeMap<WatchId, Option<String>>,
    synced: bool,
}

/// An object as it was reported last, accepted or refused.
#[derive(Debug)]
struct ReportedObject {
    watch: WatchId,
    /// The round of its watch in which it was reported.
    round: u32,
    hash: u64,
}

impl Observed {
    /// A cluster of which nothing is known yet. The mesh's objects of other revisions are taken for absent. `watches` are
    /// those that must list their objects first.
    pub(super) fn new(cluster: &str, revision: Revision, watches: impl IntoIterator<Item = WatchId>) -> Self {
        Self {
            cluster: cluster.into(),
            revision,
            objects: BTreeMap::new(),
            rounds: BTreeMap::new(),
            waiting: watches.into_iter().map(|watch| (watch, None)).collect(),
            synced: false,
        }
    }

    /// Whether `Fact::Synced` was returned.
    pub(super) fn is_synced(&self) -> bool {
        self.synced
    }

    /// What the first snapshot waits for: the kinds that have not been listed yet, each reason with the kinds that it keeps
    /// from being listed. Empty if it waits for nothing.
    pub(super) fn waiting(&self) -> String {
        let mut kinds: BTreeMap<Option<&str>, BTreeSet<String>> = BTreeMap::new();
        for (watch, reason) in &self.waiting {
            kinds.entry(reason.as_deref()).or_default().insert(watch.kind.to_string());
        }
        let parts = kinds.into_iter().rev().map(|(reason, kinds)| {
            let kinds = kinds.into_iter().collect::<Vec<_>>().join(", ");
            reason.map_or_else(|| kinds.clone(), |reason| format!("{kinds} ({reason})"))
        });
        parts.collect::<Vec<_>>().join("; ")
    }

    /// Takes reports in their order and returns the facts that follow.
    pub(super) fn take(&mut self, events: impl IntoIterator<Item = Event>) -> Vec<Fact> {
        let mut facts = vec![];
        for event in events {
            match event {
                Event::Began(watch) => *self.rounds.entry(watch).or_default() += 1,
                Event::Seen(watch, object, version) => self.see(watch, object, version, &mut facts),
                Event::Gone(watch, key) => self.lose(watch, key, &mut facts),
                Event::Listed(watch) => {
                    let round = self.round(watch);
                    self.remove(|known| known.watch == watch && known.round != round, &mut facts);
                    self.complete(watch, &mut facts);
                }
                Event::Facts(more) => facts.extend(more),
                Event::Failed(watch, reason) => {
                    self.waiting.entry(watch).and_modify(|known| *known = Some(reason));
                }
                Event::Unserved(watch) => {
                    self.remove(|known| known.watch == watch, &mut facts);
                    self.complete(watch, &mut facts);
                }
            }
        }
        facts
    }

    fn round(&self, watch: WatchId) -> u32 {
        self.rounds.get(&watch).copied().unwrap_or_default()
    }

    fn see(&mut self, watch: WatchId, object: Value, version: Box<str>, facts: &mut Vec<Fact>) {
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
        let key = Key::new(watch.kind, text("namespace"), text("name"));
        let whole = Version::of(&object);
        if watch.kind.is_mesh() && !self.revision.reads(&whole.revision) {
            return self.lose(watch, key, facts);
        }
        let hash = whole.content_hash;
        let known = ReportedObject { watch, round: self.round(watch), hash };
        if self.objects.insert(key, known).is_some_and(|before| before.hash == hash) {
            return;
        }
        let place = Place::Cluster { cluster: self.cluster.clone(), version };
        match parse::object(&place, &object) {
            Ok(parsed) => facts.push(Fact::Upsert(Document { place, index: 0, object: parsed, raw: object })),
            Err(refusals) => facts.push(Fact::Unparsable(whole, refusals)),
        }
    }

    fn lose(&mut self, watch: WatchId, key: Key, facts: &mut Vec<Fact>) {
        // Another watch may have taken the object over.
        if self.objects.get(&key).is_some_and(|known| known.watch == watch) {
            self.objects.remove(&key);
            facts.push(Fact::Delete(key));
        }
    }

    fn remove(&mut self, gone: impl Fn(&ReportedObject) -> bool, facts: &mut Vec<Fact>) {
        self.objects.retain(|key, known| {
            let gone = gone(known);
            if gone {
                facts.push(Fact::Delete(key.clone()));
            }
            !gone
        });
    }

    fn complete(&mut self, watch: WatchId, facts: &mut Vec<Fact>) {
        self.waiting.remove(&watch);
        if self.waiting.is_empty() && !self.synced {
            self.synced = true;
            facts.push(Fact::Synced);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::resource::kind::Kind;
    use serde_json::json;

    const A: WatchId = WatchId { kind: Kind::Secret, part: 0 };
    const B: WatchId = WatchId { kind: Kind::Secret, part: 1 };
    const ROUTES: WatchId = WatchId { kind: Kind::VirtualService, part: 0 };

    fn seen(watch: WatchId, name: &str, label: &str) -> Event {
        let metadata = json!({"name": name, "namespace": "n", "labels": {"l": label}});
        Event::Seen(
            watch,
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque"}),
            "7".into(),
        )
    }

    fn route(spec: &Value) -> Event {
        let object = json!({
            "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
            "metadata": {"name": "r", "namespace": "n", "generation": 4}, "spec": spec,
        });
        Event::Seen(ROUTES, object, "7".into())
    }

    fn gone(watch: WatchId, name: &str) -> Event {
        Event::Gone(watch, Key::new(watch.kind, "n", name))
    }

    fn check(observed: &mut Observed, events: impl IntoIterator<Item = Event>, expected: &[&str]) {
        let facts: Vec<String> = observed
            .take(events)
            .iter()
            .map(|fact| match fact {
                Fact::Upsert(d) => {
                    format!("+{} {}", d.object.name(), d.object.labels.get("l").map_or("", |l| l))
                }
                Fact::Delete(key) => format!("-{}", key.name),
                Fact::Unparsable(version, refusals) => {
                    let r = &refusals[0];
                    format!("!{} {} {} {}", r.place, r.object, r.path, version.generation)
                }
                Fact::Refused(_) | Fact::Readable(_) => panic!("{fact:?} is of files"),
                Fact::Unsupported(..) => panic!("{fact:?} is not compared"),
                Fact::Synced => "synced".into(),
            })
            .collect();
        assert_eq!(facts, expected);
    }

    #[test]
    fn all_watches_are_listed_before_the_cluster_counts_as_read() {
        let mut observed = Observed::new("c", Revision::default(), [A, B, ROUTES]);
        check(&mut observed, [Event::Began(A), seen(A, "a", "1"), Event::Listed(A)], &["+a 1"]);
        check(&mut observed, [Event::Began(B), seen(B, "b", "1")], &["+b 1"]);
        assert_eq!(observed.waiting(), "Secret, VirtualService");
        check(&mut observed, [Event::Failed(ROUTES, "it is forbidden".into())], &[]);
        assert_eq!(observed.waiting(), "VirtualService (it is forbidden); Secret");
        check(&mut observed, [Event::Unserved(ROUTES)], &[]);
        check(&mut observed, [Event::Listed(B)], &["synced"]);
        check(&mut observed, [Event::Failed(B, "the API server is away".into())], &[]);
        assert_eq!(observed.waiting(), "");
        check(&mut observed, [Event::Began(B), seen(B, "b", "1"), Event::Listed(B)], &[]);
    }

    #[test]
    fn a_watch_that_starts_again_reports_only_differences() {
        let mut observed = Observed::new("c", Revision::default(), [A]);
        let first =
            [Event::Began(A), seen(A, "a", "1"), seen(A, "b", "1"), seen(A, "c", "1"), Event::Listed(A)];
        check(&mut observed, first, &["+a 1", "+b 1", "+c 1", "synced"]);
        // The first attempt to list again fails half-way.
        check(&mut observed, [Event::Began(A), seen(A, "a", "1")], &[]);
        check(
            &mut observed,
            [Event::Began(A), seen(A, "b", "2"), seen(A, "c", "1"), Event::Listed(A)],
            &["+b 2", "-a"],
        );
    }

    #[test]
    fn an_object_of_another_revision_is_taken_for_absent() {
        let of = |revision: &str| {
            let labels = json!({"istio.io/rev": revision});
            let object = json!({
                "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "spec": {"hosts": ["a"]},
                "metadata": {"name": "r", "namespace": "n", "labels": labels},
            });
            Event::Seen(ROUTES, object, "7".into())
        };
        let mut observed = Observed::new("c", Revision::new("canary", &["stable".to_owned()]), [ROUTES]);
        check(&mut observed, [of("default"), route(&json!({"hosts": ["a"]}))], &["+r "]);
        check(&mut observed, [of("default"), of("other")], &["-r"]);
        check(&mut observed, [of("canary"), of("stable")], &["+r ", "+r "]);
        check(&mut observed, [Event::Began(ROUTES), of("default"), Event::Listed(ROUTES)], &["-r", "synced"]);
        let labelled = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": {"name": "s", "namespace": "n", "labels": {"istio.io/rev": "default"}},
        });
        check(&mut observed, [Event::Seen(A, labelled, "7".into())], &["+s "]);
    }

    #[test]
    fn an_object_that_moves_to_another_watch_of_its_kind_stays() {
        let mut observed = Observed::new("c", Revision::default(), [A]);
        check(&mut observed, [Event::Began(A), seen(A, "a", "1"), Event::Listed(A)], &["+a 1", "synced"]);
        check(&mut observed, [seen(B, "a", "2"), gone(A, "a")], &["+a 2"]);
        check(&mut observed, [gone(B, "a"), gone(B, "a"), gone(A, "never seen")], &["-a"]);
    }

    #[test]
    fn a_kind_that_is_not_served_any_more_loses_its_objects() {
        let mut observed = Observed::new("c", Revision::default(), [A, ROUTES]);
        let events = [seen(A, "a", "1"), route(&json!({"hosts": ["a"]})), Event::Unserved(ROUTES)];
        check(&mut observed, events, &["+a 1", "+r ", "-r"]);
    }

    #[test]
    fn an_object_that_cannot_be_parsed_is_refused_once_and_harms_no_other() {
        let mut observed = Observed::new("c", Revision::default(), [ROUTES]);
        let wrong = || route(&json!({"oops": 1}));
        let refusal = "!cluster c, resource version 7 VirtualService n/r spec.oops 4";
        check(&mut observed, [wrong(), seen(A, "a", "1")], &[refusal, "+a 1"]);
        check(&mut observed, [wrong()], &[]);
        check(&mut observed, [route(&json!({"hosts": ["a"]}))], &["+r "]);
        check(&mut observed, [wrong(), gone(ROUTES, "r")], &[refusal, "-r"]);
    }
}
