//! The check of a control plane that is installed: its parts run, its certificates are valid, its webhooks respond, and the
//! pods of the mesh belong to it.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use k8s_openapi::api::admissionregistration::v1::WebhookClientConfig;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use kube::api::ListParams;
use kube::{Api, Client, Error, ResourceExt};

use crate::check::data_plane::{self, DataPlane};
use crate::check::finding::{Finding, Level};
use crate::check::owner::{labels_of, name};
use crate::check::plane::Plane;
use crate::check::selection::{Labels, is_injector, selects};
use crate::check::trust::{self, Registered};
use crate::check::{readiness, rival};
use crate::client::cluster::Cluster;
use crate::client::cluster::forward::{self, Port};
use crate::survey::handshake::{self, Server};
use crate::survey::read::{Webhooks, all, or_finding};
use crate::survey::{release, trial, unsupported};

/// The findings about one control plane at `now`, in seconds since 1970.
pub async fn control_plane(cluster: &Cluster, plane: &Plane, now: i64) -> Result<Vec<Finding>, Error> {
    let client = cluster.client();
    let labels = format!("app.kubernetes.io/part-of=ostria,istio.io/rev={}", plane.label());
    let mut findings =
        readiness::findings(&release::state(client, &plane.namespace, &labels).await?, &plane.namespace);
    let bundle = bundle(client, &plane.namespace).await?;
    findings.push(trust::roots(bundle.as_deref(), &plane.namespace, now));
    let roots = bundle.unwrap_or_default();
    let webhooks = Webhooks::read(client, &mut findings).await;
    findings.extend(trust::registrations(&registered(&webhooks, plane), &roots));
    findings.extend(trust::serving(&certificates(cluster, plane, &roots).await?, &plane.namespace, now));
    findings.extend(trial::findings(client, plane).await);
    Ok(findings)
}

/// The findings about the mesh's namespaces and pods, whichever control plane they belong to.
pub async fn mesh(client: &Client, namespace: &str, planes: &[Plane]) -> Result<Vec<Finding>, Error> {
    let mut findings = vec![];
    let namespaces = or_finding(all::<Namespace>(client).await, "namespaces", &mut findings);
    let webhooks = Webhooks::read(client, &mut findings).await;
    let pods = or_finding(all::<Pod>(client).await, "data plane", &mut findings);
    let deployments = or_finding(all::<Deployment>(client).await, "data plane", &mut findings);
    let revisions: BTreeSet<String> = deployments
        .iter()
        .filter(|one| is_control_plane(one))
        .filter_map(|one| one.labels().get(REVISION).cloned())
        .collect();
    let others = planes.iter().flat_map(|plane| rival::injectors(plane, &webhooks.mutating, &namespaces));
    findings.extend(others.filter(|finding| finding.next.is_some()));
    let selected = namespaces.iter().filter(|one| {
        let labels = labels_of(&one.metadata);
        webhooks.mutating.iter().any(|one| is_injector(one) && selects(one, &labels, &Labels::new()))
    });
    let roots = bundle(client, namespace).await?;
    let names: Vec<&str> = selected.map(|namespace| name(&namespace.metadata)).collect();
    let compared = join_all(names.iter().map(|name| bundle(client, name))).await;
    let differing: Vec<&str> = names
        .into_iter()
        .zip(compared)
        .filter(|(_, found)| found.as_ref().is_ok_and(|found| *found != roots))
        .map(|(name, _)| name)
        .collect();
    findings.extend(trust::bundles(&differing));
    findings.extend(data_plane::findings(DataPlane {
        namespaces: &namespaces,
        pods: &pods,
        configurations: &webhooks.mutating,
        revisions: &revisions,
    }));
    // Istio's own proxies, if there are any, enforce what ours do not.
    let has_istio = deployments.iter().any(is_of_istio);
    let policies = if has_istio { Level::Warning } else { Level::Error };
    findings.extend(unsupported::findings(client, policies).await);
    Ok(findings)
}

/// Whether a Deployment configures proxies: a pilot, or Istio's istiod.
fn is_control_plane(deployment: &Deployment) -> bool {
    let app = deployment.labels().get("app").map_or("", String::as_str);
    app.starts_with("ostria-pilot") || is_of_istio(deployment)
}

fn is_of_istio(deployment: &Deployment) -> bool {
    deployment.labels().get("app").is_some_and(|app| app == "istiod")
}

/// The trust bundle of a namespace, in PEM.
async fn bundle(client: &Client, namespace: &str) -> Result<Option<String>, Error> {
    let map = Api::<ConfigMap>::namespaced(client.clone(), namespace).get_opt("istio-ca-root-cert").await?;
    Ok(map.and_then(|map| map.data?.remove("root-cert.pem")))
}

/// The webhooks of a control plane.
fn registered(webhooks: &Webhooks, plane: &Plane) -> Vec<Registered> {
    let one = |name: &str, config: &WebhookClientConfig, policy: &Option<String>| Registered {
        name: name.to_owned(),
        bundle: config.ca_bundle.clone().map(|bundle| bundle.0).unwrap_or_default(),
        failure_policy: policy.clone().unwrap_or_default(),
    };
    let (injector, validator) = (plane.injector(), plane.validator());
    let mutating = webhooks.mutating.iter().filter(|found| name(&found.metadata) == injector);
    let mutating = mutating.flat_map(|found| found.webhooks.iter().flatten());
    let validating = webhooks.validating.iter().filter(|found| name(&found.metadata) == validator);
    let validating = validating.flat_map(|found| found.webhooks.iter().flatten());
    mutating
        .map(|webhook| one(&webhook.name, &webhook.client_config, &webhook.failure_policy))
        .chain(validating.map(|webhook| one(&webhook.name, &webhook.client_config, &webhook.failure_policy)))
        .collect()
}

/// The certificates that the servers of a control plane present, one pod of each.
async fn certificates(cluster: &Cluster, plane: &Plane, roots: &str) -> Result<Vec<trust::Served>, Error> {
    let pods = Api::<Pod>::namespaced(cluster.client().clone(), &plane.namespace);
    let pods = pods.list(&ListParams::default().labels("app.kubernetes.io/part-of=ostria")).await?.items;
    let suffix = plane.suffix();
    let servers = SERVERS.iter().filter_map(|(app, port)| {
        let app = format!("{app}{suffix}");
        let is_ready = |pod: &&Pod| pod.labels().get("app") == Some(&app) && is_ready(pod);
        let pod = pods.iter().find(is_ready)?.name_any();
        Some(Server { app, pod, port: *port })
    });
    let connect = |server: Server| async move {
        let port = Port { namespace: plane.namespace.clone(), pod: server.pod.clone(), number: server.port };
        match forward::connect(cluster, &port).await {
            Ok(forwarded) => handshake::with(forwarded.stream, &server, &plane.namespace, roots).await,
            Err(failure) => {
                let text = failure.to_string();
                let reason = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
                trust::Served { server: format!("{}:{}", server.app, server.port), end: Err(reason) }
            }
        }
    };
    Ok(join_all(servers.map(connect)).await)
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|one| one.type_ == "Ready" && one.status == "True")
}

const REVISION: &str = "istio.io/rev";
/// The ports that present certificates, by the label `app` of their pods.
const SERVERS: [(&str, u16); 4] =
    [("ostria-pilot", 15012), ("ostria-pilot", 15017), ("ostria-injector", 15017), ("ostria-citadel", 8060)];
