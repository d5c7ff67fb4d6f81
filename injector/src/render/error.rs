//! Pure. Why a pod cannot be injected as it asks. The message reaches whoever ran kubectl, so it names the field.

/// Why a pod cannot be injected as it asks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// An annotation has a value without meaning.
    #[error("metadata.annotations[{name}] = {value:?}: {reason}")]
    Annotation {
        /// The annotation.
        name: String,
        /// Its value.
        value: String,
        /// What is wrong and what is expected.
        reason: String,
    },
    /// A field of the user's own sidecar container cannot be as it is.
    #[error("{field}: {reason}")]
    Field {
        /// The field.
        field: String,
        /// What is wrong and what is expected.
        reason: String,
    },
    /// The pod has no `spec`.
    #[error("spec: is missing: a pod needs at least one container")]
    NoSpec,
}
