//! Pure. Why a pod cannot be injected as requested. The message reaches the user of kubectl, so it names the field.

use crate::excerpt::quoted;

/// Why a pod cannot be injected as requested.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// The value of an annotation is invalid.
    #[error("metadata.annotations[{name}] = {}: {reason}", quoted(value))]
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
    /// The namespace does not admit the container that sets up capture.
    #[error(
        "the namespace enforces the Pod Security Standard {standard:?}, which does not admit the container istio-init: it \
         needs the capabilities NET_ADMIN and NET_RAW to redirect the pod's traffic to the sidecar. Label the namespace \
         pod-security.kubernetes.io/enforce=privileged, or the pod sidecar.istio.io/inject=false to leave it out of the \
         mesh"
    )]
    Standard {
        /// The standard.
        standard: &'static str,
    },
    /// The pod has no `spec`.
    #[error("spec: is missing: a pod needs at least one container")]
    NoSpec,
}
