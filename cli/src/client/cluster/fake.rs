//! A fake API server: it responds to each request as the test says, and records the requests.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{Request, Response};
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::{Value, json};

use crate::client::cluster::Cluster;

/// The server.
#[derive(Clone, Default)]
pub(super) struct Server(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    responses: BTreeMap<String, Reply>,
    requests: Vec<(String, Value)>,
}

#[derive(Clone)]
struct Reply {
    code: u16,
    body: Value,
    warning: Option<String>,
}

impl Server {
    /// Responds to requests of this method and path, without the query, with a code and a body. A path that ends in `?dry`
    /// means dry runs alone. Other requests get status 404 about an object.
    pub(super) fn on(self, request: &str, code: u16, body: Value) -> Self {
        self.0.lock().unwrap().responses.insert(request.into(), Reply { code, body, warning: None });
        self
    }

    /// Adds a header `Warning` to the responses to these requests.
    pub(super) fn warns(self, request: &str, text: &str) -> Self {
        self.0.lock().unwrap().responses.get_mut(request).unwrap().warning =
            Some(format!("299 - \"{text}\""));
        self
    }

    /// The cluster with this server.
    pub(super) fn cluster(&self) -> Cluster {
        let server = self.clone();
        Cluster::of(kube::Client::new(
            tower::service_fn(move |request| server.clone().reply(request)),
            "shop",
        ))
    }

    /// Method, path and query of each request so far.
    pub(super) fn asked(&self) -> Vec<String> {
        self.0.lock().unwrap().requests.iter().map(|(request, _)| request.clone()).collect()
    }

    /// A refusal, as the API server writes it.
    pub(super) fn refusal(code: u16, message: &str) -> Value {
        let reason = if code == 404 { "NotFound" } else { "Other" };
        json!({"kind": "Status", "status": "Failure", "code": code, "message": message, "reason": reason})
    }

    fn respond(&self, request: &Request<()>, body: &[u8]) -> Reply {
        let (method, uri) = (request.method(), request.uri());
        let body = serde_json::from_slice(body).unwrap_or_default();
        let query = uri.query().unwrap_or_default();
        let dry =
            query.contains("dryRun=All") || serde_json::to_string(&body).unwrap().contains("\"dryRun\"");
        let mut state = self.0.lock().unwrap();
        state.requests.push((format!("{method} {}?{query}", uri.path()), body));
        let plain = format!("{method} {}", uri.path());
        let dry = dry.then(|| state.responses.get(&format!("{plain}?dry"))).flatten();
        let missing = || {
            let mut body = Self::refusal(404, "not found");
            body["details"] = json!({"name": uri.path().rsplit('/').next()});
            Reply { code: 404, body, warning: None }
        };
        dry.or(state.responses.get(&plain)).cloned().unwrap_or_else(missing)
    }

    async fn reply(self, request: Request<Body>) -> Result<Response<Body>, Infallible> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let reply = self.respond(&Request::from_parts(head, ()), &body);
        let mut response = Response::builder().status(reply.code);
        if let Some(warning) = reply.warning {
            response = response.header("warning", warning);
        }
        Ok(response.body(Body::from(serde_json::to_vec(&reply.body).unwrap())).unwrap())
    }
}
