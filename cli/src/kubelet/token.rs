//! Pure. Service account tokens as Kubernetes projects them: claims, time of renewal, and the published key set.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// The issuer of the tokens.
pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// The subject of a token.
#[derive(Debug, Clone, Default)]
pub struct Subject {
    /// Namespace.
    pub namespace: String,
    /// Service account.
    pub account: String,
    /// Name and uid of the pod, for a token of a pod.
    pub pod: Option<(String, String)>,
}

/// Signing with the key failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a token cannot be signed")]
pub struct UnsignedToken;

/// The claims of a token.
pub fn claims(subject: &Subject, audience: &str, now: u64, lifetime: u64) -> Value {
    let mut kubernetes = json!({
        "namespace": subject.namespace,
        "serviceaccount": {"name": subject.account, "uid": format!("{}-{}", subject.namespace, subject.account)},
    });
    if let Some((name, uid)) = &subject.pod {
        kubernetes["pod"] = json!({"name": name, "uid": uid});
    }
    json!({
        "iss": ISSUER,
        "sub": format!("system:serviceaccount:{}:{}", subject.namespace, subject.account),
        "aud": [audience],
        "iat": now,
        "nbf": now,
        "exp": now + lifetime,
        "kubernetes.io": kubernetes,
    })
}

/// The part of a token that is signed.
pub fn signing_input(key_id: &str, claims: &Value) -> String {
    let header = json!({"alg": "ES256", "typ": "JWT", "kid": key_id});
    format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()))
}

/// Joins the signed part and the signature to a token.
pub fn assemble(input: &str, signature: &[u8]) -> String {
    format!("{input}.{}", encode(signature))
}

/// The JSON Web Key Set of a P-256 key, which is given as an uncompressed point.
pub fn key_set(key_id: &str, point: &[u8]) -> Option<Value> {
    let [4, coordinates @ ..] = point else { return None };
    let (x, y) = coordinates.split_at_checked(32)?;
    Some(json!({"keys": [{
        "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": key_id, "x": encode(x), "y": encode(y),
    }]}))
}

/// The age in seconds at which a token of this lifetime is replaced.
pub fn renewal(lifetime: u64) -> u64 {
    lifetime * 4 / 5
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_name_account_pod_and_audience() {
        let subject = Subject {
            namespace: "default".into(),
            account: "reviews".into(),
            pod: Some(("reviews-1".into(), "uid".into())),
        };
        let claims = claims(&subject, "istio-ca", 100, 3600);
        assert_eq!(claims["sub"], "system:serviceaccount:default:reviews");
        assert_eq!(claims["aud"][0], "istio-ca");
        assert_eq!(claims["exp"], 3700);
        assert_eq!(claims["kubernetes.io"]["pod"]["name"], "reviews-1");
    }

    #[test]
    fn a_key_set_needs_an_uncompressed_point() {
        let point: Vec<u8> = std::iter::once(4).chain([7; 64]).collect();
        assert_eq!(key_set("k", &point).unwrap()["keys"][0]["crv"], "P-256");
        assert_eq!(key_set("k", &[2; 33]), None);
    }
}
