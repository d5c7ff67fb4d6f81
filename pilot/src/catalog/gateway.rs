//! Pure. Gateway objects: checked servers with their TLS.

use super::visibility::{Labels, Origin};
use api::model::tls::TlsVersion;

/// A Gateway.
#[derive(Debug, Clone, PartialEq)]
pub struct Gateway {
    /// The object.
    pub origin: Origin,
    /// Labels of the proxies it is for; empty: every gateway.
    pub selector: Labels,
    /// Hosts of the Services whose ports it is for; absent: of all that choose the proxy, and other ports too.
    pub services: Option<Vec<String>>,
    /// What they listen to.
    pub servers: Vec<Server>,
}

/// One port of a gateway.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// Name; may be empty.
    pub name: String,
    /// Port of the gateway's Service; the listener binds its target port.
    pub port: u16,
    /// Name of the port, part of route names.
    pub port_name: String,
    /// What clients speak.
    pub protocol: ServerProtocol,
    /// Clients may speak gRPC-Web.
    pub grpc_web: bool,
    /// Hosts it serves.
    pub hosts: Vec<ServerHost>,
    /// Plain HTTP is answered with a redirect to https.
    pub redirect_to_https: bool,
    /// TLS; absent for HTTP, HTTP2, GRPC and TCP.
    pub tls: Option<ServerTls>,
}

impl Server {
    /// Whether both can have one port: plain HTTP servers share it, and so do those with TLS.
    pub fn listens_as(&self, other: &Self) -> bool {
        let kind = |s: &Self| match s.protocol {
            ServerProtocol::Http => 0,
            ServerProtocol::Https | ServerProtocol::Tls => 1,
            ServerProtocol::Tcp => 2,
        };
        kind(self) == kind(other)
    }
}

/// What clients of a gateway speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ServerProtocol {
    /// HTTP of any version, in plaintext.
    Http,
    /// HTTP of any version over TLS.
    Https,
    /// TLS with opaque content.
    Tls,
    /// Opaque bytes.
    Tcp,
}

/// A host of a server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServerHost {
    /// Namespace that a VirtualService must be in; absent: any.
    pub namespace: Option<String>,
    /// Host, `*` or `*.suffix`, lower case.
    pub host: String,
}

/// TLS of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerTls {
    /// Routed by SNI, not decrypted.
    Passthrough,
    /// Decrypted here.
    Terminate {
        /// The server's certificate.
        certificate: ServerCertificate,
        /// Whether callers show a certificate.
        client: ClientVerification,
        /// Lowest version; absent: 1.2.
        min: Option<TlsVersion>,
        /// Highest version; absent: 1.3.
        max: Option<TlsVersion>,
    },
}

/// Where a server's certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerCertificate {
    /// A Secret of type TLS in the namespace of the gateway's pod.
    Secret(String),
    /// Files of the proxy.
    Files {
        /// PEM chain.
        chain: String,
        /// PEM key.
        key: String,
    },
    /// The workload's own, of the mesh.
    Mesh,
}

/// Whether callers show a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientVerification {
    /// They are not asked.
    None,
    /// Verified with the secret's `ca.crt` (or the secret `<name>-cacert`), or this file.
    Required {
        /// Roots in a file of the proxy; absent: in the server's secret.
        roots_file: Option<String>,
        /// Names callers must have; empty: any.
        subject_alt_names: Vec<String>,
    },
    /// Verified with the mesh's roots.
    Mesh,
}
