//! Pure. Makes the conditions of an object's `status` from pilot's verdict on the object and the acknowledgements of the
//! proxies.
//!
//! A condition is written again only if its meaning changes. The count of proxies in `Programmed` changes with each pod
//! that starts or ends, so a change of the count alone is not written. Proxies that have just connected do not make an
//! object pending that is in force in all others.

use api::resource::document::Problem;
use api::resource::kind::refused;
use api::resource::verdict::{ObjectVerdict, ProxyProgress, Standing};
use serde_json::{Value, json};

/// A condition of an object, as in Kubernetes' `metav1.Condition`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) kind: &'static str,
    pub(super) status: &'static str,
    pub(super) reason: &'static str,
    pub(super) message: String,
    /// `metadata.generation` of the object that it is about.
    pub(super) generation: i64,
}

/// How many proxies have acknowledged or refused the changes of one snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Standings {
    acknowledged: usize,
    /// Names of proxies, with their reasons.
    refused: Vec<(String, String)>,
    /// Names of proxies.
    pending: Vec<String>,
}

impl Standings {
    /// The standings of these proxies.
    pub(super) fn of(proxies: &[ProxyProgress], snapshot: u64) -> Self {
        let mut all = Self::default();
        for proxy in proxies {
            match proxy.standing(snapshot) {
                Standing::Acknowledged => all.acknowledged += 1,
                Standing::Refused(refusal) => all.refused.push((proxy.proxy.clone(), refusal.detail.clone())),
                Standing::Pending => all.pending.push(proxy.proxy.clone()),
            }
        }
        all
    }

    /// The standings of proxies that cannot have the changes yet.
    pub(super) fn pending(proxies: &[ProxyProgress]) -> Self {
        let pending = proxies.iter().map(|proxy| proxy.proxy.clone()).collect();
        Self { pending, ..Self::default() }
    }

    /// Adds the standings of other proxies.
    pub(super) fn add(&mut self, others: &Self) {
        self.acknowledged += others.acknowledged;
        self.refused.extend_from_slice(&others.refused);
        self.pending.extend_from_slice(&others.pending);
    }

    /// Whether each proxy has responded.
    pub(super) fn is_settled(&self) -> bool {
        self.pending.is_empty()
    }

    fn total(&self) -> usize {
        self.acknowledged + self.refused.len() + self.pending.len()
    }
}

/// The conditions of the object's `generation`.
pub(super) fn conditions(verdict: &ObjectVerdict, standings: &Standings, generation: i64) -> Vec<Condition> {
    if refused::find(&verdict.group, &verdict.kind).is_some() {
        return unsupported(verdict, generation);
    }
    vec![
        accepted(verdict, generation),
        resolved(verdict, generation),
        programmed(verdict, standings, generation),
    ]
}

/// The conditions of an object whose kind is not supported: its references are not looked at.
fn unsupported(verdict: &ObjectVerdict, generation: i64) -> Vec<Condition> {
    let of = |kind, message| Condition { kind, status: "False", reason: "Unsupported", message, generation };
    let nowhere = "no proxy of Ostria has it".to_owned();
    vec![of("Accepted", lines(&verdict.errors)), of(PROGRAMMED, nowhere)]
}

fn accepted(verdict: &ObjectVerdict, generation: i64) -> Condition {
    let kind = "Accepted";
    if !verdict.accepted {
        let message = lines(&verdict.errors);
        return Condition { kind, status: "False", reason: "Invalid", message, generation };
    }
    let others: Vec<Problem> =
        verdict.warnings.iter().filter(|warning| !verdict.unresolved.contains(warning)).cloned().collect();
    Condition { kind, status: "True", reason: "Accepted", message: lines(&others), generation }
}

fn resolved(verdict: &ObjectVerdict, generation: i64) -> Condition {
    let (status, reason) = match (verdict.accepted, verdict.unresolved.is_empty()) {
        (false, _) => ("Unknown", "Invalid"),
        (true, true) => ("True", "ResolvedRefs"),
        (true, false) => ("False", "RefNotFound"),
    };
    let message = if verdict.accepted { lines(&verdict.unresolved) } else { String::new() };
    Condition { kind: "ResolvedRefs", status, reason, message, generation }
}

