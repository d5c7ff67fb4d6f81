//! The check before an installation: version, permissions, nodes, and what other meshes do in the cluster.

use api::resource::crd;
use futures_util::StreamExt;
use futures_util::stream;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use k8s_openapi::api::core::v1::{Namespace, Node, Secret};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client, Error};
use kubernetes::client::reason;
use serde_json::Value;

use crate::check::definition::{self, Definition};
use crate::check::finding::{Finding, Level};
use crate::check::permission::{self, Permission, VERBS, WRITTEN, Written};
use crate::check::plane::Plane;
use crate::check::{platform, rival};
use crate::survey::read::{Webhooks, all, or_finding};
use crate::survey::unsupported;

/// The findings for an installation of `plane` as the Helm release `release`. Fails if the API server cannot be reached.
pub async fn findings(client: &Client, plane: &Plane, release: &str) -> Result<Vec<Finding>, Error> {
    let version = client.apiserver_version().await?;
    let mut findings = vec![platform::version(&version.git_version)];
    findings.extend(permissions(client, &plane.namespace).await);
    let nodes = all::<Node>(client).await;
    match nodes {
        Ok(nodes) => findings.extend(platform::nodes(&nodes)),
        Err(_) => _ = or_finding(nodes, "nodes", &mut findings),
    }
    let records = records(client, &plane.namespace, release, &mut findings).await;
    findings.extend(platform::release(release, &records));
    let namespaces = or_finding(all::<Namespace>(client).await, "namespaces", &mut findings);
    let before = findings.len();
    let webhooks = Webhooks::read(client, &mut findings).await;
    // What cannot be read is not known to be absent.
    if findings.len() == before {
        findings.extend(rival::injectors(plane, &webhooks.mutating, &namespaces));
    }
    findings.extend(rival::validators(plane, &webhooks.validating));
    findings.extend(rival::ambient(&namespaces));
    findings.extend(unsupported::findings(client, Level::Warning).await);
    match definitions(client).await {
        Ok(found) => findings.extend(definition::definitions(&found, release, &plane.namespace)),
        Err(reason) => _ = or_finding(Err::<Vec<()>, _>(reason), "definitions", &mut findings),
    }
    Ok(findings)
}

/// Helm's records of a release.
async fn records(
    client: &Client,
    namespace: &str,
    release: &str,
    findings: &mut Vec<Finding>,
) -> Vec<Secret> {
    let labels = format!("owner=helm,name={release}");
    let secrets = Api::<Secret>::namespaced(client.clone(), namespace);
    let list = secrets.list_metadata(&ListParams::default().labels(&labels)).await;
    let list = list.map(|list| {
        let with = |object: kube::core::PartialObjectMeta<Secret>| Secret {
            metadata: object.metadata,
            ..Secret::default()
        };
        list.items.into_iter().map(with).collect()
    });
    or_finding(list.map_err(|error| reason(&error)), "Helm", findings)
}

/// The definitions of the mesh's kinds that exist.
async fn definitions(client: &Client) -> Result<Vec<Definition>, String> {
    let api = Api::<CustomResourceDefinition>::all(client.clone());
    let ours = crd::all();
    let names = ours.iter().filter_map(|ours| {
        let versions = ours.pointer("/spec/versions")?.as_array()?;
        let text = |value: &Value| Some(value.as_str()?.to_owned());
        let versions = versions.iter().filter_map(|version| text(version.get("name")?)).collect();
        Some((text(ours.pointer("/metadata/name")?)?, versions))
    });
    let read = |(name, wanted): (String, Vec<String>)| {
        let api = api.clone();
        async move {
            let found = api.get_opt(&name).await.map_err(|error| reason(&error))?;
            Ok::<_, String>(found.map(|found| Definition {
                served:
                    found.spec.versions.into_iter().filter(|one| one.served).map(|one| one.name).collect(),
                metadata: found.metadata,
                wanted,
            }))
        }
    };
    let found: Vec<Result<Option<Definition>, String>> =
        stream::iter(names).map(read).buffered(AT_ONCE).collect().await;
    found.into_iter().filter_map(Result::transpose).collect()
}

