//! The key that signs service account tokens. It is generated when the mesh starts, and never written
//! outside the folder that only the supervisor sees.

use std::io;
use std::path::Path;

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};

use crate::kubelet::token::{self, Subject, UnsignedToken};
use crate::up::clock::seconds;

/// Signs tokens.
pub struct Signer {
    key: EcdsaKeyPair,
    random: SystemRandom,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer")
    }
}

impl Signer {
    /// Generates a key.
    pub fn new() -> io::Result<Self> {
        let random = SystemRandom::new();
        let failed = |_| io::Error::other("the system has no random numbers for a key");
        let document =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).map_err(failed)?;
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random)
            .map_err(|_| io::Error::other("the generated key is invalid"))?;
        Ok(Self { key, random })
    }

    /// Publishes the public key for servers that verify tokens.
    pub fn publish(&self, path: &Path) -> io::Result<()> {
        let set = token::key_set(KEY_ID, self.key.public_key().as_ref());
        let set = set.ok_or_else(|| io::Error::other("the key is malformed"))?;
        crate::beneath::replace_own(path, set.to_string().as_bytes())
    }

    /// Creates a token for a service account.
    pub fn token(&self, subject: &Subject, audience: &str, lifetime: u64) -> Result<String, UnsignedToken> {
        let claims = token::claims(subject, audience, seconds(), lifetime);
        let input = token::signing_input(KEY_ID, &claims);
        let signature = self.key.sign(&self.random, input.as_bytes());
        let signature = signature.map_err(|_| UnsignedToken)?;
        Ok(token::assemble(&input, signature.as_ref()))
    }
}

const KEY_ID: &str = "ostria";
