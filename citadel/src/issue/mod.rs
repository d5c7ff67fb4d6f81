//! Issues certificates: the contents by the profile, the signature by the root's signer, and the chain.

pub mod profile;

use crate::flow::{Issued, Permit};
use crate::issue::profile::ProfileError;
use crate::root::Root;
use rcgen::PublicKeyData;
use ring::rand::{SecureRandom, SystemRandom};
use time::OffsetDateTime;

/// Issues a certificate over `key` with what `permit` allows.
pub fn issue(
    root: &Root,
    permit: &Permit,
    key: &impl PublicKeyData,
    now: OffsetDateTime,
) -> Result<Issued, IssueError> {
    let serial = serial()?;
    let contents = profile::contents(permit, root.chain_not_after(), now, &serial)?;
    let leaf = root.sign(&contents, key).map_err(|error| IssueError::Sign(error.to_string()))?;
    let mut chain = vec![leaf.pem()];
    chain.extend(root.chain().iter().cloned());
    let serial = u128::from_be_bytes(serial);
    Ok(Issued { chain, serial: format!("{serial:032x}"), not_after: contents.not_after })
}

/// Returns a serial number: random, positive and of fixed length, as RFC 5280 and the CA/Browser Forum's rules require.
fn serial() -> Result<[u8; 16], IssueError> {
    let mut serial = [0; 16];
    SystemRandom::new().fill(&mut serial).map_err(|_| IssueError::Random)?;
    serial[0] = serial[0] & 0x7f | 0x40;
    Ok(serial)
}

/// Why a certificate cannot be issued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// The contents are not allowed.
    #[error("the certificate's contents cannot be made")]
    Profile(#[from] ProfileError),
    /// The system provides no randomness.
    #[error("the system gives no random numbers")]
    Random,
    /// Signing failed.
    #[error("the signing key failed: {0}")]
    Sign(String),
}

#[cfg(test)]
mod tests;
