//! Pure. Reads a verified client certificate: the peer for policies and logs, and the element of
//! `x-forwarded-client-cert` for the application.

use crate::flow::certificate::{distinguished, pem};
use crate::flow::peer::Peer;
use api::identity::peer_identity;
use api::model::listener::ForwardClientCertificate;
use rustls_pki_types::CertificateDer;
use std::fmt::Write;
use std::sync::Arc;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Reads the peer from its leaf certificate.
pub(super) fn client(leaf: &CertificateDer<'_>) -> Peer {
    let identity: Option<Arc<str>> = peer_identity(leaf).ok().map(|id| id.as_str().into());
    let Ok((_, certificate)) = X509Certificate::from_der(leaf) else { return Peer::default() };
    let (mut uris, mut dns) = (vec![], vec![]);
    let names = certificate.subject_alternative_name().ok().flatten();
    for name in names.iter().flat_map(|names| &names.value.general_names) {
        match (name, &identity) {
            // A workload certificate has only this URI.
            (GeneralName::URI(_), Some(identity)) => uris.push(identity.clone()),
            (GeneralName::URI(uri), None) => uris.push((*uri).into()),
            (GeneralName::DNSName(name), _) => dns.push((*name).into()),
            _ => {}
        }
    }
    let subject = distinguished(certificate.subject()).into();
    Peer { identity, uris: uris.into(), dns: dns.into(), subject }
}

/// Formats the element for a certificate chain, leaf first; `None`: the chain is empty or its leaf invalid. `own` holds
/// the proxy's URIs.
pub fn forwarded_certificate(
    chain: &[CertificateDer<'_>],
    own: &[String],
    what: &ForwardClientCertificate,
) -> Option<String> {
    let leaf = chain.first()?;
    let (_, certificate) = X509Certificate::from_der(leaf).ok()?;
    let mut out = String::new();
    for own in own {
        let _ = write!(out, "By={own};");
    }
    out.push_str("Hash=");
    for byte in ring::digest::digest(&ring::digest::SHA256, leaf).as_ref() {
        let _ = write!(out, "{byte:02x}");
    }
    if what.cert {
        let _ = write!(out, ";Cert=\"{}\"", pem(&chain[..1]));
    }
    if what.chain {
        let _ = write!(out, ";Chain=\"{}\"", pem(chain));
    }
    if what.subject {
        let _ = write!(out, ";Subject=\"{}\"", distinguished(certificate.subject()));
    }
    let names = certificate.subject_alternative_name().ok().flatten();
    // Envoy writes all URIs before all DNS names, regardless of their order in the certificate.
    let names = || names.iter().flat_map(|names| &names.value.general_names);
    let mut uris =
        names().filter_map(|name| if let GeneralName::URI(uri) = name { Some(*uri) } else { None });
    if what.uri {
        // Envoy writes an empty URI if the certificate has none.
        let _ = write!(out, ";URI={}", uris.next().unwrap_or_default());
        for uri in uris {
            let _ = write!(out, ";URI={uri}");
        }
    }
    for name in names().filter(|_| what.dns) {
        if let GeneralName::DNSName(dns) = name {
            let _ = write!(out, ";DNS={dns}");
        }
    }
    Some(out)
}
