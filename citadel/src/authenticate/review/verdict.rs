//! Pure. Decides from the API server's response which identity a token proves.

use crate::authenticate::token::{self, Claimed, TokenError};
use api::identity::{SpiffeId, TrustDomain};
use k8s_openapi::api::authentication::v1::TokenReviewStatus;
use std::time::Duration;

/// The requirements that a reviewed token must meet.
#[derive(Debug, Clone)]
pub struct Requirements {
    /// The audience that the API server must confirm.
    pub audience: String,
    /// The trust domain of the identities that tokens prove.
    pub trust_domain: TrustDomain,
    /// Whether tokens that are not bound to a Pod are accepted.
    pub accepts_unbound: bool,
}

/// The identity that a token proves, or why it proves none.
pub type Outcome = Result<SpiffeId, ReviewError>;

/// Returns the identity, if the API server confirms everything that `requirements` name, and nothing that contradicts the
/// token's own claims.
pub fn identity(status: &TokenReviewStatus, requirements: &Requirements, claimed: &Claimed) -> Outcome {
    if status.authenticated != Some(true) {
        return Err(ReviewError::Refused(shortened(status.error.as_deref().unwrap_or_default())));
    }
    // An API server that ignores audiences confirms none, and would accept the token of any other service.
    if !status.audiences.iter().flatten().any(|audience| *audience == requirements.audience) {
        return Err(ReviewError::Audience(requirements.audience.clone()));
    }
    let user = status.user.as_ref();
    let name = user.and_then(|user| user.username.as_deref()).unwrap_or_default();
    let id = token::account_identity(name, &requirements.trust_domain)?;
    // The API server has verified that the Pod exists, has this UID and runs under the account.
    let extra = |name: &str| {
        let values = user.and_then(|user| user.extra.as_ref()).and_then(|extra| extra.get(name));
        values.into_iter().flatten().map(String::as_str).find(|value| !value.is_empty())
    };
    let [pod_name, pod_uid, node_name] = [POD_NAME, POD_UID, NODE_NAME].map(extra);
    let is_bound = pod_name.is_some() && pod_uid.is_some();
    if !is_bound && !requirements.accepts_unbound {
        return Err(ReviewError::Unbound);
    }
    let own = claimed.binding();
    for (what, confirmed, claims) in [
        ("account", Some(name), Some(claimed.subject())),
        ("Pod", pod_name, own.pod_name),
        ("UID of the Pod", pod_uid, own.pod_uid),
        ("node", node_name, own.node_name),
    ] {
        // API servers before 1.30 name no node, and other issuers claim nothing about Pods.
        if confirmed.zip(claims).is_some_and(|(confirmed, claims)| confirmed != claims) {
            return Err(ReviewError::Contradiction(what));
        }
    }
    Ok(id)
}

/// The API server's reason, in one line of limited length.
fn shortened(reason: &str) -> String {
    let line: String =
        reason.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_REASON).collect();
    if line.is_empty() { "it gives no reason".to_owned() } else { line }
}

/// Why a token is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReviewError {
    /// The token is malformed, expired, or names something else than a service account.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The API server does not accept the token.
    #[error("the API server does not accept it: {0}")]
    Refused(String),
    /// The API server does not confirm the audience.
    #[error("the API server does not confirm its audience `{0}`")]
    Audience(String),
    /// The API server confirms something else than the token claims.
    #[error("the API server confirms another {0} than the token names")]
    Contradiction(&'static str),
    /// The token is not bound to a Pod.
    #[error(
        "it is not bound to a Pod; use a projected token, or start citadel with --allow-unbound-tokens if workloads \
         outside of the cluster need tokens"
    )]
    Unbound,
    /// The API server cannot be asked.
    #[error("the API server cannot review it ({0}); try again later")]
    Unavailable(String),
    /// The API server failed shortly before.
    #[error("the API server fails; tokens are reviewed again in {:.1} s", .0.as_secs_f64())]
    Paused(Duration),
    /// Too many tokens are under review.
    #[error("too many tokens are under review; try again later")]
    Busy,
}

impl ReviewError {
    /// Whether the same token may be accepted later.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Paused(_) | Self::Busy)
    }
}

