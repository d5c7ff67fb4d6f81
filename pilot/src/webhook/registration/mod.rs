//! The registration of pilot's webhook. Until pilot has seen the API server refuse an invalid object by the webhook, a
//! request that the webhook cannot handle is allowed (`failurePolicy: Ignore`); from then on it fails (`Fail`), so that no
//! invalid object slips in. `kubernetes::registration` does the work.

use kube::Client;
use kubernetes::registration::{self, Kind, trial};
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
    let trial = trial::validation(&registration.namespace, &registration.revision);
    let manager = MANAGER.to_owned();
    let registration =
        registration::Registration { kind: Kind::Validating, name: registration.name, manager };
    registration::keep(client, registration, written, Some(trial), drain).await;
}

const MANAGER: &str = "ostria-pilot";

#[cfg(test)]
mod tests;
