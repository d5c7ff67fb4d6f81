//! Certificates of peers: arbitrary bytes, certificates with arbitrary names and usages, and identities as text. An
//! accepted certificate has exactly one identity, and formatting it yields its text.

use crate::words;
use api::identity::{SpiffeId, peer_identity};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType,
};
use std::sync::OnceLock;

/// See the module. The first byte chooses: a certificate's bytes, an identity's text, names for a certificate.
pub fn run(data: &[u8]) {
    let Some((choice, rest)) = words::choice(data, 3) else { return };
    match choice {
        0 => {
            if let Ok(id) = peer_identity(rest) {
                identity(&id);
            }
        }
        1 => {
            if let Some(Ok(id)) = words::text(rest).map(str::parse::<SpiffeId>) {
                identity(&id);
            }
        }
        _ => named(rest),
    }
}

/// Parsing inverts formatting, and each part of an identity occurs in its text.
fn identity(id: &SpiffeId) {
    let text = id.to_string();
    assert_eq!(text.parse::<SpiffeId>().as_ref(), Ok(id));
    assert_eq!(text, format!("spiffe://{}{}", id.trust_domain(), id.path()));
    assert_eq!(id.principal(), &text["spiffe://".len()..]);
    if let (Some(namespace), Some(account)) = (id.namespace(), id.service_account()) {
        let same = SpiffeId::workload(id.trust_domain(), namespace, account);
        assert_eq!(same.as_ref(), Ok(id), "an identity of that form is that workload's");
    }
}

/// A certificate whose usages are the bits of the first bytes, with one name per line.
fn named(rest: &[u8]) {
    let [usage, more, names @ ..] = rest else { return };
    let Some(names) = words::text(names) else { return };
    let bit = |place: u8| usage >> place & 1 == 1;
    let mut params = CertificateParams::default();
    for (place, purpose) in [
        (0, KeyUsagePurpose::DigitalSignature),
        (1, KeyUsagePurpose::KeyCertSign),
        (2, KeyUsagePurpose::CrlSign),
        (3, KeyUsagePurpose::KeyEncipherment),
    ] {
        if bit(place) {
            params.key_usages.push(purpose);
        }
    }
    for (place, purpose) in
        [(4, ExtendedKeyUsagePurpose::ServerAuth), (5, ExtendedKeyUsagePurpose::ClientAuth)]
    {
        if bit(place) {
            params.extended_key_usages.push(purpose);
        }
    }
    params.is_ca = if bit(6) { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::ExplicitNoCa };
    let mut uris = vec![];
    for line in names.lines().take(6) {
        let Ok(name) = Ia5String::try_from(line) else { return };
        if line.starts_with("dns") {
            params.subject_alt_names.push(SanType::DnsName(name));
        } else {
            uris.push(line);
            params.subject_alt_names.push(SanType::URI(name));
        }
    }
    params.use_authority_key_identifier_extension = more % 2 == 1;
    let Ok(certificate) = params.self_signed(key()) else { return };
    let found = peer_identity(certificate.der());
    let purposes = bit(4) == bit(5);
    let allowed = bit(0) && !bit(1) && !bit(2) && !bit(6) && purposes;
    let expected = match uris[..] {
        [uri] if allowed => uri.parse::<SpiffeId>().ok().filter(|id| !id.path().is_empty()),
        _ => None,
    };
    assert_eq!(found.ok(), expected, "{uris:?} with usage {usage:08b}");
}

fn key() -> &'static KeyPair {
    static KEY: OnceLock<KeyPair> = OnceLock::new();
    KEY.get_or_init(|| KeyPair::generate().expect("a key can be made"))
}
