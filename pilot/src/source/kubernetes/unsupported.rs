//! Watches the objects of Istio's kinds that this version does not support, so that users learn that they have no effect.
//!
//! Such objects are in clusters that had, or have, an Istio. Only their metadata is requested and only their versions are
//! kept; nothing waits for them.

use super::observed::Event;
use crate::flow::{Fact, Unsupported};
use crate::revision::Revision;
use api::resource::kind::refused::{Refused, of_istio};
use api::resource::verdict::{REVISION, Version};
use kube::core::{DynamicObject, PartialObjectMeta};
use kube::runtime::watcher;
use kube::{Api, Client};
use kubernetes::client::reason;
use kubernetes::follower::{Follower, Step};
use kubernetes::served;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::sync::mpsc::Sender;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// The kinds whose definitions are installed.
pub(super) struct Kinds {
    client: Client,
    revision: Revision,
    events: Sender<Event>,
    /// The watches, by the names of the definitions.
    running: BTreeMap<String, Running>,
}

/// The task that watches a kind.
struct Running {
    task: AbortOnDropHandle<()>,
    /// Ends the task after its last report.
    end: CancellationToken,
}

impl Kinds {
    /// No kind yet. Objects of other revisions are left out.
    pub(super) fn new(client: Client, revision: Revision, events: Sender<Event>) -> Self {
        Self { client, revision, events, running: BTreeMap::new() }
    }

    /// A definition is installed, or has changed.
    pub(super) fn start(&mut self, definition: &str) {
        let Some(kind) = defined_by(definition) else { return };
        if self.running.contains_key(definition) {
            return;
        }
        let end = CancellationToken::new();
        let roster = Roster::new(kind, self.revision.clone());
        let task = tokio::spawn(watch(self.client.clone(), roster, self.events.clone(), end.clone()));
        self.running.insert(definition.to_owned(), Running { task: AbortOnDropHandle::new(task), end });
    }

    /// A definition was removed.
    pub(super) async fn stop(&mut self, definition: &str) {
        if let Some(Running { task, end }) = self.running.remove(definition) {
            end.cancel();
            // Its last report must precede those of a task that starts after it.
            let _ = task.await;
        }
    }

    /// Only these definitions are installed.
    pub(super) async fn retain(&mut self, definitions: &BTreeSet<String>) {
        let gone = self.running.keys().filter(|definition| !definitions.contains(*definition));
        for definition in gone.cloned().collect::<Vec<_>>() {
            self.stop(&definition).await;
        }
    }
}

/// The refused kind that a CustomResourceDefinition defines.
fn defined_by(definition: &str) -> Option<&'static Refused> {
    let (plural, group) = definition.split_once('.')?;
    of_istio().find(|kind| kind.descriptor.group == group && kind.descriptor.plural == plural)
}

/// Reports the objects of a kind until the token is cancelled. Then there are none.
async fn watch(client: Client, mut roster: Roster, events: Sender<Event>, end: CancellationToken) {
    end.run_until_cancelled(follow(client, &mut roster, &events)).await;
    // Fails only when nobody listens any more.
    let _ = events.send(Event::Facts(roster.clear())).await;
}

async fn follow(client: Client, roster: &mut Roster, events: &Sender<Event>) {
    let descriptor = &roster.kind.descriptor;
    let mut pause = RETRY;
    while !events.is_closed() {
        let names = (descriptor.group, descriptor.plural);
        match served::version(&client, names, descriptor.versions).await {
            Ok(Some(version)) => {
                pause = RETRY;
                let names = (descriptor.kind, descriptor.plural);
                let resource = served::resource((descriptor.group, version), names);
                let api: Api<PartialObjectMeta<DynamicObject>> = Api::all_with(client.clone(), &resource);
                let mut follower = Follower::new(api, None, descriptor.kind.to_owned());
                while let Some(step) = follower.next().await {
                    let Step::Event(event) = step else { continue };
                    let facts = roster.take(event);
                    if !facts.is_empty() && events.send(Event::Facts(facts)).await.is_err() {
                        return;
                    }
                }
            }
            Ok(None) => {}
            Err(error) => {
                let error = reason(&error);
                tracing::debug!(kind = descriptor.kind, error, "the versions of the kind cannot be read");
            }
        }
        // A definition is served some seconds after it was installed, or not at all.
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_RETRY);
    }
}

/// The objects of a kind.
struct Roster {
    kind: &'static Refused,
    revision: Revision,
    /// Namespace and name, with the version as far as it matters.
    known: BTreeMap<(String, String), Version>,
    /// Those that the list, which is being read, has.
    listed: BTreeSet<(String, String)>,
}

impl Roster {
    /// No object yet. Those of other revisions are taken for absent.
    fn new(kind: &'static Refused, revision: Revision) -> Self {
        Self { kind, revision, known: BTreeMap::new(), listed: BTreeSet::new() }
    }

