//! What a stream does before there is anything to tell, and while it holds something back.

use super::*;
use crate::catalog::Catalog;
use crate::flow::Fact;
use crate::validate;
use api::model::Kind;
use api::resource::parse;
use api::wire::xds::{Node, NodeInfo};
use std::time::{Duration, Instant};

fn snapshot(generation: u64, yaml: &str) -> Arc<Snapshot> {
    #[expect(clippy::disallowed_methods, reason = "a test's own clock")]
    let now = Instant::now();
    let catalog = Catalog::default();
    let facts = parse::parse("test.yaml", yaml).documents.into_iter().map(Fact::Upsert).collect();
    let (changes, _) = validate::judge(facts, catalog.mesh());
    Arc::new(Snapshot::new(Arc::new(catalog.apply(changes).0), generation, now))
}

fn discovery(snapshots: watch::Receiver<Arc<Snapshot>>) -> Discovery {
    let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
    Discovery {
        snapshots,
        offers: Arc::new(Offers::new(metrics.clone())),
        connections: Connections::default(),
        metrics,
        identities: false,
        drain: CancellationToken::new(),
    }
}

fn ask(kind: Kind, names: &[&str]) -> DeltaDiscoveryRequest {
    let node =
        NodeInfo { id: "sidecar~10.0.0.1~a.shop~shop.svc.cluster.local".into(), ..NodeInfo::default() };
    DeltaDiscoveryRequest {
        node: Some(Node::from(&node)),
        type_url: kind.type_url().into(),
        resource_names_subscribe: names.iter().map(ToString::to_string).collect(),
        ..DeltaDiscoveryRequest::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_comes_before_the_folder_is_read_is_not_told_that_everything_is_gone() {
    let (publish, snapshots) = watch::channel(snapshot(0, ""));
    let first = DeltaDiscoveryRequest {
        initial_resource_versions: [("held".to_owned(), "1".to_owned())].into(),
        ..ask(Kind::Cluster, &[])
    };
    let (send, mut responses) = mpsc::channel(QUEUE);
    let requests =
        futures_util::stream::iter([Ok(Request::Delta(first))]).chain(futures_util::stream::pending());
    tokio::spawn(Session::new(Mode::Delta, None, discovery(snapshots), send).run(requests.boxed()));
    let early = tokio::time::timeout(Duration::from_secs(60), responses.recv()).await;
    assert!(early.is_err(), "told {early:?}");
    publish.send_replace(snapshot(1, ""));
    let told = responses.recv().await.unwrap().unwrap().into_delta().unwrap();
    assert!(told.resources.iter().any(|resource| resource.name == "BlackHoleCluster"), "{told:?}");
}

/// A proxy that does what it is told to, one request at a time.
struct Client {
    requests: mpsc::Sender<Result<Request, Status>>,
    responses: mpsc::Receiver<Result<Response, Status>>,
    connections: Connections,
}

impl Client {
    fn new(discovery: Discovery) -> Self {
        let (requests, inbound) = mpsc::channel(QUEUE);
        let (send, responses) = mpsc::channel(QUEUE);
        let connections = discovery.connections.clone();
        let inbound = ReceiverStream::new(inbound).boxed();
        tokio::spawn(Session::new(Mode::Delta, None, discovery, send).run(inbound));
        Self { requests, responses, connections }
    }

    /// Asks, takes the answer and acknowledges it.
    async fn take(&mut self, kind: Kind, names: &[&str]) {
        self.requests.send(Ok(Request::Delta(ask(kind, names)))).await.unwrap();
        let answer = self.responses.recv().await.unwrap().unwrap().into_delta().unwrap();
        assert_eq!(answer.type_url, kind.type_url());
        let ack = DeltaDiscoveryRequest { response_nonce: answer.nonce, ..ask(kind, &[]) };
        self.requests.send(Ok(Request::Delta(ack))).await.unwrap();
    }

    /// Whether pilot's pages show it as in step, once pilot has nothing left to do.
    async fn is_in_step(&self, generation: u64) -> bool {
        tokio::time::sleep(Duration::from_millis(1)).await;
        let list = self.connections.list();
        let connection = list.first().expect("it is connected");
        let all_acked = connection.status.values().all(|status| status.nonce_sent == status.nonce_acked);
        assert!(all_acked, "{:?}", connection.status);
        connection.is_in_step(generation)
    }
}

#[tokio::test(start_paused = true)]
async fn a_proxy_from_which_something_is_held_back_is_not_in_step_although_it_acknowledged_all() {
    let service = "
apiVersion: v1
kind: Service
metadata: {name: a, namespace: shop}
spec: {clusterIP: 10.0.0.1, selector: {app: a}, ports: [{port: 80, name: http}]}
";
    let (_publish, snapshots) = watch::channel(snapshot(1, service));
    let mut client = Client::new(discovery(snapshots));
    client.take(Kind::Endpoints, &["of-no-cluster"]).await;
    client.take(Kind::Cluster, &["*"]).await;
    // Listeners and routes wait until the proxy has the endpoints of the new clusters.
    assert!(!client.is_in_step(1).await);
    client.take(Kind::Endpoints, &["outbound|80||a.shop.svc.cluster.local"]).await;
    assert!(client.is_in_step(1).await);
}
