//! The service of the discovery protocol for callers that nobody knows yet: as the generated one, and a request is
//! measured before it is decoded.

use crate::bounded::{Bounded, BoundedCodec, Boxed, Methods, Server, unimplemented};
use crate::wire::xds::{
    AggregatedDiscoveryService, DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest,
    DiscoveryResponse,
};
use prost::Message;
use std::sync::Arc;
use tonic::body::Body;
use tonic::codegen::{Body as HttpBody, StdError};
use tonic::server::{Grpc, StreamingService};
use tonic::{Request, Response, Status, Streaming};

/// A server of what `service` does, which refuses messages longer than `limit` bytes; add it to
/// `tonic::service::Routes`.
pub fn server<S: AggregatedDiscoveryService>(service: S, limit: usize) -> Server<Discovery<S>> {
    Server::new(Discovery(Arc::new(service)), limit)
}

/// The methods of the service.
#[derive(Debug)]
pub struct Discovery<S>(Arc<S>);

impl<S> Clone for Discovery<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S: AggregatedDiscoveryService> Methods for Discovery<S> {
    const NAME: &'static str = "envoy.service.discovery.v3.AggregatedDiscoveryService";

    fn answer<B>(self, method: &str, request: http::Request<B>, limit: usize) -> Boxed<http::Response<Body>>
    where
        B: HttpBody + Send + 'static,
        B::Error: Into<StdError> + Send + 'static,
    {
        match method {
            "DeltaAggregatedResources" => Box::pin(serve(Delta(self.0), limit, request)),
            "StreamAggregatedResources" => Box::pin(serve(StateOfTheWorld(self.0), limit, request)),
            _ => {
                unimplemented("this service has DeltaAggregatedResources and StreamAggregatedResources only")
            }
        }
    }
}

async fn serve<M, Q, R, B>(method: M, limit: usize, request: http::Request<B>) -> http::Response<Body>
where
    M: StreamingService<Q, Response = R> + Send,
    M::ResponseStream: Send + 'static,
    M::Future: Send,
    Q: Bounded,
    R: Message + Send + 'static,
    B: HttpBody + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    let mut grpc = Grpc::new(BoundedCodec::<R, Q>::default()).max_decoding_message_size(limit);
    grpc.streaming(method, request).await
}

struct Delta<S>(Arc<S>);

impl<S: AggregatedDiscoveryService> StreamingService<DeltaDiscoveryRequest> for Delta<S> {
    type Response = DeltaDiscoveryResponse;
    type ResponseStream = S::DeltaAggregatedResourcesStream;
    type Future = Boxed<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<DeltaDiscoveryRequest>>) -> Self::Future {
        let service = self.0.clone();
        Box::pin(async move { service.delta_aggregated_resources(request).await })
    }
}

struct StateOfTheWorld<S>(Arc<S>);

impl<S: AggregatedDiscoveryService> StreamingService<DiscoveryRequest> for StateOfTheWorld<S> {
    type Response = DiscoveryResponse;
    type ResponseStream = S::StreamAggregatedResourcesStream;
    type Future = Boxed<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<DiscoveryRequest>>) -> Self::Future {
        let service = self.0.clone();
        Box::pin(async move { service.stream_aggregated_resources(request).await })
    }
}
