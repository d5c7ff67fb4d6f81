//! Pure. The outcome of a review, between the request and the response that `api::admission` defines.

/// The outcome of a review.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The pod gets a sidecar.
    Injected {
        /// The patch from the pod as sent to the pod with its sidecar.
        patch: json_patch::Patch,
        /// Warnings for the user, although the pod is accepted.
        warnings: Vec<String>,
    },
    /// The pod is not changed.
    Skipped(Skip),
    /// The pod cannot be injected as requested, and must not run without a sidecar instead.
    Denied(String),
}

/// Why a pod is not changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skip {
    /// The request does not create a pod.
    NotAPod,
    /// The pod uses the host network, where capture would affect the whole node.
    HostNetwork,
    /// The namespace holds the cluster's own pods, which must not depend on the mesh.
    SystemNamespace,
    /// The pod has a sidecar already.
    AlreadyInjected,
    /// The pod's label or annotation `sidecar.istio.io/inject` is `false`.
    OptedOut,
    /// One of `neverInjectSelector` matches.
    NeverSelector,
    /// The policy is `disabled` and the pod does not request a sidecar.
    PolicyDisabled,
}

impl Skip {
    /// The reason in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotAPod => "not the creation of a pod",
            Self::HostNetwork => "the pod uses the host's network",
            Self::SystemNamespace => "the namespace belongs to the cluster",
            Self::AlreadyInjected => "the pod has a sidecar",
            Self::OptedOut => "sidecar.istio.io/inject opts out",
            Self::NeverSelector => "neverInjectSelector matches",
            Self::PolicyDisabled => "the policy is disabled and the pod does not opt in",
        }
    }
}
