//! Pure. Values that pass between the stages of pilot.

use api::resource::document::{Key, Place, Refusal};
use api::resource::object::Document;
use api::resource::verdict::Version;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// What a port speaks, as its `appProtocol` or the prefix of its name says (Istio's rules).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// HTTP/1.1 (also WebSocket and `http_proxy`).
    Http,
    /// HTTP/2 with prior knowledge.
    Http2,
    /// gRPC.
    Grpc,
    /// gRPC, which clients may speak as gRPC-Web.
    GrpcWeb,
    /// TLS, routed by SNI.
    Https,
    /// TLS, routed by SNI.
    Tls,
    /// Opaque bytes; also mongo, redis, mysql and the well-known server-first ports.
    Tcp,
    /// Not captured.
    Udp,
    /// Not declared: found out from the first bytes.
    Sniffed,
}

impl Protocol {
    /// HTTP of any version.
    pub fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Http2 | Self::Grpc | Self::GrpcWeb)
    }

    /// HTTP/2 is spoken.
    pub fn is_http2(self) -> bool {
        matches!(self, Self::Http2 | Self::Grpc | Self::GrpcWeb)
    }

    /// TLS that is passed through.
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::Tls)
    }
}

/// Which callers a workload's port takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum MtlsMode {
    /// Plaintext only.
    Disable,
    /// mTLS and plaintext.
    #[default]
    Permissive,
    /// mTLS only.
    Strict,
}

/// What decides which configuration a proxy gets. All of it comes from the proxy's Pod and its certificate; what a
/// proxy says about itself only tells which Pod it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Scope {
    /// Sidecar or gateway.
    pub gateway: bool,
    /// Pod name, as the proxy claims it.
    pub pod: String,
    /// Namespace of the pod.
    pub namespace: String,
    /// The Pod of that name is in force, and the proxy's certificate and address are those of the Pod. Without it the
    /// proxy gets no inbound configuration and no secret.
    pub proven: bool,
    /// Addresses of the Pod.
    pub addresses: Vec<IpAddr>,
    /// Labels of the Pod; empty where none is in force that agrees with the proxy.
    pub labels: BTreeMap<String, String>,
    /// Its Pod asks for HTTP/1.0.
    pub http_10: bool,
    /// Service account of the pod, as its certificate says; empty on the plaintext port.
    pub service_account: String,
    /// The proxy knows Istio's own filters (its node lists them).
    pub istio_extensions: bool,
}

impl Scope {
    /// Whether the pod has an IPv6 address that others reach.
    pub fn ipv6(&self) -> bool {
        self.addresses.iter().any(|address| matches!(address, IpAddr::V6(ip) if !ip.is_unicast_link_local()))
    }
}

/// What a source has learned of one object.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    /// It is there, or has another content.
    Upsert(Document),
    /// It is gone.
    Delete(Key),
    /// A file in which something could not be read is in order again, or gone.
    Readable(Place),
    /// Something was found that cannot be read. If it has a key, that object's last good version stays.
    Refused(Refusal),
}

/// What became of an object that a source told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The object, when its name is known.
    pub key: Option<Key>,
    /// Where it stands.
    pub place: Place,
    /// The version that was looked at; empty where nothing could be read.
    pub version: Version,
    /// Why it is refused; empty: it is in force.
    pub errors: Vec<Refusal>,
    /// What is odd about it.
    pub warnings: Vec<Refusal>,
    /// The object is gone.
    pub gone: bool,
}

impl Verdict {
    /// Nothing was found about what stands at a place.
    pub fn clean(key: Option<Key>, place: Place) -> Self {
        Self { key, place, version: Version::default(), errors: vec![], warnings: vec![], gone: false }
    }

    /// The object is in force as it stands there.
    pub fn accepted(&self) -> bool {
        self.errors.is_empty() && !self.gone
    }
}
