//! Pure. Decides from the API server's response which identity a token proves.

use crate::authenticate::token::{self, TokenError};
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

/// Returns the identity, if the API server confirms everything that `requirements` name.
pub fn identity(status: &TokenReviewStatus, requirements: &Requirements) -> Outcome {
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
    let pod = user.and_then(|user| user.extra.as_ref()).and_then(|extra| extra.get(POD_NAME));
    let is_bound = pod.into_iter().flatten().any(|name| !name.is_empty());
    if !is_bound && !requirements.accepts_unbound {
        return Err(ReviewError::Unbound);
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
const MAX_REASON: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;
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
        identity(&status, &requirements).map(|id| id.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_account_of_a_confirmed_token_is_the_identity() {
        assert_eq!(checked(&json!({}), false).unwrap(), REVIEWS);
        assert_eq!(checked(&json!({ "audiences": ["other", "istio-ca"] }), false).unwrap(), REVIEWS);
    }

    #[test]
    fn nothing_that_the_api_server_does_not_confirm_is_believed() {
        let user = |name: &str| json!({ "user": { "username": name, "extra": { POD_NAME: ["p"] } } });
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
        for extra in [json!(null), json!({}), json!({ POD_NAME: [] }), json!({ POD_NAME: [""] })] {
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
