//! Pure. The parameters of a TLS session, with OpenSSL's names.

/// The parameters of a TLS session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// The version, such as `TLSv1.3`.
    pub version: &'static str,
    /// The cipher suite.
    pub cipher: &'static str,
    /// The key exchange group.
    pub group: Option<&'static str>,
}
