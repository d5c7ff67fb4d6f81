//! Pure. The values that a review becomes on its way: what was asked, what was decided, what is answered. The
//! Kubernetes API defines their JSON (admission.k8s.io/v1); only what the injector reads is named here, so a review
//! with more in it still parses.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The API version of the reviews that are answered.
pub const API_VERSION: &str = "admission.k8s.io/v1";

/// The kind of reviews.
pub const KIND: &str = "AdmissionReview";

/// What the API server sends.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Review {
    /// Must be [`API_VERSION`].
    #[serde(default)]
    pub api_version: String,
    /// Must be [`KIND`].
    #[serde(default)]
    pub kind: String,
    /// The question.
    pub request: Option<Request>,
}

/// The question in a review.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// Identifies the question; the answer repeats it.
    pub uid: String,
    /// The kind of `object`.
    #[serde(default)]
    pub kind: Kind,
    /// Part of the object, as `status`; empty for the object itself.
    #[serde(default)]
    pub sub_resource: Option<String>,
    /// Where the object will live.
    #[serde(default)]
    pub namespace: Option<String>,
    /// What is done to the object.
    #[serde(default)]
    pub operation: String,
    /// The object as it is about to be stored.
    #[serde(default)]
    pub object: Value,
}

/// A kind within its API group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Kind {
    /// The group; empty for the core group.
    #[serde(default)]
    pub group: String,
    /// The kind's name.
    #[serde(default)]
    pub kind: String,
}

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

/// What the API server gets back.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReviewAnswer {
    /// [`API_VERSION`].
    pub api_version: &'static str,
    /// [`KIND`].
    pub kind: &'static str,
    /// The answer.
    pub response: Response,
}

/// The answer in a review.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    /// The question's identifier.
    pub uid: String,
    /// Whether the object may be stored.
    pub allowed: bool,
    /// The JSON patch in base64, as the API server's JSON library writes bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch: Option<String>,
    /// `JSONPatch` where there is a patch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch_type: Option<&'static str>,
    /// Why the object may not be stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// Shown to the user by kubectl.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Why an object was refused.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// For people.
    pub message: String,
    /// For programs.
    pub reason: &'static str,
    /// The HTTP status that the API server gives its own client.
    pub code: u16,
}
