//! The signing certificate and its key: loaded from the root folder or a Secret, or created once and stored there.
//! Separate from issuing, so that no other module ever holds the key.

pub mod folder;
pub mod cluster;
pub mod secret;
pub mod create;
pub mod material;
pub mod key;

use rcgen::{Certificate, CertificateParams, Issuer, KeyPair, PublicKeyData};
use rustls::server::danger::ClientCertVerifier;
use rustls::{Error, RootCertStore};
use rustls_pki_types::{CertificateDer, UnixTime};
use std::sync::Arc;
use time::OffsetDateTime;

/// The signing certificate with its key, and the certificates from it to the root.
pub struct Root {
    issuer: Issuer<'static, KeyPair>,
    signer: CertificateDer<'static>,
    chain: Vec<String>,
    roots: Arc<RootCertStore>,
    /// Verifies client chains against these roots.
    clients: Arc<dyn ClientCertVerifier>,
    chain_not_after: OffsetDateTime,
    signer_not_after: OffsetDateTime,
    anchor_not_after: OffsetDateTime,
}

impl Root {
    /// Signs a certificate with the given contents over the given key.
    pub fn sign(
        &self,
        contents: &CertificateParams,
        key: &impl PublicKeyData,
    ) -> Result<Certificate, rcgen::Error> {
        contents.signed_by(key, &self.issuer)
    }

    /// The certificates that follow the leaf in a response: intermediates, then the root (or the bundle of roots) as
    /// the last element.
    pub fn chain(&self) -> &[String] {
        &self.chain
    }

    /// The root, or bundle of roots, in PEM.
    pub fn roots_pem(&self) -> &str {
        self.chain.last().map_or("", String::as_str)
    }

    /// Whether another root signs with the same certificate and has the same chain and roots.
    pub fn is_same(&self, other: &Self) -> bool {
        self.signer == other.signer && self.chain == other.chain
    }

    /// The roots that clients are verified against.
    pub fn roots(&self) -> Arc<RootCertStore> {
        self.roots.clone()
    }

    /// Verifies that a client's chain leads to one of the roots and is within its validity.
    pub fn verify_client(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<(), Error> {
        let [leaf, intermediates @ ..] = chain else { return Err(Error::NoCertificatesPresented) };
        self.clients.verify_client_cert(leaf, intermediates, now).map(drop)
    }

    /// When the first of the certificates between an issued one and its root expires. No issued certificate is valid
    /// for longer.
    pub fn chain_not_after(&self) -> OffsetDateTime {
        self.chain_not_after
    }

    /// When the signing certificate expires.
    pub fn signer_not_after(&self) -> OffsetDateTime {
        self.signer_not_after
    }

    /// When the first of the roots expires.
    pub fn root_not_after(&self) -> OffsetDateTime {
        self.anchor_not_after
    }
}

#[cfg(test)]
mod tests;
