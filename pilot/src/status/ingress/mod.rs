//! Writes the gateway's addresses to the `status` of the Ingresses that it serves, as `kubectl get ingress` shows them.
//!
//! One replica writes, of the revision that an Ingress belongs to (`replica::Claims`), only what differs, and never against
//! Istio, which writes the same field: what another component has written over our value is left alone.

use crate::catalog::Catalog;
use crate::catalog::ingress::Ingress;
use crate::catalog::kind::Item;
use crate::catalog::visibility::{Origin, selects};
use crate::replica::{Claims, Replicas};
use crate::snapshot::Snapshot;
use api::resource::document::Key;
use api::resource::kind::Kind;
use k8s_openapi::api::networking::v1 as networking;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, Error};
use kubernetes::leader;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Writes while `leads` is true, until `drain` is cancelled.
pub async fn keep(
    client: Client,
    (snapshots, replicas): (watch::Receiver<Arc<Snapshot>>, Replicas),
    leads: watch::Receiver<bool>,
    drain: CancellationToken,
) {
    let work = leader::in_each_term(leads, || async {
        // Another replica may have written meanwhile, so a new leader reads each status again.
        let mut writer =
            Writer { client: client.clone(), replicas: replicas.clone(), written: BTreeMap::new() };
        writer.run(snapshots.clone()).await;
    });
    drain.run_until_cancelled(work).await;
}

struct Writer {
    client: Client,
    replicas: Replicas,
    /// What was written in this term.
    written: Written,
}

/// What was written, by Ingress: its uid, and the addresses.
type Written = BTreeMap<Key, (Box<str>, Vec<String>)>;

impl Writer {
    /// Ends when there are no further snapshots.
    async fn run(&mut self, mut snapshots: watch::Receiver<Arc<Snapshot>>) {
        let mut pause = BETWEEN_LOOKS;
        loop {
            let catalog = snapshots.borrow_and_update().catalog.clone();
            match self.write_all(&catalog).await {
                Ok(()) => pause = BETWEEN_LOOKS,
                Err(reason) => {
                    tracing::warn!(reason, "the addresses of an Ingress cannot be written; trying again");
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    tokio::time::sleep(pause).await;
                    continue;
                }
            }
            tokio::time::sleep(pause).await;
            if snapshots.changed().await.is_err() {
                return;
            }
        }
    }

    async fn write_all(&mut self, catalog: &Catalog) -> Result<(), String> {
        self.written.retain(|key, _| catalog.item(key).is_some());
        for (origin, addresses) in due(catalog, &self.replicas.claims(), &self.written) {
            let key = origin.key();
            self.write(&key, &addresses).await?;
            self.written.insert(key, (origin.uid.clone(), addresses));
            tokio::time::sleep(BETWEEN_WRITES).await;
        }
        Ok(())
    }

    async fn write(&self, key: &Key, addresses: &[String]) -> Result<(), String> {
        let api: Api<networking::Ingress> = Api::namespaced(self.client.clone(), &key.namespace);
        let body = Patch::Apply(body(key, addresses));
        let params = PatchParams::apply(super::MANAGER);
        let result = match api.patch_status(&key.name, &params, &body).await {
            // The controller of the class that the Ingress had before does not write any more.
            Err(Error::Api(status)) if status.code == 409 && !is_of_istio(&status.message) => {
                api.patch_status(&key.name, &params.force(), &body).await
            }
            other => other,
        };
        match result {
            Ok(_) => Ok(()),
            Err(Error::Api(status)) if matches!(status.code, 404 | 409) => {
                tracing::debug!(ingress = %key, reason = status.message, "its status is left alone");
                Ok(())
            }
            Err(error) => Err(format!("{key}: {error}")),
        }
    }
}

/// The Ingresses whose status is to be written, with the addresses. `written` is what was written before: it is not written
/// again after another component has replaced it, and taken back when the Ingress is served no more.
fn due(catalog: &Catalog, claims: &Claims, written: &Written) -> Vec<(Origin, Vec<String>)> {
    let ingresses = catalog.list::<Ingress>();
    if ingresses.iter().next().is_none() {
        return vec![];
    }
    let addresses = addresses(catalog);
    let own = ingresses.iter().filter(|one| claims.includes(&one.revision, &one.origin.namespace));
    let wanted = own.filter_map(|ingress| {
        let origin = &ingress.origin;
        let before = written.get(&origin.key()).filter(|(uid, _)| *uid == origin.uid);
        let wanted = match (catalog.serves_ingress(ingress), before) {
            (true, _) => addresses.clone(),
            (false, Some(_)) => vec![],
            (false, None) => return None,
        };
        let replaced =
            before.is_some_and(|(_, addresses)| *addresses == wanted) && !ingress.addresses.is_empty();
        (wanted != ingress.addresses && !replaced).then(|| (origin.clone(), wanted))
    });
    wanted.collect()
}

/// The addresses of the gateway, sorted: those of its Service, or without one those of its pods' nodes.
fn addresses(catalog: &Catalog) -> Vec<String> {
    let mesh = catalog.mesh();
    let found: BTreeSet<String> = match &mesh.ingress.service {
        Some(name) => match catalog.item(&Key::new(Kind::Service, &mesh.root_namespace, name)) {
            Some(Item::Service(service)) => service.outside.iter().cloned().collect(),
            _ => BTreeSet::new(),
        },
        None => {
            let serves = |labels| selects(&mesh.ingress.selector, labels);
            let pods = catalog.workloads_in(&mesh.root_namespace);
            let nodes = pods.filter(|pod| pod.ready && serves(&pod.labels)).filter_map(|pod| {
                match catalog.item(&Key::new(Kind::Node, "", &pod.node)) {
                    Some(Item::Node(node)) => Some(node.addresses.clone()),
                    _ => None,
                }
            });
            nodes.flatten().collect()
        }
    };
    found.into_iter().collect()
}

/// What is applied. Without addresses, the field is given up.
fn body(key: &Key, addresses: &[String]) -> Value {
    let one = |address: &String| match address.parse::<IpAddr>() {
        Ok(_) => json!({"ip": address}),
        Err(_) => json!({"hostname": address}),
    };
    let status = match addresses {
        [] => json!({}),
        addresses => {
            json!({"loadBalancer": {"ingress": addresses.iter().map(one).collect::<Vec<_>>()}})
        }
    };
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": key.name, "namespace": key.namespace},
        "status": status,
    })
}

/// Whether a conflict names Istio's control plane as the field's owner.
fn is_of_istio(conflict: &str) -> bool {
    conflict.contains("pilot-discovery")
}

const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
const BETWEEN_WRITES: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