async fn permissions(client: &Client, namespace: &str) -> Vec<Finding> {
    let pairs = WRITTEN.iter().flat_map(|written| VERBS.map(|verb| (written, verb)));
    let ask = |(written, verb): (&'static Written, &'static str)| async move {
        let Written { group, resource, is_namespaced, .. } = *written;
        let name = if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") };
        let place = if is_namespaced { namespace } else { "" };
        let allowed = may(client, verb, (group, resource), place).await;
        Permission { action: format!("{verb} {name}"), allowed }
    };
    let permissions: Vec<Permission> = stream::iter(pairs).map(ask).buffered(AT_ONCE).collect().await;
    let grants = may(client, "escalate", ("rbac.authorization.k8s.io", "clusterroles"), "").await;
    permission::findings(&permissions, &grants)
}

/// Whether the user may do something in a namespace, or with objects of the whole cluster.
async fn may(client: &Client, verb: &str, kind: (&str, &str), namespace: &str) -> Result<bool, String> {
    let attributes = ResourceAttributes {
        group: Some(kind.0.to_owned()),
        resource: Some(kind.1.to_owned()),
        namespace: Some(namespace.to_owned()),
        verb: Some(verb.to_owned()),
        ..ResourceAttributes::default()
    };
    let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() };
    let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
    let response = Api::all(client.clone()).create(&PostParams::default(), &review).await;
    let status = response.map_err(|error| reason(&error))?.status;
    Ok(status.is_some_and(|status| status.allowed))
}

/// Requests at the same time.
const AT_ONCE: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::survey::fake;
    use serde_json::json;

    fn node() -> Value {
        json!({"metadata": {"name": "n"}, "status": {"nodeInfo": {
            "kubeletVersion": "v1.34.0", "kernelVersion": "6.1.0", "architecture": "amd64", "operatingSystem": "linux",
            "bootID": "", "containerRuntimeVersion": "", "kubeProxyVersion": "", "machineID": "", "osImage": "",
            "systemUUID": "",
        }}})
    }

    fn version(minor: &str) -> (u16, Value) {
        let version = json!({
            "gitVersion": format!("v1.{minor}.0"), "major": "1", "minor": minor, "buildDate": "", "compiler": "",
            "gitCommit": "", "gitTreeState": "", "goVersion": "", "platform": "",
        });
        (200, version)
    }

    /// The levels and checks of all findings but those that are in order.
    async fn concerns(
        respond: impl Fn(&str, &str, &Value) -> Option<(u16, Value)> + Send + Sync + 'static,
    ) -> Vec<(Level, &'static str)> {
        let client = fake::client(move |method, path, body| {
            if let Some(response) = respond(method, path, body) {
                return response;
            }
            match path {
                "/version" => version("34"),
                "/api/v1/nodes" => fake::list(&[node()]),
                path if path.ends_with("/selfsubjectaccessreviews") => {
                    let mut review = body.clone();
                    review["status"] = json!({"allowed": true});
                    (201, review)
                }
                path if path.contains("/customresourcedefinitions/") || path.contains("istio.io/") => {
                    fake::refusal(404, "not found")
                }
                path if path.starts_with("/apis/gateway.networking.k8s.io/") => {
                    fake::refusal(404, "not found")
                }
                _ => fake::none(),
            }
        });
        let plane = Plane { namespace: "istio-system".into(), ..Plane::default() };
        let findings = findings(&client, &plane, "ostria").await.unwrap();
        findings.iter().filter(|one| one.level != Level::Ok).map(|one| (one.level, one.check)).collect()
    }

    #[tokio::test]
    async fn an_empty_cluster_is_ready() {
        assert_eq!(concerns(|_, _, _| None).await, []);
    }

    #[tokio::test]
    async fn each_trouble_is_found_and_the_other_checks_go_on() {
        let found = concerns(|_, path, body| match path {
            "/version" => Some(version("28")),
            "/api/v1/namespaces" => Some(fake::refusal(403, "namespaces is forbidden")),
            path if path.ends_with("/selfsubjectaccessreviews") => {
                let mut review = body.clone();
                let resource = &body["spec"]["resourceAttributes"]["resource"];
                review["status"] = json!({"allowed": resource != "clusterroles"});
                Some((201, review))
            }
            path if path.ends_with("/secrets") => {
                let labels = json!({"status": "pending-install", "version": "1"});
                Some((
                    200,
                    json!({
                        "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList", "metadata": {},
                        "items": [{"metadata": {"name": "a", "labels": labels}}],
                    }),
                ))
            }
            _ => None,
        })
        .await;
        assert_eq!(
            found,
            [
                (Level::Error, "Kubernetes"),
                (Level::Error, "permissions"),
                (Level::Warning, "permissions"),
                (Level::Error, "Helm"),
                (Level::Warning, "namespaces"),
            ]
        );
    }
}
