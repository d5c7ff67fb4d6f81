//! Pure. How a connection is encrypted, in OpenSSL's words.

/// A TLS session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// `TLSv1.3`
    pub version: &'static str,
    /// The cipher suite.
    pub cipher: &'static str,
    /// The group in which keys were agreed on.
    pub group: Option<&'static str>,
}
