//! Pure. The errors of traffic capture. A pod without capture rules must not start, so each message names the flag,
//! file or privilege to correct.

use std::{io, path::PathBuf};

/// Why the capture rules could not be generated, applied or verified.
#[derive(Debug, thiserror::Error)]
pub enum RedirectError {
    /// A flag has an invalid value.
    #[error("{flag} {value:?}: {reason}")]
    Setting {
        /// The flag as the user writes it.
        flag: &'static str,
        /// The invalid part of its value.
        value: String,
        /// What is wrong, and what is expected.
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
    /// The kernel refused because a privilege is missing.
    #[error(
        "not allowed to change the packet rules of this network namespace: run as root or with the capability \
         NET_ADMIN (securityContext.capabilities.add: [NET_ADMIN, NET_RAW])"
    )]
    NotPermitted,
    /// `nft` refused the rules for another reason.
    #[error("nft refused the rules ({status}): {message}")]
    NftRefused {
        /// The exit status of `nft`.
        status: String,
        /// Its standard error output.
        message: String,
    },
    /// `nft` could not be run.
    #[error("cannot run nft")]
    NftNotRun(#[source] io::Error),
    /// The address from which the proxy connects to its application over IPv6 cannot be added or removed.
    #[error("the address ::6 of the loopback interface cannot be changed")]
    Address(#[source] io::Error),
    /// A test connection was not captured.
    #[error("the rules for {family} do not capture: {reason}")]
    NotEffective {
        /// IPv4 or IPv6.
        family: &'static str,
        /// What happened to the test connection.
        reason: String,
    },
}
