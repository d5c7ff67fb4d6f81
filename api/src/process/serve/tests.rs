//! A server on a free port, spoken to by a real client: who the peer is, draining, and renewed certificates.

use super::*;
use crate::process::tls::{
    Accept, ClientAuth, client_config, mesh_clients, mesh_servers, roots_from_pem, server_config,
};
use axum::Extension;
use axum::routing::get;
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose, SanType};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio::sync::Notify;
use tokio_rustls::TlsConnector;

type Chain = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn who() -> Router {
    let answer = async |Extension(peer): Extension<Peer>| match peer.identity {
        Some(id) => id.to_string(),
        None => format!("{} {}", peer.address.ip(), peer.certificates.len()),
    };
    Router::new().route("/", get(answer))
}

async fn ask<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S) -> Result<String, hyper::Error> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request =
        Request::get("/").header("host", "a").body(Empty::<Bytes>::new()).expect("the parts are valid");
    let body = sender.send_request(request).await?.into_body().collect().await?;
    Ok(String::from_utf8_lossy(&body.to_bytes()).into_owned())
}

#[tokio::test]
async fn a_plaintext_peer_has_an_address_and_no_identity() {
    let (listener, address) = listener().await;
    let drain = CancellationToken::new();
    let server = tokio::spawn(http(listener, who(), drain.clone()));
    let stream = TcpStream::connect(address).await.unwrap();
    assert_eq!(ask(stream).await.unwrap(), "127.0.0.1 0");
    drain.cancel();
    server.await.unwrap();
}

#[tokio::test]
async fn draining_finishes_the_running_request_and_refuses_new_ones() {
    let (listener, address) = listener().await;
    let drain = CancellationToken::new();
    let (started, finish) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begin, end) = (started.clone(), finish.clone());
    let slow = async move || {
        begin.notify_one();
        end.notified().await;
        "finished"
    };
    let server = tokio::spawn(http(listener, Router::new().route("/", get(slow)), drain.clone()));
    let running = tokio::spawn(ask(TcpStream::connect(address).await.unwrap()));
    started.notified().await;
    drain.cancel();
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    finish.notify_one();
    assert_eq!(running.await.unwrap().unwrap(), "finished");
    server.await.unwrap();
}

#[tokio::test]
async fn a_connection_that_outlasts_the_drain_is_cut() {
    let (listener, address) = listener().await;
    let connections = Connections::new();
    let client = TcpStream::connect(address).await.unwrap();
    let (stream, _, permit) = connections.accept(&listener, &CancellationToken::new()).await.unwrap();
    connections.spawn(permit, async move {
        let _open = stream;
        std::future::pending::<()>().await;
    });
    connections.end(Duration::from_millis(1)).await;
    let read = client.readable().await.map(|()| client.try_read(&mut [0]).unwrap());
    assert_eq!(read.unwrap(), 0);
}

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn leaf(&self, account: &str) -> Chain {
        let mut params = CertificateParams::default();
        let uri = format!("spiffe://cluster.local/ns/default/sa/{account}");
        params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (vec![certificate.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
    }

    fn server(&self, account: &str) -> Arc<ServerConfig> {
        let roots = roots_from_pem(self.0.pem().as_bytes()).unwrap();
        let (chain, key) = self.leaf(account);
        let clients = mesh_clients(roots, Accept::Any, ClientAuth::Optional).unwrap();
        server_config(chain, key, Some(clients)).unwrap()
    }

    async fn connect(
        &self,
        address: SocketAddr,
        own: Option<Chain>,
    ) -> tokio_rustls::client::TlsStream<TcpStream> {
        let roots = roots_from_pem(self.0.pem().as_bytes()).unwrap();
        let config = client_config(mesh_servers(roots, Accept::Any), own).unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("citadel").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
    }
}

fn server_account(stream: &tokio_rustls::client::TlsStream<TcpStream>) -> String {
    let leaf = &stream.get_ref().1.peer_certificates().unwrap()[0];
    peer_identity(leaf).unwrap().service_account().unwrap().to_owned()
}

#[tokio::test]
async fn a_tls_peer_is_known_by_its_certificate_and_a_renewed_server_certificate_is_used_next() {
    let authority = Authority::new();
    let (listener, address) = listener().await;
    let drain = CancellationToken::new();
    let (renew, tls) = watch::channel(authority.server("first"));
    let server = tokio::spawn(https(listener, who(), tls, drain.clone()));

    let with_own = authority.connect(address, Some(authority.leaf("reviews"))).await;
    let without = authority.connect(address, None).await;
    assert_eq!(server_account(&without), "first");
    renew.send_replace(authority.server("second"));
    assert_eq!(server_account(&authority.connect(address, None).await), "second");
    assert_eq!(ask(with_own).await.unwrap(), "spiffe://cluster.local/ns/default/sa/reviews");
    assert_eq!(ask(without).await.unwrap(), "127.0.0.1 0");

    drain.cancel();
    server.await.unwrap();
}