fn programmed(verdict: &ObjectVerdict, standings: &Standings, generation: i64) -> Condition {
    let of = |status, reason, message| Condition { kind: PROGRAMMED, status, reason, message, generation };
    if !verdict.accepted {
        let stays = if verdict.snapshot == 0 { "" } else { "; its last accepted version stays in force" };
        return of("False", "Invalid", format!("this version is not in force{stays}"));
    }
    let (acknowledged, total) = (standings.acknowledged, standings.total());
    let count = format!("acknowledged by {acknowledged} of {total} proxies");
    if !standings.refused.is_empty() {
        let refused = listed(standings.refused.iter().map(|(proxy, why)| format!("{proxy}: {}", short(why))));
        return of("False", "Refused", format!("{count}; refused by {refused}"));
    }
    if total == 0 {
        return of("Unknown", "Pending", "no proxy is connected".to_owned());
    }
    if !standings.pending.is_empty() {
        let pending = listed(standings.pending.iter().cloned());
        return of("Unknown", "Pending", format!("{count}; waiting for {pending}"));
    }
    of("True", "Programmed", count)
}

/// Whether the meaning of `new` differs from that of `old`.
pub(super) fn differ(old: &[Condition], new: &[Condition]) -> bool {
    old.len() != new.len() || old.iter().zip(new).any(|(old, new)| differs(old, new))
}

fn differs(old: &Condition, new: &Condition) -> bool {
    if new.kind == PROGRAMMED && old.generation == new.generation && old.status == "True" {
        // Only a refusal or a new version of the object ends it.
        return new.status == "False";
    }
    let same_state = (old.kind, old.status, old.reason, old.generation)
        == (new.kind, new.status, new.reason, new.generation);
    let is_count = new.kind == PROGRAMMED && new.reason == "Pending";
    !same_state || (!is_count && old.message != new.message)
}

/// Pilot's own conditions in the object's status, in pilot's order. Malformed ones are left out.
pub(super) fn stored(object: &Value) -> Vec<Condition> {
    let Some(list) = object["status"]["conditions"].as_array() else { return vec![] };
    let found = KINDS.iter().filter_map(|kind| {
        let stored = list.iter().find(|stored| stored["type"] == *kind)?;
        let text = |field: &str| stored[field].as_str().unwrap_or_default();
        let word = |field: &str| WORDS.iter().find(|word| **word == text(field)).copied();
        Some(Condition {
            kind,
            status: word("status")?,
            reason: word("reason")?,
            message: text("message").to_owned(),
            generation: stored["observedGeneration"].as_i64()?,
        })
    });
    found.collect()
}

/// The `status` to apply to the object. A condition whose status has not changed keeps the time of its last transition.
pub(super) fn status(object: &Value, conditions: &[Condition], now: &str) -> Value {
    let since = |condition: &Condition| {
        let list = object["status"]["conditions"].as_array().into_iter().flatten();
        let mut same = list.filter(|old| old["type"] == condition.kind && old["status"] == condition.status);
        same.find_map(|old| old["lastTransitionTime"].as_str()).unwrap_or(now).to_owned()
    };
    let list: Vec<Value> = conditions
        .iter()
        .map(|condition| {
            json!({
                "type": condition.kind,
                "status": condition.status,
                "reason": condition.reason,
                "message": condition.message,
                "observedGeneration": condition.generation,
                "lastTransitionTime": since(condition),
            })
        })
        .collect();
    let generation = conditions.iter().map(|condition| condition.generation).max().unwrap_or_default();
    json!({"observedGeneration": generation, "conditions": list})
}

/// Whether another component writes the object's status.
pub(super) fn is_foreign(object: &Value, manager: &str) -> bool {
    let entries = object["metadata"]["managedFields"].as_array().into_iter().flatten();
    let mut others = entries.filter(|entry| entry["manager"] != manager);
    others.any(|entry| entry["fieldsV1"].get("f:status").is_some())
}

/// One line for each finding.
fn lines(problems: &[Problem]) -> String {
    let more = problems.len().saturating_sub(MAX_LISTED);
    let rest = (more > 0).then(|| format!("and {more} more"));
    let all: Vec<String> = problems.iter().take(MAX_LISTED).map(Problem::finding).chain(rest).collect();
    all.join("\n").chars().take(MAX_MESSAGE).collect()
}

