//! Pure. Turns the four PEM texts of a root folder or Secret into a signing root, or reports which file is wrong and why.
//! Mistakes in a plugged-in authority are found when the process starts, not when the first peer refuses a
//! certificate.

use crate::root::{Root, key};
use api::process::tls;
use rcgen::{CertificateParams, Issuer, KeyPair, PublicKeyData};
use rustls_pki_types::{CertificateDer, UnixTime};
use std::time::Duration;
use time::OffsetDateTime;
use webpki::anchor_from_trusted_cert;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

/// The texts of the four files.
pub struct Material {
    /// `ca-cert.pem`: the signing certificate.
    pub certificate: String,
    /// `ca-key.pem`: its private key.
    pub key: String,
    /// `cert-chain.pem`: the chain from the signing certificate upward; may be empty.
    pub chain: String,
    /// `root-cert.pem`: the root, or a bundle of roots.
    pub roots: String,
    /// The names of the texts, for errors.
    pub names: &'static Names,
}

/// The names under which an authority's texts are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Names {
    /// Of the signing certificate.
    pub certificate: &'static str,
    /// Of its private key.
    pub key: &'static str,
    /// Of the chain.
    pub chain: &'static str,
    /// Of the roots.
    pub roots: &'static str,
}

/// Istio's names, in its Secrets and in a folder.
pub const ISTIO: Names =
    Names { certificate: "ca-cert.pem", key: "ca-key.pem", chain: "cert-chain.pem", roots: "root-cert.pem" };
/// The names in a Secret of type `kubernetes.io/tls`, whose certificate is followed by those above it.
pub const TLS: Names = Names { certificate: "tls.crt", key: "tls.key", chain: "tls.crt", roots: "ca.crt" };

impl Material {
    /// Checks the texts against each other and against the current time.
    pub fn check(&self, now: OffsetDateTime) -> Result<Root, MaterialError> {
        let names = self.names;
        let signer = one_certificate(names.certificate, &self.certificate)?;
        let key = key::read(self.key.as_bytes()).map_err(|reason| wrong(names.key, reason))?;
        let roots_der = certificates(names.roots, &self.roots)?;
        let signer_not_after = check_signer(&signer, &key, names, now)?;
        let ends: Vec<OffsetDateTime> =
            roots_der.iter().map(|root| validity(names.roots, root, now)).collect::<Result<_, _>>()?;
        let anchor_not_after = ends.into_iter().min().unwrap_or(signer_not_after);
        let roots =
            tls::roots_from_pem(self.roots.as_bytes()).map_err(|e| wrong(names.roots, e.to_string()))?;
        let intermediates = self.intermediates(&signer, &roots_der, now)?;
        let issuer =
            Issuer::from_ca_cert_der(&signer, key).map_err(|e| wrong(names.certificate, e.to_string()))?;
        let mut chain: Vec<String> = intermediates.iter().map(|der| pem(der)).collect();
        chain.push(normal(&self.roots));
        let clients = tls::client_chain(roots.clone()).map_err(|e| wrong(names.roots, e.to_string()))?;
        let chain_not_after = signer_not_after;
        let mut root = Root {
            issuer,
            signer,
            chain,
            roots,
            clients,
            chain_not_after,
            signer_not_after,
            anchor_not_after,
        };
        root.chain_not_after = check_leads_to_root(&root, &intermediates, &roots_der, names, now)?;
        Ok(root)
    }

    /// The certificates that peers need between a leaf and the root: the signer, unless it is a root itself, and those
    /// above it.
    fn intermediates(
        &self,
        signer: &CertificateDer<'static>,
        roots: &[CertificateDer<'static>],
        now: OffsetDateTime,
    ) -> Result<Vec<CertificateDer<'static>>, MaterialError> {
        let mut all = vec![signer.clone()];
        if !self.chain.trim().is_empty() {
            all.extend(certificates(self.names.chain, &self.chain)?);
        }
        let mut kept: Vec<CertificateDer<'static>> = Vec::new();
        for certificate in all {
            if !roots.contains(&certificate) && !kept.contains(&certificate) {
                validity(self.names.chain, &certificate, now)?;
                kept.push(certificate);
            }
        }
        Ok(kept)
    }
}

