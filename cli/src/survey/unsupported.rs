//! Lists the objects of kinds that Ostria does not support.

use api::resource::kind::refused::{Refused, find, of_istio};
use futures_util::StreamExt;
use futures_util::stream;
use kube::api::{DynamicObject, ListParams};
use kube::{Api, Client};
use kubernetes::client::reason;
use kubernetes::served;

use crate::check::finding::{Finding, Level};
use crate::check::owner::name;
use crate::check::unsupported::{self, Stored};
use crate::survey::read::or_finding;

/// The findings about them. `policies` is how bad it is that a policy is not enforced.
pub(super) async fn findings(client: &Client, policies: Level) -> Vec<Finding> {
    let read =
        of_istio().map(|kind| async move { stored(client, kind).await.map(|names| Stored { kind, names }) });
    let read: Vec<Result<Stored, String>> = stream::iter(read).buffered(AT_ONCE).collect().await;
    let mut all: Result<Vec<Stored>, String> = read.into_iter().collect();
    if let (Ok(all), Some(kind)) = (&mut all, find("gateway.networking.k8s.io", "Gateway")) {
        // Without the Gateway API, or without permission to read it, there is nothing to say about it.
        let names = gateways(client).await.unwrap_or_default();
        all.push(Stored { kind, names });
    }
    let mut findings = vec![];
    let failed = all.is_err();
    let all = or_finding(all, unsupported::CHECK, &mut findings);
    if failed { findings } else { unsupported::findings(&all, policies) }
}

/// The names of the objects of a kind.
async fn stored(client: &Client, kind: &Refused) -> Result<Vec<String>, String> {
    let descriptor = &kind.descriptor;
    let names = (descriptor.group, descriptor.plural);
    let version =
        served::version(client, names, descriptor.versions).await.map_err(|error| reason(&error))?;
    let Some(version) = version else { return Ok(vec![]) };
    let api = api(client, names, version, descriptor.kind);
    let list = api.list_metadata(&ListParams::default()).await.map_err(|error| reason(&error))?;
    Ok(list.items.iter().map(|object| full_name(&object.metadata)).collect())
}

/// The names of the Gateways of the Gateway API that an Istio would serve.
async fn gateways(client: &Client) -> Result<Vec<String>, kube::Error> {
    const GROUP: &str = "gateway.networking.k8s.io";
    let versions = ["v1", "v1beta1"];
    let Some(version) = served::version(client, (GROUP, "gatewayclasses"), &versions).await? else {
        return Ok(vec![]);
    };
    let classes = api(client, (GROUP, "gatewayclasses"), version, "GatewayClass");
    let classes = classes.list(&ListParams::default()).await?.items;
    let is_of_istio = |class: &&DynamicObject| {
        class.data["spec"]["controllerName"]
            .as_str()
            .is_some_and(|controller| controller.starts_with("istio.io/"))
    };
    let classes: Vec<&str> = classes.iter().filter(is_of_istio).map(|class| name(&class.metadata)).collect();
    if classes.is_empty() {
        return Ok(vec![]);
    }
    let gateways = api(client, (GROUP, "gateways"), version, "Gateway").list(&ListParams::default()).await?;
    let of_istio = gateways.items.iter().filter(|gateway| {
        gateway.data["spec"]["gatewayClassName"].as_str().is_some_and(|class| classes.contains(&class))
    });
    Ok(of_istio.map(|gateway| full_name(&gateway.metadata)).collect())
}

fn api(client: &Client, (group, plural): (&str, &str), version: &str, kind: &str) -> Api<DynamicObject> {
    Api::all_with(client.clone(), &served::resource((group, version), (kind, plural)))
}

fn full_name(metadata: &kube::core::ObjectMeta) -> String {
    let namespace =
        metadata.namespace.as_deref().map(|namespace| format!("{namespace}/")).unwrap_or_default();
    namespace + name(metadata)
}

/// Requests at the same time.
const AT_ONCE: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::survey::fake;
    use serde_json::{Value, json};

    fn served(names: &[&str]) -> (u16, Value) {
        let resource = |name: &&str| json!({"name": name, "singularName": "", "namespaced": true, "kind": "", "verbs": []});
        (200, json!({"groupVersion": "", "resources": names.iter().map(resource).collect::<Vec<_>>()}))
    }

    fn object(name: &str, spec: &Value) -> Value {
        json!({"metadata": {"name": name, "namespace": "shop"}, "spec": spec})
    }

    #[tokio::test]
    async fn policies_and_gateways_that_only_an_istio_would_serve_are_found() {
        let client = fake::client(|_, path, _| match path {
            "/apis/security.istio.io/v1beta1" => served(&["authorizationpolicies"]),
            "/apis/gateway.networking.k8s.io/v1" => served(&["gatewayclasses", "gateways"]),
            "/apis/security.istio.io/v1beta1/authorizationpolicies" => (
                200,
                json!({
                    "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList", "metadata": {},
                    "items": [object("deny", &Value::Null)],
                }),
            ),
            "/apis/gateway.networking.k8s.io/v1/gatewayclasses" => fake::list(&[
                object("istio", &json!({"controllerName": "istio.io/gateway-controller"})),
                object("other", &json!({"controllerName": "example.com/controller"})),
            ]),
            "/apis/gateway.networking.k8s.io/v1/gateways" => fake::list(&[
                object("front", &json!({"gatewayClassName": "istio"})),
                object("theirs", &json!({"gatewayClassName": "other"})),
            ]),
            _ => fake::refusal(404, "not found"),
        });
        let found = findings(&client, Level::Error).await;
        let lines: Vec<(Level, &str)> = found.iter().map(|one| (one.level, one.message.as_str())).collect();
        assert_eq!(
            lines,
            [
                (Level::Error, "AuthorizationPolicy of security.istio.io: 1 object NOT ENFORCED: shop/deny"),
                (Level::Warning, "Gateway of gateway.networking.k8s.io: 1 object without effect: shop/front"),
            ]
        );
    }

    #[tokio::test]
    async fn a_cluster_without_such_kinds_is_in_order_and_one_that_cannot_be_read_is_not() {
        let none = fake::client(|_, _, _| fake::refusal(404, "not found"));
        assert_eq!(findings(&none, Level::Error).await[0].level, Level::Ok);
        let broken = fake::client(|_, _, _| fake::refusal(500, "no"));
        assert_eq!(findings(&broken, Level::Error).await[0].level, Level::Warning);
    }
}
