//! Pure. What pilot and the proxies think of users' objects, as `/debug/verdicts` tells it: which version of an object is
//! accepted or refused and why, and which proxies have acknowledged, refused or not yet answered the configuration that
//! it is part of. Exists so that `ostria`, and whoever writes an object's `status`, read the same values alike.

use super::document::Problem;
use serde::{Deserialize, Serialize};

/// All verdicts, or those that were asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Verdicts {
    /// Counts up with each change of a verdict; what proxies answer does not count.
    pub revision: u64,
    /// Generation of the newest snapshot of the configuration.
    pub snapshot: u64,
    /// Whether all that was waited for is settled: each object is there in the version that was asked for, and each
    /// proxy has answered.
    pub settled: bool,
    /// By kind, namespace and name.
    pub objects: Vec<ObjectVerdict>,
    /// Connected proxies.
    pub proxies: Vec<ProxyAnswer>,
}

/// The verdict on one version of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ObjectVerdict {
    /// API group; empty for the core group.
    pub group: String,
    /// Kind; empty for a file in which no object was found.
    pub kind: String,
    /// Namespace; empty for kinds without.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// The version that the verdict is about.
    #[serde(flatten)]
    pub version: Version,
    /// Where it stands: file, with the line where known.
    pub place: String,
    /// Whether this version is in force. A refused one leaves the last good version in force.
    pub accepted: bool,
    /// Generation of the snapshot with which this version, or the last good one, came into force; 0: none is.
    pub snapshot: u64,
    /// When the verdict changed last, as a revision of all verdicts.
    pub revision: u64,
    /// Why it is refused.
    pub errors: Vec<Problem>,
    /// What is odd about it, by itself or beside others.
    pub warnings: Vec<Problem>,
}

/// Which version of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Version {
    /// `metadata.uid`; empty where there is none.
    pub uid: Box<str>,
    /// `metadata.generation`; 0 where there is none.
    pub generation: i64,
    /// `metadata.resourceVersion`; empty where there is none.
    pub resource_version: Box<str>,
    /// Hash of the whole object. It tells two contents apart within one process, and is no digest.
    #[serde(with = "hexadecimal")]
    pub content_hash: u64,
}

impl Version {
    /// The version of an object as written.
    pub fn of(object: &serde_json::Value) -> Self {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let metadata = &object["metadata"];
        let text = |field: &str| metadata[field].as_str().unwrap_or_default().into();
        let mut hasher = DefaultHasher::new();
        object.hash(&mut hasher);
        Self {
            uid: text("uid"),
            generation: metadata["generation"].as_i64().unwrap_or_default(),
            resource_version: text("resourceVersion"),
            content_hash: hasher.finish(),
        }
    }
}

/// Sixteen digits: tools that read JSON's numbers as floating point would round it.
mod hexadecimal {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    pub(super) fn serialize<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{number:016x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        u64::from_str_radix(&String::deserialize(deserializer)?, 16).map_err(D::Error::custom)
    }
}

/// How far one connected proxy is. Generations are those of snapshots.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ProxyAnswer {
    /// `pod.namespace`.
    pub proxy: String,
    /// Everything up to this generation is acknowledged.
    pub acknowledged: u64,
    /// Everything up to this generation is acknowledged or refused.
    pub answered: u64,
    /// What it refuses at this moment.
    pub refusals: Vec<ProxyRefusal>,
}

/// Resources of one type that a proxy refuses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ProxyRefusal {
    /// Type of the resources.
    pub type_url: String,
    /// Names of the resources.
    pub names: Vec<String>,
    /// What the proxy says.
    pub detail: String,
    /// Generation at which it began to refuse them.
    pub since: u64,
}

/// What a proxy thinks of everything that one snapshot brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing<'a> {
    /// It is in force there.
    Acknowledged,
    /// Some of it is refused.
    Refused(&'a ProxyRefusal),
    /// It has not answered yet.
    Pending,
}

impl ProxyAnswer {
    /// What the proxy thinks of what came into force with a snapshot. What it had refused before does not count.
    pub fn standing(&self, snapshot: u64) -> Standing<'_> {
        if self.acknowledged >= snapshot {
            return Standing::Acknowledged;
        }
        match self.refusals.iter().find(|refusal| refusal.since >= snapshot) {
            Some(refusal) => Standing::Refused(refusal),
            None if self.answered >= snapshot => Standing::Acknowledged,
            None => Standing::Pending,
        }
    }
}

/// An object whose verdict is waited for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Wanted {
    /// API group; empty for the core group.
    pub group: String,
    /// Kind.
    pub kind: String,
    /// Namespace; empty for kinds without.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// `metadata.uid`; empty: any.
    pub uid: String,
    /// At least this `metadata.generation`.
    pub generation: i64,
    /// It is waited for until the object is gone.
    pub gone: bool,
}

