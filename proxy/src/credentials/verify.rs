//! Verification of a peer: a chain to the roots that are current at the handshake, then the names in the
//! certificate.
//!
//! Under the mesh's own roots a peer must also be a workload: its leaf has exactly one SPIFFE identity and may be
//! used for authentication. Under other roots (an ingress client, an outside server), any certificate with a valid
//! chain proceeds to the check of its names.

use super::error::CredentialError;
use super::file::FileSecret;
use super::loaded::{Loaded, Material, names_of};
use super::store::Store;
use api::identity::peer_identity;
use api::model::matcher::{Pattern, StringMatch};
use api::model::tls::{RootSource, SanKind, SanMatch, Validation};
use api::name::WORKLOAD_ROOTS;
use regex::Regex;
use rustls::pki_types::CertificateDer;
use std::sync::Arc;
use x509_parser::prelude::{FromDer, X509Certificate};

/// A compiled validation context for a peer's certificate.
#[derive(Debug)]
pub(super) struct Check {
    roots: Roots,
    names: Vec<NameCheck>,
    store: Arc<Store>,
}

#[derive(Debug)]
enum Roots {
    Named(String),
    Fixed(Arc<Loaded>),
    None,
}

#[derive(Debug)]
pub(super) struct NameCheck {
    kind: Option<&'static str>,
    pattern: StringMatch,
    regex: Option<Regex>,
}

impl Check {
    pub(super) fn compile(validation: &Validation, store: &Arc<Store>) -> Result<Self, CredentialError> {
        let roots = match &validation.roots {
            RootSource::Sds(name) => Roots::Named(name.clone()),
            RootSource::File(path) => Roots::Named(store.add_file(FileSecret::roots(path))?),
            RootSource::Inline(bundle) => {
                let content = api::model::secret::SecretContent::Roots { bundle: bundle.clone() };
                Roots::Fixed(Arc::new(Loaded::parse("inline", &content)?))
            }
            RootSource::None => Roots::None,
        };
        let names = validation.subject_alt_names.iter().map(NameCheck::compile).collect::<Result<_, _>>()?;
        Ok(Self { roots, names, store: store.clone() })
    }

    /// The roots to verify against; `None`: the chain is not verified.
    pub(super) fn roots(&self) -> Result<Option<Arc<Loaded>>, CredentialError> {
        let loaded = match &self.roots {
            Roots::None => return Ok(None),
            Roots::Fixed(loaded) => loaded.clone(),
            Roots::Named(name) => {
                self.store.find(name).ok_or_else(|| CredentialError::Missing(name.clone()))?
            }
        };
        match &loaded.material {
            Material::Roots { .. } => Ok(Some(loaded)),
            Material::Certificate(_) => Err(CredentialError::Missing(loaded.info.name.clone())),
        }
    }

    /// The name of the roots, if they come from the store.
    pub(super) fn watched(&self) -> Option<String> {
        match &self.roots {
            Roots::Named(name) => Some(name.clone()),
            Roots::Fixed(_) | Roots::None => None,
        }
    }

    /// Checks the names of a certificate whose chain was verified.
    pub(super) fn verify_names(&self, der: &CertificateDer<'_>) -> Result<(), rustls::Error> {
        if matches!(&self.roots, Roots::Named(name) if name == WORKLOAD_ROOTS) {
            peer_identity(der).map_err(|error| {
                rustls::Error::from(rustls::CertificateError::Other(rustls::OtherError(Arc::new(error))))
            })?;
        }
        if self.names.is_empty() {
            return Ok(());
        }
        let (_, certificate) =
            X509Certificate::from_der(der).map_err(|_| rustls::CertificateError::BadEncoding)?;
        let found = names_of(&certificate);
        let accepted =
            found.iter().any(|(kind, name)| self.names.iter().any(|check| check.accepts(kind, name)));
        if accepted {
            return Ok(());
        }
        let names: Vec<&str> = found.iter().map(|(_, name)| name.as_str()).take(MAX_SHOWN).collect();
        let found = if names.is_empty() { "no name at all".to_owned() } else { names.join(", ") };
        Err(CredentialError::Name { found: found.chars().flat_map(char::escape_debug).collect() }.refuse())
    }
}

impl NameCheck {
    pub(super) fn compile(name: &SanMatch) -> Result<Self, CredentialError> {
        let regex = match &name.value.pattern {
            Pattern::Regex(pattern) => {
                Some(Regex::new(&format!("^(?:{pattern})$")).map_err(|error| CredentialError::Context {
                    path: "validation_context.match_typed_subject_alt_names",
                    reason: error.to_string(),
                })?)
            }
            _ => None,
        };
        let kind = name.kind.map(|kind| match kind {
            SanKind::Dns => "dns",
            SanKind::Uri => "uri",
            SanKind::Ip => "ip_address",
            SanKind::Email => "email",
        });
        Ok(Self { kind, pattern: name.value.clone(), regex })
    }

    pub(super) fn accepts(&self, kind: &str, name: &str) -> bool {
        if self.kind.is_some_and(|wanted| wanted != kind) {
            return false;
        }
        match &self.pattern.pattern {
            // A certificate for `*.example.com` is accepted where `a.example.com` is expected.
            Pattern::Exact(text) if kind == "dns" => host_matches(name, text),
            Pattern::Regex(_) => self.regex.as_ref().is_some_and(|regex| regex.is_match(name)),
            pattern if self.pattern.ignore_case => compare(&lower(pattern), &name.to_ascii_lowercase()),
            pattern => compare(pattern, name),
        }
    }
}

fn compare(pattern: &Pattern, name: &str) -> bool {
    match pattern {
        Pattern::Exact(text) => name == text,
        Pattern::Prefix(text) => name.starts_with(text.as_str()),
        Pattern::Suffix(text) => name.ends_with(text.as_str()),
        Pattern::Contains(text) => name.contains(text.as_str()),
        Pattern::Regex(_) => false,
    }
}

fn lower(pattern: &Pattern) -> Pattern {
    match pattern {
        Pattern::Exact(text) => Pattern::Exact(text.to_ascii_lowercase()),
        Pattern::Prefix(text) => Pattern::Prefix(text.to_ascii_lowercase()),
        Pattern::Suffix(text) => Pattern::Suffix(text.to_ascii_lowercase()),
        Pattern::Contains(text) => Pattern::Contains(text.to_ascii_lowercase()),
        Pattern::Regex(text) => Pattern::Regex(text.clone()),
    }
}

/// Whether a name in a certificate, possibly with a wildcard as its first label, matches a host.
pub(super) fn host_matches(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(parent) => host
            .split_once('.')
            .is_some_and(|(first, rest)| !first.is_empty() && rest.eq_ignore_ascii_case(parent)),
        None => pattern.eq_ignore_ascii_case(host),
    }
}

const MAX_SHOWN: usize = 5;
