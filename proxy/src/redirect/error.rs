//! Pure. What can go wrong while capturing traffic. A pod whose rules are not in place must not start, so each
//! message says which flag, file or privilege to put right.

use std::{io, path::PathBuf};

/// Why the capture rules could not be made, applied or confirmed.
#[derive(Debug, thiserror::Error)]
pub enum RedirectError {
    /// A flag holds a value that has no meaning.
    #[error("{flag} {value:?}: {reason}")]
    Setting {
        /// The flag as a user writes it.
        flag: &'static str,
        /// The part of its value that is wrong.
        value: String,
        /// What is wrong with it and what is expected.
        reason: String,
    },
    /// The list of name servers could not be read.
    #[error(
        "cannot read the name servers from {}: name another file with --resolv-conf, or capture all DNS with \
         --capture-all-dns", path.display()
    )]
    NameServers {
        /// The file that was read.
        path: PathBuf,
        /// Why reading failed.
        #[source]
        source: io::Error,
    },
    /// The `nft` program is missing.
    #[error(
        "the program nft is not installed: install nftables (apt-get install nftables, or dnf install nftables)"
    )]
    NftMissing,
    /// The kernel refused for lack of a privilege.
    #[error(
        "not allowed to change the packet rules of this network namespace: run as root or with the capability \
         NET_ADMIN (securityContext.capabilities.add: [NET_ADMIN, NET_RAW])"
    )]
    NotPermitted,
    /// `nft` refused the rules for another reason.
    #[error("nft refused the rules ({status}): {message}")]
    NftRefused {
        /// How the program ended.
        status: String,
        /// What it wrote to standard error.
        message: String,
    },
    /// `nft` could not be run.
    #[error("cannot run nft")]
    NftNotRun(#[source] io::Error),
    /// The address from which the proxy delivers over IPv6 cannot be changed.
    #[error("the address ::6 of the loopback interface cannot be changed")]
    Address(#[source] io::Error),
    /// A test connection was not captured.
    #[error("the rules for {family} do not capture: {reason}")]
    NotEffective {
        /// IPv4 or IPv6.
        family: &'static str,
        /// What became of the test connection.
        reason: String,
    },
}
