//! Pure. Reviews of Kubernetes' admission webhooks (`admission.k8s.io/v1` AdmissionReview), for API servers and
//! webhooks. Only the fields that are used here are declared; others are ignored when a review is parsed.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The supported API version of reviews.
pub const API_VERSION: &str = "admission.k8s.io/v1";

/// The kind of reviews.
pub const KIND: &str = "AdmissionReview";

/// The document that carries a request to the webhook and a response back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AdmissionReview {
    /// Must be [`API_VERSION`].
    #[serde(default)]
    pub api_version: String,
    /// Must be [`KIND`].
    #[serde(default)]
    pub kind: String,
    /// The request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<Request>,
    /// The response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response: Option<Response>,
}

/// Asks a webhook whether an object may be stored.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// Identifies the request; the response repeats it.
    pub uid: String,
    /// The kind of `object`.
    #[serde(default)]
    pub kind: Kind,
    /// Subresource of the object, for example `status`; empty for the object itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub_resource: Option<String>,
    /// The object's name; empty if the API server generates it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The object's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The operation: CREATE, UPDATE, DELETE or CONNECT.
    #[serde(default)]
    pub operation: String,
    /// The object to store.
    #[serde(default)]
    pub object: Value,
    /// The stored object that an UPDATE replaces.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub old_object: Value,
}

impl std::fmt::Debug for Request {
    /// Omits the object, which may contain secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request")
            .field("uid", &self.uid)
            .field("kind", &self.kind)
            .field("namespace", &self.namespace)
            .field("name", &self.name)
            .field("operation", &self.operation)
            .finish_non_exhaustive()
    }
}

/// A kind within its API group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kind {
    /// The group; empty for the core group.
    #[serde(default)]
    pub group: String,
    /// The group's version.
    #[serde(default)]
    pub version: String,
    /// The kind's name.
    #[serde(default)]
    pub kind: String,
}

/// A webhook's decision whether an object may be stored, and the changes to make first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    /// The request's identifier.
    pub uid: String,
    /// Whether the object may be stored.
    pub allowed: bool,
    /// The JSON patch in base64, as Go encodes bytes in JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch: Option<String>,
    /// `JSONPatch` if there is a patch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch_type: Option<String>,
    /// Why the object is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// Warnings, which kubectl prints.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Why an object was refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Human-readable message.
    #[serde(default)]
    pub message: String,
    /// Machine-readable reason.
    #[serde(default)]
    pub reason: String,
    /// The HTTP status with which the API server responds to its client.
    #[serde(default)]
    pub code: u16,
}

/// Why a text is not a request for a review.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// It is not JSON of the right form.
    #[error("the body is not an AdmissionReview: {0}")]
    NotAReview(#[from] serde_json::Error),
    /// It is a review of another version, or another object.
    #[error("apiVersion {0:?} kind {1:?} is not supported: send admission.k8s.io/v1 AdmissionReview")]
    OtherVersion(String, String),
    /// The review contains no request.
    #[error("request: is missing")]
    NoRequest,
}

impl AdmissionReview {
    /// Reads the request of a review.
    pub fn request(body: &[u8]) -> Result<Request, Malformed> {
        let document: Self = serde_json::from_slice(body)?;
        if document.api_version != API_VERSION || document.kind != KIND {
            return Err(Malformed::OtherVersion(document.api_version, document.kind));
        }
        document.request.ok_or(Malformed::NoRequest)
    }

    /// A review with a request.
    pub fn with_request(request: Request) -> Self {
        Self { request: Some(request), ..Self::empty() }
    }

    /// A review with a response.
    pub fn with_response(response: Response) -> Self {
        Self { response: Some(response), ..Self::empty() }
    }

    fn empty() -> Self {
        Self { api_version: API_VERSION.to_owned(), kind: KIND.to_owned(), request: None, response: None }
    }
}

impl Response {
    /// Allows the object without changes.
    pub fn allowed(uid: &str) -> Self {
        Self { uid: uid.to_owned(), allowed: true, ..Self::default() }
    }

    /// Refuses the object as invalid, for the reason in `message`.
    pub fn denied(uid: &str, message: String) -> Self {
        let status = Status { message, reason: "Invalid".to_owned(), code: 422 };
        Self { uid: uid.to_owned(), status: Some(status), ..Self::default() }
    }

    /// Adds a patch: `patch` is the JSON text of a JSON patch.
    #[must_use]
    pub fn patched(self, patch: &[u8]) -> Self {
        Self { patch: Some(STANDARD.encode(patch)), patch_type: Some("JSONPatch".to_owned()), ..self }
    }

    /// The JSON text of the patch, if there is one.
    pub fn decoded_patch(&self) -> Result<Option<Vec<u8>>, base64::DecodeError> {
        self.patch.as_deref().map(|patch| STANDARD.decode(patch)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reviews_have_the_json_of_kubernetes_without_absent_fields() {
        let request = Request { uid: "7".into(), operation: "CREATE".into(), ..Request::default() };
        let with_request = serde_json::to_value(AdmissionReview::with_request(request.clone())).unwrap();
        assert_eq!(
            with_request,
            json!({
                "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
                "request": {"uid": "7", "kind": {"group": "", "version": "", "kind": ""},
                    "operation": "CREATE", "object": null},
            })
        );
        let parsed: AdmissionReview = serde_json::from_value(with_request).unwrap();
        assert_eq!(parsed.request, Some(request));
        let with_response = AdmissionReview::with_response(Response::allowed("7").patched(b"[]"));
        assert_eq!(
            serde_json::to_value(&with_response).unwrap()["response"],
            json!({"uid": "7", "allowed": true, "patch": "W10=", "patchType": "JSONPatch"})
        );
        let denied = serde_json::to_value(Response::denied("7", "no".into())).unwrap();
        let status = json!({"message": "no", "reason": "Invalid", "code": 422});
        assert_eq!(denied, json!({"uid": "7", "allowed": false, "status": status}));
    }

    #[test]
    fn the_debug_form_of_a_review_omits_the_object() {
        let object = json!({"kind": "Secret", "stringData": {"key": "s3cret-word"}});
        let request = Request { name: Some("web".into()), object, ..Request::default() };
        let text = format!("{:?}", AdmissionReview::with_request(request));
        assert!(text.contains("web") && !text.contains("s3cret-word"), "{text}");
    }

    #[test]
    fn a_patch_is_decoded_and_invalid_base64_is_an_error() {
        let response = Response::allowed("7").patched(b"[{}]");
        assert_eq!(response.decoded_patch(), Ok(Some(b"[{}]".to_vec())));
        assert_eq!(Response::allowed("7").decoded_patch(), Ok(None));
        assert!(Response { patch: Some("?".into()), ..response }.decoded_patch().is_err());
    }
}
