//! Pure. Our element of `x-forwarded-client-cert`: what a verified client certificate says, for the application.

use api::model::listener::ForwardClientCertificate;
use rustls_pki_types::CertificateDer;
use std::fmt::Write;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The element for a certificate chain, leaf first; `None`: there is no certificate. `own` is our URI.
pub fn forwarded_certificate(
    chain: &[CertificateDer<'_>],
    own: Option<&str>,
    what: &ForwardClientCertificate,
) -> Option<String> {
    let leaf = chain.first()?;
    let (_, certificate) = X509Certificate::from_der(leaf).ok()?;
    let mut out = String::new();
    if let Some(own) = own {
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
        let subject = certificate.subject().to_string().replace('\\', "\\\\").replace('"', "\\\"");
        let _ = write!(out, ";Subject=\"{subject}\"");
    }
    let names = certificate.subject_alternative_name().ok().flatten();
    for name in names.iter().flat_map(|names| &names.value.general_names) {
        match name {
            GeneralName::URI(uri) if what.uri => {
                let _ = write!(out, ";URI={uri}");
            }
            GeneralName::DNSName(dns) if what.dns => {
                let _ = write!(out, ";DNS={dns}");
            }
            _ => {}
        }
    }
    Some(out)
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
