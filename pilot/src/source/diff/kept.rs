//! Pure. An object as it is remembered: a fraction of the size of one that is read.

use api::resource::document::{Key, Place};
use api::resource::object::Document;
use api::resource::parse;
use std::fmt;

/// One object of a file.
#[derive(PartialEq)]
pub(super) struct Kept {
    pub(super) key: Key,
    pub(super) place: Place,
    pub(super) index: usize,
    /// As written, in JSON.
    text: Box<str>,
}

impl Kept {
    pub(super) fn of(document: &Document) -> Self {
        Self {
            key: document.object.key.clone(),
            place: document.place.clone(),
            index: document.index,
            text: document.raw.to_string().into(),
        }
    }

    /// Whether it stands in the same file with the same content.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.place.file == other.place.file && self.text == other.text
    }

    /// The object, read once more. What could be read before is read again.
    pub(super) fn document(&self) -> Option<Document> {
        let parsed = parse::parse(&self.place.file, &self.text);
        let document = parsed.documents.into_iter().next()?;
        Some(Document { place: self.place.clone(), index: self.index, ..document })
    }
}

impl fmt::Debug for Kept {
    /// Without the content: it may be a secret's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kept({} at {})", self.key, self.place)
    }
}
