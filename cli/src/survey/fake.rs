//! An API server for tests: a function of method, path and body.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

/// A client of the server.
pub(super) fn client(respond: impl Fn(&str, &str, &Value) -> (u16, Value) + Send + Sync + 'static) -> Client {
    let respond = Arc::new(respond);
    let service = move |request: Request<Body>| {
        let respond = respond.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
            let (status, value) = respond(head.method.as_str(), head.uri.path(), &body);
            let response = Response::builder().status(status).header("content-type", "application/json");
            Ok::<_, Infallible>(response.body(Full::new(Bytes::from(value.to_string()))).unwrap())
        }
    };
    Client::new(tower::service_fn(service), "default")
}

/// An empty list.
pub(super) fn none() -> (u16, Value) {
    list(&[])
}

/// A list of objects.
pub(super) fn list(items: &[Value]) -> (u16, Value) {
    (200, json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": items}))
}

/// A refusal.
pub(super) fn refusal(code: u16, message: &str) -> (u16, Value) {
    let reason = if code == 404 { "NotFound" } else { "Forbidden" };
    (code, json!({"kind": "Status", "status": "Failure", "code": code, "message": message, "reason": reason}))
}
