//! Pure. Remembers the status that was written to each object, and decides which objects need another one.
//!
//! An object is due when its conditions differ in meaning from those that were last written. Proxies that have not responded yet
//! get a few seconds before an object is shown as pending, so that most changes are written once.

use super::condition::{Condition, Standings, conditions, differ};
use crate::replica::{self, Held, ReplicaState};
use api::resource::verdict::{ObjectVerdict, ProxyProgress};
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

/// An object's group, kind, namespace and name.
pub(super) type Name = (String, String, String, String);

/// The version of an object that a verdict is about: its uid and generation; and its place, if neither is known because
/// the object could not be parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen(Box<str>, i64, String);

impl Seen {
    fn of(verdict: &ObjectVerdict) -> Self {
        let place = if verdict.version.generation == 0 { verdict.place.clone() } else { String::new() };
        Self(verdict.version.uid.clone(), verdict.version.generation, place)
    }
}

#[derive(Debug)]
struct Entry {
    seen: Seen,
    /// When this version was first seen.
    since: Instant,
    stored: Stored,
}

/// The object's status in the cluster, as far as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stored {
    /// Nothing yet.
    Unread,
    /// It holds these conditions.
    Holds(Vec<Condition>),
    /// It is left alone: another component writes it, or the object is another one by now.
    LeftAlone,
}

/// An object whose status may have to be written.
#[derive(Debug, Clone)]
pub(super) struct Due {
    pub(super) name: Name,
    pub(super) verdict: ObjectVerdict,
    pub(super) standings: Standings,
}

/// The proxies of this replica, and the states of the others.
#[derive(Debug, Clone, Copy)]
pub(super) struct Proxies<'a> {
    pub(super) own: &'a [ProxyProgress],
    pub(super) others: &'a [ReplicaState],
}

impl Proxies<'_> {
    /// Whether one refuses something.
    pub(super) fn are_troubled(self) -> bool {
        let others = self.others.iter().flat_map(|state| &state.proxies);
        self.own.iter().chain(others).any(|proxy| !proxy.refusals.is_empty())
    }
}

/// The acknowledgements of the proxies of all replicas. Objects of one snapshot of a replica share those of its proxies.
struct Counts<'a> {
    proxies: Proxies<'a>,
    own: BTreeMap<u64, Standings>,
    others: Vec<Other<'a>>,
}

/// Another replica: its snapshot with each object (`None`: it lacks this version), and the acknowledgements of its
/// proxies by snapshot.
struct Other<'a> {
    held: HashMap<&'a str, &'a Held>,
    state: &'a ReplicaState,
    standings: BTreeMap<Option<u64>, Standings>,
}

impl<'a> Counts<'a> {
    fn new(proxies: Proxies<'a>) -> Self {
        let other =
            |state: &'a ReplicaState| Other { held: state.index(), state, standings: BTreeMap::new() };
        Self { proxies, own: BTreeMap::new(), others: proxies.others.iter().map(other).collect() }
    }

    fn of(&mut self, verdict: &ObjectVerdict) -> Standings {
        let own = self.own.entry(verdict.snapshot);
        let mut all = own.or_insert_with(|| Standings::of(self.proxies.own, verdict.snapshot)).clone();
        for other in &mut self.others {
            let held = other.held.get(replica::name(verdict).as_str());
            // The proxies of a replica that does not act on the object do not count.
            if !other.state.reads(&verdict.version.revision) || held.is_some_and(|held| held.undiscovered) {
                continue;
            }
            let held = held.filter(|held| held.has(verdict));
            let snapshot = held.map(|held| held.snapshot);
            let standings = other.standings.entry(snapshot);
            all.add(standings.or_insert_with(|| match snapshot {
                Some(snapshot) => Standings::of(&other.state.proxies, snapshot),
                None => Standings::pending(&other.state.proxies),
            }));
        }
        all
    }
}

/// The state of all objects.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    entries: BTreeMap<Name, Entry>,
    /// Whether an object waits for proxies.
    waits: bool,
}

impl Ledger {
    /// Whether what is due can change without a new verdict, other than by refusals of proxies.
    pub(super) fn waits(&self) -> bool {
        self.waits
    }

