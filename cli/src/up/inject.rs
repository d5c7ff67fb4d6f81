//! Sends a pod to the injector, as the API server would: an `AdmissionReview` over HTTPS. Then applies the JSON patch
//! of the response.

use std::sync::{Arc, PoisonError, RwLock};

use api::admission::{AdmissionReview, Kind, Request};
use api::process::tls::TlsError;
use bytes::Bytes;
use http_body_util::Full;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::exchange::{LIMIT, RequestError, exchange};
use crate::kubelet::address::NODE;
use crate::up::tls;

/// Why the injector returned no pod. Each message is a predicate, to which the injector is the subject.
#[derive(Debug, thiserror::Error)]
pub enum InjectError {
    /// The request failed.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The injector rejected the pod.
    #[error("rejected the pod: {0}")]
    Refused(String),
    /// The response cannot be used.
    #[error("{0}")]
    Response(#[from] ResponseError),
}

/// Why the injector's response cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ResponseError {
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

/// Client of the injector, with the roots that verify its certificate.
pub struct Injector {
    connector: RwLock<TlsConnector>,
}

impl std::fmt::Debug for Injector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Injector")
    }
}

impl Injector {
    /// A client that trusts these root certificates, in PEM.
    pub fn new(roots: &[u8]) -> Result<Self, TlsError> {
        Ok(Self { connector: RwLock::new(connector(roots)?) })
    }

    /// Replaces the trusted root certificates.
    pub fn trust(&self, roots: &[u8]) -> Result<(), TlsError> {
        *self.connector.write().unwrap_or_else(PoisonError::into_inner) = connector(roots)?;
        Ok(())
    }

    /// Returns the pod with the injector's additions.
    pub async fn inject(&self, pod: &Value) -> Result<Value, InjectError> {
        patched(pod, &self.post(&review(pod)).await?)
    }

    async fn post(&self, review: &AdmissionReview) -> Result<AdmissionReview, RequestError> {
        let connector = self.connector.read().unwrap_or_else(PoisonError::into_inner).clone();
        let connect = async {
            let stream = TcpStream::connect((NODE, PORT)).await?;
            let name = ServerName::try_from(HOST).expect("the name is well-formed");
            connector.connect(name, stream).await.map_err(RequestError::Unproven)
        };
        let request = http::Request::post("/inject")
            .header("host", HOST)
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(serde_json::to_vec(review).expect("a review is plain JSON"))))
            .expect("the request is well-formed");
        Ok(serde_json::from_slice(&exchange(LIMIT, connect, request).await?)?)
    }
}

fn connector(roots: &[u8]) -> Result<TlsConnector, TlsError> {
    Ok(TlsConnector::from(Arc::new(tls::trusting(roots)?)))
}

fn review(pod: &Value) -> AdmissionReview {
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

fn patched(pod: &Value, review: &AdmissionReview) -> Result<Value, InjectError> {
    let response = review.response.as_ref().ok_or(ResponseError::Empty)?;
    if !response.allowed {
        let message = response.status.as_ref().map_or("", |status| status.message.as_str());
        let message = if message.is_empty() { "no reason given" } else { message };
        return Err(InjectError::Refused(message.into()));
    }
    let Some(patch) = response.decoded_patch().map_err(ResponseError::from)? else {
        return Ok(pod.clone());
    };
    let patch: json_patch::Patch = serde_json::from_slice(&patch).map_err(ResponseError::Malformed)?;
    let mut patched = pod.clone();
    json_patch::patch(&mut patched, &patch).map_err(ResponseError::from)?;
    Ok(patched)
}

/// The injector's DNS name, which its certificate must contain.
pub const HOST: &str = "ostria-injector.istio-system.svc";
/// The injector's port.
pub const PORT: u16 = 15017;

#[cfg(test)]
mod tests {
    use super::*;
    use api::admission::Response;
    use serde_json::json;

    #[test]
    fn a_patch_is_applied_and_a_rejection_has_a_reason() {
        let pod = json!({"metadata": {"name": "a"}});
        let patch = br#"[{"op":"add","path":"/metadata/labels","value":{"x":"y"}}]"#;
        let of = |response| patched(&pod, &AdmissionReview::with_response(response));
        let refused = |response| of(response).unwrap_err().to_string();
        assert_eq!(of(Response::allowed("").patched(patch)).unwrap()["metadata"]["labels"]["x"], "y");
        assert_eq!(of(Response::allowed("")).unwrap(), pod);
        assert_eq!(refused(Response::denied("", "no".into())), "rejected the pod: no");
        let silent = Response { status: None, ..Response::denied("", String::new()) };
        assert_eq!(refused(silent), "rejected the pod: no reason given");
        let empty = patched(&pod, &review(&pod)).unwrap_err().to_string();
        assert_eq!(empty, "returned an AdmissionReview without a response");
    }
}
