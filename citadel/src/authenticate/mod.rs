//! Who is the caller? Either its current certificate tells, on the connection itself, or a token of the configured
//! issuer does. A certificate goes first: it is bound to a key that the caller has just used, while a token can be
//! copied; and a machine whose token has expired can still renew.

pub mod token;

use crate::authenticate::token::{TokenError, TokenPolicy};
use crate::flow::{Caller, Method};
use crate::jwks::Keys;
use crate::jwks::set::KeyError;
use api::process::serve::Peer;
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

/// What a caller brings.
#[derive(Debug, Clone, Copy)]
pub struct Credentials<'a> {
    /// The connection's other end.
    pub peer: &'a Peer,
    /// The `authorization` header.
    pub authorization: Option<&'a str>,
}

/// The caller that the credentials prove.
pub async fn caller(
    credentials: Credentials<'_>,
    keys: &Keys,
    policy: &TokenPolicy,
    now: OffsetDateTime,
) -> Result<Caller, AuthenticationError> {
    if let Some(id) = &credentials.peer.identity {
        // The handshake checked the time, but a connection can outlive the certificate that opened it.
        if still_valid(credentials.peer, now) {
            return Ok(Caller { id: id.clone(), method: Method::Certificate });
        }
        if credentials.authorization.is_none() {
            return Err(AuthenticationError::CertificateExpired);
        }
    }
    let header = credentials.authorization.ok_or(AuthenticationError::Missing)?;
    let token = bearer(header).ok_or(AuthenticationError::NotBearer)?;
    let known = keys.current();
    let checked = match token::verify(token, &known, policy, now) {
        Err(TokenError::Key(KeyError::Unknown)) => {
            token::verify(token, &*keys.refreshed().await, policy, now)
        }
        checked => checked,
    };
    Ok(Caller { id: checked?, method: Method::Token })
}

fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn still_valid(peer: &Peer, now: OffsetDateTime) -> bool {
    let leaf = peer.certificates.first().and_then(|der| X509Certificate::from_der(der).ok());
    leaf.is_some_and(|(_, leaf)| leaf.validity().not_after.to_datetime() > now)
}

/// Why nobody is proven.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthenticationError {
    /// Neither a certificate nor a token.
    #[error("the caller shows neither a client certificate nor an authorization header with a token")]
    Missing,
    /// The header holds something else.
    #[error("the authorization header is not of the form `Bearer TOKEN`")]
    NotBearer,
    /// The connection has outlived its certificate.
    #[error("the certificate of this connection has expired; connect again with a token")]
    CertificateExpired,
    /// The token proves nothing.
    #[error("the token is refused")]
    Token(#[from] TokenError),
}
