//! Pure. Verdicts of pilot and the proxies on users' objects, as `/debug/verdicts` reports them: which version of an
//! object is accepted or refused and why, and which proxies have acknowledged, refused or not yet acknowledged the
//! configuration with it. Exists so that `ostria` and the writer of an object's `status` use the same types.

use super::document::Problem;
use serde::{Deserialize, Serialize};

/// All verdicts, or the requested ones.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Verdicts {
    /// Incremented with each change of a verdict, but not with responses of proxies.
    pub revision: u64,
    /// Generation of the newest snapshot of the configuration.
    pub snapshot: u64,
    /// Whether the wait is over: each object has the requested version, and each proxy has acknowledged or refused its
    /// configuration.
    pub settled: bool,
    /// Verdicts, sorted by kind, namespace and name.
    pub objects: Vec<ObjectVerdict>,
    /// Connected proxies.
    pub proxies: Vec<ProxyProgress>,
}

/// The verdict on one version of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ObjectVerdict {
    /// API group; empty for the core group.
    pub group: String,
    /// Kind; empty for a file in which no object was found.
    pub kind: String,
    /// Namespace; empty for cluster-scoped kinds.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// The version that the verdict applies to.
    #[serde(flatten)]
    pub version: Version,
    /// Its place: the file, with the line if known.
    pub place: String,
    /// Whether this version is in force. If it is refused, the last good version stays in force.
    pub accepted: bool,
    /// Generation of the first snapshot with this version, or with the last good one; 0: none is in force.
    pub snapshot: u64,
    /// Revision of all verdicts at which this verdict changed last.
    pub revision: u64,
    /// Reasons for the refusal.
    pub errors: Vec<Problem>,
    /// Warnings about the object, by itself or in combination with others.
    pub warnings: Vec<Problem>,
    /// Whether the mesh does not know the object, because its namespace does not belong to it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub undiscovered: bool,
    /// Those of the warnings that are about references to objects that do not exist.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unresolved: Vec<Problem>,
}

/// The version of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Version {
    /// `metadata.uid`; empty if there is none.
    pub uid: Box<str>,
    /// `metadata.generation`; 0 if there is none.
    pub generation: i64,
    /// `metadata.resourceVersion`; empty if there is none.
    pub resource_version: Box<str>,
    /// The label `istio.io/rev`, which names the only control plane that acts on the object; empty if there is none.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub revision: Box<str>,
    /// Hash of the whole object, to compare contents within one process. It is not a cryptographic digest.
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
            revision: metadata["labels"][REVISION].as_str().unwrap_or_default().into(),
            content_hash: hasher.finish(),
        }
    }
}

/// Serializes a number as sixteen hexadecimal digits, because tools that read JSON numbers as floating point round it.
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

/// Synchronisation status of one connected proxy. Generations are those of snapshots.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ProxyProgress {
    /// `pod.namespace`.
    pub proxy: String,
    /// Everything up to this generation is acknowledged.
    pub acknowledged: u64,
    /// Everything up to this generation is acknowledged or refused.
    pub responded: u64,
    /// Resources that it currently refuses.
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
    /// The proxy's error text.
    pub detail: String,
    /// Generation since which it refuses them.
    pub since: u64,
}

/// A proxy's state for the changes of one snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing<'a> {
    /// All changes are in force.
    Acknowledged,
    /// The proxy refuses some changes.
    Refused(&'a ProxyRefusal),
    /// The proxy has not acknowledged the changes yet.
    Pending,
}

impl ProxyProgress {
    /// The proxy's state for the changes of a snapshot. Earlier refusals do not count.
    pub fn standing(&self, snapshot: u64) -> Standing<'_> {
        if self.acknowledged >= snapshot {
            return Standing::Acknowledged;
        }
        match self.refusals.iter().find(|refusal| refusal.since >= snapshot) {
            Some(refusal) => Standing::Refused(refusal),
            None if self.responded >= snapshot => Standing::Acknowledged,
            None => Standing::Pending,
        }
    }
}

/// An object for whose verdict a client waits.
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
    /// Whether to wait until the object is deleted.
    pub gone: bool,
}

impl Wanted {
    /// Whether a verdict is about this object, in any version.
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

/// The request of `POST /debug/verdicts`. The response is sent when everything is settled or the time is over.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Wait {
    /// The objects to wait for; empty: wait only until all proxies have the current configuration.
    pub objects: Vec<Wanted>,
    /// How long to wait, in milliseconds.
    pub milliseconds: u64,
}

impl Verdicts {
    /// Whether each object has the wanted version or is deleted, and each proxy has acknowledged or refused the
    /// resulting configuration.
    pub fn settles(&self, wanted: &[Wanted]) -> bool {
        let mut newest = 0;
        for one in wanted {
            let found = self.objects.iter().find(|verdict| one.names(verdict));
            match found {
                // A deleted object is absent from the newest snapshot on.
                None if one.gone => newest = self.snapshot,
                Some(verdict) if !one.gone && one.is_met(verdict) => newest = newest.max(verdict.snapshot),
                _ => return false,
            }
        }
        let newest = if wanted.is_empty() { self.snapshot } else { newest };
        self.proxies.iter().all(|proxy| proxy.standing(newest) != Standing::Pending)
    }
}

/// The label by which an object, a pod or a namespace names the control plane that it is for.
pub const REVISION: &str = "istio.io/rev";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn progress(acknowledged: u64, responded: u64, since: &[u64]) -> ProxyProgress {
        let refusals = since.iter().map(|since| ProxyRefusal { since: *since, ..ProxyRefusal::default() });
        ProxyProgress { acknowledged, responded, refusals: refusals.collect(), ..ProxyProgress::default() }
    }

    #[test]
    fn a_proxys_state_follows_from_its_responses_since_the_snapshot() {
        let refuses =
            |proxy: &ProxyProgress, snapshot| matches!(proxy.standing(snapshot), Standing::Refused(_));
        assert_eq!(progress(5, 5, &[]).standing(5), Standing::Acknowledged);
        assert_eq!(progress(4, 4, &[]).standing(5), Standing::Pending);
        assert!(refuses(&progress(4, 5, &[5]), 5));
        assert_eq!(progress(5, 6, &[6]).standing(5), Standing::Acknowledged, "it refused what came later");
        assert_eq!(progress(4, 7, &[6]).standing(7), Standing::Acknowledged, "it refused what came before");
        assert_eq!(progress(4, 6, &[6]).standing(7), Standing::Pending);
    }

    #[test]
    fn a_wait_ends_when_objects_have_the_version_and_all_proxies_have_responded() {
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
        let verdicts = |generation, acknowledged| Verdicts {
            snapshot: 4,
            objects: vec![verdict(generation)],
            proxies: vec![progress(acknowledged, acknowledged, &[])],
            ..Verdicts::default()
        };
        assert!(verdicts(2, 3).settles(&[wanted(2, "u", false)]));
        assert!(verdicts(3, 3).settles(&[wanted(2, "", false)]), "a later version");
        assert!(!verdicts(1, 3).settles(&[wanted(2, "u", false)]), "an older version");
        assert!(!verdicts(2, 3).settles(&[wanted(2, "other", false)]), "another object of that name");
        assert!(!verdicts(2, 2).settles(&[wanted(2, "u", false)]), "the proxy has not responded");
        assert!(!verdicts(2, 9).settles(&[wanted(2, "u", true)]), "the object still exists");
        let gone = |acknowledged| Verdicts { objects: vec![], ..verdicts(2, acknowledged) };
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
