//! Pure. The mesh's own TLS: Istio's ALPN values, and the contexts of both sides.

use api::model::matcher::StringMatch;
use api::model::tls::{
    CertificateSource, DownstreamTls, RootSource, SanKind, SanMatch, TlsParameters, UpstreamTls, Validation,
};
use api::name::{WORKLOAD_CERTIFICATE, WORKLOAD_ROOTS};

/// ALPN values of mesh callers that speak HTTP.
pub(super) const MESH_HTTP_ALPN: &[&str] = &["istio-http/1.0", "istio-http/1.1", "istio-h2"];
/// ALPN values of mesh callers that speak anything else.
pub(super) const MESH_TCP_ALPN: &[&str] = &["istio-peer-exchange", "istio"];
/// ALPN values of all mesh callers.
pub(super) const MESH_ALPN: &[&str] =
    &["istio", "istio-peer-exchange", "istio-http/1.0", "istio-http/1.1", "istio-h2"];
/// What a caller offers for HTTP/1.1, as Istio's ALPN filter does.
pub(super) const CALLER_HTTP1_ALPN: &[&str] = &["istio-http/1.1", "istio", "http/1.1"];
/// What a caller offers for HTTP/2, as Istio's ALPN filter does.
pub(super) const CALLER_HTTP2_ALPN: &[&str] = &["istio-h2", "istio", "h2"];
/// What a caller offers for opaque bytes.
pub(super) const CALLER_TCP_ALPN: &[&str] = &["istio"];
/// What the HTTP inspector calls plaintext HTTP.
const PLAIN_HTTP: &[&str] = &["http/1.1", "h2c"];
/// The same for a proxy that takes HTTP/1.0; for others that would only be a refusal, and as opaque bytes it may pass.
const PLAIN_HTTP_10: &[&str] = &["http/1.0", "http/1.1", "h2c"];

/// What the HTTP inspector calls the plaintext HTTP that a proxy takes.
pub(super) fn plain_http(http_10: bool) -> &'static [&'static str] {
    if http_10 { PLAIN_HTTP_10 } else { PLAIN_HTTP }
}

/// The server side of mTLS: the workload's certificate, and callers of this trust domain.
pub(super) fn server(trust_domain: &str, http: bool) -> DownstreamTls {
    // Never "istio": a server that offered it would be taken to speak Istio's own HTTP. Nothing for opaque bytes:
    // "istio-peer-exchange" would promise a prologue that workload discovery makes needless.
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

/// The client side of mTLS towards a service whose workloads run as one of `identities`.
///
/// `alpn` is what the cluster offers; a proxy that knows Istio's ALPN filter replaces it per request.
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
