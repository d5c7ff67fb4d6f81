//! Mirrors requests to other clusters, whose responses are dropped. A copy is sent once the request's body has been
//! read, and only if the body was short enough to be kept.

use super::cluster_request::{self, ClusterRequest};
use super::exchange::Exchange;
use super::message::Message;
use crate::pipeline::world::Thread;
use crate::send::body::Replay;
use api::model::route::Mirror;
use http::{HeaderMap, header};
use std::rc::Rc;
use std::time::Duration;

/// Sends the copies that a route configures, each with the request's timeout.
pub(super) fn send(exchange: &Rc<Exchange>, mirrors: &[Mirror], message: &Message, limit: Option<Duration>) {
    for mirror in mirrors {
        let thread = &exchange.connection.thread;
        if !mirror.fraction.selects(thread.random()) {
            continue;
        }
        let (method, uri, headers, replay) = match message {
            Message::NoBody { method, uri, headers } => (method, uri, headers, None),
            Message::Replayable { method, uri, headers, replay } => {
                (method, uri, headers, Some(replay.clone()))
            }
            Message::Streamed { .. } => continue,
        };
        let mut request = ClusterRequest {
            cluster: mirror.cluster.as_str().into(),
            method: method.clone(),
            uri: uri.clone(),
            headers: headers.clone(),
            body: vec![],
            http2: exchange.client_http2(),
            timeout: limit.unwrap_or(LONGEST),
        };
        if !mirror.keep_host {
            shadow(&mut request.headers);
        }
        tokio::task::spawn_local(deliver(thread.clone(), request, replay));
    }
}

/// Appends `-shadow` to the host of a copy, as Envoy does, so that it is not mistaken for the request.
fn shadow(headers: &mut HeaderMap) {
    let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else { return };
    let name = crate::route::without_port(host);
    if let Ok(marked) = format!("{name}-shadow{}", &host[name.len()..]).parse() {
        headers.insert(header::HOST, marked);
    }
}

async fn deliver(thread: Rc<Thread>, mut request: ClusterRequest, replay: Option<Rc<Replay>>) -> Option<()> {
    if let Some(replay) = replay {
        let settled = std::future::poll_fn(|context| replay.poll_settled(context));
        tokio::time::timeout(LONGEST, settled).await.ok()?;
        request.body = replay.parts()?;
    }
    match cluster_request::send(&thread, &request).await {
        Ok(status) => {
            tracing::debug!(cluster = %request.cluster, %status, "a mirrored request has its response");
        }
        Err(refusal) => {
            tracing::debug!(cluster = %request.cluster, reason = %refusal.details, "a mirrored request failed");
        }
    }
    Some(())
}

/// Timeout of a copy whose request has none, and of the wait for the request's body.
const LONGEST: Duration = Duration::from_secs(15);
