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

pub use worker::Worker;

/// Serves until drained. Runs on a current-thread runtime inside a `LocalSet`.
pub async fn serve(worker: Worker) {
    worker::run(worker).await;
}
