//! Pure. SPIFFE identities: parsing, formatting, and extraction from a peer's certificate. Exists so that all
//! processes apply the same rules to peers, and so that identities are never compared as unchecked strings.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

/// A trust domain, for example `cluster.local`: the identities of a domain share a root of trust.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrustDomain(Arc<str>);

impl TrustDomain {
    /// Parses a trust domain from configuration. As in Istio, `@` stands for `.`, for names of cloud accounts.
    pub fn configured(text: &str) -> Result<Self, IdentityError> {
        text.replace('@', ".").parse()
    }

    /// The domain as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TrustDomain {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = |reason| IdentityError::Malformed { id: shown(text), reason };
        if text.is_empty() {
            return Err(malformed("the trust domain is empty"));
        }
        if text.len() > MAX_TRUST_DOMAIN {
            return Err(malformed("the trust domain is longer than 255 bytes"));
        }
        if !text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_')) {
            return Err(malformed("a trust domain has only the characters a-z, 0-9, '.', '-' and '_'"));
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A SPIFFE id, for example `spiffe://cluster.local/ns/default/sa/reviews`. Cheap to clone; compared as text.
#[derive(Clone)]
pub struct SpiffeId {
    text: Arc<str>,
    trust_domain: TrustDomain,
}

impl SpiffeId {
    /// The id of a Kubernetes service account, in Istio's form.
    pub fn workload(
        trust_domain: &TrustDomain,
        namespace: &str,
        service_account: &str,
    ) -> Result<Self, IdentityError> {
        // Each part is checked by itself; otherwise a namespace "a/sa/b" would yield another workload's id.
        for part in [namespace, service_account] {
            check_segment(part).map_err(|reason| IdentityError::Malformed { id: shown(part), reason })?;
        }
        format!("{SCHEME}{trust_domain}/ns/{namespace}/sa/{service_account}").parse()
    }

    /// The whole id.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The id without its scheme, which is a principal in Istio's policies and metrics.
    pub fn principal(&self) -> &str {
        &self.text[SCHEME.len()..]
    }

    /// The id's trust domain.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The path after the trust domain, with its leading slash; empty for the id of the domain itself.
    pub fn path(&self) -> &str {
        &self.text[SCHEME.len() + self.trust_domain.as_str().len()..]
    }

    /// The namespace, if the id has the form of `workload`.
    pub fn namespace(&self) -> Option<&str> {
        self.workload_parts().map(|(namespace, _)| namespace)
    }

    /// The service account, if the id has the form of `workload`.
    pub fn service_account(&self) -> Option<&str> {
        self.workload_parts().map(|(_, account)| account)
    }

