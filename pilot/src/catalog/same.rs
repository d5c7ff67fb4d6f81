//! Pure. An object of a catalog as something that was made from it remembers it. Objects never change in place, so that
//! most comparisons end at their pointers; one that was made again and says the same is the same, too.

use std::ops::Deref;
use std::sync::Arc;

/// An object that is compared by its pointer first.
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
