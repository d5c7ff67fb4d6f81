//! Pure. Certificates, keys and trust anchors by name, as SDS carries them.
//!
//! Envoy: `extensions.transport_sockets.tls.v3.Secret`.

/// A named secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// `default`, `ROOTCA`, `kubernetes://ns/name`, `kubernetes://ns/name-cacert`.
    pub name: String,
    /// Its contents.
    pub content: SecretContent,
}

/// Contents of a secret.
#[derive(Clone, PartialEq, Eq)]
pub enum SecretContent {
    /// A certificate chain with its key, in PEM.
    Certificate {
        /// PEM chain, leaf first.
        chain: String,
        /// PEM key. Never printed.
        key: String,
    },
    /// Trust anchors, in PEM.
    Roots {
        /// PEM bundle.
        bundle: String,
    },
}

impl std::fmt::Debug for SecretContent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Certificate { .. } => f.write_str("Certificate([redacted])"),
            Self::Roots { bundle } => write!(f, "Roots({} bytes)", bundle.len()),
        }
    }
}
