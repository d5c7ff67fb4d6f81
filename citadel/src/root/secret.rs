//! Pure. The authority in Secrets: one that an operator plugs in (`cacerts`), or else one that citadel creates
//! (`istio-ca-secret`), both in Istio's layout or in that of TLS Secrets, as cert-manager writes them.

use crate::root::material::{ISTIO, Material, Names, TLS};
use api::process::tls;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::collections::BTreeMap;

/// The Secret of an operator's own authority, which takes precedence.
pub const PLUGGED: &str = "cacerts";
/// The Secret of the authority that citadel creates.
pub const CREATED: &str = "istio-ca-secret";

/// Returns the name of the Secret that holds the authority in force, and its texts; `None` if neither exists. A plugged
/// in authority that cannot be used is an error: the operator must not get another one instead.
pub fn choose(
    plugged: Option<&Secret>,
    created: Option<&Secret>,
) -> Result<Option<(&'static str, Material)>, SecretError> {
    match (plugged, created) {
        (Some(secret), _) => Ok(Some((PLUGGED, material(PLUGGED, secret)?))),
        (None, Some(secret)) => Ok(Some((CREATED, material(CREATED, secret)?))),
        (None, None) => Ok(None),
    }
}

/// The Secret that stores an authority, in the form that Istio reads too.
pub fn stored(material: &Material) -> Secret {
    let texts = [&material.certificate, &material.key, &material.chain, &material.roots];
    let keys = [ISTIO.certificate, ISTIO.key, ISTIO.chain, ISTIO.roots];
    let data = keys.iter().zip(texts).map(|(key, text)| ((*key).to_owned(), ByteString(text.clone().into())));
    let metadata = ObjectMeta { name: Some(CREATED.to_owned()), ..ObjectMeta::default() };
    Secret { metadata, data: Some(data.collect()), type_: Some(TYPE.to_owned()), ..Secret::default() }
}

fn material(secret: &'static str, found: &Secret) -> Result<Material, SecretError> {
    let empty = BTreeMap::new();
    let data = found.data.as_ref().unwrap_or(&empty);
    // As in Istio, a Secret with both layouts is a TLS Secret.
    if data.contains_key(TLS.certificate) {
        let [bundle, key, roots] = texts(secret, data, [TLS.certificate, TLS.key, TLS.roots])?;
        let certificate = first_certificate(&bundle).unwrap_or_else(|| bundle.clone());
        return Ok(Material { certificate, key, chain: bundle, roots, names: &TLS });
    }
    let Names { certificate, key, chain, roots } = ISTIO;
    let chain = text(secret, data, chain)?.unwrap_or_default();
    // Istio stores its self-signed root without a copy of it.
    let roots = if secret == CREATED && text(secret, data, roots)?.is_none() { certificate } else { roots };
    let [certificate, key, roots] = texts(secret, data, [certificate, key, roots])?;
    Ok(Material { certificate, key, chain, roots, names: &ISTIO })
}

/// The texts of these keys, or all that are missing.
fn texts<const N: usize>(
    secret: &'static str,
    data: &BTreeMap<String, ByteString>,
    keys: [&'static str; N],
) -> Result<[String; N], SecretError> {
    let mut found = [const { String::new() }; N];
    let mut missing = vec![];
    for (slot, key) in found.iter_mut().zip(keys) {
        match text(secret, data, key)? {
            Some(text) => *slot = text,
            None => missing.push(key),
        }
    }
    if missing.is_empty() {
        Ok(found)
    } else {
        Err(SecretError::Incomplete { secret, missing: missing.join(", ") })
    }
}

/// The text of a key; `None` if it is missing or empty.
fn text(
    secret: &'static str,
    data: &BTreeMap<String, ByteString>,
    key: &'static str,
) -> Result<Option<String>, SecretError> {
    let Some(ByteString(bytes)) = data.get(key) else { return Ok(None) };
    // The error of the conversion would hold the bytes.
    let text = std::str::from_utf8(bytes).map_err(|_| SecretError::Text { secret, key })?;
    Ok((!text.trim().is_empty()).then(|| text.to_owned()))
}

/// The first certificate of a bundle, in PEM. The signing certificate of a TLS Secret comes before those above it.
fn first_certificate(bundle: &str) -> Option<String> {
    let certificates = tls::certificates_from_pem(bundle.as_bytes()).ok()?;
    certificates.first().map(|der| crate::root::material::pem(der))
}

/// Why a Secret does not hold an authority.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Keys are missing.
    #[error("Secret {secret} has no {missing}")]
    Incomplete {
        /// The Secret.
        secret: &'static str,
        /// The missing keys.
        missing: String,
    },
    /// A value is not text.
    #[error("{key} of Secret {secret} is not PEM text")]
    Text {
        /// The Secret.
        secret: &'static str,
        /// The key.
        key: &'static str,
    },
}

