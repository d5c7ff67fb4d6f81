//! Copies of requests to other clusters, whose answers are dropped. A copy goes out when the request's body has been
//! read, and only if it was short enough to be kept.

use super::attempt::Message;
use super::exchange::Exchange;
use super::forward::Outgoing;
use crate::pipeline::upstream::{Connected, Upstream};
use crate::pipeline::world::Thread;
use crate::send::body::{Meter, Replay, RequestBody};
use http::{HeaderMap, Method, Request, Uri, header};
use http_body_util::BodyExt;
use std::rc::Rc;

/// Sends the copies that a route asks for.
pub(super) fn send(exchange: &Rc<Exchange>, outgoing: &Outgoing<'_>, message: &Message) {
    for mirror in &outgoing.forward.mirrors {
        let thread = &exchange.connection.thread;
        if !mirror.fraction.selects(thread.random()) {
            continue;
        }
        let Some(upstream) = thread.upstream(&mirror.cluster) else { continue };
        let (method, uri, headers, replay) = match message {
            Message::Bare { method, uri, headers } => (method, uri, headers, None),
            Message::Kept { method, uri, headers, replay } => (method, uri, headers, Some(replay.clone())),
            Message::Once { .. } => continue,
        };
        let mut copy = Copy { method: method.clone(), uri: uri.clone(), headers: headers.clone(), replay };
        shadow(&mut copy.headers);
        let meter = exchange.meter.clone();
        tokio::task::spawn_local(deliver(thread.clone(), upstream, copy, meter));
    }
}

/// Marks the host of a copy, as Envoy does, so that nobody takes it for the request.
fn shadow(headers: &mut HeaderMap) {
    let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else { return };
    let name = crate::route::without_port(host);
    if let Ok(marked) = format!("{name}-shadow{}", &host[name.len()..]).parse() {
        headers.insert(header::HOST, marked);
    }
}

struct Copy {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    replay: Option<Rc<Replay>>,
}

async fn deliver(thread: Rc<Thread>, upstream: Rc<Upstream>, copy: Copy, original: Rc<Meter>) -> Option<()> {
    let meter = Meter::new(false, Rc::default());
    let body = match &copy.replay {
        None => RequestBody::empty(&meter),
        Some(replay) => {
            let ended = std::future::poll_fn(|context| original.poll_ended(context));
            tokio::time::timeout(LONGEST, ended).await.ok()?;
            RequestBody::whole(replay.parts()?, &meter)
        }
    };
    let host = upstream.choose(&thread, None, None, (&[], 0))?;
    let _busy = host.begin(&upstream, true);
    let authority = copy.headers.get(header::HOST).and_then(|h| h.to_str().ok()).unwrap_or_default();
    let flavor = upstream.flavor(&host, false, false, authority);
    let lease = match host.pool.ready(&flavor) {
        Some(lease) => lease,
        None => {
            let permit =
                upstream.permit(upstream.cluster().model.limits.max_connections, |g| &g.connections)?;
            let dial = upstream.dial(&host, Some(&flavor), thread.mark);
            host.pool.dial(&flavor, &dial, |_| (Connected::new(&upstream, permit), 0)).await.ok()?
        }
    };
    let mut request = Request::new(body);
    *request.method_mut() = copy.method;
    *request.headers_mut() = copy.headers;
    *request.version_mut() = lease.version();
    *request.uri_mut() = if lease.version() == http::Version::HTTP_2 {
        super::attempt::absolute(copy.uri, request.headers_mut(), "http")
    } else {
        copy.uri
    };
    let answering = async {
        let mut sent = lease.send(request).await.ok()?;
        while sent.response.body_mut().frame().await.is_some_and(|frame| frame.is_ok()) {}
        sent.returned.complete();
        Some(())
    };
    tokio::time::timeout(LONGEST, answering).await.ok()?
}

/// A copy may take this long.
const LONGEST: std::time::Duration = std::time::Duration::from_secs(15);
