//! Finds the pod and the container that a command line names: `NAME`, or `TYPE/NAME` of a workload or service, of which one
//! pod is chosen.

use api::resource::kind;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::ListParams;
use kube::core::Selector;
use kube::{Api, Error};
use serde_json::Value;

use crate::client::cluster::Cluster;
use crate::client::cluster::forward::{self, Port};
use crate::client::cluster::object::api;
use crate::failure::Failure;
use crate::manifest::object::{PROXY, containers, default_container, text};
use crate::wire::{ProxyQuery, Target};

/// A pod and one of its containers.
pub async fn find(cluster: &Cluster, target: &Target) -> Result<Target, Failure> {
    let pod = object(cluster, target).await?;
    let name = text(&pod, "/metadata/name");
    let has = containers(&pod);
    let container = match &target.container {
        Some(wanted) if !has.contains(&wanted.as_str()) => {
            return Err(Failure::missing(
                format!("container {wanted} is not valid for pod {name}"),
                format!("name one of {} with -c", has.join(", ")),
            ));
        }
        Some(wanted) => Some(wanted.clone()),
        None => default_container(&pod),
    };
    Ok(Target { namespace: target.namespace.clone(), pod: name.into(), container })
}

/// The pod of a proxy.
pub async fn with_proxy(cluster: &Cluster, target: &Target) -> Result<Target, Failure> {
    let pod = object(cluster, &Target { container: None, ..target.clone() }).await?;
    let name = text(&pod, "/metadata/name").to_string();
    if !containers(&pod).contains(&PROXY) {
        return Err(Failure::missing(
            format!("pod {name} has no proxy"),
            "pods get one when they are created in a namespace with the label istio-injection=enabled: label it, and \
             restart the workload",
        ));
    }
    Ok(Target { namespace: target.namespace.clone(), pod: name, container: Some(PROXY.into()) })
}

/// Sends a request to the admin interface of a pod's proxy.
pub async fn ask_proxy(cluster: &Cluster, query: &ProxyQuery) -> Result<bytes::Bytes, Failure> {
    let Target { namespace, pod, .. } = with_proxy(cluster, &query.target).await?;
    let port = Port { namespace, pod, number: ADMIN };
    let method = if query.post { http::Method::POST } else { http::Method::GET };
    let response = forward::request(cluster, &port, method, &query.page, Vec::new()).await;
    response.map_err(|error| port.failure(error))
}

async fn object(cluster: &Cluster, target: &Target) -> Result<Value, Failure> {
    let pods: Api<Pod> = Api::namespaced(cluster.client().clone(), &target.namespace);
    let plain = |pod: &Pod| serde_json::to_value(pod).expect("objects are plain data");
    let name = match target.pod.split_once('/') {
        None => target.pod.as_str(),
        Some((word, name)) => match kind::named(word) {
            Some(kind) if kind.kind == "Pod" => name,
            _ => {
                let labels = labels(cluster, target, word, name).await?;
                let found = pods.list(&ListParams::default().labels_from(&labels)).await;
                let found = found.map_err(|error| cluster.failure(&error))?;
                return choose(found.items.iter().map(plain).collect()).ok_or_else(|| {
                    let reason = format!("{word}/{name} has no pod in namespace {}", target.namespace);
                    Failure::missing(reason, format!("look at it with `ostria describe {word}/{name}`"))
                });
            }
        },
    };
    match pods.get(name).await {
        Ok(pod) => Ok(plain(&pod)),
        Err(Error::Api(status)) if status.code == 404 => Err(Failure::missing(
            format!("pods \"{name}\" not found in namespace {}", target.namespace),
            "see what is there with `ostria get pods -A`; name another namespace with -n",
        )),
        Err(error) => Err(cluster.failure(&error)),
    }
}

