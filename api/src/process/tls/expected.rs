//! The identities that a client of the control plane accepts for a server: exactly its service account, or a server
//! whose certificate has the DNS name that the client connects to. All others are refused, even those of the same
//! namespace: gateways run beside the control plane and must not receive its clients' tokens.

use super::{TlsError, refused, verifier};
use crate::identity::{IdentityError, SpiffeId, TrustDomain, peer_identity};
use rustls::RootCertStore;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::ServerName;
use std::fmt;
use std::sync::Arc;

/// The accepted identities and names of a server whose chain is valid. One match is enough.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Expected {
    ids: Vec<SpiffeId>,
    names: Vec<ServerName<'static>>,
    /// Whether to accept the DNS name that the client connects to, in the server's certificate.
    dialled: bool,
}

impl Expected {
    /// The mesh's pilot: the service account `istiod` of `istio-system`, or the DNS name that the client connects to,
    /// as in Istio's own certificate.
    pub fn pilot(domain: &TrustDomain) -> Result<Self, IdentityError> {
        Self::account(domain, PILOT)
    }

    /// The mesh's certificate authority: the service account `citadel` of `istio-system`, or the DNS name that the
    /// client connects to.
    pub fn citadel(domain: &TrustDomain) -> Result<Self, IdentityError> {
        Self::account(domain, CITADEL)
    }

    /// Exactly this identity.
    pub fn id(id: SpiffeId) -> Self {
        Self { ids: vec![id], ..Self::default() }
    }

    fn account(domain: &TrustDomain, account: &str) -> Result<Self, IdentityError> {
        let id = SpiffeId::workload(domain, SYSTEM_NAMESPACE, account)?;
        Ok(Self { ids: vec![id], names: vec![], dialled: true })
    }

    /// Parses identities and DNS names, separated by commas. The name that the client connects to does not count then.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut expected = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            if part.contains("://") {
                expected.ids.push(part.parse().map_err(|error| format!("`{part}`: {error}"))?);
            } else {
                let name = ServerName::try_from(part.to_owned());
                expected.names.push(name.map_err(|_| {
                    format!(
                        "`{part}` is neither a DNS name nor an identity such as spiffe://DOMAIN/ns/A/sa/B"
                    )
                })?);
            }
        }
        if expected == Self::default() {
            return Err("it names no server; write a DNS name or an identity".to_owned());
        }
        Ok(expected)
    }

    fn check(&self, presented: &verifier::PresentedChain<'_>) -> Result<(), rustls::Error> {
        let id = peer_identity(presented.leaf);
        if id.as_ref().is_ok_and(|id| self.ids.contains(id)) {
            return Ok(());
        }
        if self.names.iter().any(|name| presented.is_for(name).is_ok()) {
            return Ok(());
        }
        if self.dialled && presented.is_for_dialled().is_ok() {
            return Ok(());
        }
        let found = id.map_or_else(|_| "a server without an identity".to_owned(), |id| format!("`{id}`"));
        Err(refused(TlsError::NotExpected { found, expected: self.to_string() }))
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids = self.ids.iter().map(|id| format!("`{id}`"));
        let names = self.names.iter().map(|name| format!("`{}`", name.to_str()));
        let dialled = self.dialled.then(|| "a server with the DNS name of the address".to_owned());
        f.write_str(&ids.chain(names).chain(dialled).collect::<Vec<_>>().join(" or "))
    }
}

/// Verifies servers by their chain, with the roots of the mesh, and by their expected identity.
pub fn expected_servers(roots: Arc<RootCertStore>, expected: Expected) -> Arc<dyn ServerCertVerifier> {
    verifier::servers(move |presented| {
        presented.leads_to(&roots)?;
        expected.check(presented)
    })
}

