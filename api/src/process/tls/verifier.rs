//! Implements rustls's verifiers around a function that decides. Exists because a rustls verifier has seven methods,
//! of which only one differs here: the others, such as the verification of signatures, are written once.

use super::crypto::provider;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};
use std::fmt;
use std::sync::Arc;

/// Whether clients must send a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// Clients without a certificate are accepted, without an identity.
    Optional,
    /// Clients without a certificate are refused.
    Required,
}

/// The certificates that a peer sends in a handshake.
#[derive(Debug, Clone, Copy)]
pub struct PresentedChain<'a> {
    /// Its leaf certificate.
    pub leaf: &'a CertificateDer<'a>,
    /// The intermediate certificates that it sent.
    pub intermediates: &'a [CertificateDer<'a>],
    /// The DNS name that the client connects to; `None` for a client's certificates.
    pub dialled: Option<&'a ServerName<'a>>,
    /// The time of the handshake.
    pub now: UnixTime,
}

impl PresentedChain<'_> {
    /// Verifies a server's chain: it must lead to one of the roots, and all certificates must be valid at the time.
    pub fn leads_to(&self, roots: &RootCertStore) -> Result<(), Error> {
        let algorithms = provider().signature_verification_algorithms.all;
        let leaf = ParsedCertificate::try_from(self.leaf)?;
        verify_server_cert_signed_by_trust_anchor(&leaf, roots, self.intermediates, self.now, algorithms)
    }

    /// Verifies that the certificate is for the DNS name that the client connects to.
    pub fn is_for_dialled(&self) -> Result<(), Error> {
        self.dialled.map_or(Ok(()), |name| self.is_for(name))
    }

    /// Verifies that the certificate is for this DNS name.
    pub fn is_for(&self, name: &ServerName<'_>) -> Result<(), Error> {
        verify_server_name(&ParsedCertificate::try_from(self.leaf)?, name)
    }
}

/// Verifies servers with a function. The server's possession of its private key is always verified.
pub fn servers<D>(decide: D) -> Arc<dyn ServerCertVerifier>
where
    D: Fn(&PresentedChain<'_>) -> Result<(), Error> + Send + Sync + 'static,
{
    Arc::new(Verifier { decide, auth: ClientAuth::Required })
}

/// Verifies clients with a function. The client's possession of its private key is always verified.
pub fn clients<D>(auth: ClientAuth, decide: D) -> Arc<dyn ClientCertVerifier>
where
    D: Fn(&PresentedChain<'_>) -> Result<(), Error> + Send + Sync + 'static,
{
    Arc::new(Verifier { decide, auth })
}

struct Verifier<D> {
    decide: D,
    auth: ClientAuth,
}

impl<D> fmt::Debug for Verifier<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verifier({:?})", self.auth)
    }
}

type Signature = Result<HandshakeSignatureValid, Error>;

fn signed_by_tls12(message: &[u8], by: &CertificateDer<'_>, signature: &DigitallySignedStruct) -> Signature {
    verify_tls12_signature(message, by, signature, &provider().signature_verification_algorithms)
}

fn signed_by_tls13(message: &[u8], by: &CertificateDer<'_>, signature: &DigitallySignedStruct) -> Signature {
    verify_tls13_signature(message, by, signature, &provider().signature_verification_algorithms)
}

fn schemes() -> Vec<SignatureScheme> {
    provider().signature_verification_algorithms.supported_schemes()
}

impl<D: Fn(&PresentedChain<'_>) -> Result<(), Error> + Send + Sync> ServerCertVerifier for Verifier<D> {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        (self.decide)(&PresentedChain { leaf, intermediates, dialled: Some(server_name), now })?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        by: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Signature {
        signed_by_tls12(message, by, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        by: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Signature {
        signed_by_tls13(message, by, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        schemes()
    }
}

impl<D: Fn(&PresentedChain<'_>) -> Result<(), Error> + Send + Sync> ClientCertVerifier for Verifier<D> {
    fn client_auth_mandatory(&self) -> bool {
        self.auth == ClientAuth::Required
    }

    /// Empty: naming the roots costs bytes in each handshake and is of no use, because a workload has one certificate.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        (self.decide)(&PresentedChain { leaf, intermediates, dialled: None, now })?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        by: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Signature {
        signed_by_tls12(message, by, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        by: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Signature {
        signed_by_tls13(message, by, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        schemes()
    }
}