/// The labels by which an object selects its pods.
async fn labels(cluster: &Cluster, target: &Target, word: &str, name: &str) -> Result<Selector, Failure> {
    let no_pods = || {
        let reason = format!("\"{word}\" is no type of object that has pods");
        Failure::missing(reason, "name a pod, or deployment/NAME, statefulset/NAME, job/NAME or service/NAME")
    };
    let kind = kind::named(word).ok_or_else(no_pods)?;
    let object = api(cluster, kind, Some(&target.namespace)).get(name).await;
    let object = object.map_err(|error| cluster.failure(&error))?;
    let selector = object.data.pointer("/spec/selector").cloned().unwrap_or_default();
    let selector =
        if kind.kind == "Service" { serde_json::json!({"matchLabels": selector}) } else { selector };
    let selector: LabelSelector = serde_json::from_value(selector).map_err(|_| no_pods())?;
    let selector = Selector::try_from(selector).map_err(|_| no_pods())?;
    if selector.to_string().is_empty() { Err(no_pods()) } else { Ok(selector) }
}

/// The preferred pod: running before ending, then ready before not ready, then the newest.
fn choose(mut pods: Vec<Value>) -> Option<Value> {
    let is_ready = |pod: &Value| {
        let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
        conditions.into_iter().flatten().any(|one| one["type"] == "Ready" && one["status"] == "True")
    };
    let leaves = |pod: &Value| !text(pod, "/metadata/deletionTimestamp").is_empty();
    pods.sort_by_cached_key(|pod| {
        let born = text(pod, "/metadata/creationTimestamp").to_string();
        (leaves(pod), !is_ready(pod), std::cmp::Reverse(born))
    });
    pods.into_iter().next()
}

/// The port of a proxy's admin interface.
const ADMIN: u16 = 15000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::cluster::fake::Server;
    use serde_json::json;

    #[tokio::test]
    async fn a_workload_stands_for_a_pod_that_it_selects() {
        let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
            "spec": {"selector": {"matchLabels": {"app": "web"}}}});
        let pod = json!({"metadata": {"name": "web-1"}, "spec": {"containers": [{"name": PROXY}, {"name": "app"}]}});
        let server =
            Server::default().on("GET /apis/apps/v1/namespaces/shop/deployments/web", 200, deployment).on(
                "GET /api/v1/namespaces/shop/pods",
                200,
                json!({"kind": "PodList", "metadata": {}, "items": [pod]}),
            );
        let target = |pod: &str, container: Option<&str>| Target {
            namespace: "shop".into(),
            pod: pod.into(),
            container: container.map(str::to_string),
        };
        let found = find(&server.cluster(), &target("deploy/web", None)).await.unwrap();
        assert_eq!((found.pod.as_str(), found.container.as_deref()), ("web-1", Some("app")));
        assert!(server.asked().last().unwrap().contains("labelSelector=app%3Dweb"), "{:?}", server.asked());
        let failure =
            find(&server.cluster(), &target("deploy/web", Some("x"))).await.unwrap_err().to_string();
        assert!(failure.contains("name one of istio-proxy, app with -c"), "{failure}");
        for (wanted, part) in
            [("web", "pods \"web\" not found"), ("cm/web", "not found"), ("hat/web", "no type of object")]
        {
            let failure = find(&server.cluster(), &target(wanted, None)).await.unwrap_err().to_string();
            assert!(failure.contains(part), "{failure}");
        }
    }

    #[test]
    fn a_ready_pod_that_stays_is_chosen() {
        let pod = |name: &str, ready: bool, leaves: bool, born: &str| {
            let status = if ready { "True" } else { "False" };
            let mut pod = json!({"metadata": {"name": name, "creationTimestamp": born},
                "status": {"conditions": [{"type": "Ready", "status": status}]}});
            if leaves {
                pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
            }
            pod
        };
        let chosen = |pods: Vec<Value>| choose(pods).map(|pod| text(&pod, "/metadata/name").to_string());
        let (leaving, unready) = (pod("leaving", true, true, "4"), pod("unready", false, false, "3"));
        let (old, new) = (pod("old", true, false, "1"), pod("new", true, false, "2"));
        let all = vec![leaving.clone(), unready.clone(), old, new];
        assert_eq!(chosen(all).as_deref(), Some("new"));
        assert_eq!(chosen(vec![leaving.clone(), unready]).as_deref(), Some("unready"));
        assert_eq!(chosen(vec![leaving]).as_deref(), Some("leaving"));
        assert_eq!(chosen(vec![]), None);
    }
}
