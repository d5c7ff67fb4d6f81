//! Opens the authority in the cluster's Secrets, and takes over a changed one without a restart. If a changed Secret
//! does not hold a valid authority, or the Secret is deleted, the reason is logged and the old authority stays in force.

use crate::audit::chain;
use crate::control::reload;
use crate::root::cluster::{self, ClusterError, Found};
use crate::root::secret::{CREATED, PLUGGED};
use crate::root::{Root, folder};
use api::identity::TrustDomain;
use futures_util::{StreamExt, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use kubernetes::follower;
use kubernetes::mirror::Mirror;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::sync::watch;

/// Opens the authority. Waits until the API server responds; a Secret without a valid authority is an error.
pub async fn open(client: &Client, namespace: &str, domain: &TrustDomain) -> Result<Found, ClusterError> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let mut complaint = String::new();
    loop {
        let attempt = cluster::open(&secrets, domain, OffsetDateTime::now_utc());
        let error = match tokio::time::timeout(TIMEOUT, attempt).await {
            Ok(Err(error)) if error.is_temporary() => error.to_string(),
            Ok(done) => return done,
            Err(_) => format!("the API server does not respond within {} seconds", TIMEOUT.as_secs()),
        };
        if error != complaint {
            tracing::warn!(reason = error, namespace, "waiting for the root; trying again");
            complaint = error;
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// The Secrets of the authority, and the file that the roots are published to.
pub struct Secrets {
    /// A client of the API server.
    pub client: Client,
    /// The namespace of the Secrets.
    pub namespace: String,
    /// The name of the Secret in use.
    pub used: &'static str,
    /// The file that the root certificate is published to.
    pub published: Option<PathBuf>,
}

/// Watches the Secrets, forever.
pub async fn run(mut secrets: Secrets, sender: watch::Sender<Arc<Root>>) {
    let api: Api<Secret> = Api::namespaced(secrets.client.clone(), &secrets.namespace);
    let watched = |name: &'static str| {
        // Each has its own mirror, which a restart of the other's watch does not touch.
        let events = follower::events(api.clone(), Some(&format!("metadata.name={name}")), "Secret");
        events.map(move |event| (name, event))
    };
    let mut events = stream::select(watched(PLUGGED), watched(CREATED));
    let (mut plugged, mut created) = (Mirror::default(), Mirror::default());
    let mut log = Complaints::default();
    while let Some((name, event)) = events.next().await {
        let mirror = if name == PLUGGED { &mut plugged } else { &mut created };
        match event {
            Ok(event) => drop(mirror.apply(event, |secret: Secret| (name.to_owned(), CachedSecret(secret)))),
            Err(error) => {
                let reason = format!("Secret {name}: {error}");
                log.say(&reason, "the root's Secret cannot be watched; trying again");
                continue;
            }
        }
        if plugged.is_complete() && created.is_complete() {
            let (plugged, created) = (plugged.get(PLUGGED), created.get(CREATED));
            let now = OffsetDateTime::now_utc();
            let checked = cluster::check(plugged.map(|kept| &kept.0), created.map(|kept| &kept.0), now);
            take(checked, &mut secrets, &sender, &mut log);
        }
    }
}

/// A Secret without the parts of it that change although the authority does not.
struct CachedSecret(Secret);

impl PartialEq for CachedSecret {
    fn eq(&self, other: &Self) -> bool {
        self.0.data == other.0.data
    }
}

fn take(
    checked: Result<Option<Found>, ClusterError>,
    secrets: &mut Secrets,
    sender: &watch::Sender<Arc<Root>>,
    log: &mut Complaints,
) {
    let found = match checked {
        // A deleted Secret of the operator is not followed by another root while workloads trust this one.
        Ok(Some(found)) if secrets.used == PLUGGED && found.secret != PLUGGED => None,
        Ok(found) => found,
        Err(error) => {
            return log.say(
                &chain(&error),
                "the root's Secret has changed and cannot be used; the old root stays in force",
            );
        }
    };
    let Some(Found { secret, root }) = found else {
        let reason = format!("Secret {} was deleted", secrets.used);
        return log.say(&reason, "the root stays in force until citadel restarts; create the Secret again");
    };
    log.clear();
    if sender.borrow().is_same(&root) {
        return;
    }
    if let Some(file) = &secrets.published
        && let Err(error) = folder::publish(file, root.roots_pem())
    {
        return log.say(&chain(&error), "the changed root cannot be published; the old root stays in force");
    }
    reload::warn_of_strangers(&sender.borrow(), &root);
    secrets.used = secret;
    sender.send_replace(Arc::new(root));
    tracing::info!(secret, "the signing certificate was replaced");
}

/// Logs each reason once, until it passes.
#[derive(Default)]
struct Complaints(String);

impl Complaints {
    fn say(&mut self, reason: &str, message: &str) {
        if self.0 != reason {
            tracing::warn!(reason, "{message}");
            reason.clone_into(&mut self.0);
        }
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}

const TIMEOUT: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_secs(2);
