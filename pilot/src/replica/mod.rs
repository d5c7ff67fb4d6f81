//! The other replicas of pilot. Each proxy is connected to one of them, so what all proxies have acknowledged is known
//! only when each replica has been asked. They ask each other over mTLS on the port for proxies. Nothing is kept in the
//! API server, where each change of a count would be a write.

mod claim;

mod find;
mod state;

pub use claim::Claims;
pub use find::is_replica;
pub use state::{Held, PATH, ReplicaState, StateQuestion, is_of_the_mesh, name, refusals};

use crate::revision::Revision;
use crate::snapshot::Snapshot;
use crate::verdict;
use api::identity::SpiffeId;
use api::process::own_certificate::Credentials;
use api::process::tls::expected::Expected;
use api::process::{ask, channel};
use futures_util::future::{join_all, select_all};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tonic::transport::Channel;

/// Asks the other replicas.
#[derive(Clone)]
pub struct Replicas {
    inner: Arc<Inner>,
}

struct Inner {
    snapshots: watch::Receiver<Arc<Snapshot>>,
    root: String,
    /// The pod of this replica.
    own: String,
    revision: Revision,
    /// The revisions and tags that the others named when last asked.
    names: Mutex<BTreeSet<String>>,
    credentials: OnceLock<watch::Receiver<Arc<Credentials>>>,
    /// Open channels, with the certificate that they present.
    channels: Mutex<BTreeMap<SocketAddr, (Arc<Credentials>, Channel)>>,
}

