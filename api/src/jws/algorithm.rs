//! Pure. The supported signature algorithms of RFC 7518 and RFC 8037. Only asymmetric ones are supported, so that
//! neither
//! `none` nor an HMAC keyed with a public key is ever accepted.

use ring::rsa::PublicKeyComponents;
use ring::signature::{self, RsaParameters, UnparsedPublicKey, VerificationAlgorithm};
use std::fmt::{self, Display, Formatter};

/// A signature algorithm. ES512 is not supported, because ring has no P-521.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// RSA (PKCS #1 v1.5) with SHA-256.
    Rs256,
    /// RSA (PKCS #1 v1.5) with SHA-384.
    Rs384,
    /// RSA (PKCS #1 v1.5) with SHA-512.
    Rs512,
    /// RSA (PSS) with SHA-256.
    Ps256,
    /// RSA (PSS) with SHA-384.
    Ps384,
    /// RSA (PSS) with SHA-512.
    Ps512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// Ed25519.
    EdDsa,
}

/// A public key in ring's form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PublicKey {
    /// Modulus and exponent, big-endian, without leading zeros.
    Rsa { n: Vec<u8>, e: Vec<u8> },
    /// An uncompressed point of P-256.
    P256(Vec<u8>),
    /// An uncompressed point of P-384.
    P384(Vec<u8>),
    /// A point of Ed25519.
    Ed25519(Vec<u8>),
}

impl Algorithm {
    /// All algorithms, in the order in which error messages list them.
    pub const ALL: &'static [Self] = &[
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::EdDsa,
    ];

    /// The algorithm of an `alg` parameter. Names are case-sensitive.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|algorithm| algorithm.name() == name)
    }

    /// The value of the `alg` parameter.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }

    /// Whether `signature` over `message` verifies with `key`, and `key` is of this algorithm's type.
    pub(super) fn verify(self, key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
        let rsa = |parameters: &'static RsaParameters| {
            let PublicKey::Rsa { n, e } = key else { return false };
            PublicKeyComponents { n, e }.verify(parameters, message, signature).is_ok()
        };
        let point = |verification: &'static dyn VerificationAlgorithm, point: &[u8]| {
            UnparsedPublicKey::new(verification, point).verify(message, signature).is_ok()
        };
        match (self, key) {
            (Self::Rs256, _) => rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
            (Self::Rs384, _) => rsa(&signature::RSA_PKCS1_2048_8192_SHA384),
            (Self::Rs512, _) => rsa(&signature::RSA_PKCS1_2048_8192_SHA512),
            (Self::Ps256, _) => rsa(&signature::RSA_PSS_2048_8192_SHA256),
            (Self::Ps384, _) => rsa(&signature::RSA_PSS_2048_8192_SHA384),
            (Self::Ps512, _) => rsa(&signature::RSA_PSS_2048_8192_SHA512),
            (Self::Es256, PublicKey::P256(key)) => point(&signature::ECDSA_P256_SHA256_FIXED, key),
            (Self::Es384, PublicKey::P384(key)) => point(&signature::ECDSA_P384_SHA384_FIXED, key),
            (Self::EdDsa, PublicKey::Ed25519(key)) => point(&signature::ED25519, key),
            (Self::Es256 | Self::Es384 | Self::EdDsa, _) => false,
        }
    }
}

impl Display for Algorithm {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
