//! Pure. The mesh's mTLS settings: Istio's ALPN values and the TLS contexts of both sides.

use api::model::matcher::StringMatch;
use api::model::tls::{
    CertificateSource, DownstreamTls, RootSource, SanKind, SanMatch, TlsParameters, UpstreamTls, Validation,
};
use api::name::{WORKLOAD_CERTIFICATE, WORKLOAD_ROOTS};

/// ALPN values of mesh clients that use HTTP.
pub(super) const MESH_HTTP_ALPN: &[&str] = &["istio-http/1.0", "istio-http/1.1", "istio-h2"];
/// ALPN values of mesh clients that use other protocols.
pub(super) const MESH_TCP_ALPN: &[&str] = &["istio-peer-exchange", "istio"];
/// ALPN values of all mesh clients.
pub(super) const MESH_ALPN: &[&str] =
    &["istio", "istio-peer-exchange", "istio-http/1.0", "istio-http/1.1", "istio-h2"];
/// ALPN values that a client offers for HTTP/1.1, as with Istio's ALPN filter.
pub(super) const CALLER_HTTP1_ALPN: &[&str] = &["istio-http/1.1", "istio", "http/1.1"];
/// ALPN values that a client offers for HTTP/2, as with Istio's ALPN filter.
pub(super) const CALLER_HTTP2_ALPN: &[&str] = &["istio-h2", "istio", "h2"];
/// ALPN values that a client offers for opaque bytes.
pub(super) const CALLER_TCP_ALPN: &[&str] = &["istio"];
/// The HTTP inspector's protocol names for plaintext HTTP.
const PLAIN_HTTP: &[&str] = &["http/1.1", "h2c"];
/// The same, for proxies that accept HTTP/1.0. Other proxies would only reject HTTP/1.0, so they let it pass as opaque
/// bytes.
const PLAIN_HTTP_10: &[&str] = &["http/1.0", "http/1.1", "h2c"];

/// Returns the HTTP inspector's protocol names for the plaintext HTTP that a proxy accepts.
pub(super) fn plain_http(http_10: bool) -> &'static [&'static str] {
    if http_10 { PLAIN_HTTP_10 } else { PLAIN_HTTP }
}

/// The server's mTLS context: the workload's certificate, and verification of clients in this trust domain.
pub(super) fn server(trust_domain: &str, http: bool) -> DownstreamTls {
    // Never "istio": clients would take the server for one that uses Istio's own HTTP. Nothing for opaque bytes:
    // "istio-peer-exchange" would promise a metadata prologue, which workload discovery makes unnecessary.
    let alpn: &[&str] = if http { &["h2", "http/1.1"] } else { &[] };
    DownstreamTls {
        common: TlsParameters {
            alpn: alpn.iter().map(|a| (*a).to_owned()).collect(),
            ..parameters(vec![SanMatch {
                kind: Some(SanKind::Uri),
                value: StringMatch::prefix(format!("spiffe://{trust_domain}/")),
            }])
        },
        require_client_certificate: true,
    }
}

/// The client's mTLS context for a service whose workloads have one of `identities`.
///
/// `alpn` is the list that the cluster offers; a proxy with Istio's ALPN filter replaces it per request.
pub(super) fn client(sni: String, identities: &[String], alpn: &[&str]) -> UpstreamTls {
    let names = identities
        .iter()
        .map(|id| SanMatch { kind: Some(SanKind::Uri), value: StringMatch::exact(id.clone()) })
        .collect();
    UpstreamTls {
        common: TlsParameters { alpn: alpn.iter().map(|a| (*a).to_owned()).collect(), ..parameters(names) },
        sni,
        auto_sni: false,
        auto_san: false,
    }
}

fn parameters(subject_alt_names: Vec<SanMatch>) -> TlsParameters {
    TlsParameters {
        min: None,
        max: None,
        alpn: vec![],
        certificates: vec![CertificateSource::Sds(WORKLOAD_CERTIFICATE.into())],
        validation: Some(Validation { roots: RootSource::Sds(WORKLOAD_ROOTS.into()), subject_alt_names }),
    }
}
