//! TLS of the HTTPS ports: a given or a self-signed certificate, and the parameters of a handshake.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{ProtocolVersion, RootCertStore, ServerConfig, ServerConnection};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::config::ServerOptions;
use crate::seen::Tls;

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or is not PEM.
    #[error("cannot read {0}; give a PEM file")]
    File(PathBuf, #[source] rustls_pki_types::pem::Error),
    /// The certificate, the key or the roots are invalid.
    #[error("certificate, key or roots cannot be used")]
    Unusable(#[source] rustls::Error),
    /// The file of client roots contains no certificate.
    #[error("{0} holds no root to verify clients with")]
    Roots(PathBuf),
    /// The self-signed certificate cannot be generated.
    #[error("cannot make a self-signed certificate; check --tls-name")]
    SelfSigned(#[source] rcgen::Error),
}

/// Builds the TLS acceptor from `options`.
pub(super) fn acceptor(options: &ServerOptions) -> Result<TlsAcceptor, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Unusable)?;
    let builder = match &options.client_ca {
        None => builder.with_no_client_auth(),
        Some(file) => builder.with_client_cert_verifier(verifier(file.clone(), provider)?),
    };
    let (chain, key) = match (&options.cert, &options.key) {
        (Some(cert), Some(key)) => {
            let wrong = |error| TlsError::File(key.clone(), error);
            (certificates(cert)?, PrivateKeyDer::from_pem_file(key).map_err(wrong)?)
        }
        _ => self_signed(&options.tls_name)?,
    };
    let mut config = builder.with_single_cert(chain, key).map_err(TlsError::Unusable)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// The parameters of the handshake of `connection`.
pub(super) fn describe(connection: &ServerConnection) -> Tls {
    let version = match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
        Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
        _ => "unknown",
    };
    let leaf = connection.peer_certificates().and_then(<[_]>::first);
    let (client, client_uris) = leaf.and_then(|leaf| client(leaf)).unwrap_or_default();
    Tls {
        version: version.to_owned(),
        sni: connection.server_name().map(ToOwned::to_owned),
        alpn: connection.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned()),
        client,
        client_uris,
    }
}

fn client(leaf: &CertificateDer<'_>) -> Option<(Option<String>, Vec<String>)> {
    let (_, parsed) = X509Certificate::from_der(leaf).ok()?;
    let names = parsed.extensions().iter().filter_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
        _ => None,
    });
    let uris = names.flatten().filter_map(|name| match name {
        GeneralName::URI(uri) => Some((*uri).to_owned()),
        _ => None,
    });
    Some((Some(parsed.subject().to_string()), uris.collect()))
}

fn verifier(
    file: PathBuf,
    provider: Arc<rustls::crypto::CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates(&file)?);
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .allow_unauthenticated()
        .build()
        .map_err(|_| TlsError::Roots(file))
}

fn certificates(file: &PathBuf) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|error| TlsError::File(file.clone(), error))
}

fn self_signed(names: &[String]) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let made = rcgen::generate_simple_self_signed(names).map_err(TlsError::SelfSigned)?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    Ok((vec![made.cert.der().clone()], key.into()))
}
