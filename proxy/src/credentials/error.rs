//! Why a secret, a TLS context or a peer's certificate is refused.

use std::sync::Arc;

/// Why a secret or a TLS context cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CredentialError {
    /// The secret's content is invalid.
    #[error("secret `{name}` cannot be used")]
    Secret {
        /// The secret's name.
        name: String,
        /// What is wrong with it.
        #[source]
        source: api::process::tls::TlsError,
    },
    /// A file cannot be read.
    #[error("`{path}` cannot be read: {reason}")]
    File {
        /// The file.
        path: String,
        /// The system's error message.
        reason: String,
    },
    /// The TLS context has a setting that is not supported or not valid.
    #[error("{path}: {reason}")]
    Context {
        /// The field of the TLS context.
        path: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A handshake needs a secret that the store does not have.
    #[error("secret `{0}` has not arrived yet")]
    Missing(String),
    /// The peer's certificate has none of the accepted names.
    #[error("the peer's certificate is for {found}, which is not an accepted name")]
    Name {
        /// The names in the certificate.
        found: String,
    },
}

impl CredentialError {
    /// Converts the error into a handshake error.
    pub(super) fn refuse(self) -> rustls::Error {
        rustls::CertificateError::Other(rustls::OtherError(Arc::new(self))).into()
    }
}
