//! TLS as a server: certificates selected by SNI and verification of clients, both read from the store at each
//! handshake.

use super::error::CredentialError;
use super::file::FileSecret;
use super::loaded::{Loaded, Material};
use super::session::Tickets;
use super::store::Store;
use super::verify::{Check, host_matches};
use api::model::secret::SecretContent;
use api::model::tls::{CertificateSource, DownstreamTls, TlsParameters, TlsVersion};
use api::process::tls::verifier::{self, PresentedChain};
use api::process::tls::{ClientAuth, provider};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, NoClientAuth, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::CertificateDer;
use std::sync::Arc;

/// Builds a server configuration from these settings. Secrets may arrive after this call; a handshake that needs a
/// missing secret fails and logs its name.
pub fn server_config(tls: &DownstreamTls, store: &Arc<Store>) -> Result<Server, CredentialError> {
    let certificates = sources(&tls.common, store)?;
    if certificates.is_empty() {
        return Err(CredentialError::Context {
            path: "common_tls_context.tls_certificates",
            reason: "a server needs a certificate".to_owned(),
        });
    }
    let check =
        tls.common.validation.as_ref().map(|validation| Check::compile(validation, store)).transpose()?;
    // Tickets are valid for this configuration only: a ticket issued without requesting a client certificate must
    // not resume a session where one is required.
    let tickets = Tickets::of(watched(check.as_ref(), &certificates), store);
    let own = Arc::new(Own { certificates, store: store.clone() });
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions(&tls.common)?)
        .map_err(|error| setup(&error))?
        .with_client_cert_verifier(clients(check, tls.require_client_certificate, &tickets))
        .with_cert_resolver(own.clone());
    config.alpn_protocols = alpn(&tls.common);
    config.ticketer = tickets;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 1;
    config.max_early_data_size = 0;
    Ok(Server { config: Arc::new(config), own })
}

/// A TLS server: its configuration and its certificates.
#[derive(Debug)]
pub struct Server {
    /// The configuration for handshakes.
    pub config: Arc<ServerConfig>,
    /// The certificates that it presents.
    pub own: Arc<Own>,
}

fn clients(check: Option<Check>, mandatory: bool, tickets: &Arc<Tickets>) -> Arc<dyn ClientCertVerifier> {
    let auth = if mandatory { ClientAuth::Required } else { ClientAuth::Optional };
    match check {
        Some(check) => {
            let tickets = tickets.clone();
            verifier::clients(auth, move |presented| verify(&check, &tickets, presented))
        }
        // If a context requires a certificate without saying how to verify it, any certificate is accepted.
        None if mandatory => verifier::clients(auth, |_| Ok(())),
        None => Arc::new(NoClientAuth),
    }
}

/// A certificate that is looked up by name, or is part of the configuration.
#[derive(Debug)]
pub(super) enum Certificate {
    Named(String),
    Fixed(Arc<Loaded>),
}

impl Certificate {
    pub(super) fn key(&self, store: &Store) -> Option<Arc<CertifiedKey>> {
        self.loaded(store).and_then(|loaded| match &loaded.material {
            Material::Certificate(certified) => Some(certified.clone()),
            Material::Roots { .. } => None,
        })
    }

    fn loaded(&self, store: &Store) -> Option<Arc<Loaded>> {
        match self {
            Self::Named(name) => store.find(name),
            Self::Fixed(loaded) => Some(loaded.clone()),
        }
    }
}

pub(super) fn sources(tls: &TlsParameters, store: &Arc<Store>) -> Result<Vec<Certificate>, CredentialError> {
    let source = |certificate: &CertificateSource| match certificate {
        CertificateSource::Sds(name) => Ok(Certificate::Named(name.clone())),
        CertificateSource::Files { certificate, key } => {
            Ok(Certificate::Named(store.add_file(FileSecret::certificate(certificate, key))?))
        }
        CertificateSource::Inline { certificate, key } => {
            let content = SecretContent::Certificate { chain: certificate.clone(), key: key.clone() };
            Ok(Certificate::Fixed(Arc::new(Loaded::parse("inline", &content)?)))
        }
    };
    tls.certificates.iter().map(source).collect()
}

