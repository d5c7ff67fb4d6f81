//! Writes the `status` of the mesh's objects in a cluster: whether pilot accepts them, whether their references resolve,
//! and how many proxies have acknowledged them.
//!
//! One replica writes, of the revision that an object belongs to (`replica::Claims`), at most ten times a second. It writes
//! no status that is up to date, and none that belongs to another component. It asks the other replicas for the
//! acknowledgements of their proxies (`replica`) before it writes a status; they also report when one of their proxies begins
//! or stops to refuse something.

mod ledger;

mod condition;

pub mod event;
pub mod ingress;

use crate::replica::{Claims, ReplicaState, Replicas, is_of_the_mesh};
use crate::verdict::Channel;
use api::resource::descriptor::Descriptor;
use api::resource::kind;
use api::resource::verdict::ObjectVerdict;
use condition::{conditions, differ, is_foreign, status, stored};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::{Client, Error};
use kubernetes::{leader, served};
use ledger::{Due, Ledger, Proxies, Stored};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

/// Writes while `leads` is true, until `drain` is cancelled.
pub async fn keep(
    client: Client,
    (verdicts, replicas): (Channel, Replicas),
    leads: watch::Receiver<bool>,
    drain: CancellationToken,
) {
    let work = leader::in_each_term(leads, || async {
        // Another replica may have written meanwhile, so a new leader reads each status again.
        Writer::new(client.clone(), verdicts.clone(), replicas.clone()).run().await;
    });
    drain.run_until_cancelled(work).await;
}

struct Writer {
    client: Client,
    verdicts: Channel,
    replicas: Replicas,
    /// The states of the other replicas at the last look.
    others: BTreeMap<SocketAddr, ReplicaState>,
    /// Which objects this revision writes to, when last looked at.
    claims: Claims,
    ledger: Ledger,
    /// The version in which the API server serves a kind, by group and plural.
    versions: BTreeMap<(&'static str, &'static str), &'static str>,
    reads: Interval,
    writes: Interval,
    /// Whether a proxy refused something at the last look.
    troubled: bool,
    /// The wait after an error.
    pause: Duration,
}

impl Writer {
    fn new(client: Client, verdicts: Channel, replicas: Replicas) -> Self {
        let every = |period| {
            let mut interval = tokio::time::interval(period);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval
        };
        let (reads, writes) = (every(BETWEEN_READS), every(BETWEEN_WRITES));
        Self {
            client,
            verdicts,
            claims: replicas.claims(),
            replicas,
            others: BTreeMap::new(),
            ledger: Ledger::default(),
            versions: BTreeMap::new(),
            reads,
            writes,
            troubled: false,
            pause: COALESCE,
        }
    }

    async fn run(&mut self) {
        let mut revisions = self.verdicts.watch();
        loop {
            // Armed before the look, so that a change during the look causes another one.
            let rung = self.verdicts.proxies.rung();
            revisions.mark_unchanged();
            let pause = match self.look().await {
                Ok(()) => COALESCE,
                Err(reason) => {
                    tracing::warn!(reason, "the status of an object cannot be written; trying again");
                    self.pause = (self.pause * 2).min(LONGEST_PAUSE);
                    self.pause
                }
            };
            // Changes that follow each other are written once.
            tokio::time::sleep(pause).await;
            if self.ledger.waits() {
                continue;
            }
            tokio::select! {
                changed = revisions.changed() => if changed.is_err() { return },
                () = self.refused(rung) => {}
                () = self.replicas.changed(&self.others, &self.claims) => {}
            }
        }
    }

    /// Waits until a proxy of this replica refuses something, or did so when last looked at and has responded since.
    async fn refused(&self, rung: impl Future<Output = ()>) {
        rung.await;
        loop {
            let rung = self.verdicts.proxies.rung();
            if self.troubled || !self.verdicts.proxies.refusing().is_empty() {
                return;
            }
            tokio::time::sleep(COALESCE).await;
            rung.await;
        }
    }

    /// Writes the statuses that are due, up to a limit, after which newer verdicts are read.
    async fn look(&mut self) -> Result<(), String> {
        self.others = self.replicas.states().await;
        self.claims = self.replicas.claims();
        let (_, mut verdicts) = self.verdicts.since(0, is_of_the_mesh);
        verdicts.retain(|verdict| self.claims.includes(&verdict.version.revision, &verdict.namespace));
        let own = self.verdicts.proxies.list();
        let others: Vec<ReplicaState> = self.others.values().cloned().collect();
        let proxies = Proxies { own: &own, others: &others };
        self.troubled = proxies.are_troubled();
        let due = self.ledger.due(verdicts, proxies, Instant::now().into_std());
        for one in due.into_iter().take(BATCH) {
            let known = self.write(&one).await?;
            self.ledger.note(&one.name, known);
            self.pause = COALESCE;
        }
        Ok(())
    }

