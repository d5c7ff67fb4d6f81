//! Pure. The values that pass between pilot's stages.

use api::resource::document::{Key, Place, Refusal};
use api::resource::kind::refused::{self, Refused};
use api::resource::object::Document;
use api::resource::verdict::Version;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The protocol of a port, from its `appProtocol` or the prefix of its name (Istio's rules).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// HTTP/1.1 (also for WebSocket and `http_proxy`).
    Http,
    /// HTTP/2 with prior knowledge.
    Http2,
    /// gRPC.
    Grpc,
    /// gRPC; clients may also use gRPC-Web.
    GrpcWeb,
    /// TLS, routed by SNI.
    Https,
    /// TLS, routed by SNI.
    Tls,
    /// Opaque bytes; also mongo, redis, mysql and the well-known ports of server-first protocols.
    Tcp,
    /// UDP, which is not captured.
    Udp,
    /// Not declared; detected from the first bytes.
    Sniffed,
}

impl Protocol {
    /// Whether the protocol is HTTP of any version.
    pub fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Http2 | Self::Grpc | Self::GrpcWeb)
    }

    /// Whether the protocol is HTTP/2.
    pub fn is_http2(self) -> bool {
        matches!(self, Self::Http2 | Self::Grpc | Self::GrpcWeb)
    }

    /// Whether the protocol is TLS, which is passed through.
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::Tls)
    }
}

/// The mTLS mode of a workload's port: which connections it accepts.
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

/// The inputs that decide a proxy's configuration. All come from the proxy's Pod and its certificate; what the proxy
/// says about itself is used only to find the Pod.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Scope {
    /// Whether it is a gateway rather than a sidecar.
    pub gateway: bool,
    /// Pod name that the proxy claims.
    pub pod: String,
    /// Namespace of the pod.
    pub namespace: String,
    /// Whether the named Pod is in force and matches the proxy's certificate and address. If not, the proxy gets no
    /// inbound configuration and no secrets.
    pub proven: bool,
    /// Addresses of the pod.
    pub addresses: Vec<IpAddr>,
    /// Labels of the pod; empty if no matching Pod is in force.
    pub labels: BTreeMap<String, String>,
    /// Whether the pod enables HTTP/1.0.
    pub http_10: bool,
    /// Service account from the proxy's certificate; empty on the plaintext port.
    pub service_account: String,
    /// Whether the proxy supports Istio's own filters, which its node lists.
    pub istio_extensions: bool,
}

impl Scope {
    /// Whether the pod has a reachable IPv6 address.
    pub fn ipv6(&self) -> bool {
        self.addresses.iter().any(|address| matches!(address, IpAddr::V6(ip) if !ip.is_unicast_link_local()))
    }
}

/// What a source has learned about one object.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    /// The object was added or changed.
    Upsert(Document),
    /// The object was removed.
    Delete(Key),
    /// A file that was partly unreadable is readable again, or was removed.
    Readable(Place),
    /// The facts of all objects that exist at the beginning have been sent.
    Synced,
    /// Something cannot be parsed. If the refusal has a key, that object's last good version stays in force.
    Refused(Refusal),
    /// This version of an object of a cluster cannot be parsed, for all of these reasons.
    Unparsable(Version, Vec<Refusal>),
    /// An object of a kind that this version does not support exists in this version; `None`: it was removed.
    Unsupported(Unsupported, Option<Version>),
}

/// An object of a kind of Istio that this version does not support, of which only the metadata is read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unsupported {
    /// API group.
    pub group: &'static str,
    /// Kind.
    pub kind: &'static str,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl Unsupported {
    /// An object of a refused kind.
    pub fn new(kind: &Refused, namespace: &str, name: &str) -> Self {
        let (group, kind) = (kind.descriptor.group, kind.descriptor.kind);
        Self { group, kind, namespace: namespace.to_owned(), name: name.to_owned() }
    }

    /// Why it has no effect, and what to do instead.
    pub fn refusal(&self) -> Refusal {
        let kind = refused::find(self.group, self.kind);
        Refusal {
            object: format!("{} {}/{}", self.kind, self.namespace, self.name),
            path: "kind".into(),
            reason: kind.map(Refused::reason).unwrap_or_default(),
            next: kind.map_or("", |kind| kind.instead).into(),
            ..Refusal::default()
        }
    }
}

/// The result of validating an object from a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The object; `None` if its name is unknown.
    pub key: Option<Key>,
    /// The file and line, or the cluster, where it was read.
    pub place: Place,
    /// The version that was validated; empty if nothing could be parsed.
    pub version: Version,
    /// The reasons why it is refused; empty if it is in force.
    pub errors: Vec<Refusal>,
    /// The warnings about it.
    pub warnings: Vec<Refusal>,
    /// Whether the object was removed.
    pub gone: bool,
}

impl Verdict {
    /// A verdict without findings.
    pub fn clean(key: Option<Key>, place: Place) -> Self {
        Self { key, place, version: Version::default(), errors: vec![], warnings: vec![], gone: false }
    }

    /// Whether this version of the object is in force.
    pub fn accepted(&self) -> bool {
        self.errors.is_empty() && !self.gone
    }
}
