//! Connects to the servers of a control plane as their clients do, to see the certificates that they present.

use std::sync::Arc;
use std::time::Duration;

use api::process::tls;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::check::trust::Served;

/// A server of the control plane.
#[derive(Debug, Clone)]
pub(super) struct Server {
    /// The name of its Deployment and Service.
    pub(super) app: String,
    /// A pod of it that is ready.
    pub(super) pod: String,
    /// The port.
    pub(super) port: u16,
}

/// Completes a handshake on a stream to the server, and returns when the certificate ends. It must be valid for the
/// Service's name in `namespace`, and issued by one of `roots` (PEM).
pub(super) async fn with<S>(stream: S, server: &Server, namespace: &str, roots: &str) -> Served
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let end = tokio::time::timeout(PATIENCE, end(stream, server, namespace, roots)).await;
    let end = end.unwrap_or_else(|_| Err("it does not respond".to_owned()));
    Served { server: format!("{}:{}", server.app, server.port), end }
}

async fn end<S>(stream: S, server: &Server, namespace: &str, roots: &str) -> Result<i64, String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let text = |error: &dyn std::error::Error| error.to_string();
    let mut store = RootCertStore::empty();
    for root in tls::certificates_from_pem(roots.as_bytes()).map_err(|error| text(&error))? {
        store.add(root).map_err(|error| text(&error))?;
    }
    let config = ClientConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| text(&error))?
        .with_root_certificates(store)
        .with_no_client_auth();
    let name = format!("{}.{namespace}.svc", server.app);
    let name = ServerName::try_from(name).map_err(|error| text(&error))?;
    let stream =
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|error| text(&error))?;
    let (_, connection) = stream.get_ref();
    let leaf =
        connection.peer_certificates().and_then(|chain| chain.first()).ok_or("it has no certificate")?;
    let (_, leaf) = X509Certificate::from_der(leaf).map_err(|error| text(&error))?;
    Ok(leaf.validity().not_after.timestamp())
}

const PATIENCE: Duration = Duration::from_secs(10);
