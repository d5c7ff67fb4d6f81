//! Pure. What a proxy does to headers on both ways: hop-by-hop headers end here, forwarding headers are written, and
//! nothing a client says about itself is believed unless the listener says so.

use api::model::listener::{ForwardMode, HttpConnection};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use std::net::IpAddr;

/// `x-forwarded-for`
pub(super) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(super) const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(super) const FORWARDED_CERT: HeaderName = HeaderName::from_static("x-forwarded-client-cert");
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(super) const ATTEMPT_COUNT: HeaderName = HeaderName::from_static("x-envoy-attempt-count");
pub(super) const SERVICE_TIME: HeaderName = HeaderName::from_static("x-envoy-upstream-service-time");
pub(super) const EXPECTED_TIMEOUT: HeaderName = HeaderName::from_static("x-envoy-expected-rq-timeout-ms");
pub(super) const ORIGINAL_HOST: HeaderName = HeaderName::from_static("x-envoy-original-host");
pub(super) const ORIGINAL_PATH: HeaderName = HeaderName::from_static("x-envoy-original-path");
pub(super) const OVERLOADED: HeaderName = HeaderName::from_static("x-envoy-overloaded");
pub(super) const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
pub(super) const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// What is known of a connection's client.
pub(super) struct Client<'a> {
    pub(super) ip: IpAddr,
    pub(super) tls: bool,
    pub(super) mutual: bool,
    /// Our element of `x-forwarded-client-cert`.
    pub(super) certificate: Option<&'a str>,
}

/// Removes what concerns one connection only. `upgrade` keeps what an accepted upgrade needs.
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap, upgrade: bool) {
    if headers.contains_key(header::CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(header::CONNECTION)
            .iter()
            .filter_map(|v| v.to_str().ok())
            .flat_map(|v| v.split(','))
            .filter_map(|name| name.trim().parse().ok())
            .filter(|name| !matches!(*name, header::UPGRADE | header::TE | header::HOST))
            .collect();
        for name in named {
            headers.remove(name);
        }
        headers.remove(header::CONNECTION);
    }
    headers.remove(&KEEP_ALIVE);
    headers.remove(&PROXY_CONNECTION);
    headers.remove(header::TRANSFER_ENCODING);
    if upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    } else {
        headers.remove(header::UPGRADE);
    }
    if let Some(te) = headers.get(header::TE) {
        let trailers = te.as_bytes().split(|b| *b == b',').any(|t| t.trim_ascii() == b"trailers");
        if trailers {
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
        } else {
            headers.remove(header::TE);
        }
    }
}

/// Writes forwarding headers, and gives back the client's address as far as it can be trusted.
pub(super) fn forwarded(headers: &mut HeaderMap, http: &HttpConnection, client: &Client<'_>) -> IpAddr {
    if http.use_remote_address {
        strip_internal(headers);
    }
    let trusted = trusted_client(headers, http, client.ip);
    if http.use_remote_address {
        append_address(headers, client.ip);
    }
    if http.use_remote_address && http.trusted_hops == 0 || !headers.contains_key(&FORWARDED_PROTO) {
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static(if client.tls { "https" } else { "http" }));
    }
    client_certificate(headers, http.client_certificate.mode, client);
    trusted
}

/// An edge believes no instructions from outside.
fn strip_internal(headers: &mut HeaderMap) {
    let internal: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with("x-envoy-")).cloned().collect();
    for name in internal {
        headers.remove(name);
    }
}

fn trusted_client(headers: &HeaderMap, http: &HttpConnection, peer: IpAddr) -> IpAddr {
    // The peer counts as the last hop where we append it ourselves.
    let back = match (http.use_remote_address, http.trusted_hops) {
        (true, 0) => return peer,
        (true, hops) => hops as usize - 1,
        (false, hops) => hops as usize,
    };
    let listed = headers.get_all(&FORWARDED_FOR).iter().filter_map(|v| v.to_str().ok());
    let listed: Vec<&str> = listed.flat_map(|v| v.split(',')).map(str::trim).collect();
    let place = listed.len().checked_sub(back + 1);
    place.and_then(|place| listed[place].parse().ok()).unwrap_or(peer)
}

fn append_address(headers: &mut HeaderMap, ip: IpAddr) {
    let ip = ip.to_string();
    let joined = match headers.get(&FORWARDED_FOR) {
        Some(before) => [before.as_bytes(), b",", ip.as_bytes()].concat(),
        None => ip.into_bytes(),
    };
    if let Ok(value) = HeaderValue::from_bytes(&joined) {
        headers.insert(FORWARDED_FOR, value);
    }
}

fn client_certificate(headers: &mut HeaderMap, mode: ForwardMode, client: &Client<'_>) {
    if mode == ForwardMode::AlwaysForwardOnly {
        return;
    }
    if !client.mutual || mode == ForwardMode::Sanitize {
        headers.remove(&FORWARDED_CERT);
        return;
    }
    let Some(own) = client.certificate.filter(|_| mode != ForwardMode::ForwardOnly) else { return };
    let before = headers.get(&FORWARDED_CERT).filter(|_| mode == ForwardMode::AppendForward);
    let joined = match before {
        Some(before) => [before.as_bytes(), b",", own.as_bytes()].concat(),
        None => own.as_bytes().to_vec(),
    };
    if let Ok(value) = HeaderValue::from_bytes(&joined) {
        headers.insert(FORWARDED_CERT, value);
    }
}

/// Makes sure that there is a request id. An edge makes its own unless it is told to keep the client's.
pub(super) fn request_id(headers: &mut HeaderMap, http: &HttpConnection, random: &dyn Fn() -> u32) {
    if !http.generate_request_id {
        return;
    }
    let keep = !http.use_remote_address || http.preserve_request_id;
    if keep && headers.contains_key(&REQUEST_ID) {
        return;
    }
    headers.insert(REQUEST_ID, new_request_id(random));
}

