//! Which server is taken for the control plane: one whose chain leads to the mesh's roots, and that is either a
//! workload of the mesh's system namespace, or has the dialled name in its certificate.

use api::identity::peer_identity;
use api::process::tls::{Accept, IdPattern, verifier};
use rustls::RootCertStore;
use rustls::client::danger::ServerCertVerifier;
use std::sync::Arc;

/// The check of the control plane.
pub(super) fn control_plane(roots: Arc<RootCertStore>, trust_domain: &str) -> Arc<dyn ServerCertVerifier> {
    let system = format!("spiffe://{trust_domain}/ns/istio-system/");
    let accept = Accept::Ids(vec![IdPattern::Prefix(system)]);
    verifier::servers(move |shown| {
        shown.leads_to(&roots)?;
        if peer_identity(shown.leaf).is_ok_and(|id| accept.accepts(&id)) {
            return Ok(());
        }
        shown.is_for_dialled()
    })
}
