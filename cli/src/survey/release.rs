//! Finds the control planes of a namespace, and waits for their Deployments.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client, Error};

use crate::check::owner::{self, labels_of};
use crate::check::readiness::{Progress, progress};

/// A control plane that is installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// Its revision; empty for the one without.
    pub revision: String,
    /// The Helm release, if Helm installed it.
    pub release: Option<String>,
    /// The version of its chart.
    pub version: String,
}

/// The control planes of a namespace, by the Deployments of their pilots.
pub async fn installed(client: &Client, namespace: &str) -> Result<Vec<Installed>, Error> {
    Ok(planes(&deployments(client, namespace).await?))
}

/// The control planes that Deployments belong to.
fn planes(deployments: &[Deployment]) -> Vec<Installed> {
    let mut planes = BTreeMap::new();
    for deployment in deployments {
        let labels = labels_of(&deployment.metadata);
        let label = |key: &str| labels.get(key).map_or("", String::as_str);
        if !label("app").starts_with("ostria-pilot") {
            continue;
        }
        let revision = match label(REVISION) {
            "default" => String::new(),
            other => other.to_owned(),
        };
        let release = owner::release(&deployment.metadata).map(|(name, _)| name.to_owned());
        let version = label("app.kubernetes.io/version").to_owned();
        planes.insert(revision.clone(), Installed { revision, release, version });
    }
    planes.into_values().collect()
}

/// The progress of the Deployments with these labels, as in a selector.
pub async fn state(client: &Client, namespace: &str, labels: &str) -> Result<Vec<Progress>, Error> {
    let params = ListParams::default().labels(labels);
    let deployments = Api::<Deployment>::namespaced(client.clone(), namespace).list(&params).await?.items;
    let pods = Api::<Pod>::namespaced(client.clone(), namespace).list(&ListParams::default()).await?.items;
    Ok(deployments.iter().map(|deployment| progress(deployment, &pods)).collect())
}

/// Waits until all Deployments with these labels are complete, and reports each change. Returns their progress when they
/// are complete or the time is over.
pub async fn wait(
    client: &Client,
    (namespace, labels): (&str, &str),
    patience: Duration,
    tell: impl Fn(&Progress),
) -> Result<Vec<Progress>, Error> {
    let end = tokio::time::Instant::now() + patience;
    let mut reported: BTreeMap<String, Progress> = BTreeMap::new();
    loop {
        let now = state(client, namespace, labels).await?;
        for one in &now {
            if reported.get(&one.name) != Some(one) {
                tell(one);
                reported.insert(one.name.clone(), one.clone());
            }
        }
        let is_complete = !now.is_empty() && now.iter().all(|one| one.is_complete);
        if is_complete || tokio::time::Instant::now() >= end {
            return Ok(now);
        }
        tokio::time::sleep(BETWEEN).await;
    }
}

async fn deployments(client: &Client, namespace: &str) -> Result<Vec<Deployment>, Error> {
    let params = ListParams::default().labels(OURS);
    Ok(Api::<Deployment>::namespaced(client.clone(), namespace).list(&params).await?.items)
}

const OURS: &str = "app.kubernetes.io/part-of=ostria";
const REVISION: &str = "istio.io/rev";
const BETWEEN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_pilot_is_a_control_plane_with_its_release() {
        let deployment = |app: &str, revision: &str, release: Option<&str>| -> Deployment {
            let labels = json!({"app": app, "istio.io/rev": revision, "app.kubernetes.io/version": "0.1.0"});
            let annotations = match release {
                Some(release) => json!({"meta.helm.sh/release-name": release}),
                None => json!({}),
            };
            serde_json::from_value(json!({"metadata": {"labels": labels, "annotations": annotations}}))
                .unwrap()
        };
        let all = [
            deployment("ostria-pilot-canary", "canary", Some("next")),
            deployment("ostria-pilot", "default", None),
            deployment("ostria-citadel", "default", Some("other")),
        ];
        let one = |revision: &str, release: Option<&str>| Installed {
            revision: revision.into(),
            release: release.map(str::to_owned),
            version: "0.1.0".into(),
        };
        assert_eq!(planes(&all), [one("", None), one("canary", Some("next"))]);
    }
}
