//! Istio's agent for a stock Envoy: serves a certificate and trust anchors over SDS. Envoy waits for them before it
//! listens, so without an agent a test could not reach an Envoy.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::Ipv4Addr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use api::model::Resource;
use api::model::secret::{Secret, SecretContent};
use api::name::{WORKLOAD_CERTIFICATE, WORKLOAD_ROOTS};
use api::wire::xds::{Any, DiscoveryRequest, DiscoveryResponse, NodeInfo};
use api::wire::{Target, encode};
use futures_util::{Stream, StreamExt};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tonic::server::Grpc;
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use tower_service::Service;

/// Serves until the process ends. The certificate is `NAME.pem` of a folder, with its root `ca.pem`, or a generated
/// one.
pub fn serve(port: u16, files: Option<(&Path, &str)>) {
    let secrets = match files {
        None => own(),
        Some((folder, name)) => {
            let read = |file: String| std::fs::read_to_string(folder.join(file)).expect("the file is there");
            secrets(read(format!("{name}.pem")), read(format!("{name}.key")), read("ca.pem".to_owned()))
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime can be made").block_on(accept(port, Arc::new(secrets)));
}

async fn accept(port: u16, secrets: Arc<BTreeMap<String, Any>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.expect("the port is free");
    loop {
        let (stream, _) = listener.accept().await.expect("connections can be accepted");
        let secrets = Arc::clone(&secrets);
        let service = service_fn(move |request| {
            let agent = Agent(Arc::clone(&secrets));
            async move { Ok::<_, Infallible>(Grpc::new(ProstCodec::default()).streaming(agent, request).await) }
        });
        let connection =
            http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service);
        // Envoy may close connections at any time.
        tokio::spawn(async move { drop(connection.await) });
    }
}

fn own() -> BTreeMap<String, Any> {
    let key = rcgen::KeyPair::generate().expect("a key can be made");
    let parameters = rcgen::CertificateParams::new(vec!["agent.test".to_owned()]).expect("the name is one");
    let certificate = parameters.self_signed(&key).expect("a certificate can be signed").pem();
    secrets(certificate.clone(), key.serialize_pem(), certificate)
}

fn secrets(chain: String, key: String, bundle: String) -> BTreeMap<String, Any> {
    let content = SecretContent::Certificate { chain, key };
    let roots = SecretContent::Roots { bundle };
    let target = Target::of(&NodeInfo::default());
    [(WORKLOAD_CERTIFICATE, content), (WORKLOAD_ROOTS, roots)]
        .map(|(name, content)| {
            let secret = Secret { name: name.to_owned(), content };
            (name.to_owned(), encode(&Resource::Secret(secret), &target))
        })
        .into()
}

/// Implements `envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets`, the only method that Envoy calls here.
struct Agent(Arc<BTreeMap<String, Any>>);

type Answers = Pin<Box<dyn Stream<Item = Result<DiscoveryResponse, Status>> + Send>>;

impl Service<Request<Streaming<DiscoveryRequest>>> for Agent {
    type Response = Response<Answers>;
    type Error = Status;
    type Future = Ready<Result<Self::Response, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Streaming<DiscoveryRequest>>) -> Self::Future {
        let secrets = Arc::clone(&self.0);
        let responses = request.into_inner().filter_map(move |request| ready(response(&secrets, request)));
        ready(Ok(Response::new(Box::pin(responses))))
    }
}

/// Responds to the first request of a stream; later requests are acknowledgements.
fn response(
    secrets: &BTreeMap<String, Any>,
    request: Result<DiscoveryRequest, Status>,
) -> Option<Result<DiscoveryResponse, Status>> {
    let request = request.ok().filter(|request| request.response_nonce.is_empty())?;
    let resources = request.resource_names.iter().filter_map(|name| secrets.get(name).cloned()).collect();
    let (version_info, nonce) = ("1".to_owned(), "1".to_owned());
    Some(Ok(DiscoveryResponse {
        version_info,
        nonce,
        resources,
        type_url: request.type_url,
        ..DiscoveryResponse::default()
    }))
}
