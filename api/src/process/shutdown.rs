//! Waits for the operating system's request to end. Exists so that every process treats SIGTERM, which a kubelet
//! sends, and SIGINT, which a person sends, as the same wish: drain, then leave.

use tokio::signal::unix::{SignalKind, signal as listen};

/// Resolves when the process is asked to end. The signals are caught from this call on, not from the first poll, so
/// that a process that has said it is up is never cut short. Call it inside the runtime.
pub fn signal() -> impl Future<Output = ()> + Send {
    let signals = listen(SignalKind::terminate()).and_then(|t| Ok((t, listen(SignalKind::interrupt())?)));
    async move {
        match signals {
            Ok((mut terminate, mut interrupt)) => {
                let name = tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                };
                tracing::info!(signal = name, "asked to end; draining");
            }
            Err(error) => {
                // Without handlers the default action of the signals still ends the process, only less gently.
                tracing::warn!(%error, "signals cannot be handled: the process will end without draining");
                std::future::pending::<()>().await;
            }
        }
    }
}
