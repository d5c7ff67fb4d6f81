//! State that all connections of a server share: where it runs, and its shutdown.

use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::ServerOptions;
use crate::seen::{Connection, Place};
use crate::server::tls::{self, TlsError};

/// State shared by all connections.
pub(super) struct Shared {
    /// Where the server runs.
    pub(super) place: Place,
    /// TLS of the HTTPS ports.
    pub(super) tls: TlsAcceptor,
    /// Cancelled on SIGTERM: clients are asked to close.
    pub(super) leaving: CancellationToken,
    /// Cancelled later: no port accepts connections.
    pub(super) stopped: CancellationToken,
    /// All running tasks.
    pub(super) tasks: TaskTracker,
    /// Time from SIGTERM until ports are closed.
    pub(super) shutdown_delay: Duration,
    /// Time from then until the process ends.
    pub(super) drain: Duration,
}

/// Everything needed to respond to a call.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) connection: Arc<Connection>,
    pub(super) shared: Arc<Shared>,
}

impl Shared {
    /// Builds the state from `options`.
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
    /// Omits the TLS state, which holds a private key.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Shared").field("place", &self.place).finish_non_exhaustive()
    }
}
