//! The gRPC service of `echo.proto` and the standard health check, on every HTTP port.

use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Request, Response};
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio_stream::{self as stream, StreamExt};
use tonic::codegen::{BoxFuture, BoxStream};
use tonic::server::{ClientStreamingService, Grpc, ServerStreamingService, StreamingService, UnaryService};
use tonic::{Code, Status, Streaming};
use tonic_prost::ProstCodec;

use crate::control::Controls;
use crate::message::{self, EchoRequest, EchoResponse, HealthCheckRequest, HealthCheckResponse};
use crate::seen::{Place, Seen};
use crate::server::body::ResponseBody;
use crate::server::shared::Call;

/// Whether a request is gRPC.
pub(super) fn is_grpc<B>(request: &Request<B>) -> bool {
    request.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// Handles one gRPC call.
pub(super) async fn respond(call: &Call, request: Request<Incoming>) -> Response<ResponseBody> {
    if request.uri().path() == message::HEALTH_CHECK {
        let health = Health { serving: !call.shared.leaving.is_cancelled() };
        return boxed(Grpc::new(ProstCodec::default()).unary(health, request).await);
    }
    if let Err(status) = obey(&request).await {
        return boxed(status.into_http::<tonic::body::Body>());
    }
    let (head, body) = request.into_parts();
    let seen = Seen::head("grpc", &head, &call.connection, &call.shared.place).json();
    let echo = Echo { place: Arc::new(call.shared.place.clone()), seen };
    let path = head.uri.path().to_owned();
    let request = Request::from_parts(head, body);
    let mut server = Grpc::new(ProstCodec::<EchoResponse, EchoRequest>::default());
    boxed(match path.as_str() {
        message::ECHO => server.unary(One(echo), request).await,
        message::COLLECT => server.client_streaming(Collect(echo), request).await,
        message::REPEAT => server.server_streaming(Repeat(echo), request).await,
        message::CHAT => server.streaming(Chat(echo), request).await,
        _ => Status::unimplemented(format!("{path} is not a method of {}", message::SERVICE)).into_http(),
    })
}

/// Applies the controls in the call's metadata: delay and failure.
async fn obey(request: &Request<Incoming>) -> Result<(), Status> {
    let wrong = |error: crate::control::BadControl| Status::invalid_argument(error.to_string());
    let controls = Controls::of(None, request.headers()).map_err(wrong)?;
    let code = controls.grpc_code(rand::random()).map_err(wrong)?;
    if !controls.delay.is_zero() {
        tokio::time::sleep(controls.delay).await;
    }
    match Code::from_i32(code) {
        Code::Ok => Ok(()),
        code => Err(Status::new(code, "as requested")),
    }
}

fn boxed<B>(response: Response<B>) -> Response<ResponseBody>
where
    B: Body<Data = Bytes, Error = Status> + Send + 'static,
{
    response.map(|body| body.map_err(Into::into).boxed_unsync())
}

/// State that the methods of one call share.
#[derive(Clone)]
struct Echo {
    place: Arc<Place>,
    seen: String,
}

impl Echo {
    fn response(&self, message: String, index: u32) -> EchoResponse {
        EchoResponse {
            message,
            index,
            pod: self.place.pod.clone(),
            version: self.place.version.clone(),
            seen: if index == 0 { self.seen.clone() } else { String::new() },
        }
    }
}

struct One(Echo);

impl UnaryService<EchoRequest> for One {
    type Response = EchoResponse;
    type Future = BoxFuture<tonic::Response<EchoResponse>, Status>;

    fn call(&mut self, request: tonic::Request<EchoRequest>) -> Self::Future {
        let response = self.0.response(request.into_inner().message, 0);
        Box::pin(async { Ok(tonic::Response::new(response)) })
    }
}

struct Collect(Echo);

impl ClientStreamingService<EchoRequest> for Collect {
    type Response = EchoResponse;
    type Future = BoxFuture<tonic::Response<EchoResponse>, Status>;

    fn call(&mut self, request: tonic::Request<Streaming<EchoRequest>>) -> Self::Future {
        let echo = self.0.clone();
        Box::pin(async move {
            let mut requests = request.into_inner();
            let mut joined = String::new();
            let mut separator = "";
            while let Some(request) = requests.next().await {
                joined.push_str(separator);
                joined.push_str(&request?.message);
                separator = ",";
                if joined.len() > MOST_COLLECTED {
                    return Err(Status::resource_exhausted("more than a mebibyte to collect"));
                }
            }
            Ok(tonic::Response::new(echo.response(joined, 0)))
        })
    }
}

struct Repeat(Echo);

impl ServerStreamingService<EchoRequest> for Repeat {
    type Response = EchoResponse;
    type ResponseStream = BoxStream<EchoResponse>;
    type Future = BoxFuture<tonic::Response<Self::ResponseStream>, Status>;

    fn call(&mut self, request: tonic::Request<EchoRequest>) -> Self::Future {
        let echo = self.0.clone();
        let EchoRequest { message, count } = request.into_inner();
        let responses = (0..count).map(move |index| Ok(echo.response(message.clone(), index)));
        let responses: BoxStream<EchoResponse> = Box::pin(stream::iter(responses));
        Box::pin(async { Ok(tonic::Response::new(responses)) })
    }
}

struct Chat(Echo);

impl StreamingService<EchoRequest> for Chat {
    type Response = EchoResponse;
    type ResponseStream = BoxStream<EchoResponse>;
    type Future = BoxFuture<tonic::Response<Self::ResponseStream>, Status>;

    fn call(&mut self, request: tonic::Request<Streaming<EchoRequest>>) -> Self::Future {
        let echo = self.0.clone();
        let mut index = 0;
        let responses = request.into_inner().map(move |request| {
            let response = echo.response(request?.message, index);
            index = index.wrapping_add(1).max(1);
            Ok(response)
        });
        let responses: BoxStream<EchoResponse> = Box::pin(responses);
        Box::pin(async { Ok(tonic::Response::new(responses)) })
    }
}

/// The health check. It reports `NOT_SERVING` while the server shuts down, as a readiness probe expects.
struct Health {
    serving: bool,
}

impl UnaryService<HealthCheckRequest> for Health {
    type Response = HealthCheckResponse;
    type Future = BoxFuture<tonic::Response<HealthCheckResponse>, Status>;

    fn call(&mut self, request: tonic::Request<HealthCheckRequest>) -> Self::Future {
        let service = request.into_inner().service;
        let status = if self.serving { message::SERVING } else { message::NOT_SERVING };
        Box::pin(async move {
            if service.is_empty() || service == message::SERVICE {
                Ok(tonic::Response::new(HealthCheckResponse { status }))
            } else {
                Err(Status::not_found(format!("there is no service {service}")))
            }
        })
    }
}

const MOST_COLLECTED: usize = 1 << 20;
