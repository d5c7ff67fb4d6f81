//! Tries the webhooks as the API server calls them, by dry runs: an invalid object must be refused, and a pod must get a
//! sidecar. Nothing is stored.

use k8s_openapi::api::core::v1::Pod;
use kube::api::PostParams;
use kube::{Api, Client, Error};
use kubernetes::client::reason;
use kubernetes::registration::trial;
use serde_json::json;

use crate::check::finding::Finding;
use crate::check::plane::Plane;

/// The findings of both trials.
pub(super) async fn findings(client: &Client, plane: &Plane) -> Vec<Finding> {
    let suffix = plane.suffix();
    let validation = match trial::validation(&plane.namespace, &plane.revision).run(client).await {
        Ok(()) => Finding::ok(VALIDATION, "the API server refuses an invalid object by pilot's webhook"),
        Err(reason) => Finding::error(
            VALIDATION,
            reason,
            format!("kubectl -n {} logs deployment/ostria-pilot{suffix}", plane.namespace),
        ),
    };
    let injection = match injected(client, plane).await {
        Ok(text) => Finding::ok(INJECTION, text),
        Err(reason) => Finding::error(
            INJECTION,
            reason,
            format!("kubectl -n {} logs deployment/ostria-injector{suffix}", plane.namespace),
        ),
    };
    vec![validation, injection]
}

/// Creates a pod as a dry run, and returns the finding about its injection.
async fn injected(client: &Client, plane: &Plane) -> Result<&'static str, String> {
    let pod: Pod = serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "ostria-check", "labels": plane.pod_labels()},
        "spec": {"containers": [{"name": "app", "image": "ostria-check"}]},
    }))
    .expect("the pod is well-formed");
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let created = Api::<Pod>::namespaced(client.clone(), &plane.namespace).create(&dry, &pod).await;
    match created {
        Ok(created) if has_sidecar(&created) => Ok("a pod gets a sidecar"),
        Ok(_) => Err("a pod that asks for a sidecar gets none".to_owned()),
        // The namespace does not allow sidecars, and only a pod with one needs the capability.
        Err(Error::Api(status)) if status.message.contains("NET_ADMIN") => {
            Ok("a pod gets a sidecar; Pod Security of this namespace then refuses it")
        }
        Err(error) => Err(format!("a pod is refused: {}", reason(&error))),
    }
}

fn has_sidecar(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    spec.containers.iter().chain(spec.init_containers.iter().flatten()).any(|one| one.name == "istio-proxy")
}

const VALIDATION: &str = "validation";
const INJECTION: &str = "injection";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::finding::Level;
    use crate::survey::fake;
    use serde_json::Value;

    /// The levels of both findings, given how the API server responds to the invalid object and to the pod.
    async fn levels(
        gateway: fn(&Value) -> (u16, Value),
        pod: fn(&Value) -> (u16, Value),
        revision: &str,
    ) -> Vec<Level> {
        let client = fake::client(move |_, path, body| match path.rsplit('/').next() {
            Some("gateways") => gateway(body),
            Some("pods") => pod(body),
            other => panic!("{other:?}"),
        });
        let plane = Plane { namespace: "mesh".into(), revision: revision.into(), tags: vec![] };
        findings(&client, &plane).await.into_iter().map(|finding| finding.level).collect()
    }

    fn accepted(object: &Value) -> (u16, Value) {
        (201, object.clone())
    }

    fn refused(object: &Value) -> (u16, Value) {
        let name = object["metadata"]["name"].as_str().unwrap();
        let protocol = object["spec"]["servers"][0]["port"]["protocol"].as_str().unwrap();
        let reason = format!("{name}: spec.servers[0].port.protocol: {protocol} is not supported");
        fake::refusal(422, &format!("admission webhook denied the request: {reason}"))
    }

    fn injected(pod: &Value) -> (u16, Value) {
        assert_eq!(pod["metadata"]["labels"], json!({"istio.io/rev": "canary"}));
        let mut pod = pod.clone();
        pod["spec"]["initContainers"] = json!([{"name": "istio-proxy"}]);
        (201, pod)
    }

    #[tokio::test]
    async fn webhooks_that_answer_are_in_order_and_others_are_errors() {
        assert_eq!(levels(refused, injected, "canary").await, [Level::Ok, Level::Ok]);
        assert_eq!(levels(accepted, accepted, "").await, [Level::Error, Level::Error]);
        let restricted = |_: &Value| fake::refusal(403, "the sidecar needs NET_ADMIN");
        let down = |_: &Value| fake::refusal(500, "failed calling webhook");
        assert_eq!(levels(down, restricted, "").await, [Level::Error, Level::Ok]);
    }
}
