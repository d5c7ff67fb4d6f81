//! A trial of a webhook that validates objects: one that it must refuse. Pilot requires its webhook once the trial has
//! succeeded, and `ostria check` repeats it.

use crate::served;
use kube::api::{Api, ApiResource, DynamicObject, PostParams};
use kube::{Client, Error};
use serde_json::json;

/// An object that the webhook must refuse. The API server is asked to accept it and does not store it (a dry run). Until it
/// has been refused, a request that the webhook cannot handle is handled as the webhook was installed.
#[derive(Debug, Clone)]
pub struct Trial {
    /// The resource of the object.
    pub resource: ApiResource,
    /// The object, in a namespace, which every schema accepts.
    pub object: DynamicObject,
    /// Texts that all stand in the refusal by this webhook, and in no other refusal.
    pub marks: &'static [&'static str],
}

impl Trial {
    /// Asks the API server to accept the object. Fails with the reason unless the webhook has refused it.
    pub async fn run(&self, client: &Client) -> Result<(), String> {
        let namespace = self.object.metadata.namespace.as_deref().unwrap_or_default();
        let api = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &self.resource);
        let dry = PostParams { dry_run: true, ..PostParams::default() };
        verdict(api.create(&dry, &self.object).await.map(drop), self.marks)
    }
}

/// The trial of pilot's webhook. Every schema accepts its object, and the label on it selects the webhook of the control
/// plane in this namespace, of this revision (empty for the one without).
pub fn validation(namespace: &str, revision: &str) -> Trial {
    let server = json!({"port": {"number": 80, "name": "http", "protocol": INVALID}, "hosts": ["*"]});
    let resource = served::resource(("networking.istio.io", "v1"), ("Gateway", "gateways"));
    let mut object = DynamicObject::new(TEST_NAME, &resource);
    object.metadata.namespace = Some(namespace.to_owned());
    let revision = if revision.is_empty() { "default" } else { revision };
    object.metadata.labels = Some([("istio.io/rev".to_owned(), revision.to_owned())].into());
    object.data = json!({"spec": {"selector": {"app": TEST_NAME}, "servers": [server]}});
    Trial { resource, object, marks: &MARKS }
}

/// Whether the API server has refused the trial's object by this webhook; or why not.
fn verdict(result: Result<(), Error>, marks: &[&str]) -> Result<(), String> {
    match result {
        Ok(()) => Err("the API server does not call the webhook: an invalid object was accepted".to_owned()),
        Err(Error::Api(status)) if marks.iter().all(|mark| status.message.contains(mark)) => Ok(()),
        Err(Error::Api(status)) => Err(format!("the test of the webhook failed: {}", status.message)),
        Err(error) => Err(format!("the test of the webhook failed: {error}")),
    }
}

const TEST_NAME: &str = "ostria-pilot-self-test";
/// The protocol for which pilot refuses the object. Istio accepts it: where Istio validates every object of the cluster, its
/// refusal would hide that of this webhook.
const INVALID: &str = "MONGO";
/// The parts of a refusal by this webhook: a schema's refusal lacks the first, another webhook's the second.
const MARKS: [&str; 4] = ["denied the request", TEST_NAME, "spec.servers[0].port.protocol", INVALID];
