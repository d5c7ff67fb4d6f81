//! The gRPC service of the discovery protocol, safe for unauthenticated clients. A request's size is checked before it
//! is decoded, and its buffer is freed afterwards. A response is written in parts as fast as its client reads them,
//! from bytes that all clients share. An idle stream holds no buffer.

use super::server::{Mode, Parts, Request, Response};
use crate::bounded::{Bounded, Boxed, Methods, Server, read, unimplemented};
use crate::wire::xds::{DeltaDiscoveryRequest, DiscoveryRequest};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::Stream;
use futures_util::stream::BoxStream;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use hyper::body::Frame;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::sync::mpsc;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{Body as HttpBody, StdError};

/// A server of discovery streams.
pub trait Discover: Send + Sync + 'static {
    /// Starts to serve a stream; `caller` holds the extensions of its HTTP request.
    fn serve(
        &self,
        mode: Mode,
        caller: &http::Extensions,
        requests: Requests,
    ) -> Result<ResponseStream, Status>;
}

/// Requests of a stream, for either method.
pub type Requests = BoxStream<'static, Result<Request, Status>>;

/// Responses of a stream; an error ends it.
pub type ResponseStream = mpsc::Receiver<StreamItem>;

/// A response, or the error that ends the stream. It is boxed because a queue allocates many slots at once.
pub type StreamItem = Box<Result<Response, Status>>;

/// A gRPC server for `service`, which refuses messages longer than `limit` bytes; add it to
/// `tonic::service::Routes`.
pub fn server<S: Discover>(service: S, limit: usize) -> Server<Discovery<S>> {
    Server::new(Discovery(Arc::new(service)), limit)
}

/// The methods of the gRPC service.
#[derive(Debug)]
pub struct Discovery<S>(Arc<S>);

impl<S> Clone for Discovery<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S: Discover> Methods for Discovery<S> {
    const NAME: &'static str = "envoy.service.discovery.v3.AggregatedDiscoveryService";

    fn call<B>(self, method: &str, request: http::Request<B>, limit: usize) -> Boxed<http::Response<Body>>
    where
        B: HttpBody + Send + 'static,
        B::Error: Into<StdError> + Send + 'static,
    {
        let (head, body) = request.into_parts();
        let (mode, requests): (Mode, Requests) = match method {
            "DeltaAggregatedResources" => {
                let read = |request: DeltaDiscoveryRequest| Request::Delta(request);
                (Mode::Delta, Box::pin(Incoming::new(body, limit, read)))
            }
            "StreamAggregatedResources" => {
                let read = |request: DiscoveryRequest| Request::Sotw(request);
                (Mode::Sotw, Box::pin(Incoming::new(body, limit, read)))
            }
            _ => {
                return unimplemented(
                    "this service has only the methods DeltaAggregatedResources and StreamAggregatedResources",
                );
            }
        };
        let response = match self.0.serve(mode, &head.extensions, requests) {
            Ok(responses) => {
                let mut response =
                    http::Response::new(Body::new(Outgoing { responses: Some(responses), parts: None }));
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
                response
            }
            Err(status) => status.into_http(),
        };
        Box::pin(std::future::ready(response))
    }
}

/// The messages of a request's body.
struct Incoming<B, D, F> {
    body: Pin<Box<B>>,
    /// The received part of a message.
    buffer: BytesMut,
    limit: usize,
    read: F,
    ended: bool,
    message: PhantomData<fn() -> D>,
}

impl<B, D: Bounded, F: Fn(D) -> Request> Incoming<B, D, F> {
    fn new(body: B, limit: usize, read: F) -> Self {
        let (body, buffer) = (Box::pin(body), BytesMut::new());
        Self { body, buffer, limit, read, ended: false, message: PhantomData }
    }

    /// The next message, if it is complete.
    fn message(&mut self) -> Result<Option<Request>, Status> {
        let Some((prefix, rest)) = self.buffer.split_first_chunk::<PREFIX>() else { return Ok(None) };
        let [compressed, length @ ..] = *prefix;
        if compressed != 0 {
            return Err(Status::unimplemented("compressed messages are not supported"));
        }
        let length = u32::from_be_bytes(length) as usize;
        if length > self.limit {
            let limit = self.limit;
            let reason = format!("message of {length} bytes exceeds the limit of {limit} bytes");
            return Err(Status::out_of_range(reason));
        }
        let Some(message) = rest.get(..length) else { return Ok(None) };
        let request = (self.read)(read::<D>(message)?);
        self.buffer.advance(PREFIX + length);
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
        Ok(Some(request))
    }
}

impl<B, D, F> Stream for Incoming<B, D, F>
where
    B: HttpBody,
    B::Error: Into<StdError>,
    D: Bounded,
    F: Fn(D) -> Request + Unpin,
{
    type Item = Result<Request, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        while !this.ended {
            match this.message() {
                Ok(Some(request)) => return Poll::Ready(Some(Ok(request))),
                Ok(None) => {}
                Err(status) => {
                    this.ended = true;
                    return Poll::Ready(Some(Err(status)));
                }
            }
            match ready!(this.body.as_mut().poll_frame(cx)) {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        this.buffer.put(data);
                    }
                }
                Some(Err(error)) => {
                    this.ended = true;
                    return Poll::Ready(Some(Err(Status::from_error(error.into()))));
                }
                None => {
                    this.ended = true;
                    if !this.buffer.is_empty() {
                        return Poll::Ready(Some(Err(Status::internal("the stream ends within a message"))));
                    }
                }
            }
        }
        Poll::Ready(None)
    }
}

/// The body of a response.
struct Outgoing {
    /// `None`: the stream is over.
    responses: Option<ResponseStream>,
    /// The rest of the response that is being sent.
    parts: Option<Parts>,
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some(part) = self.parts.as_mut().and_then(Iterator::next) {
            return Poll::Ready(Some(Ok(Frame::data(part))));
        }
        self.parts = None;
        let Some(responses) = &mut self.responses else { return Poll::Ready(None) };
        let status = match ready!(responses.poll_recv(cx)).map(|call| *call) {
            Some(Ok(response)) => {
                let prefix = prefix(response.encoded_len());
                self.parts = Some(response.into_parts());
                return Poll::Ready(Some(prefix.map(Frame::data)));
            }
            Some(Err(status)) => status,
            None => Status::ok(""),
        };
        self.responses = None;
        let mut trailers = http::HeaderMap::new();
        status.add_header(&mut trailers)?;
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.responses.is_none() && self.parts.is_none()
    }
}

/// The prefix of an uncompressed gRPC message.
fn prefix(length: usize) -> Result<Bytes, Status> {
    let length = u32::try_from(length).map_err(|_| Status::out_of_range("response of more than 4 GiB"))?;
    let mut prefix = BytesMut::with_capacity(PREFIX);
    prefix.put_u8(0);
    prefix.put_u32(length);
    Ok(prefix.freeze())
}

/// Bytes before each message: a flag and its length.
const PREFIX: usize = 5;
