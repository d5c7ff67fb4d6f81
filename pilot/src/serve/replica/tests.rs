//! Two replicas that ask each other over mTLS, and the clients that they refuse.

use super::*;
use crate::catalog::Catalog;
use crate::flow::Fact;
use crate::metrics::Metrics;
use crate::offer::Offers;
use crate::replica::Replicas;
use crate::revision::Revision;
use crate::serve::connections::Connections;
use crate::serve::quota::Quota;
use crate::snapshot::Snapshot;
use crate::validate;
use crate::verdict::Channel;
use crate::verdict::progress::ProxyPlace;
use api::model::Kind;
use api::process::ask::ask;
use api::process::enroll::Issued;
use api::process::own_certificate::Credentials;
use api::process::tls::expected::Expected;
use api::process::tls::{self, ClientAuth, mesh_clients};
use api::process::{channel, enroll, serve};
use api::resource::parse;
use api::xds::server::{Nack, Status};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose, SanType};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

struct Root(CertifiedIssuer<'static, KeyPair>);

impl Root {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn credentials(&self, identity: &str) -> (Arc<Credentials>, Issued) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(identity.try_into().unwrap())];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let issued = || Issued {
            chain: params.clone().signed_by(&key, &self.0).unwrap().pem(),
            key: key.serialize_pem(),
            roots: String::new(),
            not_before: SystemTime::UNIX_EPOCH,
            not_after: SystemTime::UNIX_EPOCH,
            identity: identity.parse().unwrap(),
        };
        (Arc::new(Credentials::new(issued(), self.0.pem().into_bytes())), issued())
    }
}

/// A replica of pilot on loopback.
struct Pilot {
    publish: watch::Sender<Arc<Snapshot>>,
    verdicts: Channel,
    replicas: Replicas,
    address: SocketAddr,
    drain: CancellationToken,
}

const PILOT: &str = "spiffe://cluster.local/ns/istio-system/sa/ostria-pilot";

impl Pilot {
    async fn start(root: &Root, name: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (publish, snapshots) = watch::channel(snapshot(1, &[], ""));
        let replicas = Replicas::new(snapshots.clone(), "istio-system", (name, Revision::default()));
        let (own, issued) = root.credentials(PILOT);
        replicas.present(watch::Sender::new(own).subscribe());
        let (metrics, verdicts) = (Metrics::new(&prometheus::Registry::new()).unwrap(), Channel::default());
        let drain = CancellationToken::new();
        let discovery = Discovery {
            snapshots: snapshots.clone(),
            offers: Offers::new(snapshots, metrics.clone()),
            connections: Connections::new(verdicts.proxies.clone()),
            verdicts: verdicts.clone(),
            replicas: replicas.clone(),
            quota: Quota::default(),
            metrics,
            identities: true,
            pods: true,
            drain: drain.clone(),
        };
        let roots = tls::roots_from_pem(root.0.pem().as_bytes()).unwrap();
        let domain = "cluster.local".parse().unwrap();
        let clients = mesh_clients(roots, domain, ClientAuth::Required).unwrap();
        let (chain, key) = enroll::key_pair(&issued).unwrap();
        let config = tls::server_config(chain, key, Some(clients)).unwrap();
        let tls = watch::Sender::new(config).subscribe();
        tokio::spawn(serve::https(listener, discovery.router(), tls, drain.clone()));
        Self { publish, verdicts, replicas, address, drain }
    }

    fn proxy(&self, name: &str, generation: u64) -> ProxyPlace {
        let place = self.verdicts.proxies.add(name.into());
        place.note(&acknowledged(), generation, false);
        place
    }

    /// Asks what the proxy of pod `a` asks, with this certificate.
    async fn asked(
        &self,
        (own, _): &(Arc<Credentials>, Issued),
        path: &str,
        limit: u64,
    ) -> Result<bool, String> {
        let expected = Expected::id(PILOT.parse().unwrap());
        let channel = channel::lazy(&self.address.to_string(), Some(own.client(expected).unwrap())).unwrap();
        let question = RemovalQuestion {
            node: "sidecar~10.0.0.9~a.shop~shop.svc.cluster.local".into(),
            namespace: "shop".into(),
            milliseconds: limit,
        };
        ask::<_, Removal>(channel, path, &question).await.map(|removal| removal.unwrap().acknowledged)
    }
}

impl Drop for Pilot {
    fn drop(&mut self) {
        self.drain.cancel();
    }
}

