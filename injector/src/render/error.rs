//! Pure. Why a pod cannot be injected as requested. The message reaches the user of kubectl, so it names the field.

/// Why a pod cannot be injected as requested.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// The value of an annotation is invalid.
    #[error("metadata.annotations[{name}] = {value:?}: {reason}")]
    Annotation {
        /// The annotation.
        name: String,
        /// Its value.
        value: String,
        /// What is wrong and what is expected.
        reason: String,
    },
    /// A field of the user's own sidecar container is invalid.
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