/// The names of the secrets that a configuration reads from the store at each handshake.
pub(super) fn watched<'a>(
    check: Option<&Check>,
    certificates: impl IntoIterator<Item = &'a Certificate>,
) -> Vec<String> {
    let own = certificates.into_iter().filter_map(|certificate| match certificate {
        Certificate::Named(name) => Some(name.clone()),
        Certificate::Fixed(_) => None,
    });
    own.chain(check.and_then(Check::watched)).collect()
}

pub(super) fn versions(
    tls: &TlsParameters,
) -> Result<&'static [&'static SupportedProtocolVersion], CredentialError> {
    let (min, max) = (tls.min.unwrap_or(TlsVersion::V1_2), tls.max.unwrap_or(TlsVersion::V1_3));
    match (min, max) {
        (TlsVersion::V1_2, TlsVersion::V1_2) => Ok(ONLY_TLS12),
        (TlsVersion::V1_2, TlsVersion::V1_3) => Ok(BOTH),
        (TlsVersion::V1_3, TlsVersion::V1_3) => Ok(ONLY_TLS13),
        (TlsVersion::V1_3, TlsVersion::V1_2) => Err(CredentialError::Context {
            path: "common_tls_context.tls_params",
            reason: "the lowest version is above the highest".to_owned(),
        }),
    }
}

/// The ALPN protocols of a TLS context. Peers that agree on `istio-peer-exchange` both begin their bytes with a
/// description of their workload, which this proxy neither sends nor reads, so it is never offered or accepted.
pub(super) fn alpn(tls: &TlsParameters) -> Vec<Vec<u8>> {
    let offered = tls.alpn.iter().filter(|protocol| *protocol != PEER_EXCHANGE);
    offered.map(|protocol| protocol.as_bytes().to_vec()).collect()
}

const PEER_EXCHANGE: &str = "istio-peer-exchange";

pub(super) fn setup(error: &rustls::Error) -> CredentialError {
    CredentialError::Context { path: "common_tls_context", reason: error.to_string() }
}

/// The certificates of a server.
#[derive(Debug)]
pub struct Own {
    certificates: Vec<Certificate>,
    store: Arc<Store>,
}

impl Own {
    /// The URIs in the certificate that is presented to a client with this server name.
    pub fn uris(&self, server_name: Option<&str>) -> Vec<String> {
        let loaded = self.choose(server_name).and_then(|certificate| certificate.loaded(&self.store));
        let names = loaded.iter().flat_map(|loaded| &loaded.info.subject_alt_names);
        names.filter(|(kind, _)| *kind == "uri").map(|(_, uri)| uri.clone()).collect()
    }

    /// The leaf of the certificate that is presented to a client with this server name.
    pub fn leaf(&self, server_name: Option<&str>) -> Option<CertificateDer<'static>> {
        self.choose(server_name)?.key(&self.store)?.cert.first().cloned()
    }

    fn choose(&self, server_name: Option<&str>) -> Option<&Certificate> {
        let by_name = server_name.filter(|_| self.certificates.len() > 1).and_then(|host| {
            self.certificates.iter().find(|certificate| {
                certificate.loaded(&self.store).is_some_and(|loaded| {
                    let mut names = loaded.info.subject_alt_names.iter();
                    names.any(|(kind, name)| *kind == "dns" && host_matches(name, host))
                })
            })
        });
        by_name.or(self.certificates.first())
    }
}

impl ResolvesServerCert for Own {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let chosen = self.choose(hello.server_name())?;
        let key = chosen.key(&self.store);
        if let (None, Certificate::Named(name)) = (&key, chosen) {
            tracing::debug!(secret = name, "a handshake fails: the secret has not arrived yet");
        }
        key
    }
}

/// Verifies a client against the current roots, and its names.
fn verify(check: &Check, tickets: &Tickets, presented: &PresentedChain<'_>) -> Result<(), rustls::Error> {
    let roots = check.roots().map_err(CredentialError::refuse)?;
    if let Some(Material::Roots { clients, .. }) = roots.as_ref().map(|loaded| &loaded.material) {
        clients.verify_client_cert(presented.leaf, presented.intermediates, presented.now)?;
        tickets.verified(presented.leaf, presented.intermediates, presented.now)?;
    }
    check.verify_names(presented.leaf)
}

static ONLY_TLS12: &[&SupportedProtocolVersion] = &[&TLS12];
static ONLY_TLS13: &[&SupportedProtocolVersion] = &[&TLS13];
static BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
