//! Pure. Finds which of the headers that concern a proxy are in a head, in one pass over their names. Most of them are
//! missing from most requests, and a hash lookup for each would cost more than all other work on a head.

use http::header::{HeaderMap, HeaderName};

/// The headers that may be present. A header not in this set is not in the head; one in this set may have been removed
/// since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Survey {
    found: u16,
    repeated: bool,
}

/// A header, or a family of headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum Known {
    Connection = 1,
    KeepAlive = 1 << 1,
    ProxyConnection = 1 << 2,
    TransferEncoding = 1 << 3,
    Upgrade = 1 << 4,
    Te = 1 << 5,
    Expect = 1 << 6,
    ForwardedFor = 1 << 7,
    ForwardedProto = 1 << 8,
    ForwardedCert = 1 << 9,
    RequestId = 1 << 10,
    GrpcTimeout = 1 << 11,
    /// Any `x-envoy-` header.
    Internal = 1 << 12,
}

impl Survey {
    /// Scans the names of all headers.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let found = headers.keys().fold(0, |found, name| found | known(name).map_or(0, |known| known as u16));
        Self { found, repeated: headers.len() != headers.keys_len() }
    }

    /// Whether a header may be present.
    pub(super) fn has(self, known: Known) -> bool {
        self.found & known as u16 != 0
    }

    /// Whether any hop-by-hop header may be present.
    pub(super) fn has_hop_by_hop(self) -> bool {
        self.found & HOP_BY_HOP != 0
    }

    /// Whether any header occurs more than once.
    pub(super) fn has_repeated(self) -> bool {
        self.repeated
    }
}

fn known(name: &HeaderName) -> Option<Known> {
    Some(match name.as_str() {
        "connection" => Known::Connection,
        "keep-alive" => Known::KeepAlive,
        "proxy-connection" => Known::ProxyConnection,
        "transfer-encoding" => Known::TransferEncoding,
        "upgrade" => Known::Upgrade,
        "te" => Known::Te,
        "expect" => Known::Expect,
        "x-forwarded-for" => Known::ForwardedFor,
        "x-forwarded-proto" => Known::ForwardedProto,
        "x-forwarded-client-cert" => Known::ForwardedCert,
        "x-request-id" => Known::RequestId,
        "grpc-timeout" => Known::GrpcTimeout,
        other if other.starts_with("x-envoy-") => Known::Internal,
        _ => return None,
    })
}

const HOP_BY_HOP: u16 = Known::Connection as u16
    | Known::KeepAlive as u16
    | Known::ProxyConnection as u16
    | Known::TransferEncoding as u16
    | Known::Upgrade as u16
    | Known::Te as u16;

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn survey(names: &[&'static str]) -> Survey {
        let mut headers = HeaderMap::new();
        for name in names {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static("1"));
        }
        Survey::of(&headers)
    }

    #[test]
    fn each_known_header_is_found_and_no_other() {
        let cases = [
            ("connection", Known::Connection, true),
            ("keep-alive", Known::KeepAlive, true),
            ("proxy-connection", Known::ProxyConnection, true),
            ("transfer-encoding", Known::TransferEncoding, true),
            ("upgrade", Known::Upgrade, true),
            ("te", Known::Te, true),
            ("expect", Known::Expect, false),
            ("x-forwarded-for", Known::ForwardedFor, false),
            ("x-forwarded-proto", Known::ForwardedProto, false),
            ("x-forwarded-client-cert", Known::ForwardedCert, false),
            ("x-request-id", Known::RequestId, false),
            ("grpc-timeout", Known::GrpcTimeout, false),
            ("x-envoy-retry-on", Known::Internal, false),
            ("x-envoy-anything", Known::Internal, false),
        ];
        for (name, known, of_the_hop) in cases {
            let found = survey(&["host", name, "accept"]);
            let all: Vec<Known> = cases.iter().map(|(_, k, _)| *k).filter(|k| found.has(*k)).collect();
            assert!(all.iter().all(|k| *k == known) && !all.is_empty(), "{name}: {all:?}");
            assert_eq!(found.has_hop_by_hop(), of_the_hop, "{name}");
        }
        assert_eq!(survey(&["host", "accept", "x-envoyproxy"]), survey(&[]));
    }

    #[test]
    fn repeated_headers_are_noticed() {
        assert!(survey(&["a", "b", "a"]).has_repeated());
        assert!(!survey(&["a", "b"]).has_repeated());
    }
}
