//! Messages of unauthenticated clients: a gRPC codec that checks their size against a budget before it decodes them,
//! and the shell of a gRPC service that uses the codec.

pub mod budget;

use budget::{Budget, Excess, check};
use bytes::Buf;
use prost::Message;
use std::convert::Infallible;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};
use tonic::Status;
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder};
use tonic::codegen::{Body as HttpBody, StdError};
use tonic_prost::ProstEncoder;

/// A message that is measured before it is decoded.
pub trait Bounded: Message + Default + Send + 'static {
    /// Its limits.
    const BUDGET: Budget;
}

/// Like `tonic_prost::ProstCodec`, for requests `D` with a budget and responses `E`.
#[derive(Debug)]
pub struct BoundedCodec<E, D>(PhantomData<(E, D)>);

impl<E, D> Default for BoundedCodec<E, D> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<E: Message + Send + 'static, D: Bounded> Codec for BoundedCodec<E, D> {
    type Encode = E;
    type Decode = D;
    type Encoder = ProstEncoder<E>;
    type Decoder = BoundedDecoder<D>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::default()
    }

    fn decoder(&mut self) -> Self::Decoder {
        BoundedDecoder(PhantomData)
    }
}

/// See `BoundedCodec`.
#[derive(Debug)]
pub struct BoundedDecoder<D>(PhantomData<D>);

impl<D: Bounded> Decoder for BoundedDecoder<D> {
    type Item = D;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<D>, Status> {
        // `DecodeBuf` contains one complete message as one chunk.
        check(buffer.chunk(), &D::BUDGET).map_err(|excess| refusal(&excess))?;
        D::decode(buffer).map(Some).map_err(|error| refusal(&Excess::Malformed(error)))
    }
}

/// Decodes a message if it is within its budget.
pub fn read<D: Bounded>(message: &[u8]) -> Result<D, Status> {
    check(message, &D::BUDGET).map_err(|excess| refusal(&excess))?;
    D::decode(message).map_err(|error| refusal(&Excess::Malformed(error)))
}

/// The status for malformed bytes is `INTERNAL`, as gRPC's list of status codes requires.
fn refusal(excess: &Excess) -> Status {
    match excess {
        Excess::Malformed(_) | Excess::Truncated(_) | Excess::Map(..) => Status::internal(excess.to_string()),
        Excess::Bytes { .. } | Excess::Fields { .. } => Status::resource_exhausted(excess.to_string()),
    }
}

/// The methods of a service.
pub trait Methods: Clone + Send + Sync + 'static {
    /// The service's full name, as in paths.
    const NAME: &'static str;

    /// Handles a call; `method` is the part of the path after the service's name. Messages longer than `limit` bytes
    /// are refused.
    fn call<B>(self, method: &str, request: http::Request<B>, limit: usize) -> Boxed<http::Response<Body>>
    where
        B: HttpBody + Send + 'static,
        B::Error: Into<StdError> + Send + 'static;
}

/// Serves methods.
#[derive(Debug, Clone)]
pub struct Server<M> {
    methods: M,
    limit: usize,
}

impl<M> Server<M> {
    pub(crate) fn new(methods: M, limit: usize) -> Self {
        Self { methods, limit }
    }
}

impl<M: Methods> tonic::server::NamedService for Server<M> {
    const NAME: &'static str = M::NAME;
}

impl<M, B> tower_service::Service<http::Request<B>> for Server<M>
where
    M: Methods,
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
        let path = request.uri().path().to_owned();
        let method = path.rsplit('/').next().unwrap_or_default();
        let call = self.methods.clone().call(method, request, self.limit);
        Box::pin(async move { Ok(call.await) })
    }
}

/// A future on the heap.
pub type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The response to a call of an unknown method.
pub fn unimplemented(reason: &str) -> Boxed<http::Response<Body>> {
    Box::pin(std::future::ready(Status::unimplemented(reason).into_http()))
}
