//! Pure. One object's change, for the tables that follow from it.

use super::kind::Item;
use api::resource::document::Key;

/// An object that has changed.
#[derive(Debug)]
pub(super) struct Changed {
    pub(super) key: Key,
    pub(super) before: Option<Item>,
    pub(super) after: Option<Item>,
}

impl Changed {
    pub(super) fn items(&self) -> impl Iterator<Item = &Item> {
        self.before.iter().chain(&self.after)
    }
}
