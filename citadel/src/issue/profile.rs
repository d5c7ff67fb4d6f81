//! Pure. The contents of a workload's certificate, by the X.509-SVID profile: one URI name, an empty subject and hence
//! a critical subject alternative name extension, key usage for TLS in both roles, and a lifetime within that of its
//! chain.

use crate::flow::Permit;
use rcgen::{
    CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType,
    SerialNumber,
};
use time::{Duration, OffsetDateTime};

/// Returns the contents of the certificate for `permit`, whose chain expires at `chain_not_after`.
pub fn contents(
    permit: &Permit,
    chain_not_after: OffsetDateTime,
    now: OffsetDateTime,
    serial: &[u8],
) -> Result<CertificateParams, ProfileError> {
    if chain_not_after <= now {
        return Err(ProfileError::SignerExpired(chain_not_after));
    }
    let mut names = vec![name(permit.id.as_str(), SanType::URI)?];
    for dns in &permit.dns_names {
        names.push(name(dns, SanType::DnsName)?);
    }
    let not_after = Duration::try_from(permit.ttl).ok().and_then(|ttl| now.checked_add(ttl));
    let mut params = CertificateParams::default();
    params.serial_number = Some(SerialNumber::from_slice(serial));
    params.not_before = now - SKEW;
    params.not_after = not_after.map_or(chain_not_after, |not_after| not_after.min(chain_not_after));
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = names;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn name<T>(text: &str, kind: impl Fn(T) -> SanType) -> Result<SanType, ProfileError>
where
    T: for<'a> TryFrom<&'a str>,
{
    T::try_from(text).map(kind).map_err(|_| ProfileError::Name(text.to_owned()))
}

/// Why a certificate's contents cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// The signer has expired, so peers would refuse any certificate.
    #[error("the signing certificate or its root expired at {0}; replace the files in the root folder")]
    SignerExpired(OffsetDateTime),
    /// The name cannot be encoded in a certificate.
    #[error("`{0}` cannot stand in a certificate")]
    Name(String),
}

/// How far the clocks of two machines may differ without a fresh certificate appearing not yet valid.
const SKEW: Duration = Duration::minutes(2);
