//! Requests that the proxy itself sends to a cluster, such as mirrored copies. They use the cluster's
//! credentials, limits and counters, and have a timeout.

use super::connect::{Failure, connect};
use super::headers::{absolute, strip_hop_by_hop};
use super::survey::Survey;
use crate::flow::refusal::Refusal;
use crate::pipeline::upstream::{Host, Upstream};
use crate::pipeline::world::Thread;
use crate::policy::retry::Outcome;
use crate::send::body::{Meter, RequestBody};
use crate::send::{IncomingError, SendError, Sent};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, Uri, Version, header};
use http_body_util::BodyExt;
use std::rc::Rc;
use std::time::Duration;

/// A request that the proxy itself sends to a cluster.
pub(super) struct ClusterRequest {
    /// The cluster's name.
    pub(super) cluster: Box<str>,
    pub(super) method: Method,
    /// Path and query.
    pub(super) uri: Uri,
    /// Headers, including `host`.
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<Bytes>,
    /// Whether the client uses HTTP/2. Matters for clusters that use the client's protocol.
    pub(super) http2: bool,
    /// Timeout.
    pub(super) timeout: Duration,
}

/// Sends a request to a cluster, reads the response to its end and returns its status.
pub(super) async fn send(thread: &Rc<Thread>, request: &ClusterRequest) -> Result<StatusCode, Refusal> {
    let upstream = thread.upstream(&request.cluster).ok_or_else(|| Refusal::no_cluster(503))?;
    let _permit =
        upstream.permit(upstream.cluster().model.request_limit(), |g| &g.requests).ok_or_else(|| {
            upstream.stats.upstream_rq_pending_overflow.add(1);
            Refusal::overflow()
        })?;
    let host = upstream.choose(thread, None, None, (&[], 0)).ok_or_else(Refusal::no_endpoint)?;
    let _busy = host.begin(&upstream, true);
    let sending = async {
        let sent = deliver(thread, &upstream, &host, request).await?;
        read(sent).await
    };
    let result = match tokio::time::timeout(request.timeout, sending).await {
        Ok(result) => result,
        Err(_) => {
            upstream.stats.upstream_rq_timeout.add(1);
            Err(Failure { outcome: Some(Outcome::TimedOut), refusal: Refusal::timeout() })
        }
    };
    let outcome = match &result {
        Ok(status) => Some(Outcome::Response(status.as_u16(), None)),
        Err(failure) => failure.outcome,
    };
    if let Some(outcome) = outcome {
        upstream.record_outcome(Some(&host), outcome);
    }
    result.map_err(|failure| failure.refusal)
}

/// Sends the request. If a pooled connection turns out to be closed, retries on another one.
async fn deliver(
    thread: &Rc<Thread>,
    upstream: &Rc<Upstream>,
    host: &Rc<Host>,
    request: &ClusterRequest,
) -> Result<Sent, Failure> {
    let authority = request.headers.get(header::HOST).and_then(|h| h.to_str().ok()).unwrap_or_default();
    let kind = upstream.connection_kind(host, request.http2, false, authority);
    let mut ready = host.pool.ready(&kind);
    loop {
        let lease = match ready.take() {
            Some(lease) => lease,
            None => connect(thread, upstream, host, &kind, false).await?,
        };
        let (reused, message) = (lease.reused(), message(request, lease.version()));
        let error = match lease.send(message).await {
            Ok(sent) if sent.response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                return Err(Failure::of(&SendError::Malformed(crate::http1::Invalid::Switch)));
            }
            Ok(sent) => return Ok(sent),
            Err((error, _)) => error,
        };
        // A retry uses another connection, so the loop ends.
        if !(reused && error.unsent()) {
            return Err(Failure::of(&error));
        }
    }
}

fn message(from: &ClusterRequest, version: Version) -> Request<RequestBody> {
    let meter = Meter::new(false, Rc::default());
    let body = if from.body.is_empty() {
        RequestBody::empty(&meter)
    } else {
        RequestBody::whole(from.body.clone(), &meter)
    };
    let mut request = Request::new(body);
    *request.method_mut() = from.method.clone();
    *request.version_mut() = version;
    let mut headers = from.headers.clone();
    *request.uri_mut() = if version == Version::HTTP_2 {
        let uri = absolute(from.uri.clone(), &mut headers, "http");
        let seen = Survey::of(&headers);
        strip_hop_by_hop(&mut headers, seen, false);
        uri
    } else {
        from.uri.clone()
    };
    *request.headers_mut() = headers;
    request
}

/// Reads a response to its end, so that its connection can be reused.
async fn read(sent: Sent) -> Result<StatusCode, Failure> {
    let (head, mut incoming) = sent.response.into_parts();
    while let Some(frame) = incoming.frame().await {
        frame.map_err(|error: IncomingError| Failure {
            outcome: Some(Outcome::Reset { sent: true }),
            refusal: Refusal::broken_off(error.cut()),
        })?;
    }
    sent.returned.complete();
    Ok(head.status)
}
