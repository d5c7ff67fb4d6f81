//! Takes locks so that a panic elsewhere does not stop counting.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex even if it is poisoned. A panic elsewhere must not stop counting: the data behind these locks is
/// valid at any moment.
pub(super) fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
