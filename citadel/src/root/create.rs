//! Creates a self-signed root for a mesh that has none: ECDSA P-256, valid for ten years, so that no mesh fails because
//! its root expired unnoticed.

use crate::root::material::{ISTIO, Material};
use api::identity::TrustDomain;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyPair, KeyUsagePurpose, SanType,
    SerialNumber,
};
use ring::rand::{SecureRandom, SystemRandom};
use time::{Duration, OffsetDateTime};

/// Creates a root with a random serial number.
pub fn fresh(trust_domain: &TrustDomain, now: OffsetDateTime) -> Result<Material, CreateError> {
    Ok(self_signed(trust_domain, &serial().ok_or(CreateError::Random)?, now)?)
}

/// Returns a serial number: random, positive and of fixed length, as RFC 5280 and the CA/Browser Forum's rules require.
/// `None` if the system provides no randomness.
pub fn serial() -> Option<[u8; 16]> {
    let mut serial = [0; 16];
    SystemRandom::new().fill(&mut serial).ok()?;
    serial[0] = serial[0] & 0x7f | 0x40;
    Some(serial)
}

/// Why no root can be created.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The system provides no randomness.
    #[error("the system returned no random numbers")]
    Random,
    /// The certificate cannot be made.
    #[error(transparent)]
    Certificate(#[from] rcgen::Error),
}

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
        names: &ISTIO,
    })
}

const LIFETIME: Duration = Duration::days(3650);
