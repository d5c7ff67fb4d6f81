//! TLS as a client: the own certificate and the verification of the server, both read from the store at each
//! handshake.

use super::error::CredentialError;
use super::loaded::Material;
use super::server::{Certificate, alpn, setup, sources, versions, watched};
use super::session::Sessions;
use super::store::Store;
use super::verify::Check;
use api::model::tls::UpstreamTls;
use api::process::tls::provider;
use api::process::tls::verifier::{self, PresentedChain};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::pki_types::ServerName;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, SignatureScheme};
use std::net::IpAddr;
use std::sync::Arc;

/// Builds a client configuration from these settings. The server name given for each connection is sent as SNI; it
/// is compared with the certificate only if the settings have `auto_san`.
pub fn client_config(tls: &UpstreamTls, store: &Arc<Store>) -> Result<Arc<ClientConfig>, CredentialError> {
    let check =
        tls.common.validation.as_ref().map(|validation| Check::compile(validation, store)).transpose()?;
    let own = Own { certificate: sources(&tls.common, store)?.into_iter().next(), store: store.clone() };
    let sessions = Sessions::of(watched(check.as_ref(), &own.certificate), store);
    let (dialled, verified) = (tls.auto_san, sessions.clone());
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions(&tls.common)?)
        .map_err(|error| setup(&error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier::servers(move |presented| {
            verify(check.as_ref(), dialled, &verified, presented)
        }))
        .with_client_cert_resolver(Arc::new(own));
    config.alpn_protocols = alpn(&tls.common);
    config.resumption = Resumption::store(sessions);
    Ok(Arc::new(config))
}

/// The server name for a connection: the configured SNI, else the request's host if `auto_sni` or `auto_san` is
/// set, else the address, for which no SNI is sent.
pub fn server_name(tls: &UpstreamTls, host: Option<&str>, address: IpAddr) -> ServerName<'static> {
    let configured = Some(tls.sni.as_str()).filter(|sni| !sni.is_empty());
    let by_request = host.filter(|_| tls.auto_sni || tls.auto_san).map(without_port);
    configured
        .into_iter()
        .chain(by_request)
        .find_map(|name| ServerName::try_from(name.to_owned()).ok())
        .unwrap_or_else(|| ServerName::from(address))
}

/// Resolves the named certificate at each handshake, for TLS configurations built elsewhere.
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

/// Verifies a server. Without a `check`, any certificate is accepted. `dialled`: the certificate must be valid for
/// the name that was dialled.
fn verify(
    check: Option<&Check>,
    dialled: bool,
    sessions: &Sessions,
    presented: &PresentedChain<'_>,
) -> Result<(), rustls::Error> {
    let Some(check) = check else { return Ok(()) };
    let loaded = check.roots().map_err(CredentialError::refuse)?;
    if let Some(Material::Roots { roots, .. }) = loaded.as_ref().map(|loaded| &loaded.material) {
        presented.leads_to(roots)?;
        if dialled {
            presented.is_for_dialled()?;
        }
        sessions.verified(presented.leaf, presented.intermediates, presented.now)?;
    }
    check.verify_names(presented.leaf)
}
