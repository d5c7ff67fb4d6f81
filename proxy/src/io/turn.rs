//! Bounds how long a task may run before others do. Bulk data whose source is always ready and whose sink always
//! accepts more would otherwise keep its thread from all other connections.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, ready};

/// The remaining steps of a task's turn.
pub struct Turn(usize);

impl Default for Turn {
    /// Begins a whole turn.
    fn default() -> Self {
        Self(STEPS)
    }
}

impl Turn {
    /// Takes steps from the turn. When the turn is over, it is not ready, and wakes the task once all other ready
    /// tasks, and all I/O that has arrived meanwhile, have had their turn.
    pub fn take(&mut self, steps: usize, context: &mut Context<'_>) -> Poll<()> {
        if self.0 == 0 {
            // A task that wakes itself would run again before the thread polls its sockets.
            ready!(pin!(tokio::task::yield_now()).poll(context));
        }
        self.0 = self.0.saturating_sub(steps);
        Poll::Ready(())
    }
}

/// The steps of bulk data in one turn, each a read and a write of at most `STEP` bytes: together just below one MiB.
const STEPS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::copy::tests::sockets;
    use std::cell::Cell;
    use std::future::poll_fn;
    use std::rc::Rc;
    use tokio::task::{LocalSet, spawn_local};

    #[tokio::test]
    async fn a_busy_task_yields_to_the_threads_other_sockets() {
        let turns = Rc::new(Cell::new(0));
        let counting = turns.clone();
        let busy = poll_fn::<(), _>(move |context| {
            counting.set(counting.get() + 1);
            let mut turn = Turn::default();
            loop {
                ready!(turn.take(1, context));
            }
        });
        let test = async move {
            spawn_local(busy);
            let (client, server) = sockets().await;
            let before = turns.get();
            client.try_write(b"x").unwrap();
            server.readable().await.unwrap();
            assert!(turns.get() - before < 10, "{} turns until a socket was looked at", turns.get() - before);
        };
        LocalSet::new().run_until(test).await;
    }
}
