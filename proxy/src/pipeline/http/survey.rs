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
pub(super) enum HeadField {
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
    pub(super) fn has(self, known: HeadField) -> bool {
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

fn known(name: &HeaderName) -> Option<HeadField> {
    Some(match name.as_str() {
        "connection" => HeadField::Connection,
        "keep-alive" => HeadField::KeepAlive,
        "proxy-connection" => HeadField::ProxyConnection,
        "transfer-encoding" => HeadField::TransferEncoding,
        "upgrade" => HeadField::Upgrade,
        "te" => HeadField::Te,
        "expect" => HeadField::Expect,
        "x-forwarded-for" => HeadField::ForwardedFor,
        "x-forwarded-proto" => HeadField::ForwardedProto,
        "x-forwarded-client-cert" => HeadField::ForwardedCert,
        "x-request-id" => HeadField::RequestId,
        "grpc-timeout" => HeadField::GrpcTimeout,
        other if other.starts_with("x-envoy-") => HeadField::Internal,
        _ => return None,
    })
}

const HOP_BY_HOP: u16 = HeadField::Connection as u16
    | HeadField::KeepAlive as u16
    | HeadField::ProxyConnection as u16
    | HeadField::TransferEncoding as u16
    | HeadField::Upgrade as u16
    | HeadField::Te as u16;

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
            ("connection", HeadField::Connection, true),
            ("keep-alive", HeadField::KeepAlive, true),
            ("proxy-connection", HeadField::ProxyConnection, true),
            ("transfer-encoding", HeadField::TransferEncoding, true),
            ("upgrade", HeadField::Upgrade, true),
            ("te", HeadField::Te, true),
            ("expect", HeadField::Expect, false),
            ("x-forwarded-for", HeadField::ForwardedFor, false),
            ("x-forwarded-proto", HeadField::ForwardedProto, false),
            ("x-forwarded-client-cert", HeadField::ForwardedCert, false),
            ("x-request-id", HeadField::RequestId, false),
            ("grpc-timeout", HeadField::GrpcTimeout, false),
            ("x-envoy-retry-on", HeadField::Internal, false),
            ("x-envoy-anything", HeadField::Internal, false),
        ];
        for (name, known, of_the_hop) in cases {
            let found = survey(&["host", name, "accept"]);
            let all: Vec<HeadField> = cases.iter().map(|(_, k, _)| *k).filter(|k| found.has(*k)).collect();
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