    /// Reads an object, and writes its status if it differs.
    async fn write(&mut self, due: &Due) -> Result<Stored, String> {
        let verdict = &due.verdict;
        self.reads.tick().await;
        let Some(api) = self.api(verdict).await? else { return Ok(Stored::LeftAlone) };
        let object = match api.get_status(&verdict.name).await {
            Ok(object) => serde_json::to_value(object).map_err(|error| error.to_string())?,
            Err(Error::Api(status)) if status.code == 404 => {
                // The object is gone, or its kind is served in another version.
                self.versions.clear();
                return Ok(Stored::LeftAlone);
            }
            Err(error) => return Err(format!("{}: {error}", named(verdict))),
        };
        // Pilot learns of another version soon, and its verdict makes the object due again.
        let generation = object["metadata"]["generation"].as_i64().unwrap_or_default();
        if !is_version(verdict, &object) || is_foreign(&object, MANAGER) {
            return Ok(Stored::LeftAlone);
        }
        let (old, new) = (stored(&object), conditions(verdict, &due.standings, generation));
        if !differ(&old, &new) {
            return Ok(Stored::Holds(old));
        }
        let metadata = &object["metadata"];
        let body = json!({
            "apiVersion": object["apiVersion"],
            "kind": object["kind"],
            "metadata": {"name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"]},
            "status": status(&object, &new, &now()),
        });
        self.writes.tick().await;
        match api.patch_status(&verdict.name, &PatchParams::apply(MANAGER), &Patch::Apply(body)).await {
            Ok(_) => Ok(Stored::Holds(new)),
            // The object is gone or another one, or another component owns the conditions.
            Err(Error::Api(status)) if matches!(status.code, 404 | 409 | 410) => {
                tracing::debug!(object = named(verdict), reason = status.message, "its status is left alone");
                Ok(Stored::LeftAlone)
            }
            Err(error) => Err(format!("{}: {error}", named(verdict))),
        }
    }

    /// Access to the objects of the verdict's kind; `None` if it is not served.
    async fn api(&mut self, verdict: &ObjectVerdict) -> Result<Option<Api<DynamicObject>>, String> {
        let Some(kind) = kind::of(&verdict.group, &verdict.kind) else { return Ok(None) };
        let Some(version) = self.version(kind).await? else { return Ok(None) };
        let resource = served::resource((kind.group, version), (kind.kind, kind.plural));
        Ok(Some(if kind.namespaced {
            Api::namespaced_with(self.client.clone(), &verdict.namespace, &resource)
        } else {
            Api::all_with(self.client.clone(), &resource)
        }))
    }

    /// The version in which the API server serves a kind. A definition of an older Istio lacks the newest.
    async fn version(&mut self, kind: &'static Descriptor) -> Result<Option<&'static str>, String> {
        let names = (kind.group, kind.plural);
        if let Some(version) = self.versions.get(&names) {
            return Ok(Some(version));
        }
        let version = served::version(&self.client, names, kind.versions).await;
        let version = version.map_err(|error| format!("{}: {error}", kind.kind))?;
        self.versions.extend(version.map(|version| (names, version)));
        Ok(version)
    }
}

/// Whether the verdict is about this version of the object, which stays. The version of an object that could not be parsed
/// is not known.
fn is_version(verdict: &ObjectVerdict, object: &Value) -> bool {
    let metadata = &object["metadata"];
    let (uid, generation) = (&verdict.version.uid, verdict.version.generation);
    let same_object = uid.is_empty() || metadata["uid"] == **uid;
    let same_version = generation == 0 || metadata["generation"] == generation;
    same_object && same_version && metadata["deletionTimestamp"].is_null()
}

fn named(verdict: &ObjectVerdict) -> String {
    format!("{} {}/{}", verdict.kind, verdict.namespace, verdict.name)
}

fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

const MANAGER: &str = "ostria-pilot";
const BETWEEN_WRITES: Duration = Duration::from_millis(100);
const BETWEEN_READS: Duration = Duration::from_millis(20);
/// The time in which changes are written once.
const COALESCE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The objects that are written before newer verdicts are looked at.
const BATCH: usize = 50;

#[cfg(test)]
mod tests;
