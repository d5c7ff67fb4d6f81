//! Asks the injector of a cluster for sidecars, as the API server does: through the same webhook, with its current settings.

use std::sync::Arc;

use api::admission::AdmissionReview;
use bytes::Bytes;
use http_body_util::Full;
use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, WebhookClientConfig};
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;

use crate::client::cluster::forward::{self, ForwardError, Port};
use crate::client::cluster::{Cluster, failure, pilot};
use crate::exchange::{LIMIT, RequestError, exchange};
use crate::failure::Failure;
use crate::tls;

/// The injector's webhook, and a replica that serves it.
pub struct Webhook {
    port: Port,
    path: String,
    host: String,
    connector: TlsConnector,
}

impl Webhook {
    /// Finds the injector of a revision; without one, that of the default revision, or the only one.
    pub async fn find(cluster: &Cluster, revision: Option<&str>) -> Result<Self, Failure> {
        let all: Api<MutatingWebhookConfiguration> = Api::all(cluster.client().clone());
        let all = all.list(&ListParams::default().labels("app.kubernetes.io/part-of=ostria")).await;
        let mut all = all.map_err(|error| cluster.failure(&error))?.items;
        all.retain(|one| service(one, cluster.root()).is_some());
        let revisions: Vec<&str> = all.iter().map(revision_of).collect();
        let chosen = choose(&revisions, revision).map_err(|reason| match reason {
            None => failure::not_installed(cluster.root(), cluster.named()),
            Some(reason) => Failure::blocked(reason, "name one of them with --revision"),
        })?;
        let (config, name) = service(&all[chosen], cluster.root()).unwrap_or_default();
        let of_revision = |pod: &&k8s_openapi::api::core::v1::Pod| {
            pod.labels().get(REVISION).map(String::as_str) == Some(revisions[chosen])
        };
        let pods = pilot::replicas(cluster, INJECTOR).await?;
        let pod = pods.iter().find(of_revision).ok_or_else(|| {
            Failure::blocked(
                format!("no injector of revision {} runs in namespace {}", revisions[chosen], cluster.root()),
                format!("look at its pods with `kubectl -n {} get pods`", cluster.root()),
            )
        })?;
        let roots = config.ca_bundle.map(|bundle| bundle.0).unwrap_or_default();
        let trusting = tls::trusting(&roots).map_err(|error| {
            Failure::blocked(
                format!("the webhook {} has no certificate to verify it by: {error}", all[chosen].name_any()),
                "wait until the injector has written it, or look at the injector's log",
            )
        })?;
        Ok(Self {
            port: Port { namespace: cluster.root().into(), pod: pod.name_any(), number: WEBHOOK },
            path: config.service.and_then(|service| service.path).unwrap_or_else(|| "/inject".into()),
            host: format!("{name}.{}.svc", cluster.root()),
            connector: TlsConnector::from(Arc::new(trusting)),
        })
    }

    /// Sends a review and returns it with its response.
    pub async fn review(
        &self,
        cluster: &Cluster,
        review: &AdmissionReview,
    ) -> Result<AdmissionReview, Failure> {
        let failed = |error: RequestError| self.port.failure(ForwardError::Request(error));
        let stream = forward::connect(cluster, &self.port).await?.stream;
        let name = ServerName::try_from(self.host.clone());
        let name = name.map_err(|error| Failure::blocked(error, "correct --istio-namespace"))?;
        let connect = async { self.connector.connect(name, stream).await.map_err(RequestError::Unproven) };
        let request = http::Request::post(&self.path)
            .header("host", &self.host)
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(serde_json::to_vec(review).expect("a review is plain JSON"))))
            .map_err(|error| Failure::blocked(error, "correct the path of the webhook"))?;
        let bytes = exchange(LIMIT, connect, request).await.map_err(failed)?;
        serde_json::from_slice(&bytes).map_err(|error| failed(error.into()))
    }
}

/// How a configuration reaches an injector of this namespace, and the name of its Service.
fn service(webhook: &MutatingWebhookConfiguration, root: &str) -> Option<(WebhookClientConfig, String)> {
    let configs = webhook.webhooks.iter().flatten().map(|one| &one.client_config);
    let named = configs.filter_map(|config| Some((config, config.service.as_ref()?)));
    let mut own =
        named.filter(|(_, service)| service.namespace == root && pilot::is_part(&service.name, INJECTOR));
    own.next().map(|(config, service)| (config.clone(), service.name.clone()))
}

fn revision_of(webhook: &MutatingWebhookConfiguration) -> &str {
    webhook.labels().get(REVISION).map_or("default", String::as_str)
}

/// The place of the wanted revision. The error is the reason; `None` if there is no revision at all.
fn choose(revisions: &[&str], wanted: Option<&str>) -> Result<usize, Option<String>> {
    let known = revisions.join(", ");
    match (revisions, wanted) {
        ([], _) => Err(None),
        (_, Some(wanted)) => revisions
            .iter()
            .position(|one| *one == wanted)
            .ok_or_else(|| Some(format!("there is no injector of revision {wanted}; there are: {known}"))),
        ([_], None) => Ok(0),
        (_, None) => revisions
            .iter()
            .position(|one| *one == "default")
            .ok_or_else(|| Some(format!("there are injectors of several revisions: {known}"))),
    }
}

const INJECTOR: &str = "ostria-injector";
const REVISION: &str = "istio.io/rev";
/// The port of the webhook in the injector's pods.
const WEBHOOK: u16 = 15017;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_default_or_the_only_revision_is_meant_unless_one_is_named() {
        assert_eq!(choose(&["canary"], None), Ok(0));
        assert_eq!(choose(&["canary", "default"], None), Ok(1));
        assert_eq!(choose(&["canary", "default"], Some("canary")), Ok(0));
        assert_eq!(choose(&[], None), Err(None));
        assert!(choose(&["a", "b"], None).unwrap_err().unwrap().ends_with("revisions: a, b"));
        assert!(choose(&["a"], Some("b")).unwrap_err().unwrap().contains("revision b; there are: a"));
    }

    #[test]
    fn only_configurations_of_an_injector_in_the_namespace_count() {
        let webhook = |name: &str, namespace: &str| -> MutatingWebhookConfiguration {
            let service = json!({"name": name, "namespace": namespace, "path": "/inject"});
            let one = json!({"name": "a", "clientConfig": {"service": service}, "admissionReviewVersions": ["v1"], "sideEffects": "None"});
            serde_json::from_value(json!({"metadata": {"name": "a"}, "webhooks": [one]})).unwrap()
        };
        let found = |name: &str, namespace: &str| {
            service(&webhook(name, namespace), "istio-system").map(|(_, name)| name)
        };
        assert_eq!(
            found("ostria-injector-canary", "istio-system").as_deref(),
            Some("ostria-injector-canary")
        );
        assert_eq!(found("ostria-injector", "other"), None);
        assert_eq!(found("istiod", "istio-system"), None);
    }
}
