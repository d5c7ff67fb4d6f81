//! Pure. A JSON Web Key Set (RFC 7517): the public keys of an issuer, and the verification of signatures with them.

use crate::jws::algorithm::{Algorithm, PublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

/// The usable keys of a set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeySet {
    keys: Vec<Key>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    id: Option<String>,
    algorithm: Option<String>,
    public: PublicKey,
}

impl KeySet {
    /// Parses a set. Keys of unsupported types or for other uses are skipped, as the standard requires. An empty set
    /// is not an error; no signature verifies with it.
    pub fn parse(json: &[u8]) -> Result<Self, KeySetError> {
        let document: Document = serde_json::from_slice(json)?;
        Ok(Self { keys: document.keys.into_iter().filter_map(Key::read).collect() })
    }

    /// The number of usable keys.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether the set has no usable key.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Verifies `signature` over `message` with `algorithm` and the key `id`. Without an id, all keys of the
    /// algorithm's type are tried.
    pub fn verify(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), KeyError> {
        let mut named = self.keys.iter().filter(|key| id.is_none() || key.id.as_deref() == id).peekable();
        if named.peek().is_none() {
            return Err(KeyError::Unknown);
        }
        let valid = named.any(|key| key.fits(algorithm) && algorithm.verify(&key.public, message, signature));
        if valid { Ok(()) } else { Err(KeyError::Signature) }
    }
}

/// Why a document is not a key set.
#[derive(Debug, thiserror::Error)]
#[error("not a JSON Web Key Set: {0}")]
pub struct KeySetError(#[from] serde_json::Error);

/// Why a signature is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The caller does not accept the algorithm.
    #[error("its algorithm is not one of {}", .accepted.iter().map(|a| a.name()).collect::<Vec<_>>().join(", "))]
    Algorithm {
        /// The algorithms that the caller accepts.
        accepted: &'static [Algorithm],
    },
    /// The set has no such key.
    #[error("the issuer has no key with that id")]
    Unknown,
    /// The signature does not verify.
    #[error("its signature is invalid")]
    Signature,
}

impl Key {
    fn read(entry: Entry) -> Option<Self> {
        if !entry.usage.as_deref().is_none_or(|usage| matches!(usage, "sig" | "jwt-svid")) {
            return None;
        }
        let field =
            |text: &Option<String>| URL_SAFE_NO_PAD.decode(text.as_deref()?.trim_end_matches('=')).ok();
        let point = |length: usize| {
            let (x, y) = (field(&entry.x)?, field(&entry.y)?);
            // 0x04 marks an uncompressed point (SEC 1, 2.3.3).
            (x.len() == length && y.len() == length).then(|| [&[4][..], &x, &y].concat())
        };
        let public = match (entry.kind.as_str(), entry.curve.as_deref()) {
            ("RSA", _) => PublicKey::Rsa { n: unpadded(field(&entry.n)?), e: unpadded(field(&entry.e)?) },
            ("EC", Some("P-256")) => PublicKey::P256(point(32)?),
            ("EC", Some("P-384")) => PublicKey::P384(point(48)?),
            ("OKP", Some("Ed25519")) => PublicKey::Ed25519(field(&entry.x).filter(|x| x.len() == 32)?),
            _ => return None,
        };
        Some(Self { id: entry.id, algorithm: entry.algorithm, public })
    }

    fn fits(&self, algorithm: Algorithm) -> bool {
        self.algorithm.as_deref().is_none_or(|own| own == algorithm.name())
    }
}

/// Removes leading zeros, which some issuers add and ring refuses.
fn unpadded(number: Vec<u8>) -> Vec<u8> {
    number.into_iter().skip_while(|byte| *byte == 0).collect()
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "kty")]
    kind: String,
    #[serde(rename = "kid")]
    id: Option<String>,
    #[serde(rename = "alg")]
    algorithm: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    #[serde(rename = "crv")]
    curve: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}
