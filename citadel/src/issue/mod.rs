//! Makes the certificate: its contents by the profile, its signature by the root's signer, and the chain around it.

pub mod profile;

use crate::flow::{Issued, Permit};
use crate::issue::profile::ProfileError;
use crate::root::Root;
use rcgen::PublicKeyData;
use ring::rand::{SecureRandom, SystemRandom};
use time::OffsetDateTime;

/// Issues a certificate for what `permit` allows, over `key`.
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

/// Unguessable, positive and of fixed length, as RFC 5280 and the browsers' rules ask.
fn serial() -> Result<[u8; 16], IssueError> {
    let mut serial = [0; 16];
    SystemRandom::new().fill(&mut serial).map_err(|_| IssueError::Random)?;
    serial[0] = serial[0] & 0x7f | 0x40;
    Ok(serial)
}

/// Why no certificate could be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// The contents are not allowed.
    #[error("the certificate's contents cannot be made")]
    Profile(#[from] ProfileError),
    /// The system has no randomness to give.
    #[error("the system gives no random numbers")]
    Random,
    /// The signer failed.
    #[error("the signing key failed: {0}")]
    Sign(String),
}

#[cfg(test)]
mod tests;
