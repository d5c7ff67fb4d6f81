//! Pure. What has been written of each object's status, and what is due.
//!
//! An object is due when its conditions say something else than what was last written. Proxies that have not responded yet
//! get a few seconds before an object is shown as pending, so that most changes are written once.

use super::condition::{Condition, Standings, conditions, differ};
use api::resource::verdict::{ObjectVerdict, ProxyAnswer};
use std::collections::BTreeMap;
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
    known: Known,
}

/// What is known about the status in the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Known {
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
    pub(super) fn due(
        &mut self,
        verdicts: Vec<ObjectVerdict>,
        proxies: &[ProxyAnswer],
        now: Instant,
    ) -> Vec<Due> {
        let mut before = std::mem::take(&mut self.entries);
        // Objects of one snapshot share what the proxies say.
        let mut by_snapshot: BTreeMap<u64, Standings> = BTreeMap::new();
        let mut due = vec![];
        self.waits = false;
        for verdict in verdicts {
            let name = name(&verdict);
            let seen = Seen::of(&verdict);
            let entry = match before.remove(&name) {
                Some(entry) if entry.seen == seen => entry,
                // The status of the object is as it was, unless it is another object.
                Some(entry) if entry.seen.0 == seen.0 && !seen.0.is_empty() => {
                    let known = if entry.known == Known::LeftAlone { Known::Unread } else { entry.known };
                    Entry { seen, since: now, known }
                }
                _ => Entry { seen, since: now, known: Known::Unread },
            };
            let standings = by_snapshot
                .entry(verdict.snapshot)
                .or_insert_with(|| Standings::of(proxies, verdict.snapshot))
                .clone();
            let patient = verdict.accepted && !standings.is_settled() && now < entry.since + PATIENCE;
            let differs = match &entry.known {
                Known::Unread => true,
                Known::Holds(old) => differ(
                    old,
                    &conditions(&verdict, &standings, verdict.version.generation.max(generation(old))),
                ),
                Known::LeftAlone => false,
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
    pub(super) fn note(&mut self, name: &Name, known: Known) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.known = known;
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
    use api::resource::verdict::Version;

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

    fn proxy(acknowledged: u64) -> ProxyAnswer {
        ProxyAnswer { proxy: "a.shop".into(), acknowledged, answered: acknowledged, refusals: vec![] }
    }

    /// Records that what is due was written.
    fn write(ledger: &mut Ledger, due: &[Due]) {
        for one in due {
            let all = conditions(&one.verdict, &one.standings, one.verdict.version.generation);
            ledger.note(&one.name, Known::Holds(all));
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test's own clock")]
    fn each_change_is_due_once_and_nothing_is_due_when_nothing_changes() {
        let (mut ledger, now) = (Ledger::default(), Instant::now());
        let mut due = |verdicts: Vec<ObjectVerdict>, acknowledged, after| {
            let due = ledger.due(verdicts, &[proxy(acknowledged)], now + Duration::from_secs(after));
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
        let due = ledger.due(vec![verdict("a", 1)], &[proxy(1)], now);
        ledger.note(&due[0].name, Known::LeftAlone);
        assert!(ledger.due(vec![verdict("a", 1)], &[proxy(1)], now).is_empty() && !ledger.waits());
        assert_eq!(ledger.due(vec![verdict("a", 2)], &[proxy(2)], now).len(), 1);
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
        let due = ledger.due(vec![refused("1")], &[], now);
        // The generation comes from the object itself.
        ledger.note(&due[0].name, Known::Holds(conditions(&due[0].verdict, &due[0].standings, 4)));
        assert!(ledger.due(vec![refused("1")], &[], now).is_empty());
        assert_eq!(ledger.due(vec![refused("2")], &[], now).len(), 1);
    }
}
