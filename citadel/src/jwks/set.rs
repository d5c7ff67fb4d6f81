//! Pure. A JSON Web Key Set, and the signatures its keys made. Only asymmetric algorithms exist here (RS, PS and ES with
//! 256 to 512 bits as far as the key allows), so that neither `none` nor a secret guessed from a public key can pass.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rsa::PublicKeyComponents;
use ring::signature::{self, RsaParameters, UnparsedPublicKey, VerificationAlgorithm};
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
    material: Material,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Material {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
}

impl KeySet {
    /// Reads a set. Keys of other kinds or for other uses are skipped, as the standard asks; an empty set is one that
    /// trusts nobody, and no error.
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        let document: Document =
            serde_json::from_slice(json).map_err(|error| format!("not a JSON Web Key Set: {error}"))?;
        Ok(Self { keys: document.keys.into_iter().filter_map(Key::read).collect() })
    }

    /// How many keys are usable.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// True without a usable key.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Checks that the key `id` made `signature` over `message` with the JWS algorithm `algorithm`. Without an id every
    /// key that fits the algorithm is tried.
    pub fn verify(
        &self,
        id: Option<&str>,
        algorithm: &str,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), KeyError> {
        if !ALGORITHMS.contains(&algorithm) {
            return Err(KeyError::Algorithm);
        }
        let mut named = self.keys.iter().filter(|key| id.is_none() || key.id.as_deref() == id).peekable();
        if named.peek().is_none() {
            return Err(KeyError::Unknown);
        }
        let valid = named.any(|key| key.fits(algorithm) && key.verify(algorithm, message, signature));
        if valid { Ok(()) } else { Err(KeyError::Signature) }
    }
}

/// Why a signature is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not one of the asymmetric algorithms.
    #[error("its algorithm is not one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384")]
    Algorithm,
    /// The issuer publishes no such key.
    #[error("the issuer has no key of that id")]
    Unknown,
    /// The key did not make the signature.
    #[error("its signature is wrong")]
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
        let material = match (entry.kind.as_str(), entry.curve.as_deref()) {
            ("RSA", _) => Material::Rsa { n: unpadded(field(&entry.n)?), e: unpadded(field(&entry.e)?) },
            ("EC", Some("P-256")) => Material::P256(point(32)?),
            ("EC", Some("P-384")) => Material::P384(point(48)?),
            _ => return None,
        };
        Some(Self { id: entry.id, algorithm: entry.algorithm, material })
    }

    fn fits(&self, algorithm: &str) -> bool {
        self.algorithm.as_deref().is_none_or(|own| own == algorithm)
    }

    fn verify(&self, algorithm: &str, message: &[u8], signature: &[u8]) -> bool {
        let point = |verification: &'static dyn VerificationAlgorithm, point: &[u8]| {
            UnparsedPublicKey::new(verification, point).verify(message, signature).is_ok()
        };
        match (&self.material, algorithm) {
            (Material::P256(key), "ES256") => point(&signature::ECDSA_P256_SHA256_FIXED, key),
            (Material::P384(key), "ES384") => point(&signature::ECDSA_P384_SHA384_FIXED, key),
            (Material::Rsa { n, e }, _) => rsa(algorithm).is_some_and(|parameters| {
                PublicKeyComponents { n, e }.verify(parameters, message, signature).is_ok()
            }),
            _ => false,
        }
    }
}

fn rsa(algorithm: &str) -> Option<&'static RsaParameters> {
    Some(match algorithm {
        "RS256" => &signature::RSA_PKCS1_2048_8192_SHA256,
        "RS384" => &signature::RSA_PKCS1_2048_8192_SHA384,
        "RS512" => &signature::RSA_PKCS1_2048_8192_SHA512,
        "PS256" => &signature::RSA_PSS_2048_8192_SHA256,
        "PS384" => &signature::RSA_PSS_2048_8192_SHA384,
        "PS512" => &signature::RSA_PSS_2048_8192_SHA512,
        _ => return None,
    })
}

/// Some issuers pad the numbers with leading zeros, which the verifier refuses.
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

const ALGORITHMS: [&str; 8] = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384"];
