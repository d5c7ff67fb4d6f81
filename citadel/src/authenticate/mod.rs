//! Authenticates the client of a request: by its current certificate, from the connection itself, or by a token, which
//! the keys of its issuer verify or the API server. The certificate takes precedence: it is bound to a key that the client has just used, while a
//! token can be copied; and a machine whose token has expired can still renew.
//!
//! A certificate is verified on each request against the roots in force, since a connection may be older than they
//! are.

pub mod review;
pub mod token;

use crate::authenticate::review::Reviewer;
use crate::authenticate::review::verdict::ReviewError;
use crate::authenticate::token::{TokenError, TokenPolicy};
use crate::flow::{Caller, Method};
use crate::jwks::Keys;
use crate::root::Root;
use api::identity::{SpiffeId, peer_identity};
use api::jws::key_set::KeyError;
use api::process::serve::Peer;
use rustls::CertificateError::{Expired, ExpiredContext};
use rustls_pki_types::UnixTime;
use std::time::Duration;
use time::OffsetDateTime;

/// The credentials of a request.
#[derive(Debug, Clone, Copy)]
pub struct Credentials<'a> {
    /// The peer of the connection.
    pub peer: &'a Peer,
    /// The `authorization` header.
    pub authorization: Option<&'a str>,
}

/// The ways to verify tokens. Without any, every token is refused.
#[derive(Clone, Default)]
pub struct Verifiers {
    /// Verifies the tokens of one issuer by its keys.
    pub keys: Option<(Keys, TokenPolicy)>,
    /// Verifies all others with the API server.
    pub reviewer: Option<Reviewer>,
}

/// Returns the identity that the credentials prove.
pub async fn caller(
    credentials: Credentials<'_>,
    root: &Root,
    verifiers: &Verifiers,
    now: OffsetDateTime,
) -> Result<Caller, AuthenticationError> {
    if !credentials.peer.certificates.is_empty() {
        match by_certificate(credentials.peer, root, now) {
            Ok(id) => return Ok(Caller { id, method: Method::Certificate }),
            Err(refusal) if credentials.authorization.is_none() => return Err(refusal),
            // The token is an independent proof, so it is tried too.
            Err(_) => {}
        }
    }
    let header = credentials.authorization.ok_or(AuthenticationError::Missing)?;
    let token = bearer(header).ok_or(AuthenticationError::NotBearer)?;
    let id = by_token(token, verifiers, now).await?;
    Ok(Caller { id, method: Method::Token })
}

/// The identity that a token proves. The issuer that the token names only decides who verifies it.
async fn by_token(
    token: &str,
    verifiers: &Verifiers,
    now: OffsetDateTime,
) -> Result<SpiffeId, AuthenticationError> {
    let (keys, policy) = match (&verifiers.keys, &verifiers.reviewer) {
        (None, None) => return Err(AuthenticationError::NoTokens),
        (Some((_, policy)), Some(reviewer)) if token::claimed(token)?.issuer() != policy.issuer => {
            return Ok(reviewer.review(token, now).await?);
        }
        (None, Some(reviewer)) => return Ok(reviewer.review(token, now).await?),
        (Some((keys, policy)), _) => (keys, policy),
    };
    let checked = match token::verify(token, &keys.current(), policy, now) {
        Err(TokenError::Key(KeyError::Unknown)) => {
            token::verify(token, &*keys.refreshed().await, policy, now)
        }
        checked => checked,
    };
    Ok(checked?)
}

fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The identity in the connection's client certificate, if the certificate is still valid.
fn by_certificate(peer: &Peer, root: &Root, now: OffsetDateTime) -> Result<SpiffeId, AuthenticationError> {
    let seconds = u64::try_from(now.unix_timestamp()).unwrap_or_default();
    let at = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    root.verify_client(&peer.certificates, at).map_err(|error| match error {
        rustls::Error::InvalidCertificate(Expired | ExpiredContext { .. }) => {
            AuthenticationError::CertificateExpired
        }
        error => AuthenticationError::CertificateUntrusted(error.to_string()),
    })?;
    let leaf = peer.certificates.first().ok_or(AuthenticationError::Missing)?;
    peer_identity(leaf).map_err(|error| AuthenticationError::CertificateUntrusted(error.to_string()))
}

/// Why authentication fails.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthenticationError {
    /// The client presents neither a certificate nor a token.
    #[error("the caller presents neither a client certificate nor an authorization header with a token")]
    Missing,
    /// The header is not a bearer token.
    #[error("the authorization header is not of the form `Bearer TOKEN`")]
    NotBearer,
    /// The client certificate has expired since the connection was opened.
    #[error("the certificate of this connection has expired; connect again with a token")]
    CertificateExpired,
    /// The root of the client certificate was removed since the connection was opened.
    #[error(
        "the certificate of this connection is not trusted by the current roots ({0}); connect again with a token"
    )]
    CertificateUntrusted(String),
    /// The token is not valid.
    #[error("the token is refused")]
    Token(#[from] TokenError),
    /// The API server does not confirm the token.
    #[error("the token is refused")]
    Review(#[from] ReviewError),
    /// Nothing verifies tokens.
    #[error("tokens are not accepted here; connect with a certificate")]
    NoTokens,
}

#[cfg(test)]
mod tests;
