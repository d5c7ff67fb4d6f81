//! Pure. Verifies a Kubernetes service-account token: a compact JWS of the configured issuer, for this audience,
//! within its validity, whose subject is a service account. The signature is verified before anything that the token
//! says about itself is used.

use api::identity::{IdentityError, SpiffeId, TrustDomain};
use api::jws::algorithm::Algorithm;
use api::jws::key_set::{KeyError, KeySet};
use api::jws::{Compact, CompactError};
use serde::Deserialize;
use std::time::Duration;
use time::OffsetDateTime;

/// The requirements that a token must meet.
#[derive(Debug, Clone)]
pub struct TokenPolicy {
    /// The issuer, compared as text.
    pub issuer: String,
    /// The audience that the token must list.
    pub audience: String,
    /// The trust domain of the identities that tokens prove.
    pub trust_domain: TrustDomain,
}

/// Verifies a token and returns the identity that it proves.
pub fn verify(
    token: &str,
    keys: &KeySet,
    policy: &TokenPolicy,
    now: OffsetDateTime,
) -> Result<SpiffeId, TokenError> {
    let token = parse(token)?;
    token.verify(keys, ALGORITHMS)?;
    check(&claims(&token)?, policy, now)
}

/// The claims of a token whose signature is not verified: good enough to refuse it or to choose who verifies it, never
/// to accept it.
pub struct Claimed(Claims);

/// Reads the claims of a token without verifying it.
pub fn claimed(token: &str) -> Result<Claimed, TokenError> {
    claims(&parse(token)?).map(Claimed)
}

impl Claimed {
    /// The issuer that the token names.
    pub fn issuer(&self) -> &str {
        &self.0.iss
    }

    /// The user name of the account that the token names.
    pub fn subject(&self) -> &str {
        &self.0.sub
    }

    /// What the token is bound to, as it says.
    pub fn binding(&self) -> Binding<'_> {
        let bound = self.0.kubernetes.as_ref();
        let [pod, node] = [bound.and_then(|b| b.pod.as_ref()), bound.and_then(|b| b.node.as_ref())];
        Binding {
            pod_name: pod.map(|pod| pod.name.as_str()),
            pod_uid: pod.map(|pod| pod.uid.as_str()),
            node_name: node.map(|node| node.name.as_str()),
        }
    }

    /// Returns the rest of the token's lifetime, or why no verification could accept it.
    pub fn lifetime(&self, audience: &str, now: OffsetDateTime) -> Result<Duration, TokenError> {
        if !self.0.aud.contains(audience) {
            return Err(TokenError::Audience(audience.to_owned()));
        }
        let left = self.0.exp - now.unix_timestamp() as f64;
        if left <= 0.0 {
            return Err(TokenError::Time("it has expired"));
        }
        Ok(Duration::try_from_secs_f64(left).unwrap_or(Duration::MAX))
    }
}

/// The objects that a token is bound to. `None`: to none of this kind, or its issuer does not say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Binding<'a> {
    /// Name of the Pod.
    pub pod_name: Option<&'a str>,
    /// UID of the Pod.
    pub pod_uid: Option<&'a str>,
    /// Name of the node that the Pod runs on.
    pub node_name: Option<&'a str>,
}

fn parse(token: &str) -> Result<Compact<'_>, TokenError> {
    if token.len() > MAX_TOKEN {
        return Err(TokenError::Malformed("it is longer than 16 KiB"));
    }
    let token = Compact::parse(token)?;
    if !token
        .header
        .typ
        .as_deref()
        .is_none_or(|typ| ["jwt", "jose"].contains(&typ.to_ascii_lowercase().as_str()))
    {
        return Err(TokenError::Malformed("its type is neither JWT nor JOSE"));
    }
    Ok(token)
}

fn claims(token: &Compact<'_>) -> Result<Claims, TokenError> {
    serde_json::from_slice(&token.payload)
        .map_err(|_| TokenError::Malformed("its claims part lacks a required field or is not JSON"))
}

fn check(claims: &Claims, policy: &TokenPolicy, now: OffsetDateTime) -> Result<SpiffeId, TokenError> {
    if claims.iss != policy.issuer {
        return Err(TokenError::Issuer { found: claims.iss.clone(), expected: policy.issuer.clone() });
    }
    if !claims.aud.contains(&policy.audience) {
        return Err(TokenError::Audience(policy.audience.clone()));
    }
    let now = now.unix_timestamp() as f64;
    if claims.exp <= now {
        return Err(TokenError::Time("it has expired"));
    }
    if [claims.nbf, claims.iat].into_iter().flatten().any(|from| from > now + SKEW_SECONDS) {
        return Err(TokenError::Time("it is not valid yet"));
    }
    account_identity(&claims.sub, &policy.trust_domain)
}

/// The identity of a service account by its user name, `system:serviceaccount:NAMESPACE:NAME`.
pub fn account_identity(user: &str, trust_domain: &TrustDomain) -> Result<SpiffeId, TokenError> {
    let account = user.strip_prefix(SUBJECT).and_then(|rest| rest.split_once(':'));
    let Some((namespace, account)) = account else {
        return Err(TokenError::Subject(None));
    };
    SpiffeId::workload(trust_domain, namespace, account).map_err(|error| TokenError::Subject(Some(error)))
}

/// Why a token is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The token does not have the required form.
    #[error("it cannot be read: {0}")]
    Malformed(&'static str),
    /// The token is not a compact JWS.
    #[error("it cannot be read: {0}")]
    Compact(#[from] CompactError),
    /// The signature is not valid.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Another issuer issued the token.
    #[error("its issuer is `{found}`, not `{expected}`")]
    Issuer {
        /// The issuer in the token.
        found: String,
        /// The configured issuer.
        expected: String,
    },
    /// The token was issued for another audience.
    #[error("its audience is not `{0}`")]
    Audience(String),
    /// The token is used outside its validity.
    #[error("{0}")]
    Time(&'static str),
    /// The subject is not a service account.
    #[error("its subject is not system:serviceaccount:NAMESPACE:NAME")]
    Subject(#[source] Option<IdentityError>),
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    exp: f64,
    nbf: Option<f64>,
    iat: Option<f64>,
    #[serde(rename = "kubernetes.io")]
    kubernetes: Option<Bound>,
}

#[derive(Deserialize)]
struct Bound {
    pod: Option<Reference>,
    node: Option<Reference>,
}

#[derive(Deserialize)]
struct Reference {
    name: String,
    #[serde(default)]
    uid: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    fn contains(&self, audience: &str) -> bool {
        match self {
            Self::One(one) => one == audience,
            Self::Many(many) => many.iter().any(|one| one == audience),
        }
    }
}

const SUBJECT: &str = "system:serviceaccount:";
/// The signature algorithms of Kubernetes and other issuers of service-account tokens.
const ALGORITHMS: &[Algorithm] = &[
    Algorithm::Rs256,
    Algorithm::Rs384,
    Algorithm::Rs512,
    Algorithm::Ps256,
    Algorithm::Ps384,
    Algorithm::Ps512,
    Algorithm::Es256,
    Algorithm::Es384,
];
const MAX_TOKEN: usize = 16 * 1024;
/// How far the issuer's clock may be ahead of the local one.
const SKEW_SECONDS: f64 = 60.0;

#[cfg(test)]
mod tests;