    fn workload_parts(&self) -> Option<(&str, &str)> {
        let (namespace, account) = self.path().strip_prefix("/ns/")?.split_once("/sa/")?;
        (!namespace.contains('/') && !account.contains('/')).then_some((namespace, account))
    }
}

impl FromStr for SpiffeId {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = |reason| IdentityError::Malformed { id: shown(text), reason };
        if text.len() > MAX_ID {
            return Err(malformed("the id is longer than 2048 bytes"));
        }
        let rest = match text.get(..SCHEME.len()) {
            Some(scheme) if scheme.eq_ignore_ascii_case(SCHEME) => &text[SCHEME.len()..],
            _ => return Err(malformed("a SPIFFE id starts with spiffe://")),
        };
        let (domain, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if domain.contains(['@', ':', '?', '#', '%']) {
            return Err(malformed("user info, port, query, fragment and percent-encoding are not allowed"));
        }
        let trust_domain: TrustDomain = domain.parse().map_err(|error| match error {
            IdentityError::Malformed { reason, .. } => malformed(reason),
            other => other,
        })?;
        if let Some(segments) = path.strip_prefix('/') {
            segments.split('/').try_for_each(check_segment).map_err(malformed)?;
        }
        Ok(Self { text: format!("{SCHEME}{rest}").into(), trust_domain })
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for SpiffeId {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for SpiffeId {}

impl std::hash::Hash for SpiffeId {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl PartialOrd for SpiffeId {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for SpiffeId {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.text.cmp(&other.text)
    }
}

/// Extracts the identity of a workload's DER certificate and applies the X.509-SVID rules for leaf certificates. Does
/// not verify signatures and validity: path validation happens where the roots are known.
pub fn peer_identity(der: &[u8]) -> Result<SpiffeId, IdentityError> {
    let (rest, certificate) = X509Certificate::from_der(der).map_err(not_certificate)?;
    if !rest.is_empty() {
        return Err(not_certificate("bytes follow the certificate"));
    }
    let id = only_uri(&certificate)?.parse::<SpiffeId>()?;
    if id.path().is_empty() {
        return Err(IdentityError::NoPath(id));
    }
    let constraints = certificate.basic_constraints().map_err(not_certificate)?;
    if constraints.is_some_and(|c| c.value.ca) {
        return Err(IdentityError::Authority("CA:true"));
    }
    check_key_usage(&certificate)?;
    check_extended_key_usage(&certificate)?;
    Ok(id)
}

/// Why an identity or a certificate is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The text is not a SPIFFE id.
    #[error("`{id}` is not a valid SPIFFE id: {reason}")]
    Malformed {
        /// The text, shortened for a log.
        id: String,
        /// The violated rule.
        reason: &'static str,
    },
    /// The bytes are not an X.509 certificate.
    #[error("not an X.509 certificate: {0}")]
    NotCertificate(String),
    /// The certificate has no identity, or more than one.
    #[error("the certificate has {0} URI names; a SPIFFE certificate has exactly one")]
    UriCount(usize),
    /// The id is that of the trust domain itself, which only an authority may have.
    #[error("`{0}` has no path: it names an authority, not a workload")]
    NoPath(SpiffeId),
    /// The certificate may sign others, so it must not authenticate a workload.
    #[error("the certificate is that of an authority ({0}), not a workload's leaf certificate")]
    Authority(&'static str),
    /// The key usage extension is missing or wrong.
    #[error("the certificate's key usage {0}")]
    KeyUsage(&'static str),
    /// The extended key usage is present but lacks a usage that both ends of a mesh connection need.
    #[error("the certificate's extended key usage lacks {0}")]
    ExtendedKeyUsage(&'static str),
}

fn check_segment(segment: &str) -> Result<(), &'static str> {
    match segment {
        "" => Err("a path segment is empty"),
        "." | ".." => Err("a path segment is '.' or '..'"),
        _ if segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_')) => Ok(()),
        _ => Err("a path has only the characters A-Z, a-z, 0-9, '.', '-' and '_'"),
    }
}

fn only_uri<'a>(certificate: &'a X509Certificate<'_>) -> Result<&'a str, IdentityError> {
    let names = certificate.subject_alternative_name().map_err(not_certificate)?;
    let names = names.iter().flat_map(|extension| &extension.value.general_names);
    let uris: Vec<&str> = names
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        })
        .collect();
    match uris[..] {
        [uri] => Ok(uri),
        _ => Err(IdentityError::UriCount(uris.len())),
    }
}

fn check_key_usage(certificate: &X509Certificate<'_>) -> Result<(), IdentityError> {
    let Some(usage) = certificate.key_usage().map_err(not_certificate)? else {
        return Err(IdentityError::KeyUsage("is missing"));
    };
    if usage.value.key_cert_sign() {
        return Err(IdentityError::Authority("key usage keyCertSign"));
    }
    if usage.value.crl_sign() {
        return Err(IdentityError::Authority("key usage cRLSign"));
    }
    if !usage.critical {
        return Err(IdentityError::KeyUsage("is not marked critical"));
    }
    if !usage.value.digital_signature() {
        return Err(IdentityError::KeyUsage("lacks digitalSignature"));
    }
    Ok(())
}

fn check_extended_key_usage(certificate: &X509Certificate<'_>) -> Result<(), IdentityError> {
    let Some(usage) = certificate.extended_key_usage().map_err(not_certificate)? else {
        return Ok(());
    };
    match (usage.value.server_auth, usage.value.client_auth) {
        (true, true) => Ok(()),
        (false, _) => Err(IdentityError::ExtendedKeyUsage("serverAuth")),
        (_, false) => Err(IdentityError::ExtendedKeyUsage("clientAuth")),
    }
}

fn not_certificate<E: fmt::Display>(reason: E) -> IdentityError {
    IdentityError::NotCertificate(format!("{reason}"))
}

/// Shortens and escapes an id for a log line: a peer's id may be long and contain control characters.
fn shown(text: &str) -> String {
    text.chars().take(MAX_SHOWN).flat_map(char::escape_debug).collect()
}

const SCHEME: &str = "spiffe://";
const MAX_TRUST_DOMAIN: usize = 255;
const MAX_ID: usize = 2048;
const MAX_SHOWN: usize = 100;

#[cfg(test)]
mod tests;
