//! What a stream does before there is anything to tell.

use super::*;
use crate::catalog::Catalog;
use api::wire::xds::{Node, NodeInfo};
use std::time::{Duration, Instant};

fn snapshot(generation: u64) -> Arc<Snapshot> {
    #[expect(clippy::disallowed_methods, reason = "a test's own clock")]
    let now = Instant::now();
    Arc::new(Snapshot::new(Arc::new(Catalog::default()), generation, now))
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_comes_before_the_folder_is_read_is_not_told_that_everything_is_gone() {
    let (publish, snapshots) = watch::channel(snapshot(0));
    let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
    let discovery = Discovery {
        snapshots,
        offers: Arc::new(Offers::new(metrics.clone())),
        connections: Connections::default(),
        metrics,
        identities: false,
        drain: CancellationToken::new(),
    };
    let node =
        NodeInfo { id: "sidecar~10.0.0.1~a.shop~shop.svc.cluster.local".into(), ..NodeInfo::default() };
    let first = DeltaDiscoveryRequest {
        node: Some(Node::from(&node)),
        type_url: api::model::Kind::Cluster.type_url().into(),
        initial_resource_versions: [("held".to_owned(), "1".to_owned())].into(),
        ..DeltaDiscoveryRequest::default()
    };
    let (send, mut responses) = mpsc::channel(QUEUE);
    let requests =
        futures_util::stream::iter([Ok(Request::Delta(first))]).chain(futures_util::stream::pending());
    tokio::spawn(Session::new(Mode::Delta, None, discovery, send).run(requests.boxed()));
    let early = tokio::time::timeout(Duration::from_secs(60), responses.recv()).await;
    assert!(early.is_err(), "told {early:?}");
    publish.send_replace(snapshot(1));
    let told = responses.recv().await.unwrap().unwrap().into_delta().unwrap();
    assert!(told.resources.iter().any(|resource| resource.name == "BlackHoleCluster"), "{told:?}");
}
