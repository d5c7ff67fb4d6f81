//! Readers that wait: for a revision, for objects, and for acknowledgements of proxies.

use super::*;
use crate::catalog::Catalog;
use crate::flow::Verdict;
use api::model::Kind as Resources;
use api::resource::document::{Key, Place};
use api::resource::kind::Kind;
use api::resource::verdict::{Version, Wanted};
use api::xds::server::Status;
use std::collections::BTreeMap;
use std::time::Instant;

#[expect(clippy::disallowed_methods, reason = "a test's own clock")]
fn snapshot(generation: u64) -> Arc<Snapshot> {
    Arc::new(Snapshot::new(Arc::new(Catalog::default()), generation, Instant::now()))
}

fn verdict(generation: i64) -> Verdict {
    Verdict {
        version: Version { generation, ..Version::default() },
        ..Verdict::clean(Some(Key::new(Kind::Service, "shop", "a")), Place::default())
    }
}

fn wait(generation: i64, gone: bool, milliseconds: u64) -> Wait {
    let wanted = Wanted {
        kind: "Service".into(),
        namespace: "shop".into(),
        name: "a".into(),
        generation,
        gone,
        ..Wanted::default()
    };
    Wait { objects: vec![wanted], milliseconds }
}

fn acknowledged() -> BTreeMap<Resources, Box<Status>> {
    BTreeMap::from([(Resources::Cluster, Box::default())])
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_when_the_object_is_in_force_at_every_proxy() {
    let channel = Channel::default();
    let (publish, snapshots) = watch::channel(snapshot(1));
    let place = channel.proxies.add("web.shop".into());
    place.note(&acknowledged(), 1, false);
    let waiting = {
        let channel = channel.clone();
        tokio::spawn(async move { channel.wait(snapshots, &wait(2, false, 30_000)).await })
    };
    let step = async || tokio::time::sleep(Duration::from_millis(50)).await;
    channel.note(vec![verdict(1)], 1);
    step().await;
    assert!(!waiting.is_finished(), "an older version");
    channel.note(vec![verdict(2)], 2);
    publish.send_replace(snapshot(2));
    step().await;
    assert!(!waiting.is_finished(), "the proxy has not responded");
    place.note(&acknowledged(), 2, false);
    let verdicts = waiting.await.unwrap();
    assert_eq!((verdicts.settled, verdicts.objects.len(), verdicts.proxies[0].acknowledged), (true, 1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_at_its_timeout_and_reports_what_is_missing() {
    let channel = Channel::default();
    let (_publish, snapshots) = watch::channel(snapshot(1));
    let _place = channel.proxies.add("web.shop".into());
    channel.note(vec![verdict(1)], 1);
    let begin = tokio::time::Instant::now();
    let verdicts = channel.wait(snapshots, &wait(1, false, 500)).await;
    assert!(!verdicts.settled && begin.elapsed() >= Duration::from_millis(500));
    assert_eq!((verdicts.proxies[0].proxy.as_str(), verdicts.proxies[0].responded), ("web.shop", 0));
}

#[tokio::test(start_paused = true)]
async fn a_deletion_is_settled_when_every_proxy_has_dropped_the_object() {
    let channel = Channel::default();
    let (_publish, snapshots) = watch::channel(snapshot(3));
    channel.note(vec![verdict(1)], 1);
    assert!(!channel.wait(snapshots.clone(), &wait(0, true, 10)).await.settled);
    channel.note(vec![Verdict { gone: true, ..verdict(0) }], 3);
    let place = channel.proxies.add("web.shop".into());
    assert!(!channel.wait(snapshots.clone(), &wait(0, true, 10)).await.settled);
    place.note(&acknowledged(), 3, false);
    assert!(channel.wait(snapshots, &wait(0, true, 10)).await.settled);
}

#[tokio::test]
async fn each_change_and_nothing_else_has_a_revision() {
    let channel = Channel::default();
    let mut revisions = channel.watch();
    channel.note(vec![verdict(1)], 1);
    revisions.changed().await.unwrap();
    channel.note(vec![], 1);
    assert_eq!(channel.compare(vec![], vec![]), (vec![], vec![]));
    assert!(!revisions.has_changed().unwrap());
}

#[test]
fn a_verdict_says_when_the_mesh_does_not_know_the_object() {
    let channel = Channel::default();
    channel.note(vec![verdict(1)], 1);
    let shown = |after| {
        let (revision, all) = channel.since(after, |_| true);
        (
            revision,
            all.into_iter().map(|v| (v.undiscovered, v.accepted, v.warnings.len())).collect::<Vec<_>>(),
        )
    };
    let (first, all) = shown(0);
    assert_eq!(all, [(false, true, 0)]);
    channel.rescope(|namespace| namespace != "shop");
    let (second, changed) = shown(first);
    assert_eq!(changed, [(true, true, 1)], "it is accepted, without effect");
    channel.rescope(|namespace| namespace != "shop");
    assert_eq!(shown(second), (second, vec![]), "nothing has changed");
    channel.rescope(|_| true);
    assert_eq!(shown(second).1, [(false, true, 0)]);
}
