//! Issues certificates: the contents by the profile, the signature by the root's signer, and the chain.

pub mod profile;

use crate::flow::{Issued, Permit};
use crate::issue::profile::ProfileError;
use crate::root::{Root, create};
use rcgen::PublicKeyData;
use time::OffsetDateTime;

/// Issues a certificate over `key` with what `permit` allows.
pub fn issue(
    root: &Root,
    permit: &Permit,
    key: &impl PublicKeyData,
    now: OffsetDateTime,
) -> Result<Issued, IssueError> {
    let serial = create::serial().ok_or(IssueError::Random)?;
    let contents = profile::contents(permit, root.chain_not_after(), now, &serial)?;
    let leaf = root.sign(&contents, key).map_err(|error| IssueError::Sign(error.to_string()))?;
    let mut chain = vec![leaf.pem()];
    chain.extend(root.chain().iter().cloned());
    let serial = u128::from_be_bytes(serial);
    Ok(Issued { chain, serial: format!("{serial:032x}"), not_after: contents.not_after })
}

/// Why a certificate cannot be issued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// The contents are not allowed.
    #[error("the certificate's contents cannot be made")]
    Profile(#[from] ProfileError),
    /// The system provides no randomness.
    #[error("the system returned no random numbers")]
    Random,
    /// Signing failed.
    #[error("the signing key failed: {0}")]
    Sign(String),
}

#[cfg(test)]
mod tests;
