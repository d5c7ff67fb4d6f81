//! The probe: a server and a client in a namespace of their own, each with a sidecar. The server accepts nothing but
//! mutual TLS, so a call that succeeds proves injection, certificates, configuration and capture of both.

use std::fmt::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Pod, Service};
use kube::api::{ApiResource, DeleteParams, DynamicObject, LogParams, PostParams};
use kube::{Api, Client, ResourceExt};
use kubernetes::client::reason;
use kubernetes::served;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::check::finding::Finding;
use crate::check::plane::Plane;
use crate::check::readiness;

/// The image of the probe's pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its name.
    pub name: String,
    /// Its pull policy; empty for Kubernetes' default.
    pub policy: String,
}

/// Runs the probe and removes it, also when the command is interrupted. Without `image`, that of the release is used.
pub async fn finding(client: &Client, plane: &Plane, image: Option<String>, patience: Duration) -> Finding {
    let probe = async {
        let image = match image {
            Some(name) => Image { name, policy: String::new() },
            None => image_of(client, plane).await?,
        };
        let namespace = name();
        create::<Namespace>(client, None, namespace_of(plane, &namespace)).await?;
        let result = tokio::select! {
            result = tokio::time::timeout(patience, call(client, &namespace, &image)) => match result {
                Ok(result) => result,
                Err(_) => Err(stuck(client, &namespace, patience).await),
            },
            _ = tokio::signal::ctrl_c() => Err("it was interrupted".to_owned()),
        };
        let namespaces: Api<Namespace> = Api::all(client.clone());
        if let Err(error) = namespaces.delete(&namespace, &DeleteParams::default()).await {
            eprintln!("Warning: the namespace {namespace} is not removed: {}", reason(&error));
        }
        result
    };
    match probe.await {
        Ok(peer) => Finding::ok(CHECK, format!("a pod with a sidecar is called over mutual TLS by {peer}")),
        Err(reason) => Finding::error(
            CHECK,
            format!("the probe failed: {reason}"),
            "see the other findings; with another image of echo: --probe-image",
        ),
    }
}

/// Creates the pods, waits for the client's end, and returns the identity by which the server knew it.
async fn call(client: &Client, namespace: &str, image: &Image) -> Result<String, String> {
    let strict = json!({"spec": {"mtls": {"mode": "STRICT"}}, "metadata": {"name": "strict"}});
    let names = ("PeerAuthentication", "peerauthentications");
    let resource = served::resource(("security.istio.io", "v1"), names);
    let policies = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &resource);
    let mut policy = DynamicObject::new("strict", &resource);
    policy.data = strict;
    policies.create(&PostParams::default(), &policy).await.map_err(|error| reason(&error))?;
    create::<Service>(client, Some(namespace), service()).await?;
    let server: Pod = create(client, Some(namespace), pod("server", image, &["server"])).await?;
    let url = format!("http://server.{namespace}:8080/");
    create::<Pod>(client, Some(namespace), pod("client", image, &["client", &url, "--show"])).await?;
    let containers = server
        .spec
        .iter()
        .flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()));
    if !containers.into_iter().any(|container| container.name == "istio-proxy") {
        return Err("its pod gets no sidecar".to_owned());
    }
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    loop {
        let pod = pods.get("client").await.map_err(|error| reason(&error))?;
        if pod.status.and_then(|status| status.phase).as_deref() == Some("Succeeded") {
            break;
        }
        tokio::time::sleep(BETWEEN).await;
    }
    let only = LogParams { container: Some(CONTAINER.to_owned()), ..LogParams::default() };
    let log = pods.logs("client", &only).await.map_err(|error| reason(&error))?;
    peer(&log).ok_or_else(|| format!("the server did not see the client's identity: {log}"))
}

/// The SPIFFE identity in what the server received, as the client shows it.
fn peer(log: &str) -> Option<String> {
    let (_, rest) = log.split_once("URI=spiffe://")?;
    let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "/.-_".contains(c))).unwrap_or(rest.len());
    Some(format!("spiffe://{}", &rest[..end]))
}