    /// What is due. Objects without a verdict are forgotten.
    pub(super) fn due(&mut self, verdicts: Vec<ObjectVerdict>, proxies: Proxies, now: Instant) -> Vec<Due> {
        let mut before = std::mem::take(&mut self.entries);
        let mut counts = Counts::new(proxies);
        let mut due = vec![];
        self.waits = false;
        for verdict in verdicts {
            let name = name(&verdict);
            let seen = Seen::of(&verdict);
            let entry = match before.remove(&name) {
                Some(entry) if entry.seen == seen => entry,
                // The status of the object is as it was, unless it is another object.
                Some(entry) if entry.seen.0 == seen.0 && !seen.0.is_empty() => {
                    let stored =
                        if entry.stored == Stored::LeftAlone { Stored::Unread } else { entry.stored };
                    Entry { seen, since: now, stored }
                }
                _ => Entry { seen, since: now, stored: Stored::Unread },
            };
            let standings = counts.of(&verdict);
            let patient = verdict.accepted && !standings.is_settled() && now < entry.since + PATIENCE;
            let differs = match &entry.stored {
                Stored::Unread => true,
                Stored::Holds(old) => differ(
                    old,
                    &conditions(&verdict, &standings, verdict.version.generation.max(generation(old))),
                ),
                Stored::LeftAlone => false,
            };
            self.waits |= differs || (verdict.accepted && !standings.is_settled());
            self.entries.insert(name.clone(), entry);
            if differs && !patient {
                due.push(Due { name, verdict, standings });
            }
        }
        due
    }

    /// Records what is known about an object after an attempt.
    pub(super) fn note(&mut self, name: &Name, stored: Stored) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.stored = stored;
        }
    }
}

fn name(verdict: &ObjectVerdict) -> Name {
    (verdict.group.clone(), verdict.kind.clone(), verdict.namespace.clone(), verdict.name.clone())
}

/// The generation of stored conditions, which stands in for that of an object that could not be parsed.
fn generation(conditions: &[Condition]) -> i64 {
    conditions.first().map_or(0, |condition| condition.generation)
}

