//! Pure. Secrets: a certificate with its key, or trust anchors.

use super::refusal::{At, Refusal, refuse, required};
use super::tls::{certificate, validation_context, wire_inline_certificate, wire_inline_roots};
use crate::model::secret::{Secret, SecretContent};
use crate::model::tls::{CertificateSource, RootSource};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as wire;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::secret::Type;

/// A secret of a bootstrap: inline, or in files.
pub(super) enum Fixed {
    Inline(Secret),
    Certificate(String, CertificateSource),
    Roots(String, RootSource),
}

pub(super) fn decode_fixed(secret: wire::Secret) -> Result<Fixed, Refusal> {
    match &secret.r#type {
        Some(Type::TlsCertificate(wire)) => {
            let source = certificate(wire.clone()).at("tls_certificate")?;
            if matches!(source, CertificateSource::Files { .. }) {
                return Ok(Fixed::Certificate(secret.name, source));
            }
        }
        Some(Type::ValidationContext(wire)) => {
            let found = validation_context(wire.clone()).at("validation_context")?;
            if matches!(found.roots, RootSource::File(_)) && found.subject_alt_names.is_empty() {
                return Ok(Fixed::Roots(secret.name, found.roots));
            }
        }
        _ => {}
    }
    decode(secret).map(Fixed::Inline)
}

pub(super) fn decode(secret: wire::Secret) -> Result<Secret, Refusal> {
    let content = match secret.r#type {
        Some(Type::TlsCertificate(wire)) => match certificate(wire).at("tls_certificate")? {
            CertificateSource::Inline { certificate: chain, key } => {
                SecretContent::Certificate { chain, key }
            }
            CertificateSource::Files { .. } | CertificateSource::Sds(_) => {
                return refuse("only inline PEM is supported").at("tls_certificate");
            }
        },
        Some(Type::ValidationContext(wire)) => {
            let found = validation_context(wire).at("validation_context")?;
            match found.roots {
                RootSource::Inline(bundle) if found.subject_alt_names.is_empty() => {
                    SecretContent::Roots { bundle }
                }
                RootSource::Inline(_) => {
                    return refuse("names to match belong into the TLS context").at("validation_context");
                }
                _ => return refuse("only an inline trusted_ca is supported").at("validation_context"),
            }
        }
        Some(Type::SessionTicketKeys(_)) => return Err(Refusal::unsupported("session_ticket_keys")),
        Some(Type::GenericSecret(_)) => return Err(Refusal::unsupported("generic_secret")),
        None => return required(None, "tls_certificate"),
    };
    Ok(Secret { name: secret.name, content })
}

pub(super) fn encode(secret: &Secret) -> wire::Secret {
    let content = match &secret.content {
        SecretContent::Certificate { chain, key } => {
            Type::TlsCertificate(wire_inline_certificate(chain, key))
        }
        SecretContent::Roots { bundle } => Type::ValidationContext(wire_inline_roots(bundle)),
    };
    wire::Secret { name: secret.name.clone(), r#type: Some(content) }
}
