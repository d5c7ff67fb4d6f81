//! Offers do not depend on what is kept from earlier snapshots: they equal offers made from nothing.

use super::body::Bodies;
use super::cache::PartCache;
use super::own::WorkloadCache;
use super::*;
use crate::catalog::{Catalog, Change};
use crate::flow::Fact;
use crate::validate;
use api::resource::document::Key;
use api::resource::parse;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Instant;

/// Objects that depend on each other in every way that generators look at; `@` stands for the version.
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
apiVersion: v1
kind: Service
metadata: {name: hidden, namespace: gates, annotations: {networking.istio.io/exportTo: '~'}}
spec: {clusterIP: 10.0.2.2, selector: {istio: ingressgateway}, ports: [{port: 8080, targetPort: 909@, name: http}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: front, namespace: shop}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 80, name: http, protocol: HTTP}, hosts: [v@.example]}
  - {port: {number: 8080, name: http-more, protocol: HTTP}, hosts: [more.example]}
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

fn documents(version: u8) -> Vec<api::resource::object::Document> {
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

fn snapshot(catalog: &Catalog, generation: u64) -> Arc<Snapshot> {
    #[expect(clippy::disallowed_methods, reason = "a test's own clock")]
    Arc::new(Snapshot::new(Arc::new(catalog.clone()), generation, Instant::now()))
}

const KINDS: [Kind; 5] = [Kind::Cluster, Kind::Endpoints, Kind::Listener, Kind::Route, Kind::Names];

/// Resources as they are sent.
type Written = BTreeMap<String, Arc<[u8]>>;

fn shown(offer: &ProxyOffer, kind: Kind) -> Written {
    let mut all = Written::new();
    offer.each(kind, &mut |name, offered| {
        all.insert(name.to_string(), offered.entry.clone());
    });
    all
}

/// One proxy's offer, with what is kept for it.
struct Kept {
    cache: PartCache,
    audience: Arc<Audience>,
    workloads: WorkloadCache,
    offer: Option<ProxyOffer>,
}

impl Kept {
    fn new(audience: Audience) -> Self {
        Self {
            cache: PartCache::default(),
            audience: Arc::new(audience),
            workloads: WorkloadCache::default(),
            offer: None,
        }
    }

    /// Returns the proxy's offer under the next snapshot. A proxy that changes its audience keeps its own resources.
    fn next(&mut self, snapshot: &Arc<Snapshot>, scope: &Arc<Scope>, bodies: &Bodies) {
        let audience = Audience::of(snapshot, scope);
        if audience != *self.audience {
            *self = Self { offer: self.offer.take(), ..Self::new(audience) };
        }
        let shared = Arc::new(self.cache.next(snapshot, &self.audience, bodies));
        let last = self.offer.as_ref().map(|offer| &offer.own);
        let own = self.workloads.of(snapshot, scope, last, bodies);
        self.offer = Some(ProxyOffer { shared, own, scope: scope.clone() });
    }

    fn offer(&self) -> &ProxyOffer {
        self.offer.as_ref().expect("it has been made")
    }
}

/// Returns a proxy's offer with nothing kept or shared.
fn afresh(snapshot: &Arc<Snapshot>, scope: &Arc<Scope>) -> ProxyOffer {
    let bodies = Bodies::default();
    let shared =
        Arc::new(PartCache::default().next(snapshot, &Arc::new(Audience::exact(snapshot, scope)), &bodies));
    let own = WorkloadCache::default().of(snapshot, scope, None, &bodies);
    ProxyOffer { shared, own, scope: scope.clone() }
}

/// Changes objects one by one, and compares the kept offer with one made from nothing.
fn check(steps: Vec<(usize, u8)>) -> Result<(), TestCaseError> {
    let versions = [documents(1), documents(2)];
    let first = scope(false, "a-1", "shop", ("app", "a1"));
    let gate = scope(true, "gate-1", "gates", ("istio", "ingressgateway"));
    let scopes = [
        first.clone(),
        Arc::new(Scope { http_10: true, ..Scope::clone(&first) }),
        Arc::new(Scope { istio_extensions: true, ..Scope::clone(&first) }),
        scope(false, "x", "other", ("app", "a2")),
        // A proxy of an unknown pod.
        Arc::new(Scope { proven: false, pod: "nobody".into(), ..Scope::clone(&first) }),
        Arc::new(Scope { istio_extensions: true, ..Scope::clone(&gate) }),
        gate,
    ];
    let (mut catalog, bodies) = (Catalog::default(), Bodies::default());
    let empty = snapshot(&catalog, 0);
    let mut kept: Vec<Kept> = scopes.iter().map(|scope| Kept::new(Audience::of(&empty, scope))).collect();
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
        let snapshot = snapshot(&catalog, generation);
        for (scope, kept) in scopes.iter().zip(&mut kept) {
            let before =
                kept.offer.as_ref().map(|offer| (tables(offer), KINDS.map(|kind| shown(offer, kind))));
            kept.next(&snapshot, scope, &bodies);
            let afresh = afresh(&snapshot, scope);
            for (at, kind) in KINDS.into_iter().enumerate() {
                let (now, expected) = (shown(kept.offer(), kind), shown(&afresh, kind));
                prop_assert_eq!(&now, &expected, "{:?} of {:?}", kind, scope);
                if let Some((tables_before, before)) = &before {
                    let same = tables_before[at] == tables(kept.offer())[at];
                    prop_assert!(!same || before[at] == now, "the same tables have something else");
                }
            }
        }
    }
    Ok(())
}