/// How long proxies may take to respond before an object is shown as pending.
const PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use api::resource::verdict::{ProxyRefusal, Version};

    fn verdict(name: &str, generation: i64) -> ObjectVerdict {
        ObjectVerdict {
            kind: "VirtualService".into(),
            name: name.into(),
            version: Version { uid: "u".into(), generation, ..Version::default() },
            accepted: true,
            snapshot: generation.unsigned_abs(),
            ..ObjectVerdict::default()
        }
    }

    fn proxy(acknowledged: u64) -> ProxyProgress {
        ProxyProgress { proxy: "a.shop".into(), acknowledged, responded: acknowledged, refusals: vec![] }
    }

    impl<'a> Proxies<'a> {
        /// Those of the only replica.
        fn own(own: &'a [ProxyProgress]) -> Self {
            Self { own, others: &[] }
        }
    }

    /// Records that what is due was written.
    fn write(ledger: &mut Ledger, due: &[Due]) {
        for one in due {
            let all = conditions(&one.verdict, &one.standings, one.verdict.version.generation);
            ledger.note(&one.name, Stored::Holds(all));
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test's own clock")]
    fn each_change_is_due_once_and_nothing_is_due_when_nothing_changes() {
        let (mut ledger, now) = (Ledger::default(), Instant::now());
        let mut due = |verdicts: Vec<ObjectVerdict>, acknowledged, after| {
            let due =
                ledger.due(verdicts, Proxies::own(&[proxy(acknowledged)]), now + Duration::from_secs(after));
            write(&mut ledger, &due);
            let names: Vec<String> = due.iter().map(|one| one.name.3.clone()).collect();
            (names, ledger.waits())
        };
        let both = || vec![verdict("a", 1), verdict("b", 1)];
        assert_eq!(due(both(), 1, 0).0, ["a", "b"]);
        assert_eq!(due(both(), 1, 1), (vec![], false));
        assert_eq!(due(both(), 9, 2), (vec![], false));
        let changed = || vec![verdict("a", 2), verdict("b", 1)];
        assert_eq!(due(changed(), 1, 3), (vec![], true), "the proxy gets time");
        assert_eq!(due(changed(), 2, 4).0, ["a"]);
        let again = || vec![verdict("a", 3), verdict("b", 1)];
        assert_eq!(due(again(), 2, 5), (vec![], true));
        assert_eq!(due(again(), 2, 10).0, ["a"], "it is shown as pending");
        assert_eq!(due(again(), 2, 11).0, Vec::<String>::new());
        assert_eq!(due(again(), 3, 12).0, ["a"]);
        assert_eq!(due(vec![verdict("b", 1)], 3, 13), (vec![], false));
        assert_eq!(due(again(), 3, 14).0, ["a"], "it was deleted and is there again");
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test's own clock")]
    fn an_object_that_is_left_alone_is_looked_at_again_when_it_changes() {
        let (mut ledger, now) = (Ledger::default(), Instant::now());
        let due = ledger.due(vec![verdict("a", 1)], Proxies::own(&[proxy(1)]), now);
        ledger.note(&due[0].name, Stored::LeftAlone);
        assert!(
            ledger.due(vec![verdict("a", 1)], Proxies::own(&[proxy(1)]), now).is_empty() && !ledger.waits()
        );
        assert_eq!(ledger.due(vec![verdict("a", 2)], Proxies::own(&[proxy(2)]), now).len(), 1);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test's own clock")]
    fn an_object_that_cannot_be_parsed_is_due_with_each_version() {
        let (mut ledger, now) = (Ledger::default(), Instant::now());
        let refused = |version: &str| ObjectVerdict {
            version: Version::default(),
            accepted: false,
            place: format!("cluster c, resource version {version}"),
            ..verdict("a", 0)
        };
        let due = ledger.due(vec![refused("1")], Proxies::own(&[]), now);
        // The generation comes from the object itself.
        ledger.note(&due[0].name, Stored::Holds(conditions(&due[0].verdict, &due[0].standings, 4)));
        assert!(ledger.due(vec![refused("1")], Proxies::own(&[]), now).is_empty());
        assert_eq!(ledger.due(vec![refused("2")], Proxies::own(&[]), now).len(), 1);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test's own clock")]
    fn the_proxies_of_all_replicas_count_by_the_snapshots_of_their_replica() {
        let held = |generation: i64, uid: &str, accepted, snapshot| {
            let uid = uid.into();
            let name = "/VirtualService//a".into();
            Held { name, uid, generation, accepted, snapshot, undiscovered: false }
        };
        let refusing = |snapshot| ProxyProgress {
            proxy: "b.shop".into(),
            responded: snapshot,
            refusals: vec![ProxyRefusal { detail: "bad".into(), since: snapshot, ..ProxyRefusal::default() }],
            ..ProxyProgress::default()
        };
        let both = |acknowledged| vec![proxy(acknowledged), proxy(acknowledged)];
        let all = "acknowledged by 3 of 3 proxies";
        let waiting = "acknowledged by 1 of 3 proxies; waiting for a.shop, a.shop";
        for (objects, proxies, expected) in [
            // Its snapshots have other numbers.
            (vec![held(4, "u", true, 70)], both(70), all),
            (vec![held(5, "u", true, 70)], both(71), all),
            (vec![held(4, "u", true, 70)], both(69), waiting),
            // It has not read this version yet, has another object, or none.
            (vec![held(3, "u", true, 70)], both(70), waiting),
            (vec![held(4, "other", true, 70)], both(70), waiting),
            (vec![held(4, "u", false, 70)], both(70), waiting),
            (vec![], both(70), waiting),
            (vec![], vec![], "acknowledged by 1 of 1 proxies"),
            (
                vec![held(4, "u", true, 70)],
                vec![proxy(70), refusing(70)],
                "acknowledged by 2 of 3 proxies; refused by b.shop: bad",
            ),
        ] {
            let state = ReplicaState { objects, proxies, revisions: vec![] };
            let own = [proxy(4)];
            let proxies = Proxies { own: &own, others: std::slice::from_ref(&state) };
            let later = Instant::now() + 2 * PATIENCE;
            let mut ledger = Ledger::default();
            ledger.due(vec![verdict("a", 4)], proxies, Instant::now());
            let due = ledger.due(vec![verdict("a", 4)], proxies, later);
            let all = conditions(&due[0].verdict, &due[0].standings, 4);
            assert_eq!(all[2].message, expected, "{state:?}");
            assert!(ledger.waits());
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test's own clock")]
    fn proxies_of_replicas_that_do_not_act_on_an_object_do_not_count() {
        for (label, undiscovered, expected) in [
            ("", false, "acknowledged by 2 of 2 proxies"),
            ("canary", false, "acknowledged by 1 of 1 proxies"),
            ("stable", false, "acknowledged by 2 of 2 proxies"),
            ("", true, "acknowledged by 1 of 1 proxies"),
        ] {
            let uid = "u".into();
            let name = "/VirtualService//a".into();
            let held = Held { name, uid, generation: 1, accepted: true, snapshot: 7, undiscovered };
            let revisions = vec!["default".to_owned(), "stable".to_owned()];
            let state = ReplicaState { objects: vec![held], proxies: vec![proxy(7)], revisions };
            let mut labelled = verdict("a", 1);
            labelled.version.revision = label.into();
            let (own, others) = ([proxy(1)], [state]);
            let proxies = Proxies { own: &own, others: &others };
            let due = Ledger::default().due(vec![labelled], proxies, Instant::now());
            assert_eq!(conditions(&due[0].verdict, &due[0].standings, 1)[2].message, expected, "{label}");
        }
    }
}
