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
    let dns_names = account
        .and_then(|(namespace, account)| policy.dns_names.get(&(namespace.to_owned(), account.to_owned())))
        .cloned()
        .unwrap_or_default();
    Ok(Permit { id: caller.id.clone(), dns_names, ttl })
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

#[cfg(test)]
mod tests {
    use super::*;
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
