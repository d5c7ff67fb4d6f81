//! Pure. Parses a signing request and checks its signature and the strength of its key. The names in the request are
//! not even parsed, because the certificate's identity comes only from the client's credentials.

use crate::flow::Requested;
use api::certificate::IstioCertificateRequest;
use rcgen::SubjectPublicKeyInfo;
use rustls_pki_types::CertificateSigningRequestDer;
use rustls_pki_types::pem::PemObject;
use std::time::Duration;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_PKCS1_RSAENCRYPTION, OID_PKCS1_RSASSAPSS,
    OID_PKCS1_SHA256WITHRSA, OID_PKCS1_SHA384WITHRSA, OID_PKCS1_SHA512WITHRSA, OID_SIG_ECDSA_WITH_SHA256,
    OID_SIG_ECDSA_WITH_SHA384, OID_SIG_ED25519, Oid,
};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo as ParsedKey;

/// Parses and checks a request.
pub fn parse(message: &IstioCertificateRequest) -> Result<Requested, RequestError> {
    let der = CertificateSigningRequestDer::from_pem_slice(message.csr.as_bytes())
        .map_err(|_| RequestError::Malformed("it has no PEM block CERTIFICATE REQUEST"))?;
    let (rest, request) = X509CertificationRequest::from_der(&der)
        .map_err(|_| RequestError::Malformed("its content is not a PKCS#10 request"))?;
    if !rest.is_empty() {
        return Err(RequestError::Malformed("bytes follow the request"));
    }
    let spki = &request.certification_request_info.subject_pki;
    let signatures = check_key(spki)?;
    if !signatures.contains(&request.signature_algorithm.algorithm) {
        return Err(RequestError::Signature("its algorithm is weak or does not fit the key"));
    }
    request
        .verify_signature()
        .map_err(|_| RequestError::Signature("it was not made by the key in the request"))?;
    let key = SubjectPublicKeyInfo::from_der(spki.raw)
        .map_err(|_| RequestError::Key("its encoding is unusual; write it as openssl does".to_owned()))?;
    let ttl =
        u64::try_from(message.validity_duration).ok().filter(|seconds| *seconds > 0).map(Duration::from_secs);
    Ok(Requested { key, ttl })
}

/// Checks the kind and strength of a key, and returns the signature algorithms that a request with it may use.
fn check_key(spki: &ParsedKey<'_>) -> Result<&'static [Oid<'static>], RequestError> {
    let kind = &spki.algorithm.algorithm;
    if *kind == OID_PKCS1_RSAENCRYPTION {
        let parsed = spki.parsed().map_err(|_| RequestError::Key("its RSA key cannot be read".to_owned()))?;
        return match parsed {
            PublicKey::RSA(key) if (MIN_RSA_BITS..=MAX_RSA_BITS).contains(&modulus_bits(key.modulus)) => {
                Ok(RSA_SIGNATURES)
            }
            PublicKey::RSA(key) => {
                let bits = modulus_bits(key.modulus);
                Err(RequestError::Key(format!(
                    "RSA keys have {MIN_RSA_BITS} to {MAX_RSA_BITS} bits, not {bits}"
                )))
            }
            _ => Err(RequestError::Key("its RSA key cannot be read".to_owned())),
        };
    }
    if *kind == OID_KEY_TYPE_EC_PUBLIC_KEY {
        let curve = spki.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
        return match curve {
            Some(curve) if curve == OID_EC_P256 || curve == OID_NIST_EC_P384 => Ok(EC_SIGNATURES),
            _ => Err(RequestError::Key("elliptic curve keys are on P-256 or P-384".to_owned())),
        };
    }
    if *kind == OID_SIG_ED25519 {
        return Ok(ED25519_SIGNATURES);
    }
    Err(RequestError::Key("keys are ECDSA, RSA or Ed25519".to_owned()))
}

fn modulus_bits(modulus: &[u8]) -> usize {
    let significant = modulus.iter().position(|byte| *byte != 0).map_or(&[][..], |first| &modulus[first..]);
    significant.first().map_or(0, |first| significant.len() * 8 - first.leading_zeros() as usize)
}

/// Why a signing request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The request cannot be parsed.
    #[error("the signing request cannot be read: {0}")]
    Malformed(&'static str),
    /// The signature does not prove that the client holds the key.
    #[error("the signing request's signature is refused: {0}")]
    Signature(&'static str),
    /// The kind or size of the key is not accepted.
    #[error("the signing request's key is refused: {0}")]
    Key(String),
}

const MIN_RSA_BITS: usize = 2048;
const MAX_RSA_BITS: usize = 8192;
const RSA_SIGNATURES: &[Oid<'static>] =
    &[OID_PKCS1_SHA256WITHRSA, OID_PKCS1_SHA384WITHRSA, OID_PKCS1_SHA512WITHRSA, OID_PKCS1_RSASSAPSS];
const EC_SIGNATURES: &[Oid<'static>] = &[OID_SIG_ECDSA_WITH_SHA256, OID_SIG_ECDSA_WITH_SHA384];
const ED25519_SIGNATURES: &[Oid<'static>] = &[OID_SIG_ED25519];

#[cfg(test)]
mod tests;
