//! The service of the discovery protocol for callers that nobody knows yet: as the generated one, and a request is
//! measured before it is decoded.

use crate::bounded::{Bounded, BoundedCodec};
use crate::wire::xds::{AggregatedDiscoveryService, DeltaDiscoveryRequest, DiscoveryRequest};
use prost::Message;
use std::convert::Infallible;
use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tonic::body::Body;
use tonic::codegen::{Body as HttpBody, StdError};
use tonic::server::{Grpc, StreamingService};
use tonic::{Request, Response, Status, Streaming};

/// Serves the protocol; add it to `tonic::service::Routes`.
#[derive(Debug)]
pub struct DiscoveryServer<S> {
    service: Arc<S>,
    max_message: usize,
}

impl<S> DiscoveryServer<S> {
    /// A server that refuses messages longer than `max_message` bytes.
    pub fn new(service: S, max_message: usize) -> Self {
        Self { service: Arc::new(service), max_message }
    }
}

impl<S> Clone for DiscoveryServer<S> {
    fn clone(&self) -> Self {
        Self { service: self.service.clone(), max_message: self.max_message }
    }
}

impl<S> tonic::server::NamedService for DiscoveryServer<S> {
    const NAME: &'static str = "envoy.service.discovery.v3.AggregatedDiscoveryService";
}

impl<S, B> tower_service::Service<http::Request<B>> for DiscoveryServer<S>
where
    S: AggregatedDiscoveryService,
    B: HttpBody + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Boxed<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let (service, limit) = (self.service.clone(), self.max_message);
        match request.uri().path() {
            DELTA => Box::pin(serve(Delta(service), limit, request)),
            STATE_OF_THE_WORLD => Box::pin(serve(StateOfTheWorld(service), limit, request)),
            _ => Box::pin(ready(Ok(Status::unimplemented("no such method").into_http()))),
        }
    }
}

async fn serve<M, Q, R, B>(
    method: M,
    limit: usize,
    request: http::Request<B>,
) -> Result<http::Response<Body>, Infallible>
where
    M: StreamingService<Q, Response = R> + Send,
    M::ResponseStream: Send + 'static,
    Q: Bounded,
    R: Message + Send + 'static,
    B: HttpBody + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    let mut grpc = Grpc::new(BoundedCodec::<R, Q>::default()).max_decoding_message_size(limit);
    Ok(grpc.streaming(method, request).await)
}

struct Delta<S>(Arc<S>);

impl<S: AggregatedDiscoveryService> StreamingService<DeltaDiscoveryRequest> for Delta<S> {
    type Response = crate::wire::xds::DeltaDiscoveryResponse;
    type ResponseStream = S::DeltaAggregatedResourcesStream;
    type Future = Boxed<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<DeltaDiscoveryRequest>>) -> Self::Future {
        let service = self.0.clone();
        Box::pin(async move { service.delta_aggregated_resources(request).await })
    }
}

struct StateOfTheWorld<S>(Arc<S>);

impl<S: AggregatedDiscoveryService> StreamingService<DiscoveryRequest> for StateOfTheWorld<S> {
    type Response = crate::wire::xds::DiscoveryResponse;
    type ResponseStream = S::StreamAggregatedResourcesStream;
    type Future = Boxed<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<DiscoveryRequest>>) -> Self::Future {
        let service = self.0.clone();
        Box::pin(async move { service.stream_aggregated_resources(request).await })
    }
}

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

const DELTA: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
const STATE_OF_THE_WORLD: &str =
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources";
