//! Creates a self-signed root for a mesh that has none: ECDSA P-256, valid for ten years, so that no mesh fails because
//! its root expired unnoticed.

use crate::root::material::Material;
use api::identity::TrustDomain;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyPair, KeyUsagePurpose, SanType,
    SerialNumber,
};
use time::{Duration, OffsetDateTime};

/// Creates a root and its key.
pub fn self_signed(
    trust_domain: &TrustDomain,
    serial: &[u8],
    now: OffsetDateTime,
) -> Result<Material, rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.serial_number = Some(SerialNumber::from_slice(serial));
    params.not_before = now - Duration::minutes(2);
    params.not_after = now + LIFETIME;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, trust_domain.as_str());
    params.distinguished_name.push(DnType::CommonName, "Ostria mesh root");
    // The identity of an authority, if it has one, is the trust domain itself: a SPIFFE ID without a path.
    params.subject_alt_names = vec![SanType::URI(format!("spiffe://{trust_domain}").try_into()?)];
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key)?.pem();
    Ok(Material {
        certificate: certificate.clone(),
        key: key.serialize_pem(),
        chain: String::new(),
        roots: certificate,
    })
}

const LIFETIME: Duration = Duration::days(3650);
