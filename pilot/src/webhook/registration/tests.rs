//! The keeper against an API server of the tests' own, which holds one registration. Time is virtual.

use super::*;
use http::{Request, Response};
use kube::client::Body;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::Notify;

#[derive(Default)]
struct State {
    object: Value,
    patches: usize,
    tests: usize,
    /// Why the API server refuses the invalid object; empty: it accepts it.
    refusal: String,
}

#[derive(Clone, Default)]
struct Server {
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
}

impl Server {
    fn respond(&self, request: &Request<()>, body: &[u8]) -> (u16, Value) {
        let mut state = self.state.lock().unwrap();
        let query = request.uri().query().unwrap_or_default();
        match (request.method().as_str(), request.uri().path()) {
            ("GET", _) => {
                assert!(query.contains("fieldSelector=metadata.name%3Dhook"), "{query}");
                let list = json!({
                    "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfigurationList",
                    "metadata": {"resourceVersion": "1"}, "items": [state.object],
                });
                (200, list)
            }
            ("PATCH", path) => {
                assert!(path.ends_with("/validatingwebhookconfigurations/hook"), "{path}");
                let patch: json_patch::Patch = serde_json::from_slice(body).unwrap();
                json_patch::patch(&mut state.object, &patch).unwrap();
                state.patches += 1;
                (200, state.object.clone())
            }
            ("POST", path) => {
                assert!(
                    path.ends_with("/namespaces/mesh/gateways") && query.contains("dryRun=All"),
                    "{path} {query}"
                );
                state.tests += 1;
                let object: Value = serde_json::from_slice(body).unwrap();
                assert_eq!(object["metadata"]["labels"]["istio.io/rev"], "default");
                if state.refusal.is_empty() {
                    return (201, object);
                }
                (422, json!({"kind": "Status", "status": "Failure", "code": 422, "message": state.refusal}))
            }
            (method, path) => panic!("{method} {path}"),
        }
    }

    fn client(&self) -> Client {
        let server = self.clone();
        Client::new(tower::service_fn(move |request| server.clone().reply(request)), "default")
    }

    async fn reply(self, request: Request<Body>) -> Result<Response<Body>, Infallible> {
        let (head, body) = request.into_parts();
        let body = body.collect_bytes().await.unwrap();
        let request = Request::from_parts(head, ());
        let watches = request.uri().query().is_some_and(|query| query.contains("watch="));
        let (code, value) = if watches {
            // A watch with one event, which ends then.
            self.changed.notified().await;
            (200, json!({"type": "MODIFIED", "object": self.state.lock().unwrap().object}))
        } else {
            self.respond(&request, &body)
        };
        let body = Body::from(format!("{value}\n").into_bytes());
        Ok(Response::builder().status(code).body(body).unwrap())
    }

    /// Sets a field of the webhook, as somebody else than the keeper.
    fn set(&self, pointer: &str, value: &str) {
        let mut state = self.state.lock().unwrap();
        *state.object.pointer_mut(pointer).unwrap() = json!(value);
        drop(state);
        self.changed.notify_one();
    }

    /// The policy and the certificates of the webhook, in base64.
    fn webhook(&self) -> (String, String) {
        let state = self.state.lock().unwrap();
        let text = |pointer: &str| {
            state.object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        (text("/webhooks/0/failurePolicy"), text("/webhooks/0/clientConfig/caBundle"))
    }
}

fn object() -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "hook", "resourceVersion": "1"},
        "webhooks": [{"name": "a", "failurePolicy": "Ignore", "clientConfig": {"service": {"name": "s"}}}],
    })
}

struct Running {
    server: Server,
    bundle: watch::Sender<Arc<[u8]>>,
    leads: watch::Sender<bool>,
    drain: CancellationToken,
}

impl Running {
    fn new(leads: bool, refusal: &str) -> Self {
        let server = Server::default();
        let state = State { object: object(), refusal: refusal.into(), ..State::default() };
        *server.state.lock().unwrap() = state;
        let (bundle, bundles) = watch::channel(Arc::from(*b"one"));
        let (leads, leading) = watch::channel(leads);
        let drain = CancellationToken::new();
        let registration =
            Registration { name: "hook".into(), namespace: "mesh".into(), revision: String::new() };
        let client = server.client();
        tokio::spawn(keep(client, registration, (bundles, leading), drain.clone()));
        Self { server, bundle, leads, drain }
    }

    fn counts(&self) -> (usize, usize) {
        let state = self.server.state.lock().unwrap();
        (state.patches, state.tests)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.drain.cancel();
    }
}

const REFUSED: &str = "admission webhook \"validation.istio.io\" denied the request: Gateway \
                       mesh/ostria-pilot-self-test: spec.servers[0].port.protocol: MONGO is not supported";
const ONE: &str = "b25l";
const TWO: &str = "dHdv";

async fn minute() {
    tokio::time::sleep(Duration::from_secs(60)).await;
}

#[tokio::test(start_paused = true)]
async fn the_webhook_is_required_once_it_has_refused_and_stays_so() {
    let running = Running::new(true, REFUSED);
    minute().await;
    assert_eq!(running.server.webhook(), ("Fail".into(), ONE.into()));
    assert_eq!(running.counts(), (2, 1), "the certificates are written before the test, the policy after it");
    minute().await;
    assert_eq!(running.counts(), (2, 1), "nothing is written when nothing changes");
    running.server.set("/webhooks/0/failurePolicy", "Ignore");
    minute().await;
    assert_eq!((running.server.webhook().0, running.counts()), ("Fail".into(), (3, 1)));
    running.bundle.send_replace(Arc::from(*b"two"));
    minute().await;
    running.server.set("/webhooks/0/clientConfig/caBundle", "Zm9yZWlnbg==");
    minute().await;
    assert_eq!((running.server.webhook().1, running.counts()), (TWO.into(), (5, 1)));
}

#[tokio::test(start_paused = true)]
async fn a_webhook_that_does_not_refuse_is_not_required() {
    let foreign = "admission webhook \"validation.istio.io\" denied the request: invalid protocol MONGO";
    let schema = "Gateway \"ostria-pilot-self-test\" is invalid: protocol: Unsupported value: \"MONGO\"";
    for refusal in ["", foreign, schema, "the server could not find the requested resource"] {
        let running = Running::new(true, refusal);
        tokio::time::sleep(Duration::from_secs(300)).await;
        assert_eq!(running.server.webhook(), ("Ignore".into(), ONE.into()), "{refusal}");
        let tests = running.counts().1;
        assert!((5..=20).contains(&tests), "{tests} tests");
        running.server.state.lock().unwrap().refusal = REFUSED.into();
        minute().await;
        assert_eq!(running.server.webhook().0, "Fail", "{refusal}");
    }
}

#[tokio::test(start_paused = true)]
async fn only_a_leader_writes_and_tests() {
    let running = Running::new(false, REFUSED);
    minute().await;
    assert_eq!(running.counts(), (0, 0));
    running.leads.send_replace(true);
    minute().await;
    assert_eq!(running.server.webhook(), ("Fail".into(), ONE.into()));
}
