//! Pure. What the checks of all kinds share: the findings about an object, the values that several kinds have, and the
//! advice for unsupported fields.

pub(crate) mod value;

pub(crate) mod finding;

mod instead;
