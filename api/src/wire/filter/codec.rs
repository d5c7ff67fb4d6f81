//! Pure. How settings of one type are read.

use crate::wire::refusal::Refusal;
use crate::wire::xds::Any;

/// How settings of one type are read.
pub(super) struct Codec<T> {
    /// Full name of the message.
    pub(super) message: &'static str,
    pub(super) read: fn(&Any) -> Result<T, Refusal>,
}