const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";
const NODE_NAME: &str = "authentication.kubernetes.io/node-name";
const MAX_REASON: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::{Value, json};

    const REVIEWS: &str = "spiffe://cluster.local/ns/default/sa/reviews";

    fn checked(change: &Value, accepts_unbound: bool) -> Result<String, String> {
        let mut status = json!({
            "authenticated": true, "audiences": ["istio-ca"],
            "user": {
                "username": "system:serviceaccount:default:reviews",
                "groups": ["system:serviceaccounts", "system:authenticated"],
                "extra": { POD_NAME: ["reviews-0"], "authentication.kubernetes.io/pod-uid": ["1"] },
            },
        });
        for (key, value) in change.as_object().unwrap() {
            status[key] = value.clone();
        }
        let status: TokenReviewStatus = serde_json::from_value(status).unwrap();
        let requirements = Requirements {
            audience: "istio-ca".to_owned(),
            trust_domain: "cluster.local".parse().unwrap(),
            accepts_unbound,
        };
        let claimed = claimed(&json!({}));
        identity(&status, &requirements, &claimed).map(|id| id.to_string()).map_err(|error| error.to_string())
    }

    /// The claims of a token of `reviews`, with these about what it is bound to.
    fn claimed(bound: &Value) -> Claimed {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let claims = json!({
            "iss": "i", "sub": "system:serviceaccount:default:reviews", "aud": "istio-ca", "exp": 9_999_999_999_u64,
            "kubernetes.io": bound,
        });
        let head = json!({"alg": "RS256", "kid": "k"});
        token::claimed(&format!("{}.{}.{}", part(&head), part(&claims), part(&json!("s")))).unwrap()
    }

    #[test]
    fn what_the_api_server_confirms_must_agree_with_the_token() {
        let status = |user: &str| -> TokenReviewStatus {
            let extra = json!({ POD_NAME: ["reviews-0"], POD_UID: ["1"], NODE_NAME: ["n"] });
            let user = json!({ "username": format!("system:serviceaccount:{user}"), "extra": extra });
            let status = json!({ "authenticated": true, "audiences": ["istio-ca"], "user": user });
            serde_json::from_value(status).unwrap()
        };
        let requirements = Requirements {
            audience: "istio-ca".to_owned(),
            trust_domain: "cluster.local".parse().unwrap(),
            accepts_unbound: false,
        };
        let pod = |name: &str, uid: &str| json!({ "pod": { "name": name, "uid": uid } });
        for (user, bound, expected) in [
            ("default:reviews", json!(null), None),
            ("default:reviews", json!({}), None),
            ("default:reviews", pod("reviews-0", "1"), None),
            ("default:reviews", json!({ "node": { "name": "n", "uid": "u" } }), None),
            ("default:reviews", pod("reviews-1", "1"), Some("Pod")),
            ("default:reviews", pod("reviews-0", "2"), Some("UID of the Pod")),
            ("default:reviews", json!({ "node": { "name": "m" } }), Some("node")),
            ("default:ratings", json!({}), Some("account")),
            ("shop:reviews", json!({}), Some("account")),
        ] {
            let outcome = identity(&status(user), &requirements, &claimed(&bound));
            assert_eq!(outcome.err(), expected.map(ReviewError::Contradiction), "{user} {bound}");
        }
    }

    #[test]
    fn the_account_of_a_confirmed_token_is_the_identity() {
        assert_eq!(checked(&json!({}), false).unwrap(), REVIEWS);
        assert_eq!(checked(&json!({ "audiences": ["other", "istio-ca"] }), false).unwrap(), REVIEWS);
    }

    #[test]
    fn nothing_that_the_api_server_does_not_confirm_is_believed() {
        let user = |name: &str| json!({ "user": { "username": name, "extra": { POD_NAME: ["p"], POD_UID: ["1"] } } });
        let table = [
            (json!({ "authenticated": false, "error": "invalid\nbearer token" }), "it: invalid bearer token"),
            (json!({ "authenticated": null }), "it gives no reason"),
            (json!({ "audiences": [] }), "does not confirm its audience `istio-ca`"),
            (json!({ "audiences": null }), "does not confirm its audience `istio-ca`"),
            (json!({ "audiences": ["https://kubernetes.default.svc"] }), "does not confirm its audience"),
            (json!({ "user": null }), "not system:serviceaccount"),
            (user("system:admin"), "not system:serviceaccount"),
            (user("system:serviceaccount:default"), "not system:serviceaccount"),
            (user("system:serviceaccount:default:a:b"), "not system:serviceaccount"),
            (user("system:serviceaccount:default:"), "not system:serviceaccount"),
            (user("system:serviceaccount:a/b:c"), "not system:serviceaccount"),
        ];
        for (change, reason) in table {
            let error = checked(&change, true).unwrap_err();
            assert!(error.contains(reason), "{change}: {error}");
        }
        let long = json!({ "authenticated": false, "error": "x".repeat(10_000) });
        assert!(checked(&long, false).unwrap_err().len() < 400);
    }

    #[test]
    fn a_token_that_is_bound_to_no_pod_needs_the_flag() {
        let user = "system:serviceaccount:default:reviews";
        for extra in [
            json!(null),
            json!({}),
            json!({ POD_NAME: [] }),
            json!({ POD_NAME: [""] }),
            json!({ POD_NAME: ["p"] }),
        ] {
            let unbound = json!({ "user": { "username": user, "extra": extra } });
            assert!(checked(&unbound, false).unwrap_err().contains("--allow-unbound-tokens"), "{unbound}");
            assert_eq!(checked(&unbound, true).unwrap(), REVIEWS);
        }
    }

    #[test]
    fn only_failures_to_ask_are_temporary() {
        for error in [
            ReviewError::Busy,
            ReviewError::Paused(Duration::from_secs(1)),
            ReviewError::Unavailable(String::new()),
        ] {
            assert!(error.is_temporary(), "{error}");
        }
        for error in [
            ReviewError::Unbound,
            ReviewError::Refused(String::new()),
            ReviewError::Audience(String::new()),
            TokenError::Subject(None).into(),
        ] {
            assert!(!error.is_temporary(), "{error}");
        }
    }
}
