//! Pure. Compact JSON Web Signatures (RFC 7515): splits a token into its parts and verifies its signature with a key
//! set. Does not check claims. Exists so that all tokens are verified in the same way.

pub mod key_set;
pub mod algorithm;

use crate::jws::algorithm::Algorithm;
use crate::jws::key_set::{KeyError, KeySet};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

/// A token of the form `header.payload.signature`. Do not trust its content before [`Compact::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compact<'a> {
    /// The decoded header.
    pub header: Header,
    /// The decoded payload; for a JWT its claims as JSON.
    pub payload: Vec<u8>,
    /// The signed text: the first two parts.
    signed: &'a [u8],
    signature: Vec<u8>,
}

/// The parameters of a JOSE header that matter for verification.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Header {
    /// The name of the signature's algorithm.
    pub alg: String,
    /// The id of the signing key.
    pub kid: Option<String>,
    /// The media type of the token.
    pub typ: Option<String>,
    /// Extensions that a recipient must support. None is supported here.
    crit: Option<serde_json::Value>,
}

impl<'a> Compact<'a> {
    /// Splits and decodes a token.
    pub fn parse(token: &'a str) -> Result<Self, CompactError> {
        let parts: Vec<&str> = token.split('.').collect();
        let [header, payload, signature] = parts[..] else {
            return Err(CompactError::Parts);
        };
        let signed = &token.as_bytes()[..header.len() + 1 + payload.len()];
        let header: Header = serde_json::from_slice(&decoded(header)?).map_err(|_| CompactError::Header)?;
        if header.crit.is_some() {
            return Err(CompactError::Critical);
        }
        Ok(Self { header, payload: decoded(payload)?, signed, signature: decoded(signature)? })
    }

    /// Verifies the signature with a key of `keys` and one of the algorithms that the caller accepts.
    pub fn verify(&self, keys: &KeySet, accepted: &'static [Algorithm]) -> Result<(), KeyError> {
        let algorithm = Algorithm::named(&self.header.alg).filter(|algorithm| accepted.contains(algorithm));
        let algorithm = algorithm.ok_or(KeyError::Algorithm { accepted })?;
        keys.verify(self.header.kid.as_deref(), algorithm, self.signed, &self.signature)
    }
}

fn decoded(part: &str) -> Result<Vec<u8>, CompactError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| CompactError::Base64)
}

/// Why a token is malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CompactError {
    /// It does not have three parts.
    #[error("it does not have three parts separated by dots")]
    Parts,
    /// A part has other characters, or padding.
    #[error("a part is not base64url")]
    Base64,
    /// The header is not JSON, or does not name an algorithm.
    #[error("its header is not JSON, or lacks a required field")]
    Header,
    /// The header requires an extension (RFC 7515, 4.1.11).
    #[error("its header requires extensions (crit)")]
    Critical,
}

#[cfg(test)]
mod tests;
