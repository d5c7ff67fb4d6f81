//! Lists objects. A list that the user may not read becomes a finding, and the other checks continue.

use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use kube::api::ListParams;
use kube::{Api, Client, Resource};
use kubernetes::client::reason;
use serde::de::DeserializeOwned;

use crate::check::finding::Finding;

/// All objects of a kind in all namespaces, or why they cannot be listed.
pub(super) async fn all<K>(client: &Client) -> Result<Vec<K>, String>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let list = Api::<K>::all(client.clone()).list(&ListParams::default()).await;
    list.map(|list| list.items).map_err(|error| reason(&error))
}

/// The objects of a list. If it cannot be read, adds a finding and returns none.
pub(super) fn or_finding<K>(
    list: Result<Vec<K>, String>,
    check: &'static str,
    findings: &mut Vec<Finding>,
) -> Vec<K> {
    list.unwrap_or_else(|reason| {
        let next = "run the check as a user who may read them, such as a cluster administrator";
        findings.push(Finding::warning(check, reason, next));
        vec![]
    })
}

/// All registrations of webhooks.
pub(super) struct Webhooks {
    pub(super) mutating: Vec<MutatingWebhookConfiguration>,
    pub(super) validating: Vec<ValidatingWebhookConfiguration>,
}

impl Webhooks {
    pub(super) async fn read(client: &Client, findings: &mut Vec<Finding>) -> Self {
        let mutating = or_finding(all(client).await, "webhooks", findings);
        let validating = or_finding(all(client).await, "webhooks", findings);
        Self { mutating, validating }
    }
}
