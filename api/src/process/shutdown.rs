//! Waits for the signal to shut down. Exists so that all processes handle SIGTERM, which the kubelet sends, and
//! SIGINT, which a person sends, in the same way: they drain, then exit.

use tokio::signal::unix::{SignalKind, signal as listen};

/// Waits for SIGTERM or SIGINT. The signals are caught from this call on, not from the first poll, so that a process
/// that has reported to be ready always drains. Must be called inside the runtime.
pub fn signal() -> impl Future<Output = ()> + Send {
    let signals = listen(SignalKind::terminate()).and_then(|t| Ok((t, listen(SignalKind::interrupt())?)));
    async move {
        match signals {
            Ok((mut terminate, mut interrupt)) => {
                let name = tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                };
                tracing::info!(signal = name, "shutting down: draining");
            }
            Err(error) => {
                // Without handlers, the default action of the signals ends the process at once.
                tracing::warn!(%error, "cannot handle signals: the process will exit without draining");
                std::future::pending::<()>().await;
            }
        }
    }
}
