//! Lets tests run side by side that do not disturb each other, and all others alone and in the order of the list.

use std::sync::{Condvar, Mutex, PoisonError};

/// What a test has for itself.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Has {
    /// The cluster: it changes the mesh, or stops parts of it.
    All,
    /// Bookinfo and its rules.
    Shop,
    /// A namespace of its own.
    Namespace,
}

/// The right to run, until it is dropped.
pub(crate) struct Turn(usize);

impl Turn {
    /// Waits until the test with this number can run.
    pub(crate) fn take(number: usize, has: Has) -> Self {
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        all.waiting.push((number, has));
        while !all.may_run(number, has) {
            all = CHANGED.wait(all).unwrap_or_else(PoisonError::into_inner);
        }
        all.waiting.retain(|(other, _)| *other != number);
        all.running.push((number, has));
        // Those that waited for this one to begin can run, too.
        CHANGED.notify_all();
        Self(number)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        all.running.retain(|(number, _)| *number != self.0);
        CHANGED.notify_all();
    }
}

struct All {
    waiting: Vec<(usize, Has)>,
    running: Vec<(usize, Has)>,
}

impl All {
    fn may_run(&self, number: usize, has: Has) -> bool {
        let earlier = self.waiting.iter().filter(|(other, _)| *other < number);
        let mut before = earlier.chain(&self.running).map(|(_, other)| *other);
        match has {
            Has::All => before.next().is_none(),
            Has::Shop => before.all(|other| other == Has::Namespace),
            Has::Namespace => before.all(|other| other != Has::All),
        }
    }
}

static ALL: Mutex<All> = Mutex::new(All { waiting: vec![], running: vec![] });
static CHANGED: Condvar = Condvar::new();
