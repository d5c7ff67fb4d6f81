//! Pure. A shared catalog object that values derived from it keep for comparison. Objects never change in place, so
//! most comparisons end at the pointers; an object that was rebuilt with equal content is equal too.

use std::ops::Deref;
use std::sync::Arc;

/// A shared object whose comparison tries the pointers first.
#[derive(Debug)]
pub struct Same<T>(pub Arc<T>);

impl<T> Clone for Same<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Deref for Same<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: PartialEq> PartialEq for Same<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || *self.0 == *other.0
    }
}

impl<T> From<&Arc<T>> for Same<T> {
    fn from(object: &Arc<T>) -> Self {
        Self(object.clone())
    }
}
