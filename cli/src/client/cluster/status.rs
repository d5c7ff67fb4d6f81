//! The state of the mesh in a cluster: its pods, its proxies, its control plane and their versions.

use api::resource::document::Problem;
use api::resource::kind;
use futures_util::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use serde::Deserialize;
use serde_json::Value;

use crate::client::cluster::Cluster;
use crate::client::cluster::forward::{self, Port};
use crate::client::cluster::pilot::{self, Page};
use crate::failure::Failure;
use crate::manifest::object::{PROXY, containers, text};
use crate::wire::{ControlLine, PodLine, Status};

/// Pods with proxies, of one namespace or of all, with pilot's state of these proxies.
pub async fn status(cluster: &Cluster, namespace: Option<&str>, now: i64) -> Result<Status, Failure> {
    let client = cluster.client().clone();
    let api: Api<Pod> =
        namespace.map_or_else(|| Api::all(client.clone()), |name| Api::namespaced(client.clone(), name));
    let none = ListParams::default();
    let (streams, configuration) = (Page::get("/debug/connections"), Page::get("/debug/configz"));
    let (pods, proxies, connections, objects, control) = tokio::join!(
        api.list(&none),
        pilot::proxies(cluster),
        pilot::ask_all::<Connections>(cluster, &streams),
        pilot::ask_all::<Objects>(cluster, &configuration),
        control(cluster),
    );
    let pods = pods.map_err(|error| cluster.failure(&error))?;
    let identities: Vec<Client> =
        connections?.into_iter().flat_map(|(_, connections)| connections.clients).collect();
    let plain = |pod: &Pod| serde_json::to_value(pod).expect("objects are plain data");
    let lines = pods.items.iter().map(plain).filter(|pod| containers(pod).contains(&PROXY));
    let mut pods: Vec<PodLine> = lines.map(|pod| line(&pod, &identities, now)).collect();
    pods.sort_by(|one, other| (&one.namespace, &one.name).cmp(&(&other.namespace, &other.name)));
    let (mut refused, mut warnings) = (Vec::new(), Vec::new());
    for (_, objects) in objects? {
        add(&mut refused, objects.refused);
        add(&mut warnings, objects.warnings);
    }
    Ok(Status { pods, proxies: proxies?.into(), refused, warnings, control: control?, ..Status::default() })
}

/// Adds what another replica has said: all of them read the same objects.
fn add(all: &mut Vec<Problem>, more: Vec<Problem>) {
    for mut problem in more {
        // Replicas may have read different versions.
        problem.file.clear();
        if !all.contains(&problem) {
            all.push(problem);
        }
    }
}

/// Pilot's page of open streams.
#[derive(Deserialize)]
struct Connections {
    clients: Vec<Client>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Client {
    /// The proxy's node id.
    connection_id: String,
    #[serde(default)]
    identity: Option<String>,
}

/// Pilot's page of objects.
#[derive(Deserialize)]
struct Objects {
    #[serde(default)]
    refused: Vec<Problem>,
    warnings: Vec<Problem>,
}

/// The row of a pod. The identity is the one with which its proxy is connected.
fn line(pod: &Value, clients: &[Client], now: i64) -> PodLine {
    let (namespace, name) = (text(pod, "/metadata/namespace"), text(pod, "/metadata/name"));
    let full = format!("{name}.{namespace}");
    let client = clients.iter().find(|client| client.connection_id.split('~').nth(2) == Some(&full));
    let account = match text(pod, "/spec/serviceAccountName") {
        "" => "default",
        given => given,
    };
    let cell = |name: &str| {
        let columns = kind::named("pods").map(|kind| kind.columns).unwrap_or_default();
        columns
            .iter()
            .find(|column| column.name == name)
            .map(|column| column.cell(pod, now))
            .unwrap_or_default()
    };
    let address = text(pod, "/status/podIP");
    PodLine {
        namespace: namespace.into(),
        name: name.into(),
        identity: client
            .and_then(|client| client.identity.clone())
            .unwrap_or_else(|| format!("ns/{namespace}/sa/{account}")),
        address: if address.is_empty() { "-".into() } else { address.into() },
        ready: cell("READY"),
        status: cell("STATUS"),
        restarts: cell("RESTARTS").split(' ').next().and_then(|count| count.parse().ok()).unwrap_or_default(),
    }
}

/// The pods of the control plane, with the versions that they report.
pub async fn control(cluster: &Cluster) -> Result<Vec<ControlLine>, Failure> {
    let lists = join_all(PARTS.map(|part| pilot::replicas(cluster, part))).await;
    let pods: Vec<Pod> = lists.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
    let lines = pods.iter().map(async |pod| {
        let port = Port { namespace: cluster.root().into(), pod: pod.name_any(), number: HTTP };
        let page = forward::request(cluster, &port, http::Method::GET, "/version", Vec::new()).await;
        let build = page.ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok());
        ControlLine {
            component: pod.labels().get("app").cloned().unwrap_or_default(),
            pod: pod.name_any(),
            version: build.map(|build| text(&build, "/version").to_string()).unwrap_or_default(),
        }
    });
    Ok(join_all(lines).await)
}

const PARTS: [&str; 3] = [pilot::PILOT, "ostria-citadel", "ostria-injector"];
/// The port where each part serves its version.
const HTTP: u16 = 15014;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_row_has_what_kubectl_shows_and_the_identity_of_the_stream() {
        let pod = json!({"metadata": {"name": "web", "namespace": "shop"}, "spec": {"containers": [{"name": "app"}]},
            "status": {"phase": "Running", "podIP": "10.0.0.1",
                "containerStatuses": [{"name": "app", "ready": true, "restartCount": 2, "state": {"running": {}}}]}});
        let client = |id: &str| Client { connection_id: id.into(), identity: Some("spiffe://x".into()) };
        let connected = line(&pod, &[client("sidecar~10.0.0.1~web.shop~x")], 0);
        assert_eq!((connected.identity.as_str(), connected.address.as_str()), ("spiffe://x", "10.0.0.1"));
        assert_eq!(
            (connected.ready.as_str(), connected.status.as_str(), connected.restarts),
            ("1/1", "Running", 2)
        );
        assert_eq!(line(&pod, &[client("sidecar~10.0.0.1~web.other~x")], 0).identity, "ns/shop/sa/default");
    }
}
