//! Keeps a Lease while this replica leads, and says whether it does. Several replicas serve, one of them writes.

use crate::lease::{DURATION, RENEWAL, Seen, Step, decide, released};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use std::time::Instant;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// The Lease that the replicas of a component compete for.
#[derive(Debug, Clone)]
pub struct Election {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// This replica: the pod's name.
    pub identity: String,
}

/// The name of this replica: its pod's, or that of the host, which is the pod's in a cluster.
pub fn replica(pod_name: Option<&str>) -> String {
    let host = || std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned();
    let name = pod_name.map_or_else(host, str::to_owned);
    if name.is_empty() { format!("process-{}", std::process::id()) } else { name }
}

/// Takes part in an election until `drain` is cancelled, and then releases the Lease. `leads` is true while this replica
/// may write: it becomes false before another can take over, also when the API server cannot be reached.
pub async fn run(client: Client, election: Election, leads: watch::Sender<bool>, drain: CancellationToken) {
    let api: Api<Lease> = Api::namespaced(client, &election.namespace);
    let mut candidate = Candidate { api, election, seen: None, renewed: None };
    let mut ticks = tokio::time::interval(RENEWAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while drain.run_until_cancelled(ticks.tick()).await.is_some() {
        let attempt = tokio::time::timeout(RENEWAL, candidate.attempt()).await;
        let leads_now = match attempt {
            Ok(Ok(leads_now)) => leads_now,
            Ok(Err(error)) => {
                tracing::warn!(%error, lease = candidate.election.name, "the lease cannot be read or written");
                candidate.still_leads()
            }
            Err(_) => candidate.still_leads(),
        };
        leads.send_if_modified(|current| {
            let changed = *current != leads_now;
            if changed {
                tracing::info!(leads = leads_now, lease = candidate.election.name, "leadership changed");
            }
            *current = leads_now;
            changed
        });
    }
    leads.send_replace(false);
    if let Err(error) = candidate.release().await {
        tracing::debug!(%error, "the lease is not released; it expires");
    }
}

/// Does `work` whenever `leads` is true, anew in each term. Work is dropped when its term ends. Returns when work returns by
/// itself, since there is nothing more to do then, or when the election has ended.
pub async fn in_each_term<W: Future<Output = ()>>(
    mut leads: watch::Receiver<bool>,
    mut work: impl FnMut() -> W,
) {
    while leads.wait_for(|leads| *leads).await.is_ok() {
        tokio::select! {
            () = work() => return,
            _ = leads.wait_for(|leads| !*leads) => {}
        }
    }
}

struct Candidate {
    api: Api<Lease>,
    election: Election,
    seen: Option<Seen>,
    /// When this replica last renewed as the leader.
    renewed: Option<Instant>,
}

impl Candidate {
    /// Reads the Lease and writes it if this replica leads or can lead. Returns whether it leads.
    #[expect(clippy::disallowed_methods, reason = "the shell reads the clocks")]
    async fn attempt(&mut self) -> Result<bool, kube::Error> {
        let lease = match self.api.get_opt(&self.election.name).await? {
            Some(lease) => lease,
            None => self.create().await?,
        };
        let now = Instant::now();
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        let seen = self.seen.take().filter(|seen| seen.version == version);
        let seen = self.seen.insert(seen.unwrap_or(Seen { version, at: now }));
        let Step::Write(next) = decide(&lease, seen, &self.election.identity, now, Timestamp::now()) else {
            self.renewed = None;
            return Ok(false);
        };
        match self.api.replace(&self.election.name, &PostParams::default(), &next).await {
            Ok(_) => {
                // Counted from before the write, so that this replica stops before another can take over.
                self.renewed = Some(now);
                Ok(true)
            }
            // Another wrote first.
            Err(kube::Error::Api(status)) if status.is_conflict() => {
                self.renewed = None;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    async fn create(&self) -> Result<Lease, kube::Error> {
        let metadata = ObjectMeta { name: Some(self.election.name.clone()), ..ObjectMeta::default() };
        let lease = Lease { metadata, ..Lease::default() };
        match self.api.create(&PostParams::default(), &lease).await {
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                self.api.get(&self.election.name).await
            }
            created => created,
        }
    }

    /// Whether this replica leads although it could not renew: until two renewals before its Lease expires.
    fn still_leads(&self) -> bool {
        self.renewed.is_some_and(|at| at.elapsed() + RENEWAL < DURATION)
    }

    async fn release(&self) -> Result<(), kube::Error> {
        let Some(lease) = self.api.get_opt(&self.election.name).await? else { return Ok(()) };
        let Some(free) = released(&lease, &self.election.identity) else { return Ok(()) };
        self.api.replace(&self.election.name, &PostParams::default(), &free).await.map(drop)
    }
}
