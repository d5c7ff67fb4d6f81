//! Everything that the requests of a run share, built once from the command line.

use std::time::Duration;

use bytes::Bytes;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method};
use rustls_pki_types::ServerName;
use tokio_rustls::TlsConnector;

use crate::client::tls::{self, TlsError};
use crate::config::{ClientOptions, GrpcMethod};
use crate::target::{Protocol, Target};

/// The plan of a run.
pub(super) struct Plan {
    pub(super) target: Target,
    pub(super) host: String,
    pub(super) port: u16,
    /// The authority of the URL, or of a `host` header.
    pub(super) authority: Authority,
    pub(super) tls: Option<(TlsConnector, ServerName<'static>)>,
    pub(super) http2: bool,
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    pub(super) data: Option<Bytes>,
    pub(super) messages: u32,
    pub(super) grpc: GrpcMethod,
    pub(super) new_connection: bool,
    pub(super) timeout: Duration,
    /// Texts that a successful response contains.
    pub(super) expect: Vec<String>,
    /// Texts that a successful response does not contain.
    pub(super) expect_not: Vec<String>,
}

/// Why a run cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// TLS cannot be set up.
    #[error("cannot set up TLS")]
    Tls(#[source] TlsError),
    /// The name to verify is invalid.
    #[error("{0:?} cannot be verified in a certificate; give a DNS name or address with --server-name")]
    ServerName(String),
    /// The value of a `host` header is not a host.
    #[error("header host: {0:?} is not a host")]
    Host(String),
}

impl Plan {
    /// Builds the plan from `options`.
    pub(super) fn of(options: &ClientOptions) -> Result<Self, ClientError> {
        let target = options.url.clone();
        let (host, port) = options.connect.clone().unwrap_or_else(|| (target.host.clone(), target.port));
        let http2 = options.http2 || target.protocol == Protocol::Grpc;
        let tls = if target.tls { Some(secure(options, &target, http2)?) } else { None };
        let mut headers: HeaderMap = HeaderMap::new();
        for (name, value) in &options.headers {
            headers.append(name, value.clone());
        }
        let authority = match headers.remove(http::header::HOST) {
            None => target.authority.clone(),
            Some(host) => named(&host)?,
        };
        let usual = if options.data.is_some() { Method::POST } else { Method::GET };
        let method = if options.stream.is_some() { GrpcMethod::Chat } else { GrpcMethod::Echo };
        Ok(Self {
            target,
            host,
            port,
            authority,
            tls,
            http2,
            method: options.method.clone().unwrap_or(usual),
            headers,
            data: options.data.clone().map(Bytes::from),
            messages: options.stream.unwrap_or(1),
            grpc: options.grpc.unwrap_or(method),
            new_connection: options.new_connection,
            timeout: options.timeout,
            expect: options.expect.clone(),
            expect_not: options.expect_not.clone(),
        })
    }

    /// Why a response with a successful status is not the expected one.
    pub(super) fn surprise(&self, text: &str) -> Option<String> {
        let missing = self.expect.iter().find(|part| !text.contains(part.as_str()));
        let unwanted = self.expect_not.iter().find(|part| text.contains(part.as_str()));
        missing
            .map(|part| format!("a response without {part:?}"))
            .or_else(|| unwanted.map(|part| format!("a response with {part:?}")))
    }

    /// The message to send: the given data, or a default text.
    pub(super) fn message(&self) -> Bytes {
        self.data.clone().unwrap_or_else(|| Bytes::from_static(b"hello"))
    }
}

fn secure(
    options: &ClientOptions,
    target: &Target,
    http2: bool,
) -> Result<(TlsConnector, ServerName<'static>), ClientError> {
    let alpn: &[&[u8]] = match target.protocol {
        Protocol::Tcp | Protocol::TcpServerFirst => &[],
        _ if http2 => &[b"h2"],
        _ => &[b"http/1.1"],
    };
    let name = options.server_name.clone().unwrap_or_else(|| target.host.clone());
    let verified = ServerName::try_from(name.clone()).map_err(|_| ClientError::ServerName(name))?;
    Ok((tls::connector(options, alpn).map_err(ClientError::Tls)?, verified))
}

fn named(host: &HeaderValue) -> Result<Authority, ClientError> {
    Authority::try_from(host.as_bytes())
        .map_err(|_| ClientError::Host(String::from_utf8_lossy(host.as_bytes()).into_owned()))
}
