//! What is kept from one snapshot to the next must never show: offers are as if made from nothing.

use super::*;
use crate::catalog::{Catalog, Change};
use crate::flow::Fact;
use crate::validate;
use api::resource::document::Key;
use api::resource::parse;
use proptest::prelude::*;
use std::time::Instant;

/// Objects that depend on each other in every way that generated resources look at; `@` tells versions apart.
const OBJECTS: &str = "
apiVersion: v1
kind: Service
metadata: {name: a, namespace: shop}
spec: {clusterIP: 10.0.0.@1, selector: {app: a}, ports: [{port: 80, targetPort: web, name: http}, {port: 90, name: tcp}]}
---
apiVersion: v1
kind: Service
metadata: {name: head, namespace: shop}
spec: {clusterIP: None, selector: {app: a}, ports: [{port: 70@, name: tcp}, {port: 80, name: http}]}
---
apiVersion: v1
kind: Service
metadata: {name: odd, namespace: other}
spec: {clusterIP: 10.0.1.1, ports: [{port: 8000, name: odd}]}
---
apiVersion: v1
kind: Endpoints
metadata: {name: odd, namespace: other}
subsets: [{addresses: [{ip: 10.1.1.@}], ports: [{name: odd, port: 8000}]}]
---
apiVersion: v1
kind: Pod
metadata: {name: a-1, namespace: shop, labels: {app: a, version: v@, security.istio.io/tlsMode: istio}}
spec: {serviceAccountName: a, containers: [{name: c, command: [x], ports: [{name: web, containerPort: 8080}]}]}
status: {podIP: 10.244.0.1, phase: Running, conditions: [{type: Ready, status: 'True'}]}
---
apiVersion: v1
kind: Pod
metadata: {name: a-2, namespace: shop, labels: {app: a, version: v1}}
spec: {serviceAccountName: a@, containers: [{name: c, command: [x], ports: [{name: web, containerPort: 808@}]}]}
status: {podIP: 10.244.0.2, phase: Running, conditions: [{type: Ready, status: 'True'}]}
---
apiVersion: v1
kind: Pod
metadata: {name: gate-1, namespace: gates, labels: {istio: ingressgateway}}
spec: {containers: [{name: c, command: [x], ports: [{name: in, containerPort: 80@}]}]}
status: {podIP: 10.244.0.9, phase: Running, conditions: [{type: Ready, status: 'True'}]}
---
apiVersion: v1
kind: Service
metadata: {name: gate, namespace: gates}
spec: {clusterIP: 10.0.2.1, selector: {istio: ingressgateway}, ports: [{port: 80, targetPort: in, name: http2}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: front, namespace: shop}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [v@.example]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a, namespace: shop}
spec:
  hosts: [a, v@.example]
  gateways: [mesh, front]
  http: [{timeout: @s, route: [{destination: {host: a, port: {number: 80}}}]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: by-label, namespace: other}
spec:
  hosts: [odd]
  http:
  - match: [{sourceLabels: {app: a@}}]
    route: [{destination: {host: odd}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: a, namespace: shop}
spec:
  host: a
  trafficPolicy: {loadBalancer: {consistentHash: {httpHeaderName: x@}}}
  subsets: [{name: v1, labels: {version: v1}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: wide, namespace: istio-system}
spec: {host: '*.cluster.local', trafficPolicy: {connectionPool: {http: {http2MaxRequests: @}}}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: web, namespace: shop}
spec: {hosts: [v1.outside.example], ports: [{number: 443, name: tls, protocol: TLS}, {number: 8@, name: http, protocol: HTTP}], resolution: DNS}
---
apiVersion: v1
kind: Service
metadata: {name: alias, namespace: other}
spec: {type: ExternalName, externalName: a.shop.svc.cluster.local, ports: [{port: 8@, name: http}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: web-tcp, namespace: shop}
spec: {hosts: [v1.outside.example], ports: [{number: 330@, name: tcp, protocol: TCP}], resolution: DNS}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: narrow, namespace: other}
spec: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}, egress: [{hosts: [shop/*]}]}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: DISABLE}}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {l: v@}}
";

fn documents(version: u8) -> Vec<api::resource::document::Document> {
    let parsed = parse::parse("test.yaml", &OBJECTS.replace('@', &version.to_string()));
    assert!(parsed.refusals.is_empty(), "{:?}", parsed.refusals);
    parsed.documents
}

fn scope(gateway: bool, pod: &str, namespace: &str, label: (&str, &str)) -> Arc<Scope> {
    Arc::new(Scope {
        gateway,
        pod: pod.into(),
        namespace: namespace.into(),
        proven: true,
        addresses: vec![],
        labels: BTreeMap::from([(label.0.to_owned(), label.1.to_owned())]),
        http_10: false,
        service_account: String::new(),
        istio_extensions: false,
    })
}

fn shown(offer: &ProxyOffer) -> Vec<(Kind, String, Vec<u8>)> {
    let mut all = vec![];
    for kind in [Kind::Cluster, Kind::Endpoints, Kind::Listener, Kind::Route, Kind::Names] {
        offer.each(kind, &mut |name, offered| all.push((kind, name.to_string(), offered.body.value.clone())));
    }
    all
}

/// Resources as they are sent.
type Written = Vec<(Kind, String, Vec<u8>)>;

fn check(steps: Vec<(usize, u8)>) -> Result<(), TestCaseError> {
    let versions = [documents(1), documents(2)];
    let first = scope(false, "a-1", "shop", ("app", "a1"));
    let scopes = [
        first.clone(),
        Arc::new(Scope { http_10: true, ..Scope::clone(&first) }),
        scope(false, "x", "other", ("app", "a2")),
        scope(true, "gate-1", "gates", ("istio", "ingressgateway")),
    ];
    let (mut cache, mut catalog) = (Cache::default(), Catalog::default());
    let mut stamps: BTreeMap<(usize, Kind), (u64, Written)> = BTreeMap::new();
    // As sessions do, each holds its last offer until it has the next one.
    let mut last: BTreeMap<usize, ProxyOffer> = BTreeMap::new();
    for (generation, (object, version)) in (1..).zip(steps) {
        let change = match versions.get(usize::from(version)) {
            Some(documents) => {
                let fact = Fact::Upsert(documents[object].clone());
                let (changes, verdicts) = validate::judge(vec![fact], catalog.mesh());
                prop_assert!(verdicts.iter().all(crate::flow::Verdict::accepted), "{verdicts:?}");
                changes
            }
            None => vec![Change::Delete(Key::clone(&versions[0][object].object.key))],
        };
        catalog = catalog.apply(change).0;
        #[expect(clippy::disallowed_methods, reason = "a test's own clock")]
        let snapshot = Arc::new(Snapshot::new(Arc::new(catalog.clone()), generation, Instant::now()));
        for (number, scope) in scopes.iter().enumerate() {
            let kept = cache.offer(&snapshot, scope);
            let afresh = shown(&Cache::default().offer(&snapshot, scope));
            prop_assert_eq!(shown(&kept), afresh.clone(), "{:?}", scope);
            for kind in [Kind::Cluster, Kind::Endpoints, Kind::Listener, Kind::Route, Kind::Names] {
                let own: Vec<_> = afresh.iter().filter(|(k, ..)| *k == kind).cloned().collect();
                let stamp = kept.stamp(kind).expect("it is listed");
                if let Some((before, held)) = stamps.insert((number, kind), (stamp, own.clone())) {
                    prop_assert_eq!(before == stamp, held == own, "a stamp changes when its kind does");
                }
            }
            last.insert(number, kept);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn what_is_kept_from_the_last_snapshot_never_shows(
        steps in prop::collection::vec((0..19_usize, 0..3_u8), 1..40)
    ) {
        check(steps)?;
    }
}

#[test]
fn every_object_can_change_come_and_go() {
    let count = documents(1).len();
    assert_eq!(count, 19);
    let all = |version: u8| (0..count).map(move |object| (object, version));
    check(all(0).chain(all(1)).chain(all(2)).chain(all(0)).collect()).unwrap();
}

#[tokio::test]
async fn a_proxy_gets_the_newest_snapshot_also_when_it_had_to_wait() {
    #[expect(clippy::disallowed_methods, reason = "a test's own clock")]
    let snapshot = |generation| Arc::new(Snapshot::new(Arc::default(), generation, Instant::now()));
    let (publish, mut snapshots) = watch::channel(snapshot(1));
    let offers = Offers::new(Metrics::new(&prometheus::Registry::new()).unwrap());
    let turn = offers.cache.clone().lock_owned().await;
    let scope = scope(false, "a-1", "shop", ("app", "a"));
    let waiting = offers.offer(&mut snapshots, |_| Ok::<_, ()>(scope.clone()));
    tokio::pin!(waiting);
    assert!(futures_util::poll!(&mut waiting).is_pending());
    publish.send_replace(snapshot(2));
    drop(turn);
    assert_eq!(waiting.await.unwrap().generation(), 2);
}

#[test]
fn what_is_kept_for_a_proxy_is_forgotten_when_it_leaves() {
    let mut catalog = Catalog::default();
    let facts = documents(1).into_iter().map(Fact::Upsert).collect();
    catalog = catalog.apply(validate::judge(facts, catalog.mesh()).0).0;
    #[expect(clippy::disallowed_methods, reason = "a test's own clock")]
    let snapshot =
        |generation| Arc::new(Snapshot::new(Arc::new(catalog.clone()), generation, Instant::now()));
    let mut cache = Cache::default();
    let stays = cache.offer(&snapshot(1), &scope(false, "a-1", "shop", ("app", "a1")));
    let bodies = cache.bodies.len();
    let leaves: Vec<_> = (0..5)
        .map(|number| scope(true, "x", "gates", ("istio", &format!("gateway-{number}"))))
        .map(|scope| cache.offer(&snapshot(1), &scope))
        .collect();
    assert_eq!((cache.shared.len(), cache.made.len()), (6, 6));
    cache.tidy();
    assert_eq!((cache.shared.len(), cache.made.len()), (6, 6), "they are still there");
    drop(leaves);
    cache.tidy();
    assert_eq!((cache.shared.len(), cache.made.len(), cache.bodies.len()), (1, 1, bodies));
    // What the one that stays has is not made again.
    let next = cache.offer(&snapshot(2), &scope(false, "a-1", "shop", ("app", "a1")));
    let body = |offer: &ProxyOffer| offer.find(Kind::Cluster, "PassthroughCluster").unwrap().body;
    assert!(Arc::ptr_eq(&body(&stays), &body(&next)));
}
