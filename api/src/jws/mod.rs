//! Pure. Compact JSON Web Signatures (RFC 7515): splits a token into its parts and verifies its signature against a key
//! set. Says nothing about the claims in it. Exists so that everybody who takes tokens verifies them in one way.

pub mod key_set;
pub mod algorithm;

use crate::jws::algorithm::Algorithm;
use crate::jws::key_set::{KeyError, KeySet};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

/// A token of the form `header.payload.signature`. Nothing in it can be trusted before [`Compact::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compact<'a> {
    /// What the first part says.
    pub header: Header,
    /// The second part, decoded; the claims of a JWT, in JSON.
    pub payload: Vec<u8>,
    /// The text of the first two parts, which the signature covers.
    signed: &'a [u8],
    signature: Vec<u8>,
}

/// The parameters of a JOSE header that matter for verification.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Header {
    /// The name of the signature's algorithm.
    pub alg: String,
    /// The id of the key that made the signature.
    pub kid: Option<String>,
    /// The media type of the token.
    pub typ: Option<String>,
    /// Extensions that a recipient must understand, of which there are none here.
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

    /// Checks that a key of `keys` made the signature, by one of the algorithms that the caller accepts.
    pub fn verify(&self, keys: &KeySet, accepted: &'static [Algorithm]) -> Result<(), KeyError> {
        let algorithm = Algorithm::named(&self.header.alg).filter(|algorithm| accepted.contains(algorithm));
        let algorithm = algorithm.ok_or(KeyError::Algorithm { accepted })?;
        keys.verify(self.header.kid.as_deref(), algorithm, self.signed, &self.signature)
    }
}

fn decoded(part: &str) -> Result<Vec<u8>, CompactError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| CompactError::Base64)
}

/// Why a text is not a compact signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CompactError {
    /// It does not have three parts.
    #[error("it is not three parts with dots between")]
    Parts,
    /// A part has other characters, or padding.
    #[error("a part is not base64url")]
    Base64,
    /// The header is not JSON, or does not name an algorithm.
    #[error("its header is not JSON, or lacks a needed field")]
    Header,
    /// RFC 7515, 4.1.11: what demands an unknown extension is invalid.
    #[error("its header demands extensions (crit)")]
    Critical,
}

#[cfg(test)]
mod tests;