/// A UUID of version 4; its version digit says that nobody asked for a trace.
fn new_request_id(random: &dyn Fn() -> u32) -> HeaderValue {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut text = *b"00000000-0000-4000-8000-000000000000";
    let mut bits = 0u32;
    let mut left = 0;
    for (place, byte) in text.iter_mut().enumerate() {
        if left == 0 {
            (bits, left) = (random(), 8);
        }
        let digit = bits & 15;
        match place {
            8 | 13 | 14 | 18 | 23 => continue,
            19 => *byte = HEX[(8 | digit & 3) as usize],
            _ => *byte = HEX[digit as usize],
        }
        bits >>= 4;
        left -= 1;
    }
    HeaderValue::from_bytes(&text).expect("hexadecimal digits and dashes are allowed in headers")
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::model::listener::RouteSource;

    fn settings() -> HttpConnection {
        HttpConnection::new("s", RouteSource::Rds("r".into()))
    }

    fn map(headers: &[(&'static str, &'static str)]) -> HeaderMap {
        headers.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
    }

    fn client(mutual: bool) -> Client<'static> {
        Client { ip: "10.0.0.7".parse().unwrap(), tls: mutual, mutual, certificate: Some("By=us;URI=them") }
    }

    #[test]
    fn hop_by_hop_headers_end_here() {
        let mut headers = map(&[
            ("connection", "close, X-Private"),
            ("x-private", "1"),
            ("keep-alive", "5"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("te", "gzip, trailers"),
            ("x-kept", "1"),
        ]);
        strip_hop_by_hop(&mut headers, false);
        assert_eq!(headers, map(&[("te", "trailers"), ("x-kept", "1")]));
        let mut headers = map(&[("connection", "Upgrade"), ("upgrade", "websocket"), ("te", "gzip")]);
        strip_hop_by_hop(&mut headers, true);
        assert_eq!(headers, map(&[("connection", "upgrade"), ("upgrade", "websocket")]));
    }

    #[test]
    fn the_client_is_who_the_trusted_hops_say() {
        let xff = [("x-forwarded-for", "1.1.1.1, 2.2.2.2")];
        for (edge, hops, headers, expected, after) in [
            (true, 0, &xff[..], "10.0.0.7", Some("1.1.1.1, 2.2.2.2,10.0.0.7")),
            (true, 1, &xff, "2.2.2.2", Some("1.1.1.1, 2.2.2.2,10.0.0.7")),
            (true, 2, &xff, "1.1.1.1", Some("1.1.1.1, 2.2.2.2,10.0.0.7")),
            (true, 3, &xff, "10.0.0.7", Some("1.1.1.1, 2.2.2.2,10.0.0.7")),
            (true, 0, &[], "10.0.0.7", Some("10.0.0.7")),
            (false, 0, &xff, "2.2.2.2", Some("1.1.1.1, 2.2.2.2")),
            (false, 0, &[], "10.0.0.7", None),
        ] {
            let mut headers = map(headers);
            let http = HttpConnection { use_remote_address: edge, trusted_hops: hops, ..settings() };
            let found = forwarded(&mut headers, &http, &client(false));
            assert_eq!(found.to_string(), expected, "edge={edge} hops={hops}");
            assert_eq!(headers.get(FORWARDED_FOR).map(|v| v.to_str().unwrap()), after);
        }
    }

    #[test]
    fn an_edge_believes_no_instructions_from_outside() {
        let mut headers =
            map(&[("x-envoy-retry-on", "5xx"), ("x-forwarded-proto", "https"), ("x-other", "1")]);
        let http = HttpConnection { use_remote_address: true, ..settings() };
        forwarded(&mut headers, &http, &client(false));
        assert!(!headers.contains_key("x-envoy-retry-on"));
        assert_eq!(headers["x-forwarded-proto"], "http");
        assert_eq!(headers["x-other"], "1");
    }

    #[test]
    fn client_certificates_are_forwarded_as_the_listener_says() {
        use ForwardMode::*;
        for (mode, mutual, before, after) in [
            (Sanitize, true, Some("x"), None),
            (ForwardOnly, true, Some("x"), Some("x")),
            (ForwardOnly, false, Some("x"), None),
            (AppendForward, true, Some("x"), Some("x,By=us;URI=them")),
            (AppendForward, true, None, Some("By=us;URI=them")),
            (AppendForward, false, Some("x"), None),
            (SanitizeSet, true, Some("x"), Some("By=us;URI=them")),
            (AlwaysForwardOnly, false, Some("x"), Some("x")),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(before) = before {
                headers.insert(FORWARDED_CERT, HeaderValue::from_static(before));
            }
            client_certificate(&mut headers, mode, &client(mutual));
            let found = headers.get(FORWARDED_CERT).map(|v| v.to_str().unwrap());
            assert_eq!(found, after, "{mode:?} mutual={mutual} {before:?}");
        }
    }

    #[test]
    fn request_ids_are_made_where_none_can_be_kept() {
        let edge = HttpConnection { use_remote_address: true, ..settings() };
        let random = || 0x1234_5678;
        let mut headers = map(&[("x-request-id", "mine")]);
        request_id(&mut headers, &settings(), &random);
        assert_eq!(headers[REQUEST_ID], "mine");
        request_id(&mut headers, &edge, &random);
        let made = headers[REQUEST_ID].to_str().unwrap();
        assert_eq!((made.len(), &made[14..15]), (36, "4"));
        assert!("89ab".contains(&made[19..20]), "{made}");
    }
}
