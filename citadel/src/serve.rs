//! The gRPC API of the authority: takes credentials from the connection and the headers, and maps refusals to status
//! codes that clients can act on.

use crate::audit;
use crate::authenticate::{AuthenticationError, Credentials};
use crate::pipeline::{Authority, Refusal};
use api::certificate::{self, CertificateService, IstioCertificateRequest, IstioCertificateResponse};
use api::process::serve::Peer;
use axum::Router;
use std::sync::Arc;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

/// Returns the routes of the certificate API.
pub fn router(authority: Arc<Authority>) -> Router {
    Routes::new(certificate::server(Service { authority }, MAX_MESSAGE)).into_axum_router()
}

struct Service {
    authority: Arc<Authority>,
}

#[tonic::async_trait]
impl CertificateService for Service {
    async fn create_certificate(
        &self,
        request: Request<IstioCertificateRequest>,
    ) -> Result<Response<IstioCertificateResponse>, Status> {
        let (metadata, extensions, message) = request.into_parts();
        let peer =
            extensions.get::<Peer>().ok_or_else(|| Status::internal("the connection's peer is unknown"))?;
        let authorization = metadata.get("authorization").and_then(|value| value.to_str().ok());
        let issued = self
            .authority
            .create(Credentials { peer, authorization }, &message)
            .await
            .map_err(|refusal| status(&refusal))?;
        Ok(Response::new(IstioCertificateResponse { cert_chain: issued.chain }))
    }
}

fn status(refusal: &Refusal) -> Status {
    let reason = audit::chain(refusal);
    match refusal {
        Refusal::Unauthenticated(AuthenticationError::Review(error)) if error.is_temporary() => {
            Status::unavailable(reason)
        }
        Refusal::Unauthenticated(_) => Status::unauthenticated(reason),
        Refusal::TooMany => Status::resource_exhausted(reason),
        Refusal::Request(_) => Status::invalid_argument(reason),
        Refusal::Denied(_) => Status::permission_denied(reason),
        Refusal::Issue(_) => Status::internal("no certificate can be issued; the authority's log says why"),
    }
}

/// Maximum size of a request. A signing request has only a few kilobytes.
const MAX_MESSAGE: usize = 256 * 1024;