/// Identifies the tables of an offer.
fn tables(offer: &ProxyOffer) -> [(*const Table, *const Table); 5] {
    KINDS.map(|kind| (Arc::as_ptr(offer.shared(kind)), Arc::as_ptr(offer.own(kind))))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn reused_parts_equal_regenerated_ones(
        steps in prop::collection::vec((0..20_usize, 0..3_u8), 1..30)
    ) {
        check(steps)?;
    }
}

#[test]
fn every_object_can_be_created_changed_and_deleted() {
    let count = documents(1).len();
    assert_eq!(count, 20);
    let all = |version: u8| (0..count).map(move |object| (object, version));
    check(all(0).chain(all(1)).chain(all(2)).chain(all(0)).collect()).unwrap();
}

fn objects(version: u8) -> Catalog {
    let catalog = Catalog::default();
    let facts = documents(version).into_iter().map(Fact::Upsert).collect();
    catalog.apply(validate::judge(facts, catalog.mesh()).0).0
}

#[test]
fn a_change_in_another_namespace_does_not_change_the_tables() {
    let bodies = Bodies::default();
    let (before, scope) = (objects(1), scope(false, "a-1", "shop", ("app", "a1")));
    let first = snapshot(&before, 1);
    let mut kept = Kept::new(Audience::of(&first, &scope));
    kept.next(&first, &scope, &bodies);
    for object in documents(2) {
        let name = object.object.key.to_string();
        let unseen = ["Namespace", "Gateway"].iter().any(|part| name.contains(part));
        let had = tables(kept.offer());
        let changes = validate::judge(vec![Fact::Upsert(object)], before.mesh()).0;
        kept.next(&snapshot(&before.apply(changes).0, 2), &scope, &bodies);
        let same = tables(kept.offer()) == had;
        assert!(same || !unseen, "{name}");
        kept.next(&first, &scope, &bodies);
    }
}

