//! The xDS service: aggregated discovery in its delta and state-of-the-world forms. One task per stream holds the
//! session of one proxy; everything it decides is in `api::xds` and `node`.

pub mod connections;
pub mod node;
pub mod quota;

mod stream;

use crate::metrics::Metrics;
use crate::offer::Offers;
use crate::snapshot::Snapshot;
use api::process::serve::{Parting, Peer};
use api::wire::xds::{
    AggregatedDiscoveryService, DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest,
    DiscoveryResponse,
};
use api::xds::accept;
use api::xds::server::{Mode, Request, Response};
use connections::Connections;
use futures_util::{Stream, StreamExt};
use quota::Quota;
use std::pin::Pin;
use std::sync::Arc;
use stream::{Inbound, Session};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

/// What all streams share.
#[derive(Clone)]
pub struct Discovery {
    /// The newest configuration.
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    /// Encoded resources, shared between proxies.
    pub offers: Arc<Offers>,
    /// Who is connected.
    pub connections: Connections,
    /// How many streams each caller has.
    pub quota: Quota,
    /// Counters.
    pub metrics: Metrics,
    /// Callers must show a certificate, and it must be theirs.
    pub identities: bool,
    /// Ends all streams.
    pub drain: CancellationToken,
}

impl Discovery {
    /// The service as a router for `api::process::serve`.
    pub fn router(self) -> axum::Router {
        tonic::service::Routes::new(accept::server(self, MAX_REQUEST)).into_axum_router()
    }

    fn start<Q, R>(
        &self,
        mode: Mode,
        request: tonic::Request<Streaming<Q>>,
        read: fn(Q) -> Request,
        write: fn(Response) -> Option<R>,
    ) -> Result<tonic::Response<Answers<R>>, Status>
    where
        Q: Send + 'static,
        R: Send + 'static,
    {
        let peer = request.extensions().get::<Peer>().cloned();
        let parting = request.extensions().get::<Parting>().copied();
        if self.identities && peer.as_ref().and_then(|p| p.identity.as_ref()).is_none() {
            self.metrics.denied.inc();
            return Err(Status::unauthenticated("this port needs a client certificate of the mesh"));
        }
        let requests: Inbound = request.into_inner().map(move |request| request.map(read)).boxed();
        let (send, receive) = mpsc::channel(QUEUE);
        let session = Session::new(mode, peer, self.clone(), send).until(parting);
        tokio::spawn(session.run(requests));
        let answers = ReceiverStream::new(receive)
            .filter_map(move |answer: Result<Response, Status>| async move { answer.map(write).transpose() });
        Ok(tonic::Response::new(Box::pin(answers)))
    }
}

type Answers<R> = Pin<Box<dyn Stream<Item = Result<R, Status>> + Send>>;

#[tonic::async_trait]
impl AggregatedDiscoveryService for Discovery {
    type StreamAggregatedResourcesStream = Answers<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Answers<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        request: tonic::Request<Streaming<DiscoveryRequest>>,
    ) -> Result<tonic::Response<Self::StreamAggregatedResourcesStream>, Status> {
        self.start(Mode::Sotw, request, Request::Sotw, Response::into_sotw)
    }

    async fn delta_aggregated_resources(
        &self,
        request: tonic::Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<tonic::Response<Self::DeltaAggregatedResourcesStream>, Status> {
        self.start(Mode::Delta, request, Request::Delta, Response::into_delta)
    }
}

/// Responses that may wait for a slow proxy before its session does.
const QUEUE: usize = 4;
/// Size of one request: subscriptions to tens of thousands of names fit, and those of a proxy that comes back with as
/// many resources.
const MAX_REQUEST: usize = 4 << 20;

#[cfg(test)]
mod tests;
