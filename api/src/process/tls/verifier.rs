//! A verifier of rustls around a decision of ours. Exists because rustls wants seven methods from whoever checks a
//! peer, of which only one ever differs: the others, signatures above all, are written here and nowhere else.

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

/// Whether a client must show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// A client without one is let in, with no identity.
    Optional,
    /// A client without one is refused.
    Required,
}

/// What a peer shows in a handshake.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// Its own certificate.
    pub leaf: &'a CertificateDer<'a>,
    /// What it sent beside that.
    pub intermediates: &'a [CertificateDer<'a>],
    /// The name that was dialled; of a client there is none.
    pub dialled: Option<&'a ServerName<'a>>,
    /// The time of the handshake.
    pub now: UnixTime,
}

impl Shown<'_> {
    /// Fails unless the chain of a server leads to one of the roots, every certificate in its time.
    pub fn leads_to(&self, roots: &RootCertStore) -> Result<(), Error> {
        let algorithms = provider().signature_verification_algorithms.all;
        let leaf = ParsedCertificate::try_from(self.leaf)?;
        verify_server_cert_signed_by_trust_anchor(&leaf, roots, self.intermediates, self.now, algorithms)
    }

    /// Fails unless the certificate is for the name that was dialled.
    pub fn is_for_dialled(&self) -> Result<(), Error> {
        self.dialled.map_or(Ok(()), |name| self.is_for(name))
    }

    /// Fails unless the certificate is for this name.
    pub fn is_for(&self, name: &ServerName<'_>) -> Result<(), Error> {
        verify_server_name(&ParsedCertificate::try_from(self.leaf)?, name)
    }
}

/// Verifies servers by a decision. That a server holds the key of its certificate is checked besides.
pub fn servers<D>(decide: D) -> Arc<dyn ServerCertVerifier>
where
    D: Fn(&Shown<'_>) -> Result<(), Error> + Send + Sync + 'static,
{
    Arc::new(Verifier { decide, auth: ClientAuth::Required })
}

/// Verifies clients by a decision. That a client holds the key of its certificate is checked besides.
pub fn clients<D>(auth: ClientAuth, decide: D) -> Arc<dyn ClientCertVerifier>
where
    D: Fn(&Shown<'_>) -> Result<(), Error> + Send + Sync + 'static,
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

impl<D: Fn(&Shown<'_>) -> Result<(), Error> + Send + Sync> ServerCertVerifier for Verifier<D> {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        (self.decide)(&Shown { leaf, intermediates, dialled: Some(server_name), now })?;
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

impl<D: Fn(&Shown<'_>) -> Result<(), Error> + Send + Sync> ClientCertVerifier for Verifier<D> {
    fn client_auth_mandatory(&self) -> bool {
        self.auth == ClientAuth::Required
    }

    /// None: naming the roots in each handshake costs bytes and helps nobody, for a workload has one certificate.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        (self.decide)(&Shown { leaf, intermediates, dialled: None, now })?;
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