#[test]
fn a_gateway_listens_on_the_target_ports_of_a_service_that_is_not_exported() {
    let (gate, bodies) = (scope(true, "gate-1", "gates", ("istio", "ingressgateway")), Bodies::default());
    let listeners = |kept: &Kept| shown(kept.offer(), Kind::Listener).into_keys().collect::<Vec<_>>();
    let first = snapshot(&objects(1), 1);
    let mut kept = Kept::new(Audience::of(&first, &gate));
    kept.next(&first, &gate, &bodies);
    assert_eq!(listeners(&kept), ["0.0.0.0_801", "0.0.0.0_9091"]);
    let hidden = documents(2).into_iter().find(|d| d.object.key.name == "hidden").unwrap();
    let changes = validate::judge(vec![Fact::Upsert(hidden)], first.catalog.mesh()).0;
    let next = snapshot(&first.catalog.apply(changes).0, 2);
    kept.next(&next, &gate, &bodies);
    assert_eq!(listeners(&kept), ["0.0.0.0_801", "0.0.0.0_9092"]);
    // A gateway with the same labels and other ports belongs to another audience.
    let other = Arc::new(Scope { pod: "gate-2".into(), ..Scope::clone(&gate) });
    assert_ne!(Audience::of(&next, &gate), Audience::of(&next, &other));
}

fn offers(snapshot: Arc<Snapshot>) -> (watch::Sender<Arc<Snapshot>>, Offers) {
    let (publish, snapshots) = watch::channel(snapshot);
    let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
    (publish, Offers::new(snapshots, metrics))
}

#[tokio::test]
async fn a_member_is_offered_each_snapshot_and_changes_its_group_with_its_labels() {
    let catalog = objects(1);
    let (publish, offers) = offers(snapshot(&catalog, 1));
    let scopes = std::sync::Mutex::new(scope(false, "x", "other", ("app", "a1")));
    let choose = |_: &Snapshot| Ok::<_, ()>(scopes.lock().unwrap().clone());
    let mut member = offers.join(choose).await.unwrap();
    let stays =
        offers.join(|_: &Snapshot| Ok::<_, ()>(scope(false, "y", "other", ("app", "a1")))).await.unwrap();
    assert!(Arc::ptr_eq(&member.group, &stays.group));
    assert_eq!(member.offer().generation(), 1);
    let other = scope(false, "x", "other", ("app", "a2"));
    *scopes.lock().unwrap() = other.clone();
    publish.send_replace(snapshot(&catalog, 2));
    assert!(member.changed().await);
    member.renew(choose).await.unwrap();
    assert_eq!(member.offer().generation(), 2);
    assert!(!Arc::ptr_eq(&member.group, &stays.group) || member.group.audience.labels.is_empty());
    let afresh = afresh(&snapshot(&catalog, 2), &other);
    for kind in KINDS {
        assert_eq!(shown(member.offer(), kind), shown(&afresh, kind), "{kind:?}");
    }
}

#[tokio::test]
async fn cached_configuration_is_dropped_with_the_last_proxy_of_a_group() {
    let (_publish, offers) = offers(snapshot(&objects(1), 1));
    let join = |scope: Arc<Scope>| offers.join(move |_: &Snapshot| Ok::<_, ()>(scope.clone()));
    let stays = join(scope(false, "a-1", "shop", ("app", "a1"))).await.unwrap();
    let bodies = offers.0.bodies.len();
    let mut leave = vec![];
    for number in 0..5 {
        leave.push(
            join(scope(true, "x", &format!("gates-{number}"), ("istio", "ingressgateway"))).await.unwrap(),
        );
    }
    // Pods of one template share their own resources.
    let twins = [
        join(scope(false, "t-1", "shop", ("app", "a1"))).await.unwrap(),
        join(scope(false, "t-2", "shop", ("app", "a1"))).await.unwrap(),
    ];
    assert!(Arc::ptr_eq(&twins[0].offer.own, &twins[1].offer.own));
    assert_eq!((stays.group.workloads.len(), offers.0.table.read().unwrap().len()), (2, 6));
    drop((leave, twins));
    let limit = std::time::Duration::from_secs(30);
    let forgotten = async {
        while offers.0.table.read().unwrap().len() > 1 || offers.0.bodies.len() > bodies {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(limit, forgotten).await.expect("they are forgotten");
    assert_eq!(stays.group.workloads.len(), 1);
}
