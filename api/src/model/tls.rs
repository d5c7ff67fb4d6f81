//! Pure. TLS on both sides of a connection.
//!
//! Envoy: `extensions.transport_sockets.tls.v3.{DownstreamTlsContext, UpstreamTlsContext}`.

use super::matcher::StringMatch;

/// TLS settings that clients and servers share.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct TlsParameters {
    /// Lowest version; `None`: TLS 1.2.
    pub min: Option<TlsVersion>,
    /// Highest version; `None`: TLS 1.3.
    pub max: Option<TlsVersion>,
    /// ALPN protocols in order of preference.
    pub alpn: Vec<String>,
    /// Own certificates; a server chooses by SNI.
    pub certificates: Vec<CertificateSource>,
    /// How the peer's certificate is checked; `None`: not at all.
    pub validation: Option<Validation>,
}

/// TLS versions that are supported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TlsVersion {
    /// RFC 5246.
    V1_2,
    /// RFC 8446.
    V1_3,
}

/// TLS as a server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct DownstreamTls {
    /// Versions, certificates, validation.
    pub common: TlsParameters,
    /// Refuse clients without a certificate.
    pub require_client_certificate: bool,
}

/// TLS as a client.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct UpstreamTls {
    /// Versions, certificates, validation.
    pub common: TlsParameters,
    /// Server name (SNI) to send; empty: none, unless `auto_sni` is set.
    pub sni: String,
    /// Take the SNI from the request's authority (`HttpProtocolOptions.auto_sni`).
    pub auto_sni: bool,
    /// Accept the certificate only when a SAN equals that authority (`auto_san_validation`).
    pub auto_san: bool,
}

/// Where a certificate and key come from.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum CertificateSource {
    /// A secret by name: `default` is the workload's own; others are subscribed to (SDS).
    Sds(String),
    /// Files, read at load and on rotation.
    Files {
        /// PEM chain, leaf first.
        certificate: String,
        /// PEM key.
        key: String,
    },
    /// PEM text inside the configuration.
    Inline {
        /// PEM chain, leaf first.
        certificate: String,
        /// PEM key. Never printed.
        key: String,
    },
}

impl std::fmt::Debug for CertificateSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sds(name) => write!(f, "Sds({name})"),
            Self::Files { certificate, key } => write!(f, "Files({certificate}, {key})"),
            Self::Inline { .. } => f.write_str("Inline([redacted])"),
        }
    }
}

/// How a peer's certificate is checked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Validation {
    /// Trust anchors.
    pub roots: RootSource,
    /// At least one SAN must match one of these; empty: any certificate that chains to the roots is accepted.
    pub subject_alt_names: Vec<SanMatch>,
}

/// Where trust anchors come from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RootSource {
    /// A secret by name: `ROOTCA` is the mesh's; others are subscribed to.
    Sds(String),
    /// A PEM file.
    File(String),
    /// PEM text.
    Inline(String),
    /// No chain check (`insecureSkipVerify`).
    None,
}

/// A condition on one subject alternative name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SanMatch {
    /// Which kind of name; `None`: any.
    pub kind: Option<SanKind>,
    /// The comparison.
    pub value: StringMatch,
}

/// Kinds of subject alternative names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SanKind {
    /// `dNSName`
    Dns,
    /// `uniformResourceIdentifier`
    Uri,
    /// `iPAddress`
    Ip,
    /// `rfc822Name`
    Email,
}
