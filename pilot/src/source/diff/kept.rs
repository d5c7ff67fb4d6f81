//! Pure. The compact form of an object that is kept for comparison: a fraction of the size of the parsed one.

use api::resource::document::{Key, Place};
use api::resource::object::Document;
use api::resource::parse;
use std::fmt;
use std::sync::Arc;

/// One object of a file.
#[derive(PartialEq)]
pub(super) struct StoredObject {
    pub(super) key: Key,
    pub(super) place: Place,
    pub(super) index: usize,
    /// The object as written, in JSON.
    text: Box<str>,
}

impl StoredObject {
    pub(super) fn of(document: &Document) -> Self {
        Self {
            key: document.object.key.clone(),
            place: document.place.clone(),
            index: document.index,
            text: document.raw.to_string().into(),
        }
    }

    /// Whether it is in the same file with the same content.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.place.source() == other.place.source() && self.text == other.text
    }

    /// Parses the object again. Cannot fail in practice: the text was parsed before.
    pub(super) fn document(&self) -> Option<Document> {
        let parsed = parse::parse(&self.place.source(), &self.text);
        let mut document = parsed.documents.into_iter().next()?;
        Arc::make_mut(&mut document.object).place = self.place.clone();
        Some(Document { place: self.place.clone(), index: self.index, ..document })
    }
}

impl fmt::Debug for StoredObject {
    /// Omits the content, which may be that of a Secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoredObject({} at {})", self.key, self.place)
    }
}
