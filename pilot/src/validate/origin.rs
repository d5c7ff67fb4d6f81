//! Pure. The origin of a checked object: its name, its age and its place.

use crate::catalog::visibility::{Identity, Origin};
use api::resource::object::Object;

/// The origin of an object.
pub(super) fn of(object: &Object) -> Origin {
    Origin::new(Identity {
        kind: object.kind(),
        namespace: object.namespace().to_owned(),
        name: object.name().to_owned(),
        created: object.created.clone(),
        uid: object.uid.clone(),
        generation: object.generation,
        place: object.place.clone(),
    })
}
