//! Pure. Reviews of Kubernetes' admission webhooks (`admission.k8s.io/v1` AdmissionReview), for those who ask and those
//! who answer. Only what somebody here reads or writes is named, so a review with more in it still parses.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The API version of the reviews that are understood.
pub const API_VERSION: &str = "admission.k8s.io/v1";

/// The kind of reviews.
pub const KIND: &str = "AdmissionReview";

/// The document that goes both ways: with a request to the webhook, with a response back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AdmissionReview {
    /// Must be [`API_VERSION`].
    #[serde(default)]
    pub api_version: String,
    /// Must be [`KIND`].
    #[serde(default)]
    pub kind: String,
    /// The question.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<Request>,
    /// The answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response: Option<Response>,
}

/// Asks whether an object may be stored.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// Identifies the question; the answer repeats it.
    pub uid: String,
    /// The kind of `object`.
    #[serde(default)]
    pub kind: Kind,
    /// Part of the object, as `status`; empty for the object itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub_resource: Option<String>,
    /// What the object will be called; empty where the API server makes a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where the object will live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// What is done to the object: CREATE, UPDATE, DELETE or CONNECT.
    #[serde(default)]
    pub operation: String,
    /// The object as it is about to be stored.
    #[serde(default)]
    pub object: Value,
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

/// Says whether an object may be stored, and how it must be changed first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    /// The question's identifier.
    pub uid: String,
    /// Whether the object may be stored.
    pub allowed: bool,
    /// The JSON patch in base64, as the API server's JSON library writes bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch: Option<String>,
    /// `JSONPatch` where there is a patch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch_type: Option<String>,
    /// Why the object may not be stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// Shown to the user by kubectl.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Why an object was refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// For people.
    #[serde(default)]
    pub message: String,
    /// For programs.
    #[serde(default)]
    pub reason: String,
    /// The HTTP status that the API server gives its own client.
    #[serde(default)]
    pub code: u16,
}

impl AdmissionReview {
    /// A review that asks.
    pub fn asking(request: Request) -> Self {
        Self { request: Some(request), ..Self::empty() }
    }

    /// A review that answers.
    pub fn answering(response: Response) -> Self {
        Self { response: Some(response), ..Self::empty() }
    }

    fn empty() -> Self {
        Self { api_version: API_VERSION.to_owned(), kind: KIND.to_owned(), request: None, response: None }
    }
}

impl Response {
    /// The object may be stored as it is.
    pub fn allowed(uid: &str) -> Self {
        Self { uid: uid.to_owned(), allowed: true, ..Self::default() }
    }

    /// The object may not be stored: it is invalid for the reason in `message`.
    pub fn denied(uid: &str, message: String) -> Self {
        let status = Status { message, reason: "Invalid".to_owned(), code: 422 };
        Self { uid: uid.to_owned(), status: Some(status), ..Self::default() }
    }

    /// The object must be changed by `patch`, the JSON text of a JSON patch.
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
    fn reviews_have_the_json_of_kubernetes_and_skip_what_is_not_there() {
        let request = Request { uid: "7".into(), operation: "CREATE".into(), ..Request::default() };
        let asked = serde_json::to_value(AdmissionReview::asking(request.clone())).unwrap();
        assert_eq!(
            asked,
            json!({
                "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
                "request": {"uid": "7", "kind": {"group": "", "version": "", "kind": ""},
                    "operation": "CREATE", "object": null},
            })
        );
        let parsed: AdmissionReview = serde_json::from_value(asked).unwrap();
        assert_eq!(parsed.request, Some(request));
        let answered = AdmissionReview::answering(Response::allowed("7").patched(b"[]"));
        assert_eq!(
            serde_json::to_value(&answered).unwrap()["response"],
            json!({"uid": "7", "allowed": true, "patch": "W10=", "patchType": "JSONPatch"})
        );
        let denied = serde_json::to_value(Response::denied("7", "no".into())).unwrap();
        let status = json!({"message": "no", "reason": "Invalid", "code": 422});
        assert_eq!(denied, json!({"uid": "7", "allowed": false, "status": status}));
    }

    #[test]
    fn a_patch_is_read_back_and_one_that_is_not_base64_is_an_error() {
        let response = Response::allowed("7").patched(b"[{}]");
        assert_eq!(response.decoded_patch(), Ok(Some(b"[{}]".to_vec())));
        assert_eq!(Response::allowed("7").decoded_patch(), Ok(None));
        assert!(Response { patch: Some("?".into()), ..response }.decoded_patch().is_err());
    }
}
