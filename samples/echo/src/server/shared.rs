//! What all connections of a server share: who it is, and how it ends.

use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::ServerOptions;
use crate::seen::{Connection, Place};
use crate::server::tls::{self, TlsError};

/// Shared by all connections.
pub(super) struct Shared {
    /// Who answers.
    pub(super) place: Place,
    /// TLS of the HTTPS ports.
    pub(super) tls: TlsAcceptor,
    /// Set on SIGTERM: callers are told to close.
    pub(super) leaving: CancellationToken,
    /// Set later: no port accepts any more.
    pub(super) stopped: CancellationToken,
    /// Everything that runs.
    pub(super) tasks: TaskTracker,
    /// From SIGTERM to the end of accepting.
    pub(super) shutdown_delay: Duration,
    /// From the end of accepting to the end.
    pub(super) drain: Duration,
}

/// What one call needs to answer.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) connection: Arc<Connection>,
    pub(super) shared: Arc<Shared>,
}

impl Shared {
    /// What `options` ask for.
    pub(super) fn of(options: &ServerOptions) -> Result<Self, TlsError> {
        let named = options.pod_name.clone().filter(|name| !name.is_empty());
        let usual = || if options.hostname.is_empty() { "echo".to_owned() } else { options.hostname.clone() };
        Ok(Self {
            place: Place {
                pod: named.unwrap_or_else(usual),
                hostname: options.hostname.clone(),
                version: options.version.clone(),
                service_account: options.service_account.clone(),
            },
            tls: tls::acceptor(options)?,
            leaving: CancellationToken::new(),
            stopped: CancellationToken::new(),
            tasks: TaskTracker::new(),
            shutdown_delay: options.shutdown_delay,
            drain: options.drain,
        })
    }
}

impl std::fmt::Debug for Shared {
    /// Leaves TLS out: it holds a key.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Shared").field("place", &self.place).finish_non_exhaustive()
    }
}
