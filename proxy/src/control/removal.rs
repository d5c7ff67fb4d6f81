//! Waits until other proxies send no more requests to a pod that is being deleted. The hooks that end the application and
//! the sidecar wait for this.

use super::Seams;
use super::xds::{Server, dial};
use api::process::ask::ask;
use api::removal::{PATH, Removal, RemovalQuestion};
use api::wire::xds::NodeInfo;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// Waits until no proxy sends requests to the pod any more.
#[derive(Clone)]
pub struct Departure(Arc<Inner>);

struct Inner {
    /// The control plane to ask; `None`: there is none, as without a mesh.
    server: Option<Server>,
    node: NodeInfo,
    seams: Seams,
    limit: Duration,
}

impl Departure {
    /// Asks `server`, the control plane, on behalf of `node`. No wait takes longer than `limit`.
    pub fn new(server: Option<Server>, node: NodeInfo, seams: Seams, limit: Duration) -> Self {
        Self(Arc::new(Inner { server, node, seams, limit }))
    }

    /// Waits until all proxies have acknowledged that the pod ends, and clients outside the mesh have had time to learn
    /// of it.
    pub async fn announced(&self) {
        let limit = self.0.limit;
        let both = async { tokio::join!(self.acknowledged(), sleep(NOTICE)) };
        if timeout(limit, both).await.is_err() && limit > NOTICE {
            tracing::warn!(
                limit_seconds = limit.as_secs_f64(),
                "the pod stops although some proxies may still send requests to it"
            );
        }
    }

    /// Waits until the pod's end is announced and the application has responded to the requests that it has.
    pub async fn completed(&self) {
        let idle = async {
            self.announced().await;
            let mut quiet = 0;
            while quiet < QUIET_POLLS {
                quiet = if self.0.seams.telemetry.inbound_requests() == 0 { quiet + 1 } else { 0 };
                sleep(POLL).await;
            }
        };
        // Not a fault: some requests last as long as their client wants.
        let _ = timeout(self.0.limit, idle).await;
    }

    /// Asks until the control plane reports that all proxies have acknowledged.
    async fn acknowledged(&self) {
        let Some(server) = &self.0.server else { return };
        let deadline = Instant::now() + self.0.limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.question(server, left).await {
                Ok(Some(Removal { acknowledged: true })) => return,
                Ok(_) => {}
                Err(reason) => tracing::debug!(reason, "the control plane does not say who has acknowledged"),
            }
            sleep(BETWEEN_ATTEMPTS).await;
        }
    }

    async fn question(&self, server: &Server, left: Duration) -> Result<Option<Removal>, String> {
        let (channel, _) = dial(server, &self.0.seams)?;
        let namespace = self.0.node.metadata.get("NAMESPACE").and_then(Value::as_str).unwrap_or_default();
        let question = RemovalQuestion {
            node: self.0.node.id.clone(),
            namespace: namespace.to_owned(),
            milliseconds: left.as_millis().try_into().unwrap_or(u64::MAX),
        };
        ask(channel, PATH, &question).await
    }
}

/// How long clients outside the mesh need to learn that the pod ends.
const NOTICE: Duration = Duration::from_secs(1);
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(250);
const POLL: Duration = Duration::from_millis(50);
/// How often no request must be seen in a row: one that is sent last arrives a little later.
const QUIET_POLLS: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Discovery;
    use crate::credentials::Store;
    use crate::flow::node::Node;
    use crate::telemetry::Telemetry;
    use crate::telemetry::peers::Peers;
    use api::process::serve;
    use axum::routing::post;
    use axum::{Json, Router};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::net::TcpListener;
    use tokio_util::sync::CancellationToken;

    fn seams() -> Seams {
        Seams::new(Store::new(), Telemetry::new(Arc::new(Node::anonymous()), Peers::new().0))
    }

    fn mesh(address: &str) -> Server {
        let discovery = Discovery {
            address: address.to_owned(),
            tls: false,
            server: api::process::tls::expected::Expected::default(),
            roots: "/none".into(),
            token: "/none".into(),
        };
        Server::Mesh { discovery, cluster_id: String::new() }
    }

    fn departure(server: Option<Server>, seams: Seams, limit: u64) -> Departure {
        let metadata = [("NAMESPACE".to_owned(), Value::from("shop"))].into_iter().collect();
        let node = NodeInfo { id: "sidecar~10.0.0.1~a.shop~x".into(), metadata, ..NodeInfo::default() };
        Departure::new(server, node, seams, Duration::from_millis(limit))
    }

    async fn took(work: impl Future<Output = ()>) -> Duration {
        let began = Instant::now();
        work.await;
        began.elapsed()
    }

    #[tokio::test]
    async fn an_ending_pod_waits_until_the_control_plane_says_that_all_have_acknowledged() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        let respond = async move |Json(question): Json<RemovalQuestion>| {
            assert_eq!((question.namespace.as_str(), question.milliseconds <= 60_000), ("shop", true));
            let acknowledged = count.fetch_add(1, Ordering::Relaxed) >= 6;
            Json(Removal { acknowledged })
        };
        let drain = CancellationToken::new();
        let _end = drain.clone().drop_guard();
        tokio::spawn(serve::http(listener, Router::new().route(PATH, post(respond)), drain));
        let time = took(departure(Some(mesh(&address)), seams(), 60_000).announced()).await;
        assert_eq!(asked.load(Ordering::Relaxed), 7);
        assert!(time >= BETWEEN_ATTEMPTS * 6 && time < Duration::from_secs(30), "{time:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_response_only_the_limit_is_waited_for() {
        let away = || Some(mesh("127.0.0.1:1"));
        assert_eq!(took(departure(away(), seams(), 5_000).announced()).await, Duration::from_secs(5));
        assert_eq!(took(departure(away(), seams(), 0).completed()).await, Duration::ZERO);
        let nobody = took(departure(None, seams(), 5_000).announced()).await;
        assert_eq!(nobody, NOTICE, "clients outside the mesh learn of the end");
    }

    #[tokio::test(start_paused = true)]
    async fn requests_in_flight_are_waited_for_up_to_the_limit() {
        let seams = seams();
        let sink = seams.telemetry.sink(0);
        let application = sink.cluster(&"inbound|8080||".into());
        sink.cluster(&"outbound|80||b.shop.svc.cluster.local".into()).upstream_rq_active.add(1);
        application.upstream_rq_active.add(1);
        let work = departure(None, seams, 20_000);
        assert_eq!(took(work.completed()).await, Duration::from_secs(20), "the request lasts");
        let last = async {
            sleep(Duration::from_secs(7)).await;
            application.upstream_rq_active.subtract(1);
        };
        let (time, ()) = tokio::join!(took(work.completed()), last);
        assert!(time > Duration::from_secs(7) && time < Duration::from_secs(8), "{time:?}");
    }
}
