//! Certificate requests, from the message to the issued certificate. Whatever a request contains, the certificate has
//! the caller's identity and no other.

use crate::words;
use api::certificate::IstioCertificateRequest;
use api::identity::peer_identity;
use api::process::tls;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use citadel::authorize;
use citadel::config::Policy;
use citadel::flow::{Caller, Method};
use citadel::root::{Root, create};
use citadel::{issue, request};
use prost::Message;
use rcgen::string::Ia5String;
use rcgen::{CertificateParams, DnType, KeyPair, SanType};
use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;
use time::OffsetDateTime;
use time::macros::datetime;

/// See the module. The first byte chooses: the whole message, a PEM text, the request's bytes, names for a request
/// that is signed correctly.
pub fn run(data: &[u8]) {
    let Some((choice, rest)) = words::choice(data, 4) else { return };
    let asking = |csr: String| IstioCertificateRequest { csr, ..IstioCertificateRequest::default() };
    let message = match choice {
        0 => IstioCertificateRequest::decode(rest).ok(),
        1 => words::text(rest).map(|text| asking(text.to_owned())),
        2 => Some(asking(pem(rest))),
        _ => words::text(rest).and_then(overrides).map(asking),
    };
    if let Some(message) = message {
        decide(&message);
    }
}

fn decide(message: &IstioCertificateRequest) {
    let mesh = Authority::get();
    if authorize::acts_for_itself(message).is_err() {
        return;
    }
    let Ok(requested) = request::parse(message) else { return };
    let Ok(permit) = authorize::permit(&mesh.policy, &mesh.caller, &requested) else { return };
    let Ok(issued) = issue::issue(&mesh.root, &permit, &requested.key, NOW) else { return };
    assert!(issued.not_after <= NOW + mesh.policy.max_ttl);
    let leaf =
        tls::certificates_from_pem(issued.chain[0].as_bytes()).expect("an issued certificate can be read");
    assert_eq!(peer_identity(&leaf[0]).as_ref(), Ok(&mesh.caller.id), "nobody gets another's certificate");
}

/// A request with the names of a text: the subject on the first line, then one name per line.
fn overrides(text: &str) -> Option<String> {
    let mut lines = text.lines();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, lines.next().unwrap_or_default());
    for line in lines.take(8) {
        let name = Ia5String::try_from(line).ok()?;
        params.subject_alt_names.push(match line.as_bytes().first() {
            Some(b'd') => SanType::DnsName(name),
            Some(b'e') => SanType::Rfc822Name(name),
            _ => SanType::URI(name),
        });
    }
    params.serialize_request(&Authority::get().key).ok()?.pem().ok()
}

fn pem(der: &[u8]) -> String {
    format!(
        "-----BEGIN CERTIFICATE REQUEST-----\n{}\n-----END CERTIFICATE REQUEST-----\n",
        STANDARD.encode(der)
    )
}

struct Authority {
    root: Root,
    policy: Policy,
    caller: Caller,
    key: KeyPair,
}

impl Authority {
    fn get() -> &'static Self {
        static AUTHORITY: OnceLock<Authority> = OnceLock::new();
        AUTHORITY.get_or_init(|| {
            let trust_domain = "cluster.local".parse().expect("a trust domain");
            let material = create::self_signed(&trust_domain, &[1], NOW).expect("a root can be made");
            Self {
                root: material.check(NOW).expect("the root just made"),
                policy: Policy {
                    trust_domain,
                    default_ttl: Duration::from_hours(24),
                    max_ttl: Duration::from_hours(24 * 90),
                    dns_names: BTreeMap::new(),
                    control_plane: None,
                },
                caller: Caller {
                    id: "spiffe://cluster.local/ns/default/sa/reviews".parse().expect("an identity"),
                    method: Method::Token,
                },
                key: KeyPair::generate().expect("a key can be made"),
            }
        })
    }
}

const NOW: OffsetDateTime = datetime!(2026-11-21 12:00:00 UTC);
