//! Pure. The fields of a certificate chain as text for access logs. Built only where a log uses them.

use api::format::operator::Fact;
use ring::digest::{Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use x509_parser::extensions::GeneralName;
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::X509Name;

/// The fields of a certificate and its chain. Lists are joined by commas; missing fields are empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// URI names.
    pub uris: Box<str>,
    /// DNS names.
    pub dns: Box<str>,
    /// IP addresses.
    pub ips: Box<str>,
    /// Email addresses.
    pub emails: Box<str>,
    /// Subject, formatted as in RFC 2253.
    pub subject: Box<str>,
    /// Issuer, formatted as in RFC 2253.
    pub issuer: Box<str>,
    /// Serial number, in hexadecimal.
    pub serial: Box<str>,
    /// SHA-256 fingerprint, in hexadecimal.
    pub sha256: Box<str>,
    /// SHA-1 fingerprint, in hexadecimal.
    pub sha1: Box<str>,
    /// SHA-256 fingerprints of all certificates of the chain.
    pub chain_sha256: Box<str>,
    /// SHA-1 fingerprints of all certificates of the chain.
    pub chain_sha1: Box<str>,
    /// Serial numbers of all certificates of the chain.
    pub chain_serials: Box<str>,
    /// PEM text, percent-encoded.
    pub pem: Box<str>,
    /// Start of its validity.
    pub from: SystemTime,
    /// End of its validity.
    pub until: SystemTime,
}

impl Certificate {
    /// One of the text fields.
    pub fn fact(&self, fact: Fact) -> &str {
        match fact {
            Fact::Uris => &self.uris,
            Fact::Dns => &self.dns,
            Fact::Ips => &self.ips,
            Fact::Emails => &self.emails,
            Fact::Subject => &self.subject,
            Fact::Issuer => &self.issuer,
            Fact::Serial => &self.serial,
            Fact::Sha256 => &self.sha256,
            Fact::Sha1 => &self.sha1,
            Fact::ChainSha256 => &self.chain_sha256,
            Fact::ChainSha1 => &self.chain_sha1,
            Fact::ChainSerials => &self.chain_serials,
            Fact::Pem => &self.pem,
        }
    }

    /// Reads a chain, leaf first; `None`: it is empty or its leaf cannot be parsed.
    pub fn of<C: AsRef<[u8]>>(chain: &[C]) -> Option<Self> {
        let leaf = chain.first()?;
        let (_, certificate) = X509Certificate::from_der(leaf.as_ref()).ok()?;
        let names = certificate.subject_alternative_name().ok().flatten();
        let names = || names.iter().flat_map(|names| &names.value.general_names);
        let each = |of: fn(&GeneralName<'_>) -> Option<String>| joined(names().filter_map(of));
        let hashes = |algorithm| joined(chain.iter().map(|one| hash(algorithm, one.as_ref())));
        let serials = chain.iter().filter_map(|one| {
            X509Certificate::from_der(one.as_ref()).ok().map(|(_, one)| serial(one.raw_serial()))
        });
        let at = |seconds: i64| UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        Some(Self {
            uris: each(|name| if let GeneralName::URI(uri) = name { Some((*uri).into()) } else { None }),
            dns: each(|name| if let GeneralName::DNSName(name) = name { Some((*name).into()) } else { None }),
            ips: each(|name| if let GeneralName::IPAddress(bytes) = name { ip(bytes) } else { None }),
            emails: each(
                |name| if let GeneralName::RFC822Name(at) = name { Some((*at).into()) } else { None },
            ),
            subject: distinguished(certificate.subject()).into(),
            issuer: distinguished(certificate.issuer()).into(),
            serial: serial(certificate.raw_serial()).into(),
            sha256: hash(&SHA256, leaf.as_ref()).into(),
            sha1: hash(&SHA1_FOR_LEGACY_USE_ONLY, leaf.as_ref()).into(),
            chain_sha256: hashes(&SHA256),
            chain_sha1: hashes(&SHA1_FOR_LEGACY_USE_ONLY),
            chain_serials: joined(serials),
            pem: pem(&chain[..1]).into(),
            from: at(certificate.validity().not_before.timestamp()),
            until: at(certificate.validity().not_after.timestamp()),
        })
    }
}

fn joined(items: impl Iterator<Item = String>) -> Box<str> {
    items.collect::<Vec<_>>().join(",").into()
}

fn ip(bytes: &[u8]) -> Option<String> {
    let four = <[u8; 4]>::try_from(bytes).map(|bytes| IpAddr::from(Ipv4Addr::from(bytes)));
    let address = four.or_else(|_| <[u8; 16]>::try_from(bytes).map(|bytes| Ipv6Addr::from(bytes).into()));
    address.ok().map(|address| address.to_string())
}

fn hash(algorithm: &'static Algorithm, bytes: &[u8]) -> String {
    hexadecimal(digest(algorithm, bytes).as_ref())
}

/// A serial number without the leading zeros that keep it positive in DER.
fn serial(bytes: &[u8]) -> String {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    hexadecimal(&bytes[zeros.min(bytes.len().saturating_sub(1))..])
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// A distinguished name, formatted as in RFC 2253: the most specific part first, as in Envoy.
pub fn distinguished(name: &X509Name<'_>) -> String {
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
pub fn pem<C: AsRef<[u8]>>(chain: &[C]) -> String {
    use base64::Engine;
    let mut out = String::new();
    for certificate in chain {
        let text = base64::engine::general_purpose::STANDARD.encode(certificate.as_ref());
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
