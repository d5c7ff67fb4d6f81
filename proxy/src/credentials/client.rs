//! TLS as a client: the own certificate and the check of the server, both from the store at each handshake.

use super::loaded::Material;
use super::server::{Certificate, alpn, setup, sources, versions};
use super::verify::Check;
use super::{CredentialError, Store};
use api::model::tls::UpstreamTls;
use api::process::tls::provider;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{
    ResolvesClientCert, Resumption, verify_server_cert_signed_by_trust_anchor, verify_server_name,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use std::net::IpAddr;
use std::sync::Arc;

/// The configuration of a client with these settings. The server name given at each connection is the SNI, and is
/// compared with the certificate only when the settings say `auto_san`.
pub fn client_config(tls: &UpstreamTls, store: &Arc<Store>) -> Result<Arc<ClientConfig>, CredentialError> {
    let check =
        tls.common.validation.as_ref().map(|validation| Check::compile(validation, store)).transpose()?;
    let own = Own { certificate: sources(&tls.common, store)?.into_iter().next(), store: store.clone() };
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions(&tls.common)?)
        .map_err(|error| setup(&error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(ServerCheck { check, dialled: tls.auto_san }))
        .with_client_cert_resolver(Arc::new(own));
    config.alpn_protocols = alpn(&tls.common);
    config.resumption = Resumption::in_memory_sessions(SESSIONS);
    Ok(Arc::new(config))
}

/// The name to dial with: the configured SNI, else the request's host where `auto_sni` asks for it, else the address
/// itself, with which no SNI is sent.
pub fn server_name(tls: &UpstreamTls, host: Option<&str>, address: IpAddr) -> ServerName<'static> {
    let configured = Some(tls.sni.as_str()).filter(|sni| !sni.is_empty());
    let by_request = host.filter(|_| tls.auto_sni || tls.auto_san).map(without_port);
    configured
        .into_iter()
        .chain(by_request)
        .find_map(|name| ServerName::try_from(name.to_owned()).ok())
        .unwrap_or_else(|| ServerName::from(address))
}

/// The named certificate as it is at each handshake, for configurations made elsewhere.
pub fn own_certificate(name: &str, store: &Arc<Store>) -> Arc<dyn ResolvesClientCert> {
    Arc::new(Own { certificate: Some(Certificate::Named(name.to_owned())), store: store.clone() })
}

fn without_port(host: &str) -> &str {
    match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => host.split(':').next().unwrap_or(host),
    }
}

#[derive(Debug)]
struct Own {
    certificate: Option<Certificate>,
    store: Arc<Store>,
}

impl ResolvesClientCert for Own {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.certificate.as_ref()?.key(&self.store)
    }

    fn has_certs(&self) -> bool {
        self.certificate.is_some()
    }
}

#[derive(Debug)]
struct ServerCheck {
    /// `None`: any certificate will do.
    check: Option<Check>,
    /// The certificate must be for the name that was dialled.
    dialled: bool,
}

impl ServerCertVerifier for ServerCheck {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(check) = &self.check else { return Ok(ServerCertVerified::assertion()) };
        let loaded = check.roots().map_err(CredentialError::refuse)?;
        if let Some(Material::Roots { roots, .. }) = loaded.as_ref().map(|loaded| &loaded.material) {
            let algorithms = provider().signature_verification_algorithms.all;
            let parsed = ParsedCertificate::try_from(end_entity)?;
            verify_server_cert_signed_by_trust_anchor(&parsed, roots, intermediates, now, algorithms)?;
            if self.dialled {
                verify_server_name(&parsed, server_name)?;
            }
        }
        check.verify_names(end_entity)?;
        Ok(ServerCertVerified::assertion())
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

const SESSIONS: usize = 64;
