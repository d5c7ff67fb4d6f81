//! Waits for the operating system's request to end. Exists so that every process treats SIGTERM, which a kubelet
//! sends, and SIGINT, which a person sends, as the same wish: drain, then leave.

use tokio::signal::unix::{SignalKind, signal as listen};

/// Resolves when the process is asked to end.
pub async fn signal() {
    match (listen(SignalKind::terminate()), listen(SignalKind::interrupt())) {
        (Ok(mut terminate), Ok(mut interrupt)) => {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            tracing::info!(signal = name, "asked to end; draining");
        }
        (Err(error), _) | (_, Err(error)) => {
            // Without handlers the default action of the signals still ends the process, only less gently.
            tracing::warn!(%error, "signals cannot be handled: the process will end without draining");
            std::future::pending::<()>().await;
        }
    }
}
