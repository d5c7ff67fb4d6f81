//! Keeps the webhook's registration: the certificates by which the API server verifies pilot, and what happens to a request
//! that the webhook cannot answer. Until pilot has seen the API server refuse an invalid object by the webhook, such a request is allowed
//! (`failurePolicy: Ignore`); from then on it fails (`Fail`), so that no invalid object slips in. One replica writes, and
//! only what differs. All else in the registration belongs to whoever installed it.

use futures_util::StreamExt;
use k8s_openapi::ByteString;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, Error};
use serde_json::{Value, json};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The webhook's registration at the API server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// Name of the ValidatingWebhookConfiguration.
    pub name: String,
    /// Namespace of the control plane.
    pub namespace: String,
    /// Its revision, which selects the webhook for the object of the test.
    pub revision: String,
}

/// Keeps `bundle` (PEM) in the registration, and `failurePolicy: Fail` once the webhook works, until `drain` is cancelled,
/// while `leads` is true. Waits for a registration that does not exist.
pub async fn keep(
    client: Client,
    registration: Registration,
    (bundle, leads): (watch::Receiver<Arc<[u8]>>, watch::Receiver<bool>),
    drain: CancellationToken,
) {
    let keeper = Keeper {
        webhooks: Api::all_with(client.clone(), &webhooks()),
        gateways: Api::namespaced_with(client, &registration.namespace, &gateways()),
        registration,
        bundle,
        leads,
        object: None,
        works: false,
        pause: SHORTEST_PAUSE,
        complaint: String::new(),
    };
    drain.run_until_cancelled(keeper.run()).await;
}

struct Keeper {
    webhooks: Api<DynamicObject>,
    gateways: Api<DynamicObject>,
    registration: Registration,
    bundle: watch::Receiver<Arc<[u8]>>,
    leads: watch::Receiver<bool>,
    /// The registration as last seen.
    object: Option<DynamicObject>,
    /// Whether the API server has refused an invalid object by the webhook.
    works: bool,
    /// The wait before the next attempt.
    pause: Duration,
    /// The last warning, which is not repeated.
    complaint: String,
}

impl Keeper {
    async fn run(mut self) {
        let only = watcher::Config::default().fields(&format!("metadata.name={}", self.registration.name));
        let mut events = pin!(watcher(self.webhooks.clone(), only).default_backoff());
        let mut not_before = tokio::time::Instant::now();
        loop {
            let due = self.due();
            tokio::select! {
                changed = self.bundle.changed() => if changed.is_err() { return },
                event = events.next() => {
                    let Some(event) = event else { return };
                    self.see(event);
                }
                changed = self.leads.changed() => if changed.is_err() { return },
                () = tokio::time::sleep_until(not_before), if due.is_some() => {
                    self.attempt(due.expect("the branch has this condition")).await;
                    not_before = tokio::time::Instant::now() + self.pause;
                }
            }
        }
    }

    /// What this replica should do next.
    fn due(&self) -> Option<Step> {
        let object = self.object.as_ref().filter(|_| *self.leads.borrow())?;
        step(&object.data, &self.bundle.borrow(), self.works)
    }

    fn see(&mut self, event: Result<Event<DynamicObject>, watcher::Error>) {
        match event {
            Ok(Event::Apply(object) | Event::InitApply(object)) => self.object = Some(object),
            Ok(Event::Delete(_)) => self.object = None,
            Ok(Event::Init | Event::InitDone) => {}
            Err(error) => self.complain(&error.to_string()),
        }
    }

    async fn attempt(&mut self, step: Step) {
        let done = match step {
            Step::Test => self.test().await,
            Step::Write(patch) => self.write(patch).await,
        };
        match done {
            Ok(()) => {
                self.pause = SHORTEST_PAUSE;
                self.complaint.clear();
            }
            Err(reason) => {
                self.complain(&reason);
                self.pause = (self.pause * 2).min(LONGEST_PAUSE);
            }
        }
    }

    /// Asks the API server to accept an invalid object, which it does not store in either case.
    async fn test(&mut self) -> Result<(), String> {
        let dry = PostParams { dry_run: true, ..PostParams::default() };
        let result = self.gateways.create(&dry, &invalid(&self.registration)).await;
        verdict(result.map(drop))?;
        self.works = true;
        tracing::info!(webhook = self.registration.name, "the webhook works");
        Ok(())
    }

