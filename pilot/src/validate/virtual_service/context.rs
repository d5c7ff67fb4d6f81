//! Pure. What completes the short names of an object.

/// The namespace and domain that complete short names.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) own: &'a str,
    pub(super) domain: &'a str,
}