/// The namespace of the control plane.
pub const SYSTEM_NAMESPACE: &str = "istio-system";
/// The service account of pilot.
pub const PILOT: &str = "istiod";
/// The service account of the certificate authority.
pub const CITADEL: &str = "citadel";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::tls::roots_from_pem;
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose, SanType,
    };
    use rustls::pki_types::UnixTime;

    fn authority() -> CertifiedIssuer<'static, KeyPair> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    /// Whether a server with these names is taken when `host` is dialled.
    fn takes(expected: &Expected, names: &[&str], host: &str) -> bool {
        let authority = authority();
        let mut params = CertificateParams::default();
        let san = |name: &&str| {
            if name.contains("://") {
                SanType::URI((*name).try_into().unwrap())
            } else {
                SanType::DnsName((*name).try_into().unwrap())
            }
        };
        params.subject_alt_names = names.iter().map(san).collect();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let leaf = params.signed_by(&KeyPair::generate().unwrap(), &authority).unwrap();
        let check = |issuer: &CertifiedIssuer<'_, KeyPair>| {
            let roots = roots_from_pem(issuer.pem().as_bytes()).unwrap();
            let name = ServerName::try_from(host.to_owned()).unwrap();
            let verifier = expected_servers(roots, expected.clone());
            verifier.verify_server_cert(leaf.der(), &[], &name, &[], UnixTime::now())
        };
        assert!(check(&self::authority()).is_err(), "another authority may sign any name");
        check(&authority).is_ok()
    }

    const GATEWAY: &str = "spiffe://cluster.local/ns/istio-system/sa/istio-ingressgateway-service-account";
    const ISTIOD: &str = "spiffe://cluster.local/ns/istio-system/sa/istiod";
    const AUTHORITY: &str = "spiffe://cluster.local/ns/istio-system/sa/citadel";
    const NAME: &str = "istiod.istio-system.svc";

    #[test]
    fn a_client_takes_the_account_it_calls_or_the_name_it_dialled_and_no_neighbour() {
        let domain = "cluster.local".parse().unwrap();
        let (pilot, citadel) = (Expected::pilot(&domain).unwrap(), Expected::citadel(&domain).unwrap());
        let table: [(&Expected, &[&str], &str, bool); 16] = [
            (&pilot, &[ISTIOD], NAME, true),
            (&pilot, &[ISTIOD], "10.0.0.1", true),
            (&citadel, &[AUTHORITY], "10.0.0.1", true),
            // A foreign istiod has DNS names only.
            (&pilot, &[NAME, "istiod.istio-system.svc.cluster.local"], NAME, true),
            (&pilot, &[NAME], "other.istio-system.svc", false),
            (&pilot, &[NAME], "10.0.0.1", false),
            (&pilot, &[AUTHORITY], NAME, false),
            (&citadel, &[ISTIOD], "citadel.istio-system.svc", false),
            (&pilot, &[GATEWAY], NAME, false),
            (&citadel, &[GATEWAY], "citadel.istio-system.svc", false),
            (&pilot, &["spiffe://cluster.local/ns/istio-system/sa/istiod2"], NAME, false),
            (&pilot, &["spiffe://cluster.local/ns/shop/sa/istiod"], NAME, false),
            (&pilot, &["spiffe://other.local/ns/istio-system/sa/istiod"], NAME, false),
            (&pilot, &["spiffe://cluster.local/ns/istio-system/sa/istiod/x"], NAME, false),
            (&pilot, &[ISTIOD, GATEWAY], NAME, false),
            (&pilot, &[GATEWAY, "istio-ingressgateway.istio-system.svc"], NAME, false),
        ];
        for (expected, names, host, taken) in table {
            assert_eq!(takes(expected, names, host), taken, "{expected}: {names:?} at {host}");
        }
    }

    #[test]
    fn what_is_expected_can_be_said_and_then_nothing_else_is_taken() {
        let expected = Expected::parse(&format!(" {GATEWAY}, ca.example.org")).unwrap();
        assert!(takes(&expected, &[GATEWAY], NAME));
        assert!(takes(&expected, &["ca.example.org"], "10.0.0.1"));
        assert!(!takes(&expected, &[NAME], NAME), "the dialled name is not among them");
        assert!(!takes(&expected, &[ISTIOD], NAME));
        for (text, reason) in
            [("", "names no server"), ("a b", "neither a DNS name"), ("https://a", "https://a")]
        {
            assert!(Expected::parse(text).unwrap_err().contains(reason), "{text}");
        }
    }
}