/// What is wrong with a file of the root folder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {reason}")]
pub struct MaterialError {
    /// The name of the file.
    pub file: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

fn wrong(file: &'static str, reason: impl Into<String>) -> MaterialError {
    MaterialError { file, reason: reason.into() }
}

fn certificates(file: &'static str, pem: &str) -> Result<Vec<CertificateDer<'static>>, MaterialError> {
    tls::certificates_from_pem(pem.as_bytes()).map_err(|error| wrong(file, error.to_string()))
}

fn one_certificate(file: &'static str, pem: &str) -> Result<CertificateDer<'static>, MaterialError> {
    let mut all = certificates(file, pem)?;
    match all.len() {
        1 => Ok(all.remove(0)),
        count => Err(wrong(
            file,
            format!("it holds {count} certificates; it must hold only the signing certificate"),
        )),
    }
}

fn parsed<'a>(file: &'static str, der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, MaterialError> {
    X509Certificate::from_der(der)
        .map(|(_, certificate)| certificate)
        .map_err(|error| wrong(file, error.to_string()))
}

/// Returns when the certificate expires; an error if it is not valid at this time.
fn validity(
    file: &'static str,
    der: &CertificateDer<'_>,
    now: OffsetDateTime,
) -> Result<OffsetDateTime, MaterialError> {
    let certificate = parsed(file, der)?;
    let (from, to) =
        (certificate.validity().not_before.to_datetime(), certificate.validity().not_after.to_datetime());
    if now < from {
        return Err(wrong(file, format!("`{}` is not valid before {from}", certificate.subject())));
    }
    if now >= to {
        return Err(wrong(file, format!("`{}` expired at {to}", certificate.subject())));
    }
    Ok(to)
}

fn check_signer(
    der: &CertificateDer<'_>,
    key: &KeyPair,
    names: &Names,
    now: OffsetDateTime,
) -> Result<OffsetDateTime, MaterialError> {
    let file = names.certificate;
    let certificate = parsed(file, der)?;
    if certificate.public_key().raw != key.subject_public_key_info() {
        return Err(wrong(names.key, format!("it is not the key of the certificate in {file}")));
    }
    if !certificate.is_ca() {
        return Err(wrong(
            file,
            "it is not an authority's certificate (basic constraints CA:true is missing)",
        ));
    }
    let usage = certificate.key_usage().map_err(|error| wrong(file, error.to_string()))?;
    if usage.is_some_and(|usage| !usage.value.key_cert_sign()) {
        return Err(wrong(file, "its key usage does not allow signing certificates (keyCertSign)"));
    }
    validity(file, der, now)
}

/// Signs a trial leaf and verifies it as a peer would, which covers names, path lengths and name constraints. Returns
/// when the first certificate on the path to the root expires.
fn check_leads_to_root(
    root: &Root,
    intermediates: &[CertificateDer<'_>],
    roots: &[CertificateDer<'_>],
    names: &Names,
    now: OffsetDateTime,
) -> Result<OffsetDateTime, MaterialError> {
    let failed = |reason: String| wrong(names.chain, reason);
    let trial = CertificateParams::default();
    let key = KeyPair::generate().map_err(|error| failed(error.to_string()))?;
    let leaf = root.sign(&trial, &key).map_err(|error| failed(error.to_string()))?;
    let leaf = webpki::EndEntityCert::try_from(leaf.der()).map_err(|error| failed(error.to_string()))?;
    let seconds = u64::try_from(now.unix_timestamp()).unwrap_or(0);
    let at = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    let usage = webpki::KeyUsage::client_auth();
    let algorithms = tls::provider().signature_verification_algorithms.all;
    let path = leaf
        .verify_for_usage(algorithms, &root.roots.roots, intermediates, at, usage, None, None)
        .map_err(|error| {
            failed(format!(
                "a certificate signed by {} does not lead to a root in {}: {error:?}",
                names.certificate, names.roots
            ))
        })?;
    // A root that was renewed with its old key is in the bundle twice; the one that expires later counts.
    let anchor = roots
        .iter()
        .filter(|root| anchor_from_trusted_cert(root).is_ok_and(|anchor| anchor == *path.anchor()))
        .filter_map(|root| validity(names.roots, root, now).ok())
        .max();
    let mut end = anchor.unwrap_or(root.signer_not_after);
    for certificate in path.intermediate_certificates() {
        end = end.min(validity(names.chain, &certificate.der(), now)?);
    }
    Ok(end)
}

/// Encodes a certificate in PEM.
pub(super) fn pem(der: &CertificateDer<'_>) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = (0..text.len()).step_by(64).map(|at| &text[at..text.len().min(at + 64)]).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

/// Normalizes a PEM text to end with exactly one newline, as every element of a response does.
fn normal(pem: &str) -> String {
    format!("{}\n", pem.trim())
}