/// The replicas with these names and addresses, and the pod `a`, with an addition to its metadata.
fn snapshot(generation: u64, pilots: &[(&str, SocketAddr)], ends: &str) -> Arc<Snapshot> {
    let mut yaml = vec![format!(
        "
apiVersion: v1
kind: Service
metadata: {{name: ostria-pilot, namespace: istio-system}}
spec: {{clusterIP: 10.0.0.1, selector: {{app: pilot}}, ports: [{{port: 15012, name: grpc-xds, targetPort: xds}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: a, namespace: shop{ends}}}
spec: {{serviceAccountName: a, containers: [{{name: a}}]}}
status: {{podIP: 10.0.0.9, phase: Running, conditions: [{{type: Ready, status: \"True\"}}]}}
"
    )];
    for (name, address) in pilots {
        let (ip, port) = (address.ip(), address.port());
        yaml.push(format!(
            "---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: istio-system, labels: {{app: pilot}}}}
spec:
  serviceAccountName: ostria-pilot
  containers: [{{name: pilot, ports: [{{name: xds, containerPort: {port}}}]}}]
status: {{podIP: {ip}, phase: Running, conditions: [{{type: Ready, status: \"True\"}}]}}
"
        ));
    }
    #[expect(clippy::disallowed_methods, reason = "a test's own clock")]
    let now = std::time::Instant::now();
    let catalog = Catalog::default();
    let facts = parse::parse("test.yaml", &yaml.concat()).documents.into_iter().map(Fact::Upsert).collect();
    let (changes, _) = validate::judge(facts, catalog.mesh());
    Arc::new(Snapshot::new(Arc::new(catalog.apply(changes).0), generation, now))
}

fn acknowledged() -> BTreeMap<Kind, Box<Status>> {
    BTreeMap::from([(Kind::Endpoints, Box::default())])
}

const ENDS: &str = ", deletionTimestamp: \"2026-01-01T00:00:00Z\"";

#[tokio::test]
async fn a_removal_is_acknowledged_when_the_proxies_of_all_replicas_have_it() {
    let root = Root::new();
    let (first, second) = (Pilot::start(&root, "one").await, Pilot::start(&root, "two").await);
    let pilots = [("one", first.address), ("two", second.address)];
    first.publish.send_replace(snapshot(2, &pilots, ""));
    second.publish.send_replace(snapshot(70, &pilots, ""));
    let near = first.proxy("near.shop", 2);
    let far = second.proxy("far.shop", 70);
    let own = root.credentials("spiffe://cluster.local/ns/shop/sa/a");
    assert_eq!(first.asked(&own, removal::PATH, 100).await, Ok(false), "the pod does not end");

    let question = first.asked(&own, removal::PATH, 30_000);
    let steps = async {
        first.publish.send_replace(snapshot(3, &pilots, ENDS));
        second.publish.send_replace(snapshot(71, &pilots, ENDS));
        assert_eq!(first.asked(&own, removal::PATH, 50).await, Ok(false), "no proxy has responded");
        near.note(&acknowledged(), 3, false);
        assert_eq!(
            first.asked(&own, removal::PATH, 200).await,
            Ok(false),
            "the proxy of the other replica has not"
        );
        far.note(&acknowledged(), 71, false);
    };
    let (acknowledged, ()) = tokio::join!(question, steps);
    assert_eq!(acknowledged, Ok(true));
    second.drain.cancel();
    assert_eq!(
        first.asked(&own, removal::PATH, 30_000).await,
        Ok(true),
        "a replica that is gone has no proxies"
    );
}

#[tokio::test]
async fn a_replica_reports_its_state_and_when_a_proxy_begins_to_refuse() {
    let root = Root::new();
    let (first, second) = (Pilot::start(&root, "one").await, Pilot::start(&root, "two").await);
    assert!(first.replicas.states().await.is_empty(), "no other replica is known");
    first.publish.send_replace(snapshot(2, &[("one", first.address), ("two", second.address)], ""));
    let far = second.proxy("far.shop", 5);
    let states = first.replicas.states().await;
    assert_eq!(states[&second.address].proxies[0].proxy, "far.shop");
    let claims = first.replicas.claims();
    let changed = first.replicas.changed(&states, &claims);
    let mut changed = std::pin::pin!(changed);
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut changed).await.is_err(), "nothing changes");
    let nack = Nack { nonce: "2".into(), names: vec!["r".into()], detail: "bad".into() };
    let refused = Status { nonce_sent: "2".into(), nack: Some(nack), ..Status::default() };
    far.note(&BTreeMap::from([(Kind::Route, Box::new(refused))]), 6, false);
    tokio::time::timeout(Duration::from_secs(30), changed).await.expect("it reports the refusal");
    assert_eq!(first.replicas.states().await[&second.address].proxies[0].refusals[0].detail, "bad");
}

#[tokio::test]
async fn only_the_pods_own_proxy_and_replicas_get_a_response() {
    let root = Root::new();
    let pilot = Pilot::start(&root, "one").await;
    pilot.publish.send_replace(snapshot(2, &[("one", pilot.address)], ENDS));
    for (identity, path, admitted) in [
        ("spiffe://cluster.local/ns/shop/sa/a", removal::PATH, true),
        ("spiffe://cluster.local/ns/shop/sa/b", removal::PATH, false),
        ("spiffe://cluster.local/ns/other/sa/a", removal::PATH, false),
        ("spiffe://cluster.local/ns/shop/sa/a", AMONG_REPLICAS, false),
        ("spiffe://cluster.local/ns/shop/sa/a", replica::PATH, false),
        ("spiffe://cluster.local/ns/istio-system/sa/default", AMONG_REPLICAS, false),
        ("spiffe://cluster.local/ns/istio-system/sa/ostria-pilot-canary", AMONG_REPLICAS, true),
    ] {
        let response = pilot.asked(&root.credentials(identity), path, 1_000).await;
        assert_eq!(response.is_ok(), admitted, "{identity} {path}: {response:?}");
        assert!(response.is_ok() || response.unwrap_err().contains("403"), "{identity} {path}");
    }
}
