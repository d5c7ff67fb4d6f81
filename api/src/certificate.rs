//! Istio's certificate API, `istio.v1.auth.IstioCertificateService`: its messages, a client and a server. Exists
//! because the authority serves it and all other processes call it. Written by hand in the style of generated code, so
//! that no protobuf compiler is needed for three messages.

use std::sync::Arc;
use tonic::body::Body;
use tonic::codegen::{Body as HttpBody, Bytes, StdError};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use crate::bounded::budget::{Budget, Inner};
use crate::bounded::{Bounded, BoundedCodec, Boxed, Methods, Server, unimplemented};

/// A request for a certificate. The connection or the token authenticates the caller, never this message.
#[derive(Clone, PartialEq, prost::Message)]
pub struct IstioCertificateRequest {
    /// The PKCS#10 certificate signing request, in PEM.
    #[prost(string, tag = "1")]
    pub csr: String,
    /// How long the certificate should be valid, in seconds; the authority's default if not positive.
    #[prost(int64, tag = "3")]
    pub validity_duration: i64,
    /// Further parameters, for example `CertSigner` or `ImpersonatedIdentity`.
    #[prost(message, optional, tag = "4")]
    pub metadata: Option<prost_types::Struct>,
}

impl Bounded for IstioCertificateRequest {
    const BUDGET: Budget = Budget {
        bytes: usize::MAX,
        fields: 16,
        inner: &[Inner {
            tag: 4,
            name: "the request's metadata",
            budget: Budget { bytes: 16 << 10, fields: 256, inner: &[], maps: &[] },
        }],
        maps: &[],
    };
}

/// The certificate and its chain.
#[derive(Clone, PartialEq, prost::Message)]
pub struct IstioCertificateResponse {
    /// PEM texts: the leaf first, the root (or a bundle of roots) last.
    #[prost(string, repeated, tag = "1")]
    pub cert_chain: Vec<String>,
}

/// A server of the API.
#[tonic::async_trait]
pub trait CertificateService: Send + Sync + 'static {
    /// Issues a certificate to the caller.
    async fn create_certificate(
        &self,
        request: Request<IstioCertificateRequest>,
    ) -> Result<Response<IstioCertificateResponse>, Status>;
}

/// Calls the API over a channel.
#[derive(Debug, Clone)]
pub struct CertificateClient<T> {
    grpc: tonic::client::Grpc<T>,
}

impl<T> CertificateClient<T>
where
    T: tonic::client::GrpcService<Body>,
    T::Error: Into<StdError>,
    T::ResponseBody: HttpBody<Data = Bytes> + Send + 'static,
    <T::ResponseBody as HttpBody>::Error: Into<StdError> + Send,
{
    /// Creates a client that uses `channel`.
    pub fn new(channel: T) -> Self {
        Self { grpc: tonic::client::Grpc::new(channel) }
    }

    /// Requests a certificate. The caller adds its credentials to the request's metadata.
    pub async fn create_certificate(
        &mut self,
        request: Request<IstioCertificateRequest>,
    ) -> Result<Response<IstioCertificateResponse>, Status> {
        self.grpc.ready().await.map_err(|error| {
            Status::unavailable(format!("cannot reach the certificate service: {}", error.into()))
        })?;
        let path = http::uri::PathAndQuery::from_static(METHOD);
        self.grpc.unary(request, path, ProstCodec::default()).await
    }
}

/// A gRPC service for `service` that refuses messages longer than `limit` bytes. Add it to `tonic::service::Routes`.
pub fn server<S: CertificateService>(service: S, limit: usize) -> Server<Certificates<S>> {
    Server::new(Certificates(Arc::new(service)), limit)
}

/// The methods of the service.
#[derive(Debug)]
pub struct Certificates<S>(Arc<S>);

impl<S> Clone for Certificates<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S: CertificateService> Methods for Certificates<S> {
    const NAME: &'static str = "istio.v1.auth.IstioCertificateService";

    fn call<B>(self, method: &str, request: http::Request<B>, limit: usize) -> Boxed<http::Response<Body>>
    where
        B: HttpBody + Send + 'static,
        B::Error: Into<StdError> + Send + 'static,
    {
        if method != "CreateCertificate" {
            return unimplemented("this service has only the method CreateCertificate");
        }
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(BoundedCodec::default()).max_decoding_message_size(limit);
            grpc.unary(CreateCertificate(self.0), request).await
        })
    }
}

struct CreateCertificate<S>(Arc<S>);

impl<S: CertificateService> tonic::server::UnaryService<IstioCertificateRequest> for CreateCertificate<S> {
    type Response = IstioCertificateResponse;
    type Future = Boxed<Result<Response<IstioCertificateResponse>, Status>>;

    fn call(&mut self, request: Request<IstioCertificateRequest>) -> Self::Future {
        let service = self.0.clone();
        Box::pin(async move { service.create_certificate(request).await })
    }
}

const METHOD: &str = "/istio.v1.auth.IstioCertificateService/CreateCertificate";

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;

    #[test]
    fn the_messages_have_the_field_numbers_of_istio() {
        let metadata = prost_types::Struct::default();
        let request =
            IstioCertificateRequest { csr: "c".to_owned(), validity_duration: 5, metadata: Some(metadata) };
        assert_eq!(request.encode_to_vec(), [0x0a, 1, b'c', 0x18, 5, 0x22, 0]);
        let response = IstioCertificateResponse { cert_chain: vec!["a".to_owned(), "b".to_owned()] };
        assert_eq!(response.encode_to_vec(), [0x0a, 1, b'a', 0x0a, 1, b'b']);
    }

    struct Echo;

    #[tonic::async_trait]
    impl CertificateService for Echo {
        async fn create_certificate(
            &self,
            request: Request<IstioCertificateRequest>,
        ) -> Result<Response<IstioCertificateResponse>, Status> {
            Ok(Response::new(IstioCertificateResponse { cert_chain: vec![request.into_inner().csr] }))
        }
    }

    async fn ask(csr: String) -> Result<IstioCertificateResponse, Status> {
        let routes = tonic::service::Routes::new(server(Echo, 1000));
        let mut client = CertificateClient::new(routes.into_axum_router());
        let request = IstioCertificateRequest { csr, ..Default::default() };
        client.create_certificate(Request::new(request)).await.map(Response::into_inner)
    }

    #[tokio::test]
    async fn a_call_reaches_the_service_and_returns_its_response() {
        assert_eq!(ask("csr".to_owned()).await.unwrap().cert_chain, ["csr"]);
    }

    #[tokio::test]
    async fn a_message_over_the_limit_is_refused() {
        let status = ask("x".repeat(2000)).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::OutOfRange);
    }
}
