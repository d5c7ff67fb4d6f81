//! Pure. What a review leads to, between the request and the response that `api::admission` defines.

/// What comes of one request.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The pod gets a sidecar.
    Injected {
        /// From the pod as sent to the pod with its sidecar.
        patch: json_patch::Patch,
        /// What the user should know although the pod is accepted.
        warnings: Vec<String>,
    },
    /// The pod stays as it is.
    Skipped(Skip),
    /// The pod cannot be injected as asked, and must not run without a sidecar instead.
    Denied(String),
}

/// Why a pod stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skip {
    /// The request is not about creating a pod.
    NotAPod,
    /// The pod shares the network of its machine, where capture would take all traffic.
    HostNetwork,
    /// Pods of the cluster itself do not depend on the mesh.
    SystemNamespace,
    /// A sidecar is there already.
    AlreadyInjected,
    /// The pod's label or annotation `sidecar.istio.io/inject` says no.
    OptedOut,
    /// One of `neverInjectSelector` matches.
    NeverSelector,
    /// The policy is `disabled` and the pod does not ask.
    PolicyDisabled,
}

impl Skip {
    /// The reason as shown in logs and metrics.
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
