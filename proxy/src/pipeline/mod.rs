//! Runs the stages in order. Each worker thread binds the snapshot's listeners, accepts connections and passes each
//! connection through accept, identify, route, policy, balance and send. A connection stays on its worker's thread, so
//! nothing here is locked or shared between threads.

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

/// The inputs of one worker thread.
pub struct Worker {
    /// Index of this worker. Worker 0 chooses the port where the configuration asks for port 0.
    pub index: usize,
    /// The configuration in force.
    pub snapshot: watch::Receiver<Arc<Snapshot>>,
    /// This thread's metrics.
    pub telemetry: Sink,
    /// The proxy's certificates and keys.
    pub credentials: Arc<Store>,
    /// The workload that this proxy belongs to.
    pub node: Arc<Node>,
    /// Signals when to drain.
    pub drain: Drain,
    /// `SO_MARK` of the proxy's own sockets, so that the capture rules do not redirect them.
    pub socket_mark: Option<u32>,
    /// The addresses that listeners are bound to.
    pub bound: Bound,
}

/// Serves until drained. Runs on a current-thread runtime inside a `LocalSet`.
pub async fn serve(worker: Worker) {
    worker::run(worker).await;
}
