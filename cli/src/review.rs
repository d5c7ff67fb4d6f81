//! Pure. The review that asks the injector for a pod's sidecar, and the pod that its response describes.

use api::admission::{AdmissionReview, Kind, Request};
use serde_json::Value;

/// A pod with its sidecar.
#[derive(Debug, Clone, PartialEq)]
pub struct Injected {
    /// The pod.
    pub pod: Value,
    /// Warnings for the user.
    pub warnings: Vec<String>,
}

/// Why there is no pod. Each message is a predicate, to which the injector is the subject.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    /// The injector rejected the pod.
    #[error("rejected the pod: {0}")]
    Refused(String),
    /// The review has no response.
    #[error("returned an AdmissionReview without a response")]
    Empty,
    /// The patch is not valid base64.
    #[error("returned a patch that is not base64: {0}")]
    Encoding(#[from] base64::DecodeError),
    /// The patch is not a valid JSON patch.
    #[error("returned a malformed patch: {0}")]
    Malformed(serde_json::Error),
    /// The patch does not apply to this pod.
    #[error("returned a patch that does not apply: {0}")]
    Unfit(#[from] json_patch::PatchError),
}

/// The review of the creation of a pod.
pub fn of(pod: &Value) -> AdmissionReview {
    let text = |field: &str| pod["metadata"][field].as_str().map(str::to_owned);
    AdmissionReview::with_request(Request {
        uid: text("uid").unwrap_or_default(),
        kind: Kind { group: String::new(), version: "v1".to_owned(), kind: "Pod".to_owned() },
        sub_resource: None,
        name: text("name"),
        namespace: text("namespace"),
        operation: "CREATE".to_owned(),
        object: pod.clone(),
        old_object: Value::Null,
    })
}

/// The pod that the response to a review describes.
pub fn patched(pod: &Value, review: &AdmissionReview) -> Result<Injected, ReviewError> {
    let response = review.response.as_ref().ok_or(ReviewError::Empty)?;
    if !response.allowed {
        let message = response.status.as_ref().map_or("", |status| status.message.as_str());
        let message = if message.is_empty() { "no reason given" } else { message };
        return Err(ReviewError::Refused(message.into()));
    }
    let mut injected = Injected { pod: pod.clone(), warnings: response.warnings.clone() };
    if let Some(patch) = response.decoded_patch()? {
        let patch: json_patch::Patch = serde_json::from_slice(&patch).map_err(ReviewError::Malformed)?;
        json_patch::patch(&mut injected.pod, &patch)?;
    }
    Ok(injected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::admission::Response;
    use serde_json::json;

    #[test]
    fn a_patch_is_applied_and_a_rejection_has_a_reason() {
        let pod = json!({"metadata": {"name": "a"}});
        let patch = br#"[{"op":"add","path":"/metadata/labels","value":{"x":"y"}}]"#;
        let of =
            |response| patched(&pod, &AdmissionReview::with_response(response)).map(|injected| injected.pod);
        let refused = |response| of(response).unwrap_err().to_string();
        assert_eq!(of(Response::allowed("").patched(patch)).unwrap()["metadata"]["labels"]["x"], "y");
        assert_eq!(of(Response::allowed("")).unwrap(), pod);
        assert_eq!(refused(Response::denied("", "no".into())), "rejected the pod: no");
        let silent = Response { status: None, ..Response::denied("", String::new()) };
        assert_eq!(refused(silent), "rejected the pod: no reason given");
        let empty = patched(&pod, &super::of(&pod)).unwrap_err().to_string();
        assert_eq!(empty, "returned an AdmissionReview without a response");
    }
}
