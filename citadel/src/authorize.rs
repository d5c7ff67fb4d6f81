//! Pure. Decides what an authenticated client may have: its own identity, the DNS names that the configuration grants
//! to that identity, and the requested lifetime, up to the limit. Never reads the names in the signing request.

use crate::config::Policy;
use crate::flow::{Caller, Permit, Requested};
use api::certificate::IstioCertificateRequest;
use api::identity::TrustDomain;

/// Returns the client's permit, or the reason why it gets none.
pub fn permit(policy: &Policy, caller: &Caller, requested: &Requested) -> Result<Permit, Denied> {
    if caller.id.trust_domain() != &policy.trust_domain {
        return Err(Denied::OtherTrustDomain(caller.id.trust_domain().clone(), policy.trust_domain.clone()));
    }
    // A longer requested lifetime is reduced to the maximum, as by most authorities: the client renews earlier than
    // expected, which is better than a workload without a certificate.
    let ttl = requested.ttl.unwrap_or(policy.default_ttl).min(policy.max_ttl);
    let account = caller.id.namespace().zip(caller.id.service_account());
    let dns_names = account.map(|account| dns_names(policy, account)).unwrap_or_default();
    Ok(Permit { id: caller.id.clone(), dns_names, ttl })
}

/// The DNS names that the configuration grants to an account, and those of the Service if it is that of a server of the
/// control plane: `ostria-pilot`, `ostria-injector`, and their revisions, such as `ostria-pilot-canary`.
fn dns_names(policy: &Policy, (namespace, account): (&str, &str)) -> Vec<String> {
    let granted = policy.dns_names.get(&(namespace.to_owned(), account.to_owned())).cloned();
    let mut names = granted.unwrap_or_default();
    let plane = policy.control_plane.as_ref().filter(|plane| plane.namespace == namespace);
    if let Some(plane) = plane
        && SERVERS.iter().any(|server| is_revision(account, server))
    {
        names.extend(plane.service_names(account));
        names.sort_unstable();
        names.dedup();
    }
    names
}

fn is_revision(account: &str, server: &str) -> bool {
    let rest = account.strip_prefix(server);
    rest.is_some_and(|rest| rest.is_empty() || rest.strip_prefix('-').is_some_and(|name| !name.is_empty()))
}

/// Refuses a client that asks to act for another identity, as a node's proxy does for its pods.
pub fn acts_for_itself(message: &IstioCertificateRequest) -> Result<(), Denied> {
    let is_impersonating =
        message.metadata.as_ref().is_some_and(|metadata| metadata.fields.contains_key(IMPERSONATED));
    if is_impersonating { Err(Denied::Impersonation) } else { Ok(()) }
}

/// Why an authenticated client is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The identity belongs to a trust domain that this authority does not serve.
    #[error("the caller is of trust domain {0}; this authority issues for {1} only")]
    OtherTrustDomain(TrustDomain, TrustDomain),
    /// The client requests another identity than its own.
    #[error("impersonating another identity is not allowed (metadata {IMPERSONATED})")]
    Impersonation,
}

const IMPERSONATED: &str = "ImpersonatedIdentity";
const SERVERS: [&str; 2] = ["ostria-pilot", "ostria-injector"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ControlPlane;
    use crate::flow::Method;
    use rcgen::{KeyPair, PublicKeyData, SubjectPublicKeyInfo};
    use std::collections::BTreeMap;
    use std::time::Duration;

    const DAY: Duration = Duration::from_hours(24);

    fn policy() -> Policy {
        let account = ("istio-system".to_owned(), "istiod".to_owned());
        Policy {
            trust_domain: "cluster.local".parse().unwrap(),
            default_ttl: DAY,
            max_ttl: 2 * DAY,
            dns_names: BTreeMap::from([(account, vec!["istiod.istio-system.svc".to_owned()])]),
            control_plane: None,
        }
    }

    fn ask(id: &str, ttl: Option<Duration>) -> Result<Permit, Denied> {
        let spki = KeyPair::generate().unwrap().subject_public_key_info();
        let requested = Requested { key: SubjectPublicKeyInfo::from_der(&spki).unwrap(), ttl };
        permit(&policy(), &Caller { id: id.parse().unwrap(), method: Method::Token }, &requested)
    }

    #[test]
    fn a_caller_gets_its_own_identity_and_a_lifetime_within_the_limit() {
        let id = "spiffe://cluster.local/ns/default/sa/reviews";
        let table = [
            (None, DAY),
            (Some(DAY / 2), DAY / 2),
            (Some(Duration::from_secs(1)), Duration::from_secs(1)),
            (Some(2 * DAY), 2 * DAY),
            (Some(90 * DAY), 2 * DAY),
            (Some(Duration::MAX), 2 * DAY),
        ];
        for (wished, given) in table {
            let permit = ask(id, wished).unwrap();
            assert_eq!((permit.id.as_str(), permit.ttl, permit.dns_names.len()), (id, given, 0));
        }
    }

    #[test]
    fn dns_names_come_from_the_configuration_of_that_very_account() {
        let names = |id: &str| ask(id, None).unwrap().dns_names;
        assert_eq!(names("spiffe://cluster.local/ns/istio-system/sa/istiod"), ["istiod.istio-system.svc"]);
        assert!(names("spiffe://cluster.local/ns/istio-system/sa/other").is_empty());
        assert!(names("spiffe://cluster.local/ns/default/sa/istiod").is_empty());
        assert!(names("spiffe://cluster.local/istiod").is_empty());
    }

    #[test]
    fn servers_of_a_clusters_control_plane_get_the_names_of_their_service() {
        let plane = ControlPlane { namespace: "mesh".to_owned(), domain: "cluster.example".to_owned() };
        let policy = Policy { control_plane: Some(plane), ..policy() };
        for account in ["ostria-pilot", "ostria-injector", "ostria-pilot-canary", "ostria-injector-1-2"] {
            let expected = ["", ".svc", ".svc.cluster.example"].map(|rest| format!("{account}.mesh{rest}"));
            assert_eq!(dns_names(&policy, ("mesh", account)), expected);
            assert!(dns_names(&policy, ("default", account)).is_empty(), "{account}");
        }
        for account in ["ostria-pilots", "ostria-pilot-", "ostria", "ostria-citadel", "x-ostria-pilot"] {
            assert!(dns_names(&policy, ("mesh", account)).is_empty(), "{account}");
        }
        assert_eq!(dns_names(&policy, ("istio-system", "istiod")), ["istiod.istio-system.svc"]);
    }

    #[test]
    fn a_caller_of_another_domain_is_refused() {
        let foreign = ask("spiffe://other.local/ns/istio-system/sa/istiod", None).unwrap_err();
        assert!(foreign.to_string().contains("issues for cluster.local only"), "{foreign}");
    }

    #[test]
    fn impersonation_is_refused() {
        let mut message = IstioCertificateRequest::default();
        assert_eq!(acts_for_itself(&message), Ok(()));
        let mut metadata = prost_types::Struct::default();
        metadata.fields.insert("CertSigner".to_owned(), prost_types::Value::default());
        message.metadata = Some(metadata.clone());
        assert_eq!(acts_for_itself(&message), Ok(()));
        metadata.fields.insert(IMPERSONATED.to_owned(), prost_types::Value::default());
        message.metadata = Some(metadata);
        assert_eq!(acts_for_itself(&message), Err(Denied::Impersonation));
    }
}
