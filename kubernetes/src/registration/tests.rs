//! The keeper with a fake API server that holds one object.

use super::*;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Mutex;
use tokio::sync::broadcast;

/// An API server with one object, its version, and the watches of it.
#[derive(Clone)]
struct Server {
    state: Arc<Mutex<State>>,
    events: broadcast::Sender<Value>,
}

#[derive(Default)]
struct State {
    object: Option<Value>,
    version: u64,
    /// The number of patches received.
    patches: usize,
    /// How many of the next patches fail.
    failures: usize,
}

type Body = UnsyncBoxBody<Bytes, Infallible>;

impl Server {
    fn new(object: Option<Value>) -> Self {
        let server = Self { state: Arc::default(), events: broadcast::channel(16).0 };
        if let Some(object) = object {
            server.put(object);
        }
        server
    }

    /// Stores the object, as a client other than the keeper does.
    fn put(&self, mut object: Value) -> Value {
        let mut state = self.state.lock().unwrap();
        state.version += 1;
        object["metadata"]["resourceVersion"] = json!(state.version.to_string());
        let kind = if state.object.is_some() { "MODIFIED" } else { "ADDED" };
        state.object = Some(object.clone());
        // Nobody may be watching.
        let _ = self.events.send(json!({"type": kind, "object": object.clone()}));
        object
    }

    fn client(&self) -> Client {
        let server = self.clone();
        Client::new(tower::service_fn(move |request| server.clone().reply(request)), "default")
    }

    async fn reply(self, request: Request<kube::client::Body>) -> Result<Response<Body>, Infallible> {
        let (head, body) = request.into_parts();
        let body = body.collect_bytes().await.unwrap();
        Ok(self.respond(&Request::from_parts(head, ()), &body))
    }

    fn respond(&self, request: &Request<()>, body: &[u8]) -> Response<Body> {
        let whole = |status: u16, value: &Value| {
            let body = Full::new(Bytes::from(value.to_string())).boxed_unsync();
            Response::builder().status(status).body(body).unwrap()
        };
        let query = request.uri().query().unwrap_or_default();
        assert!(
            request.method() == "PATCH" || query.contains("fieldSelector=metadata.name%3Dhook"),
            "{query}"
        );
        if query.contains("watch=") {
            return Response::new(watch_body(self.events.subscribe()));
        }
        if request.method() == "GET" {
            let state = self.state.lock().unwrap();
            let items: Vec<&Value> = state.object.iter().collect();
            return whole(
                200,
                &json!({
                    "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfigurationList",
                    "metadata": {"resourceVersion": state.version.to_string()}, "items": items,
                }),
            );
        }
        let mut state = self.state.lock().unwrap();
        state.patches += 1;
        if state.failures > 0 {
            state.failures -= 1;
            return whole(500, &json!({"kind": "Status", "status": "Failure", "code": 500, "message": "no"}));
        }
        let patch: json_patch::Patch = serde_json::from_slice(body).unwrap();
        let mut object = state.object.clone().unwrap();
        drop(state);
        json_patch::patch(&mut object, &patch).unwrap();
        whole(200, &self.put(object))
    }
}

/// Every event from now on, one on each line.
fn watch_body(events: broadcast::Receiver<Value>) -> Body {
    let lines = futures_util::stream::unfold(events, |mut events| async move {
        let event = events.recv().await.ok()?;
        Some((Ok(http_body::Frame::data(Bytes::from(format!("{event}\n")))), events))
    });
    StreamBody::new(lines).boxed_unsync()
}

fn object(bundle: Option<&str>) -> Value {
    let mut config = json!({"service": {"name": "s", "namespace": "n", "path": "/inject"}});
    if let Some(bundle) = bundle {
        config["caBundle"] = json!(bundle);
    }
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "hook"},
        "webhooks": [{"name": "a", "clientConfig": config, "failurePolicy": "Fail"}],
    })
}

struct Running {
    server: Server,
    bundle: watch::Sender<Arc<[u8]>>,
    leads: watch::Sender<bool>,
    drain: CancellationToken,
}

impl Running {
    fn new(server: &Server, leads: bool) -> Self {
        let (bundle, bundles) = watch::channel(Arc::from(*b"one"));
        let (leads, leading) = watch::channel(leads);
        let drain = CancellationToken::new();
        let registration =
            Registration { kind: Kind::Mutating, name: "hook".into(), manager: "ostria-injector".into() };
        tokio::spawn(keep(server.client(), registration, (bundles, leading), None, drain.clone()));
        Self { server: server.clone(), bundle, leads, drain }
    }

    /// Waits until the object holds this bundle, in base64. Time that passes is virtual.
    async fn holds(&self, bundle: &str) {
        let held = async {
            while self.bundle().as_deref() != Some(bundle) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(120), held)
            .await
            .unwrap_or_else(|_| panic!("{bundle} is written"));
    }

    fn bundle(&self) -> Option<String> {
        let state = self.server.state.lock().unwrap();
        let bundle = state.object.as_ref()?.pointer("/webhooks/0/clientConfig/caBundle")?;
        bundle.as_str().map(str::to_owned)
    }

    fn patches(&self) -> usize {
        self.server.state.lock().unwrap().patches
    }
}

const ONE: &str = "b25l";
const TWO: &str = "dHdv";

#[tokio::test(start_paused = true)]
async fn the_bundle_is_written_once_follows_the_roots_and_is_restored_after_another_clients_change() {
    let server = Server::new(Some(object(None)));
    let running = Running::new(&server, true);
    running.holds(ONE).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(running.patches(), 1, "nothing is written when nothing changes");
    running.bundle.send_replace(Arc::from(*b"two"));
    running.holds(TWO).await;
    server.put(object(Some("Zm9yZWlnbg==")));
    running.holds(TWO).await;
    assert_eq!(running.patches(), 3);
    running.drain.cancel();
}

#[tokio::test(start_paused = true)]
async fn an_object_that_is_created_later_is_written_and_a_failed_write_is_retried() {
    let server = Server::new(None);
    let running = Running::new(&server, true);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(running.patches(), 0);
    server.state.lock().unwrap().failures = 3;
    server.put(object(None));
    running.holds(ONE).await;
    assert_eq!(running.patches(), 4);
}

#[tokio::test(start_paused = true)]
async fn only_a_leader_writes() {
    let server = Server::new(Some(object(None)));
    let running = Running::new(&server, false);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!((running.patches(), running.bundle()), (0, None));
    running.leads.send_replace(true);
    running.holds(ONE).await;
}