    async fn write(&mut self, patch: json_patch::Patch) -> Result<(), String> {
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let patch = Patch::<()>::Json(patch);
        let object = self.webhooks.patch(&self.registration.name, &params, &patch).await;
        self.object = Some(object.map_err(|error| error.to_string())?);
        tracing::info!(webhook = self.registration.name, "the webhook's registration is up to date");
        Ok(())
    }

    fn complain(&mut self, reason: &str) {
        if self.complaint != reason {
            let webhook = &self.registration.name;
            tracing::warn!(webhook, reason, "the webhook is not in order; trying again");
            reason.clone_into(&mut self.complaint);
        }
    }
}

/// What the leader does next.
#[derive(Debug, PartialEq)]
enum Step {
    /// It changes the registration.
    Write(json_patch::Patch),
    /// It tests whether the webhook works.
    Test,
}

/// What to do about a registration. Certificates are written first: the webhook works only with them.
fn step(object: &Value, bundle: &[u8], works: bool) -> Option<Step> {
    let bundle = json!(ByteString(bundle.to_vec()));
    let differing = |webhook: &Value, works: bool| {
        let verified = webhook["clientConfig"]["caBundle"] == bundle;
        let required = !works || webhook["failurePolicy"] == "Fail";
        let bundle = (!verified).then(|| ("clientConfig/caBundle", bundle.clone()));
        bundle.into_iter().chain((!required).then(|| ("failurePolicy", "Fail".into()))).collect::<Vec<_>>()
    };
    let webhooks = object.get("webhooks")?.as_array()?;
    let mut operations = vec![];
    for (at, webhook) in webhooks.iter().enumerate() {
        let fields = differing(webhook, works);
        if !fields.is_empty() {
            // The patch applies only where the webhooks are in the same order as here.
            operations.push(
                json!({"op": "test", "path": format!("/webhooks/{at}/name"), "value": webhook["name"]}),
            );
        }
        for (field, value) in fields {
            operations.push(json!({"op": "add", "path": format!("/webhooks/{at}/{field}"), "value": value}));
        }
    }
    if !operations.is_empty() {
        let form = "the operations have the form of a patch";
        return Some(Step::Write(serde_json::from_value(operations.into()).expect(form)));
    }
    let required = webhooks.iter().all(|webhook| webhook["failurePolicy"] == "Fail");
    (!works && !required).then_some(Step::Test)
}

/// An object that every schema accepts and the webhook refuses. Its label selects this control plane's webhook.
fn invalid(registration: &Registration) -> DynamicObject {
    let server = json!({"port": {"number": 80, "name": "http", "protocol": INVALID}, "hosts": ["*"]});
    let mut object = DynamicObject::new(TEST_NAME, &gateways());
    object.metadata.namespace = Some(registration.namespace.clone());
    let revision = if registration.revision.is_empty() { "default" } else { &registration.revision };
    object.metadata.labels = Some([("istio.io/rev".to_owned(), revision.to_owned())].into());
    object.data = json!({"spec": {"selector": {"app": TEST_NAME}, "servers": [server]}});
    object
}

/// Whether the API server has refused the invalid object by this webhook, which names the field; or why not.
fn verdict(result: Result<(), Error>) -> Result<(), String> {
    match result {
        Ok(()) => Err("the API server does not call it: an invalid object was accepted".to_owned()),
        Err(Error::Api(status)) if MARKS.iter().all(|mark| status.message.contains(mark)) => Ok(()),
        Err(Error::Api(status)) => Err(format!("the test of it failed: {}", status.message)),
        Err(error) => Err(format!("the test of it failed: {error}")),
    }
}

fn webhooks() -> ApiResource {
    resource(
        "admissionregistration.k8s.io",
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
    )
}

fn gateways() -> ApiResource {
    resource("networking.istio.io", "Gateway", "gateways")
}

fn resource(group: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource {
        group: group.to_owned(),
        version: "v1".to_owned(),
        api_version: format!("{group}/v1"),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    }
}

const MANAGER: &str = "ostria-pilot";
const TEST_NAME: &str = "ostria-pilot-self-test";
/// The protocol that makes the object invalid.
const INVALID: &str = "INVALID-SELF-TEST";
/// The parts of a refusal by this webhook: a schema's refusal lacks the first, another webhook's the second.
const MARKS: [&str; 3] = ["denied the request", TEST_NAME, INVALID];
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
