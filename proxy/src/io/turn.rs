//! Turns of tasks that could go on for ever: bulk whose source is always ready and whose sink always takes more would
//! keep its thread from all other connections.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, ready};

/// What a task may still do in this turn.
pub struct Turn(usize);

impl Default for Turn {
    /// A whole turn.
    fn default() -> Self {
        Self(STEPS)
    }
}

impl Turn {
    /// Takes so many steps. Not ready when the turn is over: then the task is woken as soon as all that can go on, and
    /// all that has come in meanwhile, has had its turn.
    pub fn take(&mut self, steps: usize, context: &mut Context<'_>) -> Poll<()> {
        if self.0 == 0 {
            // A task that wakes itself would be next again, before the thread looks at its sockets.
            ready!(pin!(tokio::task::yield_now()).poll(context));
        }
        self.0 = self.0.saturating_sub(steps);
        Poll::Ready(())
    }
}

/// Steps of bulk in one turn, each a read and a write of at most `STEP` bytes: together just below a mebibyte.
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
    async fn a_task_that_could_always_go_on_lets_the_thread_look_at_its_sockets() {
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
