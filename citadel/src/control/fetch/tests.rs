//! Documents from a test server, over HTTP and HTTPS.

use super::*;
use api::process::serve;
use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get as route;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls_pki_types::PrivatePkcs8KeyDer;
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

fn routes() -> Router {
    let shown = async |headers: HeaderMap| {
        headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or("nothing").to_owned()
    };
    Router::new()
        .route("/keys", route(async || "{\"keys\":[]}"))
        .route("/shown", route(shown))
        .route("/moved", route(async || (StatusCode::FOUND, [("location", "/keys")])))
        .route("/long", route(async || "x".repeat(MAX_DOCUMENT + 1)))
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[tokio::test]
async fn a_document_is_fetched_over_http_and_nothing_else_is_taken_for_it() {
    let (listener, address) = listener().await;
    let drain = CancellationToken::new();
    let server = tokio::spawn(serve::http(listener, routes(), drain.clone()));
    let ask = async |path: &str, bearer: Option<&Path>| {
        let url = format!("http://{address}{path}").parse().unwrap();
        get(&url, None, bearer)
            .await
            .map(|body| String::from_utf8(body).unwrap())
            .map_err(|error| error.to_string())
    };
    assert_eq!(ask("/keys", None).await.unwrap(), "{\"keys\":[]}");
    assert_eq!(ask("/shown", None).await.unwrap(), "nothing");
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "secret\n").unwrap();
    assert_eq!(ask("/shown", Some(&token)).await.unwrap(), "Bearer secret");
    assert!(
        ask("/shown", Some(&folder.path().join("none"))).await.unwrap_err().contains("none cannot be read")
    );
    assert!(ask("/none", None).await.unwrap_err().contains("404"));
    assert!(ask("/moved", None).await.unwrap_err().contains("302"));
    assert!(ask("/long", None).await.unwrap_err().contains("length limit"));
    drain.cancel();
    server.await.unwrap();
    assert!(ask("/keys", None).await.unwrap_err().contains("cannot connect"));
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

#[tokio::test]
async fn an_https_server_is_verified_by_its_name_and_the_given_roots() {
    let authority = authority();
    let key = KeyPair::generate().unwrap();
    let leaf =
        CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let config = tls::server_config(vec![leaf.der().clone()], key.into(), None).unwrap();
    let (listener, address) = listener().await;
    let drain = CancellationToken::new();
    let (_keep, tls) = watch::channel(config);
    let server = tokio::spawn(serve::https(listener, routes(), tls, drain.clone()));
    let folder = tempfile::tempdir().unwrap();
    let (right, wrong) = (folder.path().join("right"), folder.path().join("wrong"));
    std::fs::write(&right, authority.pem()).unwrap();
    std::fs::write(&wrong, self::authority().pem()).unwrap();
    let ask = async |host: &str, roots: &Path| {
        get(&format!("https://{host}:{}/keys", address.port()).parse().unwrap(), Some(roots), None).await
    };
    assert_eq!(ask("localhost", &right).await.unwrap(), b"{\"keys\":[]}");
    assert!(ask("localhost", &wrong).await.is_err());
    assert!(ask("127.0.0.1", &right).await.is_err());
    assert!(ask("localhost", &folder.path().join("none")).await.is_err());
    drain.cancel();
    server.await.unwrap();
}
