//! The signing certificate and its key: loaded from the root folder, or made once and kept there. Exists apart from
//! issuing so that no other part ever holds the key.

pub mod folder;
pub mod create;
pub mod material;
pub mod key;

use rcgen::{Certificate, CertificateParams, Issuer, KeyPair, PublicKeyData};
use rustls::RootCertStore;
use std::sync::Arc;
use time::OffsetDateTime;

/// What signs, and the certificates that lead from it to the root.
pub struct Root {
    issuer: Issuer<'static, KeyPair>,
    chain: Vec<String>,
    roots: Arc<RootCertStore>,
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

    /// What follows the leaf in an answer: intermediates, then the root (or the bundle of roots) as the last element.
    pub fn chain(&self) -> &[String] {
        &self.chain
    }

    /// The root, or bundle of roots, in PEM.
    pub fn roots_pem(&self) -> &str {
        self.chain.last().map_or("", String::as_str)
    }

    /// The roots to verify against.
    pub fn roots(&self) -> Arc<RootCertStore> {
        self.roots.clone()
    }

    /// When the signing certificate ends.
    pub fn signer_not_after(&self) -> OffsetDateTime {
        self.signer_not_after
    }

    /// When the first of the roots ends.
    pub fn root_not_after(&self) -> OffsetDateTime {
        self.anchor_not_after
    }
}

#[cfg(test)]
mod tests;
