//! TLS as a server: certificates chosen by SNI and clients verified, both from the store at each handshake.

use super::loaded::{Loaded, Material};
use super::verify::{Check, host_matches};
use super::{CredentialError, Store, file::FileSecret};
use api::model::secret::SecretContent;
use api::model::tls::{CertificateSource, DownstreamTls, TlsParameters, TlsVersion};
use api::process::tls::provider;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoClientAuth, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{
    DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme, SupportedProtocolVersion,
};
use std::sync::Arc;

/// The configuration of a server with these settings. Secrets may arrive later than this call; handshakes that come
/// before them fail by name.
pub fn server_config(tls: &DownstreamTls, store: &Arc<Store>) -> Result<Arc<ServerConfig>, CredentialError> {
    let certificates = sources(&tls.common, store)?;
    if certificates.is_empty() {
        return Err(CredentialError::Context {
            path: "common_tls_context.tls_certificates",
            reason: "a server needs a certificate".to_owned(),
        });
    }
    let clients: Arc<dyn ClientCertVerifier> = match (&tls.common.validation, tls.require_client_certificate)
    {
        (Some(validation), mandatory) => {
            Arc::new(ClientCheck { check: Check::compile(validation, store)?, mandatory })
        }
        (None, true) => Arc::new(AnyClient),
        (None, false) => Arc::new(NoClientAuth),
    };
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions(&tls.common)?)
        .map_err(|error| setup(&error))?
        .with_client_cert_verifier(clients)
        .with_cert_resolver(Arc::new(Resolver { certificates, store: store.clone() }));
    config.alpn_protocols = alpn(&tls.common);
    // Tickets belong to this configuration alone: one that was issued without asking for a client certificate must
    // not open a session where one is required.
    config.ticketer = rustls::crypto::ring::Ticketer::new().map_err(|error| setup(&error))?;
    config.send_tls13_tickets = 1;
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

/// A certificate that is looked up by name, or stands in the configuration.
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

pub(super) fn alpn(tls: &TlsParameters) -> Vec<Vec<u8>> {
    tls.alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect()
}

pub(super) fn setup(error: &rustls::Error) -> CredentialError {
    CredentialError::Context { path: "common_tls_context", reason: error.to_string() }
}

#[derive(Debug)]
struct Resolver {
    certificates: Vec<Certificate>,
    store: Arc<Store>,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let by_name = hello.server_name().filter(|_| self.certificates.len() > 1).and_then(|host| {
            self.certificates.iter().find(|certificate| {
                certificate.loaded(&self.store).is_some_and(|loaded| {
                    let mut names = loaded.info.subject_alt_names.iter();
                    names.any(|(kind, name)| *kind == "dns" && host_matches(name, host))
                })
            })
        });
        let chosen = by_name.or(self.certificates.first())?;
        let key = chosen.key(&self.store);
        if let (None, Certificate::Named(name)) = (&key, chosen) {
            tracing::debug!(secret = name, "a handshake fails: the secret has not arrived yet");
        }
        key
    }
}

/// Verifies clients by the roots that are current, and by their names.
#[derive(Debug)]
struct ClientCheck {
    check: Check,
    mandatory: bool,
}

impl ClientCertVerifier for ClientCheck {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let roots = self.check.roots().map_err(CredentialError::refuse)?;
        if let Some(Material::Roots { clients, .. }) = roots.as_ref().map(|loaded| &loaded.material) {
            clients.verify_client_cert(end_entity, intermediates, now)?;
        }
        self.check.verify_names(end_entity)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

/// Asks for a certificate and takes any, as a context that requires one without saying how to check it.
#[derive(Debug)]
struct AnyClient;

impl ClientCertVerifier for AnyClient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

static ONLY_TLS12: &[&SupportedProtocolVersion] = &[&TLS12];
static ONLY_TLS13: &[&SupportedProtocolVersion] = &[&TLS13];
static BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
