//! Pure. Gateway objects in checked form: their servers with TLS settings.

use super::route::GatewayRef;
use super::visibility::{Labels, Origin};
use api::model::tls::TlsVersion;

/// A Gateway.
#[derive(Debug, Clone, PartialEq)]
pub struct Gateway {
    /// The object.
    pub origin: Origin,
    /// The name by which routes refer to it.
    pub reference: GatewayRef,
    /// Labels of the gateway proxies that it applies to; empty: all gateways.
    pub selector: Labels,
    /// Hosts of the Services whose ports it applies to. Absent: the ports of all Services that select the proxy, and
    /// other ports too.
    pub services: Option<Vec<String>>,
    /// The servers that the gateways listen for.
    pub servers: Vec<Server>,
}

/// A server of a gateway: a port with its hosts.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// Name; may be empty.
    pub name: String,
    /// The port of the gateway's Service; the listener binds the target port.
    pub port: u16,
    /// Name of the port; part of route names.
    pub port_name: String,
    /// Its field in the object.
    pub field: String,
    /// The protocol that clients use.
    pub protocol: ServerProtocol,
    /// Whether clients may use gRPC-Web.
    pub grpc_web: bool,
    /// The hosts that it serves.
    pub hosts: Vec<ServerHost>,
    /// Whether plain HTTP requests get a redirect to HTTPS.
    pub redirect_to_https: bool,
    /// TLS settings; absent for HTTP, HTTP2, GRPC and TCP.
    pub tls: Option<ServerTls>,
}

impl Server {
    /// Whether two servers can share a port: plain HTTP servers can, and servers with TLS can.
    pub fn listens_as(&self, other: &Self) -> bool {
        let kind = |s: &Self| match s.protocol {
            ServerProtocol::Http => 0,
            ServerProtocol::Https | ServerProtocol::Tls => 1,
            ServerProtocol::Tcp => 2,
        };
        kind(self) == kind(other)
    }
}

/// The protocol of a gateway's clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ServerProtocol {
    /// HTTP of any version, in plaintext.
    Http,
    /// HTTP of any version over TLS.
    Https,
    /// TLS with opaque payload.
    Tls,
    /// Opaque bytes.
    Tcp,
}

/// A host that a server serves.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServerHost {
    /// Namespace that VirtualServices for this host must be in; absent: any.
    pub namespace: Option<String>,
    /// Host, `*` or `*.suffix`, in lower case.
    pub host: String,
}

/// TLS settings of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerTls {
    /// Connections are routed by SNI and not decrypted.
    Passthrough,
    /// The gateway terminates TLS.
    Terminate {
        /// The server's certificate.
        certificate: ServerCertificate,
        /// Whether clients must present a certificate.
        client: ClientVerification,
        /// Minimum TLS version; absent: 1.2.
        min: Option<TlsVersion>,
        /// Maximum TLS version; absent: 1.3.
        max: Option<TlsVersion>,
    },
}

/// Where a server's certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerCertificate {
    /// A Secret of type TLS in the namespace of the gateway's pod.
    Secret(String),
    /// Files in the proxy's file system.
    Files {
        /// PEM chain.
        chain: String,
        /// PEM key.
        key: String,
    },
    /// The workload certificate that the mesh issues.
    Mesh,
}

/// Whether clients must present a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientVerification {
    /// No client certificate is requested.
    None,
    /// Verified with the roots in the server's Secret (`ca.crt`, or the Secret `<name>-cacert`), or in a file.
    Required {
        /// File of the proxy with the roots; absent: the server's Secret has them.
        roots_file: Option<String>,
        /// Subject alternative names that clients may present; empty: any.
        subject_alt_names: Vec<String>,
    },
    /// Verified with the mesh's roots.
    Mesh,
}