impl Replicas {
    /// Finds replicas in the root namespace of the newest snapshot. `own` is the pod of this one, and `revision` its
    /// revision. None is asked before `present` was called.
    pub fn new(
        snapshots: watch::Receiver<Arc<Snapshot>>,
        root: &str,
        (own, revision): (&str, Revision),
    ) -> Self {
        let inner = Inner {
            snapshots,
            root: root.to_owned(),
            own: own.to_owned(),
            revision,
            names: Mutex::default(),
            credentials: OnceLock::new(),
            channels: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Sets the certificate that this replica presents to others. The first call counts.
    pub fn present(&self, credentials: watch::Receiver<Arc<Credentials>>) {
        let _ = self.inner.credentials.set(credentials);
    }

    /// Whether a client is a replica.
    pub fn includes(&self, identity: &SpiffeId) -> bool {
        is_replica(identity, &self.inner.root)
    }

    /// The states of the others. One that does not respond is left out: its proxies are about to connect elsewhere.
    pub async fn states(&self) -> BTreeMap<SocketAddr, ReplicaState> {
        let question = StateQuestion::default();
        let all = self.ask_all::<_, ReplicaState>(PATH, &question, STATE_LIMIT).await;
        let all: BTreeMap<SocketAddr, ReplicaState> =
            all.into_iter().filter_map(|(address, state)| Some((address, state?))).collect();
        let names = all.values().flat_map(|state| state.revisions.iter().cloned()).collect();
        *self.inner.names.lock().unwrap_or_else(PoisonError::into_inner) = names;
        all
    }

    /// The state of this replica.
    pub fn own_state(&self, verdicts: &verdict::Channel) -> ReplicaState {
        ReplicaState::of(verdicts, &self.inner.revision)
    }

    /// Which revision writes the status of which object, by the newest snapshot.
    pub fn claims(&self) -> Claims {
        let catalog = self.inner.snapshots.borrow().catalog.clone();
        let names = self.inner.names.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Claims::new(&catalog, &self.inner.root, &self.inner.revision, names)
    }

    /// Waits until the proxies of a replica refuse other things than in `known`, or there are other replicas, or other
    /// claims. Those that did not respond are asked again after a while.
    pub async fn changed(&self, known: &BTreeMap<SocketAddr, ReplicaState>, claims: &Claims) {
        let known: BTreeMap<SocketAddr, u64> =
            known.iter().map(|(address, state)| (*address, state.refusals())).collect();
        let before = self.found();
        let others = async {
            let mut snapshots = self.inner.snapshots.clone();
            while self.found() == before && self.claims() == *claims && snapshots.changed().await.is_ok() {
                tokio::time::sleep(BETWEEN_LOOKS).await;
            }
        };
        let silent = before.keys().any(|address| !known.contains_key(address));
        let again = async {
            if !silent {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(BETWEEN_ATTEMPTS).await;
        };
        let all =
            known.iter().map(|(address, refusals)| Box::pin(self.refuses_otherwise(*address, *refusals)));
        let all: Vec<_> = all.collect();
        let refusals = async {
            if all.is_empty() {
                return std::future::pending().await;
            }
            select_all(all).await;
        };
        tokio::select! {
            () = others => {}
            () = again => {}
            () = refusals => {}
        }
    }

    async fn refuses_otherwise(&self, address: SocketAddr, refusals: u64) {
        let milliseconds = HELD_OPEN.as_millis().try_into().unwrap_or(u64::MAX);
        let question = StateQuestion { refusals: Some(refusals), milliseconds };
        loop {
            let Some(account) = self.found().remove(&address) else { return };
            let limit = HELD_OPEN + STATE_LIMIT;
            match self.ask::<_, ReplicaState>((address, &account), PATH, &question, limit).await {
                Ok(Some(_)) => return,
                Ok(None) => {}
                Err(reason) => {
                    tracing::debug!(%address, reason, "a replica does not respond");
                    tokio::time::sleep(BETWEEN_ATTEMPTS).await;
                }
            }
        }
    }

    /// Sends the same request to all others. `None`: one has nothing to report, or does not respond in time.
    pub async fn ask_all<Q: Serialize, A: DeserializeOwned>(
        &self,
        path: &str,
        question: &Q,
        limit: Duration,
    ) -> BTreeMap<SocketAddr, Option<A>> {
        let all = self.found().into_iter().map(async |(address, account)| {
            let response = self.ask((address, &account), path, question, limit).await;
            let response = response.unwrap_or_else(|reason| {
                tracing::debug!(%address, reason, "a replica does not respond");
                None
            });
            (address, response)
        });
        join_all(all).await.into_iter().collect()
    }

    async fn ask<Q: Serialize, A: DeserializeOwned>(
        &self,
        (address, account): (SocketAddr, &str),
        path: &str,
        question: &Q,
        limit: Duration,
    ) -> Result<Option<A>, String> {
        let channel = self.channel(address, account)?;
        let response = tokio::time::timeout(limit, ask::ask(channel, path, question)).await;
        response.unwrap_or_else(|_| Err(format!("no response within {} s", limit.as_secs())))
    }

    fn found(&self) -> BTreeMap<SocketAddr, String> {
        if self.inner.credentials.get().is_none() {
            return BTreeMap::new();
        }
        let catalog = self.inner.snapshots.borrow().catalog.clone();
        find::others(&catalog, &self.inner.root, &self.inner.own)
    }

    fn channel(&self, address: SocketAddr, account: &str) -> Result<Channel, String> {
        let credentials = self.inner.credentials.get().ok_or("there is no certificate yet")?;
        let credentials = credentials.borrow().clone();
        let mut channels = self.inner.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, channel)) = channels.get(&address).filter(|(used, _)| Arc::ptr_eq(used, &credentials))
        {
            return Ok(channel.clone());
        }
        let id = SpiffeId::workload(credentials.identity().trust_domain(), &self.inner.root, account);
        let id = id.map_err(|error| error.to_string())?;
        let tls = credentials.client(Expected::id(id)).map_err(|error| error.to_string())?;
        let channel = channel::lazy(&address.to_string(), Some(tls))?;
        // Those of other certificates are not used any more, nor are those of replicas that are gone.
        channels.retain(|_, (used, _)| Arc::ptr_eq(used, &credentials));
        channels.insert(address, (credentials, channel.clone()));
        Ok(channel)
    }
}

/// How long a replica may take to send its state.
const STATE_LIMIT: Duration = Duration::from_secs(2);
/// How long a request is held open when nothing changes.
const HELD_OPEN: Duration = Duration::from_secs(45);
const BETWEEN_ATTEMPTS: Duration = Duration::from_secs(10);
/// How often replicas are looked up after changes of the configuration.
const BETWEEN_LOOKS: Duration = Duration::from_secs(2);
