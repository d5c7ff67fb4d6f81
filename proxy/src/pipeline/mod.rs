//! The stages in order, and what happens around them: one worker for each thread binds the listeners of the snapshot,
//! takes connections, and leads each through accept, identify, route, policy, balance and send. Everything of a
//! connection stays on its worker's thread, so nothing here is locked or shared.

mod worker;

mod listen;
mod resolve;

mod connection;

mod http;
mod tcp;

mod downstream;

mod refusal;
mod world;

mod upstream;

mod local;

mod live;

mod silence;
mod wheel;

pub mod bound;
pub mod drain;

use crate::credentials::Store;
use crate::flow::node::Node;
use crate::snapshot::Snapshot;
use crate::telemetry::Sink;
use bound::Bound;
use drain::Drain;
use std::sync::Arc;
use tokio::sync::watch;

/// What one worker thread needs.
pub struct Worker {
    /// Which of the workers it is; the first one chooses ports where the configuration says 0.
    pub index: usize,
    /// The configuration.
    pub snapshot: watch::Receiver<Arc<Snapshot>>,
    /// This thread's counters.
    pub telemetry: Sink,
    /// Secrets of the proxy.
    pub credentials: Arc<Store>,
    /// Whose proxy it is.
    pub node: Arc<Node>,
    /// When to stop.
    pub drain: Drain,
    /// Mark of the proxy's own sockets, which capture rules leave alone.
    pub socket_mark: Option<u32>,
    /// Where listeners are bound.
    pub bound: Bound,
}

/// Serves until drained. Runs on a current-thread runtime inside a `LocalSet`.
pub async fn serve(worker: Worker) {
    worker::run(worker).await;
}
