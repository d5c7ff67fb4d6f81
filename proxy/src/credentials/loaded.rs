//! One secret in the form that handshakes use, and its public facts for dumps.

use super::error::CredentialError;
use api::model::secret::SecretContent;
use api::process::tls::{self, TlsError};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::CertifiedKey;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The public facts of a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretInfo {
    /// Its name.
    pub name: String,
    /// The kind of its content.
    pub kind: SecretKind,
    /// Serial number of the first certificate, in hexadecimal.
    pub serial_number: String,
    /// Names of the first certificate as kind and value, with the kinds of `subject_alt_names` (`uri` for
    /// `URI:spiffe://…`).
    pub subject_alt_names: Vec<(&'static str, String)>,
    /// When the first certificate becomes valid.
    pub not_before: SystemTime,
    /// When the first of all its certificates expires.
    pub not_after: SystemTime,
    /// Its certificates in PEM, without any key.
    pub pem: String,
}

/// The kind of a secret's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretKind {
    /// A certificate chain and its private key.
    Certificate,
    /// Trust anchors.
    Roots,
}

/// A secret in the form that handshakes use.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) info: SecretInfo,
    pub(super) material: Material,
}

/// The part of a secret that handshakes use.
#[derive(Debug)]
pub(super) enum Material {
    Certificate(Arc<CertifiedKey>),
    Roots { roots: Arc<RootCertStore>, clients: Arc<dyn ClientCertVerifier> },
}

impl Loaded {
    pub(super) fn parse(name: &str, content: &SecretContent) -> Result<Self, CredentialError> {
        let refused = |source| CredentialError::Secret { name: name.to_owned(), source };
        match content {
            SecretContent::Certificate { chain, key } => {
                let (certificates, certified) = certified_key(chain, key).map_err(refused)?;
                let info = describe(name, SecretKind::Certificate, &certificates, chain).map_err(refused)?;
                Ok(Self { info, material: Material::Certificate(Arc::new(certified)) })
            }
            SecretContent::Roots { bundle } => {
                let certificates = tls::certificates_from_pem(bundle.as_bytes()).map_err(refused)?;
                let info = describe(name, SecretKind::Roots, &certificates, bundle).map_err(refused)?;
                let roots = tls::roots_from_pem(bundle.as_bytes()).map_err(refused)?;
                let clients = tls::client_chain(roots.clone()).map_err(refused)?;
                Ok(Self { info, material: Material::Roots { roots, clients } })
            }
        }
    }
}

fn certified_key(chain: &str, key: &str) -> Result<(Vec<CertificateDer<'static>>, CertifiedKey), TlsError> {
    let certificates = tls::certificates_from_pem(chain.as_bytes())?;
    let key = tls::private_key_from_pem(key.as_bytes())?;
    let certified = CertifiedKey::from_der(certificates.clone(), key, &tls::provider())?;
    Ok((certificates, certified))
}

fn describe(
    name: &str,
    kind: SecretKind,
    certificates: &[CertificateDer<'_>],
    pem: &str,
) -> Result<SecretInfo, TlsError> {
    let mut info = SecretInfo {
        name: name.to_owned(),
        kind,
        serial_number: String::new(),
        subject_alt_names: vec![],
        not_before: SystemTime::UNIX_EPOCH,
        not_after: SystemTime::UNIX_EPOCH,
        pem: certificate_blocks(pem),
    };
    for (index, der) in certificates.iter().enumerate() {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|e| TlsError::Pem(e.to_string()))?;
        let validity = certificate.validity();
        let not_after = since_epoch(validity.not_after.timestamp());
        if index == 0 {
            info.serial_number = hexadecimal(certificate.raw_serial());
            info.subject_alt_names = names_of(&certificate);
            info.not_before = since_epoch(validity.not_before.timestamp());
            info.not_after = not_after;
        } else if kind == SecretKind::Certificate {
            info.not_after = info.not_after.min(not_after);
        }
    }
    Ok(info)
}

/// Extracts only the certificates of a PEM text: a private key in the same file must not be shown.
fn certificate_blocks(pem: &str) -> String {
    let blocks = pem.split_inclusive(END).filter_map(|part| part.find(BEGIN).map(|start| &part[start..]));
    blocks.flat_map(|block| [block, "\n"]).collect()
}

/// The names in a certificate: kind (`uri`, `dns`, `ip_address`, `email`) and value.
pub(super) fn names_of(certificate: &X509Certificate<'_>) -> Vec<(&'static str, String)> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return vec![] };
    let names = extension.value.general_names.iter();
    names
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some(("uri", (*uri).to_owned())),
            GeneralName::DNSName(host) => Some(("dns", (*host).to_owned())),
            GeneralName::RFC822Name(address) => Some(("email", (*address).to_owned())),
            GeneralName::IPAddress(bytes) => Some(("ip_address", ip_text(bytes)?)),
            _ => None,
        })
        .collect()
}

fn ip_text(bytes: &[u8]) -> Option<String> {
    let four: Result<[u8; 4], _> = bytes.try_into();
    let sixteen: Result<[u8; 16], _> = bytes.try_into();
    match (four, sixteen) {
        (Ok(v4), _) => Some(std::net::Ipv4Addr::from(v4).to_string()),
        (_, Ok(v6)) => Some(std::net::Ipv6Addr::from(v6).to_string()),
        _ => None,
    }
}

fn since_epoch(seconds: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.max(0).unsigned_abs())
}

fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";
