//! Sends a pod to the injector, as the API server would: an `AdmissionReview` over HTTPS. Then applies the JSON patch
//! of the response.

use std::sync::{Arc, PoisonError, RwLock};

use api::admission::AdmissionReview;
use api::process::tls::TlsError;
use bytes::Bytes;
use http_body_util::Full;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::exchange::{LIMIT, RequestError, exchange};
use crate::kubelet::address::NODE;
use crate::review::{self, ReviewError};
use crate::tls;

/// Why the injector returned no pod. Each message is a predicate, to which the injector is the subject.
#[derive(Debug, thiserror::Error)]
pub enum InjectError {
    /// The request failed.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The injector rejected the pod, or its response cannot be used.
    #[error(transparent)]
    Review(#[from] ReviewError),
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
        Ok(review::patched(pod, &self.post(&review::of(pod)).await?)?.pod)
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

/// The injector's DNS name, which its certificate must contain.
pub const HOST: &str = "ostria-injector.istio-system.svc";
/// The injector's port.
pub const PORT: u16 = 15017;
