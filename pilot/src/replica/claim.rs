//! Pure. Which revision writes the status of an object, so that several revisions in a cluster, or one beside Istio, do not
//! write over each other.
//!
//! An object belongs to the revision that its label `istio.io/rev` names, else to the one that its namespace chooses for
//! injection, else to the default revision. If no control plane in the cluster has that name, the default revision writes,
//! or without it the first one by name. Nothing is written to what belongs to Istio.

use super::find;
use crate::catalog::Catalog;
use crate::catalog::service::Registry;
use crate::catalog::visibility::Labels;
use crate::revision::{DEFAULT, ISTIOD, Revision, in_name};
use api::resource::verdict::REVISION;
use std::collections::{BTreeMap, BTreeSet};

/// The control planes of a cluster, and what its namespaces say about them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    own: Revision,
    /// The revisions of pilot that have a pod.
    pilots: BTreeSet<String>,
    /// Tags of the other revisions.
    tags: BTreeSet<String>,
    /// The revisions of Istio's control plane that have a Service.
    istiods: BTreeSet<String>,
    /// The revision that each namespace chooses, of those that choose one.
    namespaces: BTreeMap<String, String>,
}

impl Claims {
    /// What the catalog says. `names` are the revisions and tags that other replicas have named.
    pub(super) fn new(catalog: &Catalog, root: &str, own: &Revision, names: BTreeSet<String>) -> Self {
        let accounts = catalog.workloads_in(root).map(|pod| &pod.service_account);
        let istiods = catalog.services().filter(|service| service.registry == Registry::Kubernetes);
        let namespaces =
            catalog.namespaces().filter_map(|(name, labels)| Some((name.clone(), chosen(labels)?)));
        Self {
            own: own.clone(),
            pilots: accounts.filter_map(|account| in_name(account, find::NAME)).map(str::to_owned).collect(),
            tags: names,
            istiods: istiods
                .filter_map(|service| in_name(&service.name, ISTIOD))
                .map(str::to_owned)
                .collect(),
            namespaces: namespaces.collect(),
        }
    }

    /// Whether the own revision writes the status of an object of this namespace with this value of `istio.io/rev`, which is
    /// empty if it has none.
    pub fn includes(&self, label: &str, namespace: &str) -> bool {
        let chosen = || self.namespaces.get(namespace).map_or(DEFAULT, String::as_str);
        let owner = if label.is_empty() { chosen() } else { label };
        if self.own.names().any(|name| name == owner) {
            return true;
        }
        let taken = [&self.pilots, &self.tags, &self.istiods].iter().any(|names| names.contains(owner));
        let rank = |name: &str| (name != DEFAULT, name.to_owned());
        let own = rank(self.own.name());
        !taken && self.pilots.iter().all(|other| own <= rank(other))
    }
}

/// The revision that a namespace chooses; `istio-injection` takes precedence, as for injection.
fn chosen(labels: &Labels) -> Option<String> {
    let revision = labels.get(REVISION).filter(|_| !labels.contains_key(INJECTION));
    revision.cloned()
}

const INJECTION: &str = "istio-injection";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::tests::catalog;

    fn pilot(revision: &str) -> String {
        format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: p{revision}, namespace: istio-system}}\n\
             spec: {{serviceAccountName: ostria-pilot{revision}, containers: [{{name: pilot}}]}}\n\
             status: {{podIP: 10.1.0.{}, phase: Running}}\n",
            revision.len() + 1
        )
    }

    fn istiod(revision: &str) -> String {
        format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: istiod{revision}, namespace: mesh}}\n\
             spec: {{clusterIP: 10.0.0.1, ports: [{{port: 15012, name: grpc-xds}}]}}\n"
        )
    }

    const NAMESPACES: &str = "
---
apiVersion: v1
kind: Namespace
metadata: {name: plain}
---
apiVersion: v1
kind: Namespace
metadata: {name: enabled, labels: {istio-injection: enabled, istio.io/rev: canary}}
---
apiVersion: v1
kind: Namespace
metadata: {name: canary, labels: {istio.io/rev: canary}}
---
apiVersion: v1
kind: Namespace
metadata: {name: stable, labels: {istio.io/rev: stable}}
---
apiVersion: v1
kind: Namespace
metadata: {name: gone, labels: {istio.io/rev: gone}}
";

    /// Objects, as `label/namespace`.
    const ALL: [&str; 8] = [
        "/plain",
        "/enabled",
        "/canary",
        "/stable",
        "/gone",
        "canary/plain",
        "stable/plain",
        "default/canary",
    ];

    /// What each of the revisions writes, as `label/namespace`, if `stable` is a tag of `canary`.
    fn check(cluster: &[String], revisions: &[(&str, &[&str])]) {
        let text = [&[NAMESPACES.to_owned()], cluster].concat().concat();
        let catalog = catalog(&text);
        let tags = |name: &str| if name == "canary" { vec!["stable".to_owned()] } else { vec![] };
        for (name, expected) in revisions {
            let own = Revision::new(name, &tags(name));
            let others = revisions.iter().map(|(other, _)| Revision::new(other, &tags(other)));
            let others = others.filter(|other| *other != own);
            let names =
                others.flat_map(|other| other.names().map(str::to_owned).collect::<Vec<_>>()).collect();
            let claims = Claims::new(&catalog, "istio-system", &own, names);
            let found = ALL.into_iter().filter(|one| {
                let (label, namespace) = one.split_once('/').unwrap();
                claims.includes(label, namespace)
            });
            assert_eq!(found.collect::<Vec<_>>(), *expected, "{name} of {cluster:?}");
        }
    }

    #[test]
    fn each_object_has_one_writer_among_the_revisions() {
        let of_canary = ["/canary", "/stable", "canary/plain", "stable/plain"];
        let of_default = ["/plain", "/enabled", "/gone", "default/canary"];
        check(&[pilot(""), pilot("-canary")], &[("", &of_default), ("canary", &of_canary)]);
        let third = [pilot(""), pilot("-canary"), pilot("-beta")];
        check(&third, &[("", &of_default), ("canary", &of_canary), ("beta", &[])]);
        check(&[pilot("")], &[("", &ALL)]);
        check(&[pilot("-canary")], &[("canary", &ALL)]);
        // Without the default revision, the first by name writes what belongs to nobody.
        check(&[pilot("-canary"), pilot("-beta")], &[("canary", &of_canary), ("beta", &of_default)]);
    }

    #[test]
    fn nothing_is_written_to_what_belongs_to_istio() {
        let of_canary = ["/canary", "/stable", "/gone", "canary/plain", "stable/plain"];
        check(&[pilot("-canary"), istiod("")], &[("canary", &of_canary)]);
        let others =
            ["/plain", "/enabled", "/canary", "/stable", "canary/plain", "stable/plain", "default/canary"];
        check(&[pilot("-canary"), istiod("-gone")], &[("canary", &others)]);
    }
}
