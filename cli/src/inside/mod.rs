//! The hidden verbs: what `ostria` is inside a pod. A pod's namespaces are made by one small process, its
//! first process starts and reaps all others, and each container is a process that builds its own root and
//! then becomes the program. They are separate processes because namespaces and users can only be changed
//! safely while there is one thread, and because a pod must end with its first process.

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

/// Why a process inside a pod cannot do its job.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused a step.
    #[error("{step} is refused: {source}")]
    Kernel {
        /// What was tried.
        step: String,
        /// What the kernel said.
        source: nix::errno::Errno,
    },
    /// A file or program could not be used.
    #[error("{step}: {source}")]
    File {
        /// What was tried.
        step: String,
        /// Why not.
        source: std::io::Error,
    },
    /// The supervisor sent something else than agreed.
    #[error("the supervisor's order is not understood")]
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
