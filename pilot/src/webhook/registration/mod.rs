//! The registration of pilot's webhook. Until pilot has seen the API server refuse an invalid object by the webhook, a
//! request that the webhook cannot answer is allowed (`failurePolicy: Ignore`); from then on it fails (`Fail`), so that no
//! invalid object slips in. `kubernetes::registration` does the work; this names the object that must be refused.

use kube::Client;
use kube::api::{ApiResource, DynamicObject};
use kubernetes::registration::{self, Kind, Trial};
use serde_json::json;
use std::sync::Arc;
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
    written: (watch::Receiver<Arc<[u8]>>, watch::Receiver<bool>),
    drain: CancellationToken,
) {
    let trial = Trial { resource: gateways(), object: invalid(&registration), marks: &MARKS };
    let manager = MANAGER.to_owned();
    let registration =
        registration::Registration { kind: Kind::Validating, name: registration.name, manager };
    registration::keep(client, registration, written, Some(trial), drain).await;
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

fn gateways() -> ApiResource {
    ApiResource {
        group: "networking.istio.io".to_owned(),
        version: "v1".to_owned(),
        api_version: "networking.istio.io/v1".to_owned(),
        kind: "Gateway".to_owned(),
        plural: "gateways".to_owned(),
    }
}

const MANAGER: &str = "ostria-pilot";
const TEST_NAME: &str = "ostria-pilot-self-test";
/// The protocol that makes the object invalid.
const INVALID: &str = "INVALID-SELF-TEST";
/// The parts of a refusal by this webhook: a schema's refusal lacks the first, another webhook's the second.
const MARKS: [&str; 3] = ["denied the request", TEST_NAME, INVALID];

#[cfg(test)]
mod tests;
