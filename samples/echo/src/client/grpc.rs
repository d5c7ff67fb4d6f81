//! Calls over gRPC: unary, or with a stream in one or both directions.

use std::task::{Context, Poll};

use http::uri::PathAndQuery;
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio_stream::{self as stream, StreamExt};
use tonic::client::Grpc;
use tonic::codegen::{BoxFuture, Service};
use tonic::metadata::MetadataMap;
use tonic::{Code, Status, Streaming};
use tonic_prost::ProstCodec;

use crate::client::dial::{CallError, dial};
use crate::client::plan::Plan;
use crate::config::GrpcMethod;
use crate::message::{self, EchoRequest, EchoResponse, HealthCheckRequest, HealthCheckResponse, SERVING};
use crate::report::Reply;

/// The connection of a worker.
#[derive(Default)]
pub(super) struct Caller {
    client: Option<Grpc<Wire>>,
}

impl Caller {
    /// Makes one call with all its messages.
    pub(super) async fn call(&mut self, plan: &Plan) -> Result<Reply, CallError> {
        let mut client = match self.client.take() {
            Some(client) => client,
            None => connect(plan).await?,
        };
        if client.ready().await.is_err() {
            client = connect(plan).await?;
            client.ready().await.map_err(CallError::Http)?;
        }
        let result = match plan.grpc {
            GrpcMethod::Health => health(&mut client, plan).await,
            _ => echo(&mut client, plan).await,
        };
        let reply = match result {
            Ok(reply) => reply,
            // A status with a cause was created on this side, because the connection failed.
            Err(Failure::Status(status)) if std::error::Error::source(&*status).is_some() => {
                return Err(CallError::Grpc(status));
            }
            Err(Failure::Status(status)) => refused(&status),
            Err(Failure::Call(error)) => return Err(error),
        };
        self.client = Some(client);
        Ok(reply)
    }
}

enum Failure {
    Status(Box<Status>),
    Call(CallError),
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Status(Box::new(status))
    }
}

async fn echo(client: &mut Grpc<Wire>, plan: &Plan) -> Result<Reply, Failure> {
    let codec = ProstCodec::<EchoRequest, EchoResponse>::default();
    let text = String::from_utf8_lossy(&plan.message()).into_owned();
    let count = plan.messages;
    let one = EchoRequest { message: text.clone(), count };
    let messages = (0..count).map(|number| EchoRequest { message: format!("{text} {number}"), count: 0 });
    let many = stream::iter(messages.clone().collect::<Vec<_>>());
    let said = |request: EchoRequest| request.message;
    let (replies, expected) = match plan.grpc {
        GrpcMethod::Collect => {
            let reply =
                client.client_streaming(with_headers(plan, many), path(message::COLLECT), codec).await?;
            (vec![reply.into_inner()], vec![messages.map(said).collect::<Vec<_>>().join(",")])
        }
        GrpcMethod::Repeat => {
            let reply =
                client.server_streaming(with_headers(plan, one), path(message::REPEAT), codec).await?;
            (all(reply.into_inner()).await?, vec![text; count as usize])
        }
        GrpcMethod::Chat => {
            let reply = client.streaming(with_headers(plan, many), path(message::CHAT), codec).await?;
            (all(reply.into_inner()).await?, messages.map(said).collect())
        }
        GrpcMethod::Echo | GrpcMethod::Health => {
            let reply = client.unary(with_headers(plan, one), path(message::ECHO), codec).await?;
            (vec![reply.into_inner()], vec![text])
        }
    };
    if !replies.iter().map(|reply| &reply.message).eq(&expected) {
        return Err(Failure::Call(CallError::Unexpected("did not echo the messages in order")));
    }
    let first = replies.into_iter().next().unwrap_or_default();
    let named = |text: String| Some(text).filter(|text| !text.is_empty());
    Ok(Reply {
        status: "OK".to_owned(),
        good: true,
        version: named(first.version),
        pod: named(first.pod),
        trailers: true,
        text: first.seen,
    })
}

async fn health(client: &mut Grpc<Wire>, plan: &Plan) -> Result<Reply, Failure> {
    let codec = ProstCodec::<HealthCheckRequest, HealthCheckResponse>::default();
    let request = with_headers(plan, HealthCheckRequest { service: String::new() });
    let reply = client.unary(request, path(message::HEALTH_CHECK), codec).await?.into_inner();
    let serving = reply.status == SERVING;
    let status = if serving { "SERVING" } else { "NOT_SERVING" }.to_owned();
    Ok(Reply { text: status.clone(), status, good: serving, trailers: true, ..Reply::default() })
}

async fn all(mut replies: Streaming<EchoResponse>) -> Result<Vec<EchoResponse>, Status> {
    let mut received = Vec::new();
    while let Some(reply) = replies.next().await {
        received.push(reply?);
    }
    Ok(received)
}

fn refused(status: &Status) -> Reply {
    Reply {
        status: code_name(status.code()),
        good: false,
        trailers: true,
        text: status.message().to_owned(),
        ..Reply::default()
    }
}

/// The code's name as in the gRPC documentation: `DEADLINE_EXCEEDED`.
fn code_name(code: Code) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

fn with_headers<T>(plan: &Plan, message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    *request.metadata_mut() = MetadataMap::from_headers(plan.headers.clone());
    request
}

fn path(path: &'static str) -> PathAndQuery {
    PathAndQuery::from_static(path)
}

async fn connect(plan: &Plan) -> Result<Grpc<Wire>, CallError> {
    let io = TokioIo::new(dial(plan).await?);
    let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.map_err(CallError::Http)?;
    // The sender reports errors of the connection.
    tokio::spawn(async move { drop(connection.await) });
    let origin = Uri::builder()
        .scheme(if plan.tls.is_some() { "https" } else { "http" })
        .authority(plan.authority.clone())
        .path_and_query("/")
        .build()
        .map_err(CallError::Request)?;
    Ok(Grpc::with_origin(Wire(sender), origin))
}

/// An HTTP/2 connection as a tonic service.
#[derive(Clone)]
struct Wire(http2::SendRequest<tonic::body::Body>);

impl Service<Request<tonic::body::Body>> for Wire {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = BoxFuture<Self::Response, hyper::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<tonic::body::Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_codes_have_grpcs_names() {
        let table = [
            (Code::Ok, "OK"),
            (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
            (Code::Unavailable, "UNAVAILABLE"),
        ];
        for (code, name) in table {
            assert_eq!(code_name(code), name);
        }
    }
}
