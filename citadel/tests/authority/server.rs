//! A Kubernetes API server in memory: Secrets, ConfigMaps, namespaces and Leases with versions, watches and owners of
//! fields, and reviews of tokens with scripted results.

use api::process::serve;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

/// Resource, namespace, name.
type Key = (String, String, String);

pub(crate) struct Server {
    state: Arc<Shared>,
    folder: TempDir,
    drain: CancellationToken,
}

struct Shared {
    inner: Mutex<Inner>,
    live: broadcast::Sender<Event>,
    /// Counts writes, so that tests can wait for them.
    writes: watch::Sender<usize>,
}

#[derive(Default)]
struct Inner {
    version: u64,
    objects: BTreeMap<Key, Value>,
    history: Vec<Event>,
    reviews: BTreeMap<String, Value>,
    is_away: bool,
    /// Method and path of each request.
    requests: Vec<(Method, String)>,
}

#[derive(Clone)]
struct Event {
    version: u64,
    key: Key,
    change: Value,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let shared =
            Shared { inner: Mutex::default(), live: broadcast::channel(1000).0, writes: watch::channel(0).0 };
        let (state, drain, folder) = (Arc::new(shared), CancellationToken::new(), TempDir::new().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let router = Router::new().fallback(respond).with_state(state.clone());
        tokio::spawn(serve::http(listener, router, drain.clone()));
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{ "name": "c", "cluster": { "server": format!("http://{address}") } }],
            "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "u" } }],
            "users": [{ "name": "u", "user": {} }],
        });
        std::fs::write(folder.path().join("kubeconfig"), config.to_string()).unwrap();
        let server = Self { state, folder, drain };
        for namespace in ["default", "istio-system", "kube-public"] {
            server.put("namespaces", "", namespace, json!({}));
        }
        server
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// Decides about reviews of a token.
    pub(crate) fn review(&self, token: &str, status: Value) {
        self.state.inner.lock().unwrap().reviews.insert(token.to_owned(), status);
    }

    /// Responds to nothing but with an error.
    pub(crate) fn set_away(&self, is_away: bool) {
        self.state.inner.lock().unwrap().is_away = is_away;
    }

    /// Creates or replaces an object, as any other client would.
    pub(crate) fn put(&self, resource: &str, namespace: &str, name: &str, object: Value) {
        self.state.store((resource.to_owned(), namespace.to_owned(), name.to_owned()), object);
    }

    pub(crate) fn delete(&self, resource: &str, namespace: &str, name: &str) {
        self.state.remove(&(resource.to_owned(), namespace.to_owned(), name.to_owned()));
    }

    pub(crate) fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        let key = (resource.to_owned(), namespace.to_owned(), name.to_owned());
        self.state.inner.lock().unwrap().objects.get(&key).cloned()
    }

    /// How many requests with this method had a path that contains this text.
    pub(crate) fn count(&self, method: &Method, text: &str) -> usize {
        let inner = self.state.inner.lock().unwrap();
        inner.requests.iter().filter(|(used, path)| used == method && path.contains(text)).count()
    }

    /// Waits until the objects satisfy a condition.
    pub(crate) async fn until(&self, condition: impl Fn(&Self) -> bool) {
        let mut writes = self.state.writes.subscribe();
        let wait = async {
            while !condition(self) {
                writes.changed().await.unwrap();
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), wait)
            .await
            .expect("the condition is never met");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.drain.cancel();
    }
}

impl Shared {
    fn store(&self, key: Key, mut object: Value) -> Value {
        let mut inner = self.inner.lock().unwrap();
        inner.version += 1;
        let version = inner.version;
        object["metadata"]["name"] = json!(key.2);
        if !key.1.is_empty() {
            object["metadata"]["namespace"] = json!(key.1);
        }
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        let kind = if inner.objects.contains_key(&key) { "MODIFIED" } else { "ADDED" };
        inner.objects.insert(key.clone(), object.clone());
        self.tell(&mut inner, Event { version, key, change: json!({ "type": kind, "object": object }) });
        object
    }

    fn remove(&self, key: &Key) {
        let mut inner = self.inner.lock().unwrap();
        inner.version += 1;
        let (version, object) = (inner.version, inner.objects.remove(key).unwrap());
        let key = key.clone();
        self.tell(&mut inner, Event { version, key, change: json!({ "type": "DELETED", "object": object }) });
    }

    fn tell(&self, inner: &mut Inner, event: Event) {
        inner.history.push(event.clone());
        // Without a watch, no client needs the event.
        let _ = self.live.send(event);
        self.writes.send_modify(|writes| *writes += 1);
    }
}