/// What the probe's pods wait for, when its time is over.
async fn stuck(client: &Client, namespace: &str, patience: Duration) -> String {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let mut text = format!("no response after {} s", patience.as_secs());
    let list = pods.list(&kube::api::ListParams::default()).await;
    for pod in list.map(|list| list.items).unwrap_or_default() {
        let waits = readiness::reason(&pod).unwrap_or_else(|| {
            pod.status.as_ref().and_then(|status| status.phase.clone()).unwrap_or_default()
        });
        let _ = write!(text, "; pod {}: {waits}", pod.name_any());
        let only =
            LogParams { container: Some(CONTAINER.to_owned()), tail_lines: Some(1), ..LogParams::default() };
        if let Some(line) = pods.logs(&pod.name_any(), &only).await.ok().filter(|line| !line.is_empty()) {
            let _ = write!(text, " ({})", line.trim());
        }
    }
    text
}

/// The image of echo from the registry that the injector's image comes from.
async fn image_of(client: &Client, plane: &Plane) -> Result<Image, String> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), &plane.namespace);
    let deployment = deployments.get(&format!("ostria-injector{}", plane.suffix())).await;
    let deployment = deployment.map_err(|error| reason(&error))?;
    let container = deployment
        .spec
        .and_then(|spec| spec.template.spec)
        .and_then(|spec| spec.containers.into_iter().next());
    let container = container.ok_or("the injector has no container")?;
    let name = container.image.unwrap_or_default().replace("ostria-injector", "ostria-echo");
    Ok(Image { name, policy: container.image_pull_policy.unwrap_or_default() })
}

async fn create<K>(client: &Client, namespace: Option<&str>, object: Value) -> Result<K, String>
where
    K: kube::Resource<DynamicType = ()> + serde::Serialize + DeserializeOwned + Clone + std::fmt::Debug,
{
    let resource = ApiResource::erase::<K>(&());
    let object: DynamicObject = serde_json::from_value(object).map_err(|error| error.to_string())?;
    let api = match namespace {
        Some(namespace) => Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let created = api.create(&PostParams::default(), &object).await.map_err(|error| reason(&error))?;
    created.try_parse().map_err(|error| error.to_string())
}

fn namespace_of(plane: &Plane, name: &str) -> Value {
    let (key, value) = plane.selectors().swap_remove(0);
    json!({"metadata": {"name": name, "labels": {key: value, "app.kubernetes.io/part-of": "ostria"}}})
}

fn service() -> Value {
    json!({
        "metadata": {"name": "server"},
        "spec": {"selector": {"app": "server"}, "ports": [{"name": "http", "port": 8080}]},
    })
}

fn pod(name: &str, image: &Image, args: &[&str]) -> Value {
    let mut container = json!({
        "name": CONTAINER, "image": image.name, "command": ["echo"], "args": args,
        "resources": {"requests": {"cpu": "5m", "memory": "16Mi"}},
        "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": true},
    });
    if !image.policy.is_empty() {
        container["imagePullPolicy"] = json!(image.policy);
    }
    let restart = if name == "client" { "OnFailure" } else { "Always" };
    json!({
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "containers": [container], "restartPolicy": restart, "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": false, "enableServiceLinks": false,
        },
    })
}

/// A name that no other check uses.
#[expect(clippy::disallowed_methods, reason = "the clock makes the name unique")]
fn name() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("ostria-check-{:x}", now.as_millis())
}

const CHECK: &str = "probe";
const CONTAINER: &str = "app";
const BETWEEN: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_identity_is_read_from_what_the_server_received() {
        let log = r#"{"headers": {"x-forwarded-client-cert": "By=spiffe://a/ns/b/sa/c;Hash=1;Subject=\"\";URI=spiffe://a/ns/b/sa/default"}}"#;
        assert_eq!(peer(log).as_deref(), Some("spiffe://a/ns/b/sa/default"));
        assert_eq!(peer("{}"), None);
    }

    #[test]
    fn the_probes_namespace_is_selected_by_its_control_plane() {
        let plane = |revision: &str| Plane { revision: revision.into(), ..Plane::default() };
        assert_eq!(namespace_of(&plane(""), "a")["metadata"]["labels"]["istio-injection"], "enabled");
        assert_eq!(namespace_of(&plane("canary"), "a")["metadata"]["labels"]["istio.io/rev"], "canary");
    }
}
