//! Users' files on their way through the mesh: parsed, validated, turned into configuration together with a small
//! shop, encoded, and applied by the proxy. The proxy must accept everything that pilot accepts, because pilot reports
//! an accepted object as in force.

use crate::{exercise, words, xds};
use api::model::Resource;
use api::resource::document::Place;
use api::resource::parse;
use pilot::catalog::Catalog;
use pilot::catalog::policy::Mesh;
use pilot::flow::{Fact, Scope};
use pilot::generate;
use pilot::snapshot::Snapshot;
use pilot::validate::{self, reference};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// See the module. A text that begins with `# mesh` is a MeshConfig.
pub fn run(data: &[u8]) {
    let Some(text) = words::text(data) else { return };
    if text.starts_with("# mesh") {
        let mesh = validate::mesh(&Place::default(), text, &Mesh::default());
        if let Ok(mesh) = mesh {
            generated(&judged(&Catalog::new(mesh), SHOP));
        }
        return;
    }
    thread_local! {
        static SHOP_CATALOG: Catalog = judged(&Catalog::new(Mesh::default()), SHOP);
    }
    let catalog = SHOP_CATALOG.with(|shop| judged(shop, text));
    drop((catalog.conflicts(), reference::references(&catalog)));
    if SHOP_CATALOG.with(|shop| shop.items().ne(catalog.items())) {
        generated(&catalog);
    }
}

fn judged(catalog: &Catalog, text: &str) -> Catalog {
    let parsed = parse::parse("user.yaml", text);
    drop(parse::duplicates(&parsed.documents));
    for refusal in &parsed.refusals {
        assert!(!refusal.reason.is_empty(), "{refusal:?} says too little");
    }
    let facts = parsed.documents.into_iter().map(Fact::Upsert).collect();
    let (changes, verdicts) = validate::judge(facts, catalog.mesh());
    for refusal in verdicts.iter().flat_map(|verdict| &verdict.errors) {
        assert!(refusal.key.is_some() && !refusal.reason.is_empty(), "{refusal:?} says too little");
    }
    catalog.apply(changes).0
}

/// Generates the configuration of a sidecar and of a gateway, and applies it to a proxy.
fn generated(catalog: &Catalog) {
    // Only for display: the result does not depend on the time.
    #[expect(clippy::disallowed_methods, reason = "a snapshot says when it was made")]
    let snapshot = Snapshot::new(Arc::new(catalog.clone()), 1, Instant::now());
    for scope in [sidecar(), gateway()] {
        let mut resources = generate::shared(&snapshot, &scope);
        resources.extend(generate::own(&snapshot, &scope));
        for resource in &resources {
            xds::survives_the_wire(resource);
        }
        distinct(&resources);
        let uses = generate::secret::uses(&scope.namespace, &resources);
        let rejected = exercise::apply(resources);
        assert!(rejected.is_empty(), "pilot accepted what the proxy refuses: {rejected:?}");
        if let Some(Resource::Secret(secret)) =
            generate::secret::find(&snapshot, &scope, &uses, "kubernetes://shop-certificate")
        {
            let taken = proxy::credentials::Store::new().set(&secret.name, &secret.content);
            assert!(taken.is_ok(), "pilot accepted a certificate that the proxy refuses: {taken:?}");
        }
    }
    drop(generate::workload(&snapshot, "/10.244.0.1"));
}

/// Two resources of one kind and name would hide each other.
fn distinct(resources: &[Resource]) {
    let mut names: Vec<_> = resources.iter().map(|r| (r.kind(), r.name())).collect();
    names.sort_unstable();
    for pair in names.windows(2) {
        assert_ne!(pair[0], pair[1], "is there twice");
    }
}

fn sidecar() -> Scope {
    scope(false, "reviews-1", "shop", &[("app", "reviews"), ("version", "v1")])
}

fn gateway() -> Scope {
    scope(true, "ingress-1", "istio-system", &[("istio", "ingressgateway")])
}

fn scope(gateway: bool, pod: &str, namespace: &str, labels: &[(&str, &str)]) -> Scope {
    Scope {
        gateway,
        pod: pod.to_owned(),
        namespace: namespace.to_owned(),
        addresses: vec![[10, 244, 0, 1].into()],
        labels: labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<BTreeMap<_, _>>(),
        service_account: "reviews".to_owned(),
        istio_extensions: true,
        proven: true,
        http_10: false,
    }
}

/// The objects that exist before the user's file.
const SHOP: &str = "
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: shop}
spec: {clusterIP: 10.96.0.1, selector: {app: reviews}, ports: [{port: 9080, name: http}, {port: 443, name: https}]}
---
apiVersion: v1
kind: Service
metadata: {name: store, namespace: shop}
spec: {clusterIP: 10.96.0.2, selector: {app: store}, ports: [{port: 6379, name: tcp-redis}, {port: 8000, name: odd}]}
---
apiVersion: v1
kind: Pod
metadata: {name: reviews-1, namespace: shop, labels: {app: reviews, version: v1, security.istio.io/tlsMode: istio}}
spec: {serviceAccountName: reviews, containers: [{name: c, command: [x]}]}
status: {podIP: 10.244.0.1, phase: Running, conditions: [{type: Ready, status: 'True'}]}
---
apiVersion: v1
kind: Pod
metadata: {name: ingress-1, namespace: istio-system, labels: {istio: ingressgateway}}
spec: {serviceAccountName: ingress, containers: [{name: c, command: [x]}]}
status: {podIP: 10.244.0.3, phase: Running, conditions: [{type: Ready, status: 'True'}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: web, namespace: istio-system}
spec: {selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews, namespace: shop}
spec: {host: reviews, subsets: [{name: v1, labels: {version: v1}}]}
";
