//! The worker threads. Each has its own single-threaded runtime, and no state of a connection ever leaves its thread.

use crate::pipeline::{self, Worker};
use std::io;
use tokio::sync::mpsc;
use tokio::task::LocalSet;

/// Starts one thread per worker. The receiver ends when all of them have ended.
pub(super) fn start(workers: Vec<Worker>) -> io::Result<mpsc::Receiver<usize>> {
    let (ended, all) = mpsc::channel(workers.len().max(1));
    for worker in workers {
        let ended = ended.clone();
        let index = worker.index;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name(format!("worker-{index}")).stack_size(STACK).spawn(move || {
            LocalSet::new().block_on(&runtime, pipeline::serve(worker));
            // The sender is dropped last, so a thread that panics closes it as well.
            drop(runtime);
            let _ = ended.blocking_send(index);
        })?;
    }
    Ok(all)
}

/// The stack size limit; memory is only allocated as the stack grows.
const STACK: usize = 2 * 1024 * 1024;
