//! Pure. The objects of one kind, the oldest first. A list is shared between catalogs until an object of its kind
//! changes, so most comparisons end at the pointers.

use super::kind::{Item, Listed};
use std::marker::PhantomData;
use std::sync::Arc;

/// A list of the objects of type `T`.
#[derive(Debug)]
pub struct List<T> {
    items: Arc<Vec<Item>>,
    of: PhantomData<fn() -> T>,
}

impl<T: Listed> List<T> {
    /// The list of these items.
    pub(super) fn new(items: Arc<Vec<Item>>) -> Self {
        Self { items, of: PhantomData }
    }

    /// The objects, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<T>> + Clone {
        self.items.iter().filter_map(T::of)
    }
}

impl<T> Clone for List<T> {
    fn clone(&self) -> Self {
        Self { items: self.items.clone(), of: PhantomData }
    }
}

impl<T> PartialEq for List<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.items, &other.items) || self.items == other.items
    }
}
