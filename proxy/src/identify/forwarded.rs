//! Pure. What a verified client certificate says: for policies and logs, and as our element of
//! `x-forwarded-client-cert` for the application.

use crate::flow::peer::Peer;
use api::identity::peer_identity;
use api::model::listener::ForwardClientCertificate;
use rustls_pki_types::CertificateDer;
use std::fmt::Write;
use std::sync::Arc;
use x509_parser::extensions::GeneralName;
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::X509Name;

/// The client that showed a certificate.
pub(super) fn client(leaf: &CertificateDer<'_>) -> Peer {
    let identity: Option<Arc<str>> = peer_identity(leaf).ok().map(|id| id.as_str().into());
    let Ok((_, certificate)) = X509Certificate::from_der(leaf) else { return Peer::default() };
    let (mut uris, mut dns) = (vec![], vec![]);
    let names = certificate.subject_alternative_name().ok().flatten();
    for name in names.iter().flat_map(|names| &names.value.general_names) {
        match (name, &identity) {
            // A workload has but this one.
            (GeneralName::URI(_), Some(identity)) => uris.push(identity.clone()),
            (GeneralName::URI(uri), None) => uris.push((*uri).into()),
            (GeneralName::DNSName(name), _) => dns.push((*name).into()),
            _ => {}
        }
    }
    let subject = distinguished(certificate.subject()).into();
    Peer { identity, uris: uris.into(), dns: dns.into(), subject }
}

/// The element for a certificate chain, leaf first; `None`: there is no certificate. `own` are our URIs.
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
    // Envoy writes all URIs before all DNS names, whatever their order in the certificate.
    let names = || names.iter().flat_map(|names| &names.value.general_names);
    let mut uris =
        names().filter_map(|name| if let GeneralName::URI(uri) = name { Some(*uri) } else { None });
    if what.uri {
        // Envoy says that there is none by an empty one.
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

/// A distinguished name as RFC 2253 writes it: the most specific part first, as Envoy has it.
fn distinguished(name: &X509Name<'_>) -> String {
    let parts = name.iter_attributes().map(|part| {
        let kind = part.attr_type();
        let kind = oid2abbrev(kind, oid_registry()).map_or_else(|_| kind.to_string(), str::to_owned);
        format!("{kind}={}", escaped(part.as_str().unwrap_or_default()))
    });
    let mut parts: Vec<String> = parts.collect();
    parts.reverse();
    parts.join(",")
}

fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for (i, c) in value.char_indices() {
        let at_an_end = (i == 0 && matches!(c, ' ' | '#')) || (c == ' ' && i + 1 == value.len());
        if at_an_end || matches!(c, ',' | '+' | '"' | '\\' | '<' | '>' | ';') {
            out.push('\\');
        }
        if c.is_ascii_control() {
            let _ = write!(out, "\\{:02X}", u32::from(c));
            continue;
        }
        out.push(c);
    }
    out
}

/// PEM text, percent-encoded.
fn pem(chain: &[CertificateDer<'_>]) -> String {
    use base64::Engine;
    let mut out = String::new();
    for certificate in chain {
        let text = base64::engine::general_purpose::STANDARD.encode(certificate);
        let lines: Vec<String> =
            text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned()).collect();
        let pem = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"));
        for byte in pem.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' => out.push(byte as char),
                other => {
                    let _ = write!(out, "%{other:02X}");
                }
            }
        }
    }
    out
}
