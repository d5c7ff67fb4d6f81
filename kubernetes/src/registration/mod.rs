//! Keeps the certificates by which the API server verifies a webhook (`caBundle`) in the object that registers it, also
//! when somebody else changes or replaces the object. For a webhook that has a trial, it keeps `failurePolicy: Fail` too,
//! once the API server has refused an invalid object by the webhook. All else in the object belongs to whoever installed
//! it.

use crate::client::reason;
use crate::follower::{self, Reported};
use crate::registration::patch::{Step, step};
use crate::registration::trial::Trial;
use crate::served;
use futures_util::StreamExt;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::runtime::watcher::Event;
use kube::{Client, Error};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub mod trial;

mod patch;

/// The object that registers a webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// The component that writes, named in the object's `managedFields`.
    pub manager: String,
}

/// The kinds of objects that register webhooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `MutatingWebhookConfiguration`.
    Mutating,
    /// `ValidatingWebhookConfiguration`.
    Validating,
}

impl Kind {
    fn resource(self) -> ApiResource {
        let (kind, plural) = match self {
            Self::Mutating => ("MutatingWebhookConfiguration", "mutatingwebhookconfigurations"),
            Self::Validating => ("ValidatingWebhookConfiguration", "validatingwebhookconfigurations"),
        };
        served::resource(("admissionregistration.k8s.io", "v1"), (kind, plural))
    }
}

/// Writes `bundle` (PEM) into all webhooks of the object until `drain` is cancelled, while `leads` is true. With a trial,
/// also keeps `failurePolicy: Fail` once the webhook works. An object that does not exist is waited for.
pub async fn keep(
    client: Client,
    registration: Registration,
    (bundle, leads): (watch::Receiver<Arc<[u8]>>, watch::Receiver<bool>),
    trial: Option<Trial>,
    drain: CancellationToken,
) {
    let keeper = Keeper {
        api: Api::all_with(client.clone(), &registration.kind.resource()),
        client,
        registration,
        bundle,
        leads,
        trial,
        works: false,
        object: None,
        not_before: Instant::now(),
        pause: SHORTEST_PAUSE,
        complaint: None,
    };
    drain.run_until_cancelled(Box::pin(keeper.run())).await;
}

struct Keeper {
    api: Api<DynamicObject>,
    client: Client,
    registration: Registration,
    bundle: watch::Receiver<Arc<[u8]>>,
    leads: watch::Receiver<bool>,
    trial: Option<Trial>,
    /// Whether the API server has refused the trial's object by the webhook.
    works: bool,
    /// The object as last seen.
    object: Option<DynamicObject>,
    /// The next step is not taken earlier, so that two writers who disagree do not keep the API server busy.
    not_before: Instant,
    pause: Duration,
    /// The last warning, which is not repeated.
    complaint: Option<String>,
}

impl Keeper {
    async fn run(mut self) {
        let only = format!("metadata.name={}", self.registration.name);
        let mut events =
            follower::events(self.api.clone(), Some(&only), &self.registration.kind.resource().kind);
        loop {
            let next = self.due();
            let is_due = next.is_some();
            if let Some(next) = next.filter(|_| self.not_before <= Instant::now()) {
                self.attempt(next).await;
                continue;
            }
            let changed = tokio::select! {
                event = events.next() => {
                    let Some(event) = event else { return };
                    self.see(event);
                    true
                }
                changed = self.bundle.changed() => changed.is_ok(),
                changed = self.leads.changed() => changed.is_ok(),
                () = tokio::time::sleep_until(self.not_before), if is_due => true,
            };
            if !changed {
                return;
            }
        }
    }

    /// What this replica should do next.
    fn due(&self) -> Option<Step> {
        let object = self.object.as_ref().filter(|_| *self.leads.borrow())?;
        let step = step(&object.data, &self.bundle.borrow(), self.works);
        step.filter(|step| *step != Step::Test || self.trial.is_some())
    }

    fn see(&mut self, event: Reported<DynamicObject>) {
        match event {
            Ok(Event::Apply(object) | Event::InitApply(object)) => self.object = Some(object),
            Ok(Event::Delete(_)) => self.object = None,
            Ok(Event::Init | Event::InitDone) => {}
            Err(error) => self.complain(error),
        }
    }

    async fn attempt(&mut self, step: Step) {
        let done = match step {
            Step::Write(patch) => self.write(patch).await.map_err(|error| reason(&error)),
            Step::Test => self.test().await,
        };
        match done {
            Ok(()) => {
                self.pause = SHORTEST_PAUSE;
                self.complaint = None;
            }
            Err(reason) => {
                self.complain(reason);
                self.pause = (self.pause * 2).min(LONGEST_PAUSE);
            }
        }
        self.not_before = Instant::now() + self.pause;
    }

    async fn write(&mut self, patch: json_patch::Patch) -> Result<(), Error> {
        let params =
            PatchParams { field_manager: Some(self.registration.manager.clone()), ..Default::default() };
        let patch: Patch<()> = Patch::Json(patch);
        self.object = Some(self.api.patch(&self.registration.name, &params, &patch).await?);
        tracing::info!(webhook = self.registration.name, "the webhook's registration is up to date");
        Ok(())
    }

    async fn test(&mut self) -> Result<(), String> {
        let Some(trial) = &self.trial else { return Ok(()) };
        trial.run(&self.client).await?;
        self.works = true;
        tracing::info!(webhook = self.registration.name, "the webhook works");
        Ok(())
    }

    fn complain(&mut self, reason: String) {
        if self.complaint.as_ref() != Some(&reason) {
            let webhook = &self.registration.name;
            tracing::warn!(webhook, reason, "the webhook's registration is not in order; trying again");
        }
        self.complaint = Some(reason);
    }
}

const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