impl Wanted {
    /// Whether a verdict is about this object, whichever version.
    pub fn names(&self, verdict: &ObjectVerdict) -> bool {
        (&self.group, &self.kind) == (&verdict.group, &verdict.kind)
            && (&self.namespace, &self.name) == (&verdict.namespace, &verdict.name)
    }

    /// Whether a verdict is about this version of the object, or a later one.
    pub fn is_met(&self, verdict: &ObjectVerdict) -> bool {
        self.names(verdict)
            && (self.uid.is_empty() || *self.uid == *verdict.version.uid)
            && verdict.version.generation >= self.generation
    }
}

/// The question that `POST /debug/verdicts` takes: it is answered when all is settled, or when the time is over.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Wait {
    /// Which objects; none: only what is in force at this moment, at all proxies.
    pub objects: Vec<Wanted>,
    /// How long to wait, in milliseconds.
    pub milliseconds: u64,
}

impl Verdicts {
    /// Whether each object is there in the version that is wanted, or gone, and each proxy has answered what that means.
    pub fn settles(&self, wanted: &[Wanted]) -> bool {
        let mut newest = 0;
        for one in wanted {
            let found = self.objects.iter().find(|verdict| one.names(verdict));
            match found {
                // What is gone is so from the newest snapshot on.
                None if one.gone => newest = self.snapshot,
                Some(verdict) if !one.gone && one.is_met(verdict) => newest = newest.max(verdict.snapshot),
                _ => return false,
            }
        }
        let newest = if wanted.is_empty() { self.snapshot } else { newest };
        self.proxies.iter().all(|proxy| proxy.standing(newest) != Standing::Pending)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn answer(acknowledged: u64, answered: u64, since: &[u64]) -> ProxyAnswer {
        let refusals = since.iter().map(|since| ProxyRefusal { since: *since, ..ProxyRefusal::default() });
        ProxyAnswer { acknowledged, answered, refusals: refusals.collect(), ..ProxyAnswer::default() }
    }

    #[test]
    fn a_proxy_stands_by_what_it_answered_since_the_snapshot() {
        let refuses =
            |answer: &ProxyAnswer, snapshot| matches!(answer.standing(snapshot), Standing::Refused(_));
        assert_eq!(answer(5, 5, &[]).standing(5), Standing::Acknowledged);
        assert_eq!(answer(4, 4, &[]).standing(5), Standing::Pending);
        assert!(refuses(&answer(4, 5, &[5]), 5));
        assert_eq!(answer(5, 6, &[6]).standing(5), Standing::Acknowledged, "it refused what came later");
        assert_eq!(answer(4, 7, &[6]).standing(7), Standing::Acknowledged, "it refused what came before");
        assert_eq!(answer(4, 6, &[6]).standing(7), Standing::Pending);
    }

    #[test]
    fn objects_settle_in_the_wanted_version_when_all_proxies_have_answered() {
        let verdict = |generation| ObjectVerdict {
            kind: "Service".into(),
            name: "a".into(),
            version: Version { generation, uid: "u".into(), ..Version::default() },
            snapshot: 3,
            ..ObjectVerdict::default()
        };
        let wanted = |generation, uid: &str, gone| Wanted {
            kind: "Service".into(),
            name: "a".into(),
            uid: uid.into(),
            generation,
            gone,
            ..Wanted::default()
        };
        let told = |generation, acknowledged| Verdicts {
            snapshot: 4,
            objects: vec![verdict(generation)],
            proxies: vec![answer(acknowledged, acknowledged, &[])],
            ..Verdicts::default()
        };
        assert!(told(2, 3).settles(&[wanted(2, "u", false)]));
        assert!(told(3, 3).settles(&[wanted(2, "", false)]), "a later version");
        assert!(!told(1, 3).settles(&[wanted(2, "u", false)]), "an older version");
        assert!(!told(2, 3).settles(&[wanted(2, "other", false)]), "another object of that name");
        assert!(!told(2, 2).settles(&[wanted(2, "u", false)]), "the proxy has not answered");
        assert!(!told(2, 9).settles(&[wanted(2, "u", true)]), "it is still there");
        let gone = |acknowledged| Verdicts { objects: vec![], ..told(2, acknowledged) };
        assert!(gone(4).settles(&[wanted(0, "", true)]));
        assert!(!gone(3).settles(&[wanted(0, "", true)]), "the newest snapshot is without it");
        assert!(!gone(4).settles(&[wanted(0, "", false)]));
    }

    #[test]
    fn versions_differ_with_the_content() {
        let object = |host: &str| json!({"metadata": {"uid": "u", "generation": 2, "resourceVersion": "7"}, "spec": {"host": host}});
        let (a, b) = (Version::of(&object("a")), Version::of(&object("b")));
        assert_eq!((&*a.uid, a.generation, &*a.resource_version), ("u", 2, "7"));
        assert_eq!(a, Version::of(&object("a")));
        assert_ne!(a.content_hash, b.content_hash);
        assert_eq!(Version::of(&json!({})).generation, 0);
    }
}