/// The type of Istio's own Secret.
const TYPE: &str = "istio.io/ca-root";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::create;
    use time::OffsetDateTime;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-11-21 12:00:00 UTC);

    fn made(serial: u8) -> Material {
        create::self_signed(&"cluster.local".parse().unwrap(), &[serial], NOW).unwrap()
    }

    fn secret(data: &[(&str, &str)]) -> Secret {
        let data = data.iter().map(|(key, text)| ((*key).to_owned(), ByteString((*text).into())));
        Secret { data: Some(data.collect()), ..Secret::default() }
    }

    #[test]
    fn a_created_authority_is_read_back_and_a_plugged_in_one_takes_precedence() {
        assert!(choose(None, None).unwrap().is_none());
        let (own, plugged) = (made(1), made(2));
        let created = stored(&own);
        assert_eq!(created.metadata.name.as_deref(), Some(CREATED));
        let (name, read) = choose(None, Some(&created)).unwrap().unwrap();
        assert_eq!((name, read.check(NOW).unwrap().roots_pem()), (CREATED, own.roots.as_str()));
        let (name, read) = choose(Some(&stored(&plugged)), Some(&created)).unwrap().unwrap();
        assert_eq!((name, read.check(NOW).unwrap().roots_pem()), (PLUGGED, plugged.roots.as_str()));
    }

    #[test]
    fn a_tls_secret_holds_an_authority_too() {
        let made = made(1);
        let tls = secret(&[("tls.crt", &made.certificate), ("tls.key", &made.key), ("ca.crt", &made.roots)]);
        let (_, read) = choose(Some(&tls), None).unwrap().unwrap();
        assert_eq!(read.check(NOW).unwrap().roots_pem(), made.roots);
        let wrong = secret(&[("tls.crt", &made.certificate), ("tls.key", "x"), ("ca.crt", &made.roots)]);
        let (_, read) = choose(Some(&wrong), None).unwrap().unwrap();
        assert!(read.check(NOW).err().unwrap().to_string().starts_with("tls.key:"));
    }

    #[test]
    fn istios_own_secret_needs_no_copy_of_its_root_but_a_plugged_in_one_does() {
        let made = made(1);
        let parts = [
            ("ca-cert.pem", made.certificate.as_str()),
            ("ca-key.pem", &made.key),
            ("cert-chain.pem", ""),
            ("root-cert.pem", ""),
        ];
        let (_, read) = choose(None, Some(&secret(&parts))).unwrap().unwrap();
        assert_eq!(read.check(NOW).unwrap().roots_pem(), made.certificate);
        let error = choose(Some(&secret(&parts)), None).err().unwrap();
        assert_eq!(error.to_string(), "Secret cacerts has no root-cert.pem");
    }

    #[test]
    fn an_unusable_plugged_in_authority_is_not_replaced_by_the_created_one() {
        let created = stored(&made(1));
        let mut binary = secret(&[("ca-cert.pem", "x"), ("root-cert.pem", "x")]);
        let table = [
            (secret(&[]), "Secret cacerts has no ca-cert.pem, ca-key.pem, root-cert.pem"),
            (secret(&[("tls.crt", "x")]), "Secret cacerts has no tls.key, ca.crt"),
            (
                secret(&[("ca-cert.pem", " \n"), ("ca-key.pem", "x"), ("root-cert.pem", "x")]),
                "has no ca-cert.pem",
            ),
        ];
        for (plugged, reason) in table {
            let error = choose(Some(&plugged), Some(&created)).err().unwrap().to_string();
            assert!(error.contains(reason), "{reason}: {error}");
        }
        binary.data.as_mut().unwrap().insert("ca-key.pem".to_owned(), ByteString(vec![0xff, 0xfe]));
        let error = choose(Some(&binary), None).err().unwrap().to_string();
        assert_eq!(error, "ca-key.pem of Secret cacerts is not PEM text");
    }
}