async fn respond(State(shared): State<Arc<Shared>>, method: Method, uri: Uri, body: Bytes) -> Response {
    let path = uri.path().to_owned();
    {
        let mut inner = shared.inner.lock().unwrap();
        inner.requests.push((method.clone(), path.clone()));
        if inner.is_away {
            return failure(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", "etcd is away");
        }
    }
    let query: HashMap<String, String> = form(uri.query().unwrap_or_default());
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    if path.ends_with("/tokenreviews") {
        return shared.reviewed(body).into_response();
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    // `api/v1`, or `apis/GROUP/VERSION`.
    let parts = &parts[if parts[0] == "api" { 2 } else { 3 }..];
    let key = |resource: &str, namespace: &str, name: &str| {
        (resource.to_owned(), namespace.to_owned(), name.to_owned())
    };
    match *parts {
        [resource] | ["namespaces", _, resource] if method == Method::GET => {
            let namespace = if parts.len() == 3 { parts[1] } else { "" };
            shared.listed(resource, namespace, &query)
        }
        ["namespaces", namespace, resource] => {
            let name = body["metadata"]["name"].as_str().unwrap().to_owned();
            shared.created(key(resource, namespace, &name), body)
        }
        ["namespaces", namespace, resource, name] => {
            let key = key(resource, namespace, name);
            match method {
                Method::GET => shared.found(&key),
                Method::PUT => shared.replaced(key, body),
                Method::PATCH => shared.applied(key, body, &query),
                _ => failure(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", "no such method"),
            }
        }
        _ => failure(StatusCode::NOT_FOUND, "NotFound", &path),
    }
}

fn form(query: &str) -> HashMap<String, String> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.replace("%3D", "=")))
        .collect()
}

fn failure(status: StatusCode, reason: &str, message: &str) -> Response {
    let body = json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "metadata": {},
        "reason": reason, "message": message, "code": status.as_u16(),
    });
    (status, body.to_string()).into_response()
}

impl Shared {
    fn reviewed(&self, mut review: Value) -> Response {
        let unknown = json!({ "authenticated": false, "error": "[invalid bearer token]" });
        let token = review["spec"]["token"].as_str().unwrap_or_default();
        let status = self.inner.lock().unwrap().reviews.get(token).cloned().unwrap_or(unknown);
        review["status"] = status;
        (StatusCode::CREATED, review.to_string()).into_response()
    }

    fn found(&self, key: &Key) -> Response {
        match self.inner.lock().unwrap().objects.get(key) {
            Some(object) => object.to_string().into_response(),
            None => failure(StatusCode::NOT_FOUND, "NotFound", &format!("{} not found", key.2)),
        }
    }

    fn created(&self, key: Key, object: Value) -> Response {
        if self.inner.lock().unwrap().objects.contains_key(&key) {
            return failure(StatusCode::CONFLICT, "AlreadyExists", "it exists");
        }
        (StatusCode::CREATED, self.store(key, object).to_string()).into_response()
    }

    fn replaced(&self, key: Key, object: Value) -> Response {
        let present = self.inner.lock().unwrap().objects.get(&key).cloned().unwrap_or_default();
        if present["metadata"]["resourceVersion"] != object["metadata"]["resourceVersion"] {
            return failure(StatusCode::CONFLICT, "Conflict", "the object has been modified");
        }
        self.store(key, object).to_string().into_response()
    }

    /// Server-side apply of a ConfigMap: another owner of a differing value is a conflict, unless forced.
    fn applied(&self, key: Key, mut object: Value, query: &HashMap<String, String>) -> Response {
        let manager = query["fieldManager"].as_str();
        let present = self.inner.lock().unwrap().objects.get(&key).cloned().unwrap_or_default();
        let owns = |entry: &Value| !entry["fieldsV1"]["f:data"]["f:root-cert.pem"].is_null();
        let mut others: Vec<Value> =
            present["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
        others.retain(|entry| entry["manager"] != manager);
        let differs = present["data"] != object["data"] && others.iter().any(owns);
        if differs && query.get("force").is_none_or(|force| force != "true") {
            return failure(StatusCode::CONFLICT, "Conflict", "another manager owns .data.root-cert.pem");
        }
        if differs {
            others.retain(|entry| !owns(entry));
        }
        others.push(json!({ "manager": manager, "operation": "Apply", "fieldsType": "FieldsV1",
            "fieldsV1": { "f:data": { "f:root-cert.pem": {} } } }));
        object["metadata"]["managedFields"] = json!(others);
        self.store(key, object).to_string().into_response()
    }

    fn listed(&self, resource: &str, namespace: &str, query: &HashMap<String, String>) -> Response {
        let name = query.get("fieldSelector").and_then(|selector| selector.strip_prefix("metadata.name="));
        let (resource, namespace) = (resource.to_owned(), namespace.to_owned());
        let name = name.map(str::to_owned);
        let is_asked = move |key: &Key| {
            key.0 == resource
                && (namespace.is_empty() || key.1 == namespace)
                && name.as_ref().is_none_or(|name| key.2 == *name)
        };
        let inner = self.inner.lock().unwrap();
        if query.get("watch").is_some_and(|watch| watch == "true") {
            let from: u64 = query["resourceVersion"].parse().unwrap();
            let past: Vec<Event> =
                inner.history.iter().filter(|event| event.version > from).cloned().collect();
            let live = self.live.subscribe();
            let events =
                stream::unfold((past.into_iter(), live, is_asked), async |(mut past, mut live, is_asked)| {
                    loop {
                        let event = match past.next() {
                            Some(event) => event,
                            None => live.recv().await.ok()?,
                        };
                        if is_asked(&event.key) {
                            let line = format!("{}\n", event.change);
                            return Some((Ok::<_, std::convert::Infallible>(line), (past, live, is_asked)));
                        }
                    }
                });
            return Body::from_stream(Box::pin(events)).into_response();
        }
        let items: Vec<&Value> =
            inner.objects.iter().filter(|(key, _)| is_asked(key)).map(|(_, object)| object).collect();
        json!({ "apiVersion": "v1", "kind": "List", "items": items,
            "metadata": { "resourceVersion": inner.version.to_string() } })
        .to_string()
        .into_response()
    }
}
