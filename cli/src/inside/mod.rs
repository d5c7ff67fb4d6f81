//! The hidden commands that `ostria` runs inside a pod. One small process creates the pod's namespaces. The pod's first
//! process starts and reaps all others. Each container is a process that builds its own root and then executes the
//! program. They are separate processes because namespaces and users can only be changed safely in a single-threaded
//! process, and because the pod must end when its first process ends.

pub mod init;
pub mod sandbox;

pub mod connect;
pub mod container;
pub mod fetch;
pub mod host_listen;

pub mod guard;

pub mod confine;
pub mod filter;

pub mod root;

pub mod seal;
pub mod special;

pub mod bind;

/// Why a process inside a pod failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call failed.
    #[error("{step} failed: {source}")]
    Kernel {
        /// The step that failed.
        step: String,
        /// The kernel's error.
        source: nix::errno::Errno,
    },
    /// A file or program cannot be used.
    #[error("{step}: {source}")]
    File {
        /// The step that failed.
        step: String,
        /// The error.
        source: std::io::Error,
    },
    /// A message of the supervisor is malformed.
    #[error("malformed order from the supervisor")]
    Order(#[source] serde_json::Error),
}

fn kernel(step: impl Into<String>) -> impl FnOnce(nix::errno::Errno) -> Error {
    let step = step.into();
    move |source| Error::Kernel { step, source }
}

fn file(step: impl Into<String>) -> impl FnOnce(std::io::Error) -> Error {
    let step = step.into();
    move |source| Error::File { step, source }
}
