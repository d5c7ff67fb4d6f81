//! Asks pilot. A proxy is connected to one replica, so all replicas are asked, and their responses are merged.

use futures_util::future::join_all;
use http::Method;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::client::cluster::forward::{self, Port};
use crate::client::cluster::{Cluster, failure};
use crate::failure::Failure;
use crate::wire::Target;

/// A request to a debug page of pilot.
#[derive(Debug, Clone)]
pub struct Page {
    method: Method,
    path: String,
    body: Vec<u8>,
}

impl Page {
    /// Reads a page.
    pub fn get(path: impl Into<String>) -> Self {
        Self { method: Method::GET, path: path.into(), body: Vec::new() }
    }

    /// Posts a value to a page.
    pub fn post(path: impl Into<String>, body: &impl serde::Serialize) -> Self {
        let body = serde_json::to_vec(body).expect("requests are plain data");
        Self { method: Method::POST, path: path.into(), body }
    }
}

/// What a replica of pilot responded.
#[derive(Debug)]
pub struct ReplicaResponse<T> {
    /// Name of the replica's pod.
    pub pilot: String,
    /// The content of the page; why there is none.
    pub content: Result<T, Failure>,
}

/// The pods of a part of the control plane that run, of all revisions: those whose label `app` is the name, or begins with
/// it and a dash.
pub async fn replicas(cluster: &Cluster, part: &str) -> Result<Vec<Pod>, Failure> {
    let pods: Api<Pod> = Api::namespaced(cluster.client().clone(), cluster.root());
    let all = pods.list(&ListParams::default().labels("app.kubernetes.io/part-of=ostria")).await;
    let all = all.map_err(|error| cluster.failure(&error))?.items;
    Ok(all.into_iter().filter(|pod| is_of(pod, part) && runs(pod)).collect())
}

fn is_of(pod: &Pod, part: &str) -> bool {
    pod.labels().get("app").is_some_and(|app| is_part(app, part))
}

