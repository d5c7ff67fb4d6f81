//! Pure. The decoder of one type of filter settings.

use crate::wire::refusal::Refusal;
use crate::wire::xds::Any;

/// The decoder of one type of settings.
pub(super) struct Codec<T> {
    /// Full name of the message.
    pub(super) message: &'static str,
    pub(super) read: fn(&Any) -> Result<T, Refusal>,
}