fn listed(names: impl ExactSizeIterator<Item = String>) -> String {
    let more = names.len().saturating_sub(MAX_LISTED);
    let all = names.take(MAX_LISTED).collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{all} and {more} more") } else { all }
}

/// The beginning of a proxy's reason, on one line.
fn short(reason: &str) -> String {
    let mut text: String =
        reason.chars().take(MAX_REASON).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.len() < reason.len() {
        text.push('…');
    }
    text
}

const PROGRAMMED: &str = "Programmed";
const KINDS: [&str; 3] = ["Accepted", "ResolvedRefs", PROGRAMMED];
/// The values of `status` and `reason`.
const WORDS: [&str; 11] = [
    "True",
    "False",
    "Unknown",
    "Accepted",
    "Invalid",
    "Unsupported",
    "ResolvedRefs",
    "RefNotFound",
    "Programmed",
    "Pending",
    "Refused",
];
/// Findings and proxies that a message lists.
const MAX_LISTED: usize = 10;
/// Characters of a message; the limit of Kubernetes is 32,768.
const MAX_MESSAGE: usize = 8_192;
/// Characters of a proxy's reason.
const MAX_REASON: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;
    use api::resource::verdict::ProxyRefusal;
    use std::slice;

    fn problem(path: &str, reason: &str) -> Problem {
        Problem { path: path.into(), reason: reason.into(), ..Problem::default() }
    }

    fn verdict(accepted: bool) -> ObjectVerdict {
        ObjectVerdict { accepted, snapshot: 5, ..ObjectVerdict::default() }
    }

    fn proxy(name: &str, acknowledged: u64, refusal: Option<&str>) -> ProxyProgress {
        let refusals =
            refusal.map(|detail| ProxyRefusal { detail: detail.into(), since: 5, ..Default::default() });
        ProxyProgress {
            proxy: name.into(),
            acknowledged,
            responded: acknowledged,
            refusals: refusals.into_iter().collect(),
        }
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "one table")]
    fn conditions_follow_from_the_verdict_and_the_proxies() {
        let good = || proxy("a.shop", 5, None);
        let warned = ObjectVerdict {
            warnings: vec![problem("spec.hosts", "is taken"), problem("spec.http", "no service x")],
            unresolved: vec![problem("spec.http", "no service x")],
            ..verdict(true)
        };
        let refused = |snapshot| ObjectVerdict {
            errors: vec![problem("spec.a", "is bad")],
            snapshot,
            ..verdict(false)
        };
        let many: Vec<ProxyProgress> = (0..12).map(|n| proxy(&format!("p{n}.shop"), 4, None)).collect();
        let table: [(&str, ObjectVerdict, Vec<ProxyProgress>, [&str; 3]); 8] = [
            (
                "in force",
                verdict(true),
                vec![good(), proxy("b.shop", 6, None)],
                ["True Accepted ", "True ResolvedRefs ", "True Programmed acknowledged by 2 of 2 proxies"],
            ),
            (
                "no proxy",
                verdict(true),
                vec![],
                ["True Accepted ", "True ResolvedRefs ", "Unknown Pending no proxy is connected"],
            ),
            (
                "one is late",
                verdict(true),
                vec![good(), proxy("b.shop", 4, None)],
                [
                    "True Accepted ",
                    "True ResolvedRefs ",
                    "Unknown Pending acknowledged by 1 of 2 proxies; waiting for b.shop",
                ],
            ),
            (
                "many are late",
                verdict(true),
                many,
                [
                    "True Accepted ",
                    "True ResolvedRefs ",
                    "Unknown Pending acknowledged by 0 of 12 proxies; waiting for p0.shop, p1.shop, p2.shop, p3.shop, p4.shop, \
                 p5.shop, p6.shop, p7.shop, p8.shop, p9.shop and 2 more",
                ],
            ),
            (
                "one refuses",
                verdict(true),
                vec![good(), proxy("b.shop", 4, Some("no\nway"))],
                [
                    "True Accepted ",
                    "True ResolvedRefs ",
                    "False Refused acknowledged by 1 of 2 proxies; refused by b.shop: no way",
                ],
            ),
            (
                "warnings",
                warned,
                vec![good()],
                [
                    "True Accepted spec.hosts: is taken",
                    "False RefNotFound spec.http: no service x",
                    "True Programmed acknowledged by 1 of 1 proxies",
                ],
            ),
            (
                "refused",
                refused(0),
                vec![good()],
                [
                    "False Invalid spec.a: is bad",
                    "Unknown Invalid ",
                    "False Invalid this version is not in force",
                ],
            ),
            (
                "refused later",
                refused(3),
                vec![good()],
                [
                    "False Invalid spec.a: is bad",
                    "Unknown Invalid ",
                    "False Invalid this version is not in force; its last accepted version stays in force",
                ],
            ),
        ];
        for (what, verdict, proxies, expected) in table {
            let found = conditions(&verdict, &Standings::of(&proxies, verdict.snapshot), 7);
            let shown: Vec<String> =
                found.iter().map(|c| format!("{} {} {}", c.status, c.reason, c.message)).collect();
            assert_eq!(shown, expected, "{what}");
            assert!(found.iter().map(|c| c.kind).eq(KINDS) && found.iter().all(|c| c.generation == 7));
        }
    }

    #[test]
    fn only_what_matters_is_a_difference() {
        let of = |proxies: &[ProxyProgress], generation| {
            conditions(&verdict(true), &Standings::of(proxies, 5), generation)
        };
        let (good, late) = (proxy("a.shop", 5, None), proxy("b.shop", 4, None));
        let bad = |why| proxy("c.shop", 4, Some(why));
        let (one, two) = (of(slice::from_ref(&good), 1), of(&[good.clone(), good.clone()], 1));
        let pending = of(&[good.clone(), late.clone()], 1);
        let refused = of(&[good.clone(), bad("x")], 1);
        let table = [
            ("nothing", &one, &one, false),
            ("another count", &one, &two, false),
            ("a proxy connects", &one, &pending, false),
            ("all disconnect", &one, &of(&[], 1), false),
            ("a proxy refuses", &one, &refused, true),
            ("for another reason", &refused, &of(&[good.clone(), bad("y")], 1), true),
            ("no longer", &refused, &one, true),
            ("the last acknowledges", &pending, &two, true),
            ("one of the last", &pending, &of(&[good.clone(), late.clone(), late], 1), false),
            ("another version", &one, &of(&[good], 2), true),
            ("none is stored", &vec![], &one, true),
        ];
        for (what, old, new, expected) in table {
            assert_eq!(differ(old, new), expected, "{what}");
        }
    }

    #[test]
    fn stored_conditions_are_read_back_and_times_kept_while_the_status_is_the_same() {
        let first = conditions(&verdict(true), &Standings::of(&[proxy("a.shop", 5, None)], 5), 3);
        let object = json!({"status": status(&json!({}), &first, "2026-01-01T00:00:00Z")});
        assert_eq!(stored(&object), first);
        assert_eq!(object["status"]["observedGeneration"], 3);
        let refused = conditions(&verdict(true), &Standings::of(&[proxy("a.shop", 4, Some("x"))], 5), 4);
        let next = status(&object, &refused, "2026-01-02T00:00:00Z");
        let times: Vec<&str> = next["conditions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| c["lastTransitionTime"].as_str().unwrap())
            .collect();
        assert_eq!(times, ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"]);
        for other in [
            json!({}),
            json!({"status": {"conditions": "x"}}),
            json!({"status": {"conditions": [{"type": "Accepted", "status": "Maybe"}, 3]}}),
        ] {
            assert_eq!(stored(&other), vec![], "{other}");
        }
    }

    #[test]
    fn a_status_that_another_manager_writes_is_foreign() {
        let managed = |manager: &str, field: &str| {
            let fields = json!({field: {}});
            json!({"metadata": {"managedFields": [{"manager": manager, "fieldsV1": fields}]}})
        };
        assert!(is_foreign(&managed("pilot-discovery", "f:status"), "ostria-pilot"));
        assert!(!is_foreign(&managed("ostria-pilot", "f:status"), "ostria-pilot"));
        assert!(!is_foreign(&managed("kubectl", "f:spec"), "ostria-pilot"));
        assert!(!is_foreign(&json!({}), "ostria-pilot"));
    }
}