/// Whether this is the name of a part of the control plane, of any revision.
pub fn is_part(name: &str, part: &str) -> bool {
    name.strip_prefix(part).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

fn runs(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    phase == Some("Running") && pod.metadata.deletion_timestamp.is_none()
}

/// Asks every replica at once; fails if there is none.
pub async fn ask<T: DeserializeOwned>(
    cluster: &Cluster,
    page: &Page,
) -> Result<Vec<ReplicaResponse<T>>, Failure> {
    let pilots = replicas(cluster, PILOT).await?;
    if pilots.is_empty() {
        return Err(failure::not_installed(cluster.root(), cluster.named()));
    }
    let responses = pilots.iter().map(async |pod| {
        let pilot = pod.name_any();
        let content = ask_one(cluster, &pilot, page).await;
        ReplicaResponse { pilot, content }
    });
    Ok(join_all(responses).await)
}

/// The content of the page at each replica that responds; the others are warned of. Fails if none responds.
pub async fn ask_all<T: DeserializeOwned>(
    cluster: &Cluster,
    page: &Page,
) -> Result<Vec<(String, T)>, Failure> {
    let (mut contents, mut last) = (Vec::new(), None);
    for response in ask(cluster, page).await? {
        match response.content {
            Ok(content) => contents.push((response.pilot, content)),
            Err(failure) => {
                if let Some(before) = last.replace(failure) {
                    warn(&before);
                }
            }
        }
    }
    match last {
        Some(failure) if contents.is_empty() => Err(failure),
        Some(failure) => {
            warn(&failure);
            Ok(contents)
        }
        None => Ok(contents),
    }
}

fn warn(failure: &Failure) {
    let text = failure.to_string();
    eprintln!("Warning: {}", text.strip_prefix("error: ").unwrap_or(&text));
}

async fn ask_one<T: DeserializeOwned>(cluster: &Cluster, pilot: &str, page: &Page) -> Result<T, Failure> {
    let port = Port { namespace: cluster.root().into(), pod: pilot.into(), number: DEBUG };
    let Page { method, path, body } = page.clone();
    let bytes =
        forward::request(cluster, &port, method, &path, body).await.map_err(|error| port.failure(error))?;
    serde_json::from_slice(&bytes).map_err(|error| port.failure(forward::ForwardError::Request(error.into())))
}

/// The rows of all proxies, each with the replica that it is connected to.
pub async fn proxies(cluster: &Cluster) -> Result<Vec<Value>, Failure> {
    let lists: Vec<(String, Vec<Value>)> = ask_all(cluster, &Page::get("/debug/syncz")).await?;
    Ok(lists.into_iter().flat_map(|(pilot, rows)| rows.into_iter().map(move |row| at(row, &pilot))).collect())
}

/// The configuration that pilot holds for a pod's proxy, from the replica that the proxy is connected to.
pub async fn config_dump(cluster: &Cluster, target: &Target) -> Result<Value, Failure> {
    let Target { namespace, pod, .. } = target;
    let page = Page::get(format!("/debug/config_dump?proxyID={pod}.{namespace}"));
    let mut last = None;
    for response in ask(cluster, &page).await? {
        match response.content {
            Ok(dump) => return Ok(dump),
            // The replicas without this proxy respond that they do not know it.
            Err(failure) if failure.reason().contains("404") => {}
            Err(failure) => last = Some(failure),
        }
    }
    Err(last.unwrap_or_else(|| {
        Failure::missing(
            format!("the proxy of pod {pod} is not connected to pilot"),
            format!("look at its log with `ostria logs {pod} -n {namespace} -c istio-proxy`"),
        )
    }))
}

/// The row with the name of the replica.
fn at(mut row: Value, pilot: &str) -> Value {
    if let Some(fields) = row.as_object_mut() {
        fields.insert("pilot".into(), pilot.into());
    }
    row
}

/// The label `app` of pilot's pods.
pub const PILOT: &str = "ostria-pilot";
/// The port of the pages. Pilot serves them only to clients in its own pod.
const DEBUG: u16 = 15014;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::cluster::fake::Server;
    use serde_json::json;

    #[test]
    fn replicas_are_pods_of_all_revisions_that_run() {
        let table = [
            ("ostria-pilot", "Running", true),
            ("ostria-pilot-canary", "Running", true),
            ("ostria-pilot", "Pending", false),
            ("ostria-pilots", "Running", false),
            ("ostria-citadel", "Running", false),
        ];
        for (app, phase, expected) in table {
            let pod = json!({"metadata": {"labels": {"app": app}}, "status": {"phase": phase}});
            let pod: Pod = serde_json::from_value(pod).unwrap();
            assert_eq!(is_of(&pod, PILOT) && runs(&pod), expected, "{app} {phase}");
        }
    }

    #[tokio::test]
    async fn without_a_control_plane_the_user_learns_how_to_install_one() {
        let server = Server::default().on(PODS, 200, json!({"kind": "PodList", "metadata": {}, "items": []}));
        let failure = proxies(&server.cluster()).await.unwrap_err().to_string();
        assert!(failure.starts_with("error: no control plane runs in namespace istio-system"), "{failure}");
        assert!(failure.contains("ostria install"), "{failure}");
        let server = Server::default().on(PODS, 403, Server::refusal(403, "pods is forbidden"));
        let failure = proxies(&server.cluster()).await.unwrap_err();
        assert!(matches!(&failure, Failure::Denied { .. }), "{failure}");
    }

    #[tokio::test]
    async fn a_replica_that_may_not_be_connected_to_is_named_once_for_all() {
        let pod = json!({"metadata": {"name": "p-1", "labels": {"app": "ostria-pilot"}}, "status": {"phase": "Running"}});
        let connect = "GET /api/v1/namespaces/istio-system/pods/p-1/portforward";
        let server = Server::default()
            .on(PODS, 200, json!({"kind": "PodList", "metadata": {}, "items": [pod]}))
            .on(connect, 403, Server::refusal(403, "cannot create resource \"pods/portforward\""));
        let failure = proxies(&server.cluster()).await.unwrap_err();
        assert!(
            matches!(&failure, Failure::Denied { reason, .. } if reason.contains("pods/portforward")),
            "{failure}"
        );
    }

    const PODS: &str = "GET /api/v1/namespaces/istio-system/pods";

    #[test]
    fn each_row_names_its_replica() {
        assert_eq!(at(json!({"proxy": "a.b"}), "p-1"), json!({"proxy": "a.b", "pilot": "p-1"}));
    }
}