    /// Takes a report and returns the facts that follow.
    fn take(&mut self, event: watcher::Event<PartialObjectMeta<DynamicObject>>) -> Vec<Fact> {
        match event {
            watcher::Event::Init => {
                self.listed.clear();
                vec![]
            }
            watcher::Event::InitApply(object) => {
                self.listed.insert(name(&object));
                self.see(&object)
            }
            watcher::Event::InitDone => {
                let listed = std::mem::take(&mut self.listed);
                let gone = self.known.extract_if(.., |name, _| !listed.contains(name));
                gone.map(|(name, _)| removed(self.kind, &name)).collect()
            }
            watcher::Event::Apply(object) => self.see(&object),
            watcher::Event::Delete(object) => self.lose(&name(&object)),
        }
    }

    fn see(&mut self, object: &PartialObjectMeta<DynamicObject>) -> Vec<Fact> {
        let metadata = &object.metadata;
        let text = |field: Option<&String>| field.map_or("", String::as_str).into();
        let name = name(object);
        // The resource version, which also changes with each status, does not matter.
        let version = Version {
            uid: text(metadata.uid.as_ref()),
            generation: metadata.generation.unwrap_or_default(),
            revision: text(metadata.labels.as_ref().and_then(|labels| labels.get(REVISION))),
            ..Version::default()
        };
        if !self.revision.reads(&version.revision) {
            return self.lose(&name);
        }
        let unsupported = Unsupported::new(self.kind, &name.0, &name.1);
        if self.known.insert(name, version.clone()).is_some_and(|before| before == version) {
            return vec![];
        }
        vec![Fact::Unsupported(unsupported, Some(version))]
    }

    fn lose(&mut self, name: &(String, String)) -> Vec<Fact> {
        self.known.remove(name).map(|_| removed(self.kind, name)).into_iter().collect()
    }

    /// There are none any more.
    fn clear(&mut self) -> Vec<Fact> {
        std::mem::take(&mut self.known).keys().map(|name| removed(self.kind, name)).collect()
    }
}

fn removed(kind: &Refused, (namespace, name): &(String, String)) -> Fact {
    Fact::Unsupported(Unsupported::new(kind, namespace, name), None)
}

fn name(object: &PartialObjectMeta<DynamicObject>) -> (String, String) {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    (text(&object.metadata.namespace), text(&object.metadata.name))
}

const RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(name: &str, generation: i64) -> PartialObjectMeta<DynamicObject> {
        let metadata = json!({"namespace": "shop", "name": name, "uid": "u", "generation": generation});
        serde_json::from_value(json!({"metadata": metadata})).unwrap()
    }

    #[test]
    fn only_changes_are_reported_and_a_list_shows_what_was_removed_meanwhile() {
        use watcher::Event::{Apply, Delete, Init, InitApply, InitDone};
        let kind = of_istio().find(|kind| kind.descriptor.kind == "AuthorizationPolicy").unwrap();
        let mut roster = Roster::new(kind, Revision::default());
        let mut check = |event, expected: &[&str]| {
            let facts = roster.take(event);
            let shown = facts.iter().map(|fact| match fact {
                Fact::Unsupported(object, version) => {
                    let generation = version.as_ref().map_or(0, |version| version.generation);
                    format!("{}/{} {generation}", object.namespace, object.name)
                }
                other => panic!("{other:?}"),
            });
            assert_eq!(shown.collect::<Vec<_>>(), expected);
        };
        check(Init, &[]);
        check(InitApply(object("a", 1)), &["shop/a 1"]);
        check(InitApply(object("b", 1)), &["shop/b 1"]);
        check(InitDone, &[]);
        check(Apply(object("a", 1)), &[]);
        check(Apply(object("a", 2)), &["shop/a 2"]);
        check(Init, &[]);
        check(InitApply(object("a", 2)), &[]);
        check(InitDone, &["shop/b 0"]);
        let labelled = |revision: &str| {
            let mut object = object("a", 2);
            object.metadata.labels = Some([(REVISION.to_owned(), revision.to_owned())].into());
            object
        };
        check(Apply(labelled("default")), &["shop/a 2"]);
        check(Apply(labelled("canary")), &["shop/a 0"]);
        check(Apply(object("a", 2)), &["shop/a 2"]);
        check(Delete(object("a", 2)), &["shop/a 0"]);
        check(Delete(object("a", 2)), &[]);
    }

    #[test]
    fn only_definitions_of_refused_kinds_of_istio_are_watched() {
        for definition in ["authorizationpolicies.security.istio.io", "envoyfilters.networking.istio.io"] {
            assert!(defined_by(definition).is_some(), "{definition}");
        }
        for definition in ["gateways.networking.istio.io", "httproutes.gateway.networking.k8s.io", "policies"]
        {
            assert!(defined_by(definition).is_none(), "{definition}");
        }
    }
}
