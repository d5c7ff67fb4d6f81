//! Pure. The proxy's changes to headers in both directions: removes hop-by-hop headers, writes forwarding headers, and
//! removes headers about the client that the listener does not trust.

use super::survey::{HeadField, Survey};
use crate::flow::unique;
use api::model::listener::{ForwardMode, HttpConnection};
use http::Uri;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use std::net::{IpAddr, SocketAddr};

/// `x-forwarded-for`
pub(super) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(super) const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(super) const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(super) const FORWARDED_CERT: HeaderName = HeaderName::from_static("x-forwarded-client-cert");
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(super) const ATTEMPT_COUNT: HeaderName = HeaderName::from_static("x-envoy-attempt-count");
pub(super) const SERVICE_TIME: HeaderName = HeaderName::from_static("x-envoy-upstream-service-time");
pub(super) const EXPECTED_TIMEOUT: HeaderName = HeaderName::from_static("x-envoy-expected-rq-timeout-ms");
pub(super) const ORIGINAL_HOST: HeaderName = HeaderName::from_static("x-envoy-original-host");
pub(super) const ORIGINAL_PATH: HeaderName = HeaderName::from_static("x-envoy-original-path");
pub(super) const OVERLOADED: HeaderName = HeaderName::from_static("x-envoy-overloaded");
const INTERNAL: HeaderName = HeaderName::from_static("x-envoy-internal");
const EXTERNAL_ADDRESS: HeaderName = HeaderName::from_static("x-envoy-external-address");
const PEER_METADATA: HeaderName = HeaderName::from_static("x-envoy-peer-metadata");
const PEER_METADATA_ID: HeaderName = HeaderName::from_static("x-envoy-peer-metadata-id");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Facts about the client of a connection.
pub(super) struct Client<'a> {
    pub(super) peer: SocketAddr,
    /// The proxy's own address, which stands for clients on the same host.
    pub(super) own: IpAddr,
    pub(super) tls: bool,
    pub(super) mutual: bool,
    /// The proxy's element of `x-forwarded-client-cert`.
    pub(super) certificate: Option<&'a HeaderValue>,
}

/// Removes headers that concern a single connection. `upgrade` keeps those that an accepted upgrade needs.
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap, seen: Survey, upgrade: bool) {
    if !seen.has_hop_by_hop() {
        return;
    }
    if seen.has(HeadField::Connection) {
        strip_connection(headers);
    }
    for (known, name) in [
        (HeadField::KeepAlive, KEEP_ALIVE),
        (HeadField::ProxyConnection, PROXY_CONNECTION),
        (HeadField::TransferEncoding, header::TRANSFER_ENCODING),
    ] {
        if seen.has(known) {
            headers.remove(name);
        }
    }
    if upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    } else if seen.has(HeadField::Upgrade) {
        headers.remove(header::UPGRADE);
        headers.remove(HTTP2_SETTINGS);
    }
    if seen.has(HeadField::Te) {
        strip_te(headers);
    }
}

/// Reduces `te` to `trailers`, the only value that may be forwarded.
fn strip_te(headers: &mut HeaderMap) {
    let Some(te) = headers.get(header::TE) else { return };
    let trailers = te.as_bytes().split(|b| *b == b',').any(|t| t.trim_ascii() == b"trailers");
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    } else {
        headers.remove(header::TE);
    }
}

/// Removes `connection` and the headers that it lists.
fn strip_connection(headers: &mut HeaderMap) {
    let names_none = |value: &HeaderValue| {
        let value = value.as_bytes();
        value.eq_ignore_ascii_case(b"keep-alive") || value.eq_ignore_ascii_case(b"close")
    };
    if !headers.get_all(header::CONNECTION).iter().all(names_none) {
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
    }
    headers.remove(header::CONNECTION);
}

/// Replaces the host; `append` keeps the original in `x-forwarded-host`.
pub(super) fn replace_host(headers: &mut HeaderMap, host: HeaderValue, append: bool) {
    let Some(original) = headers.insert(header::HOST, host) else { return };
    if append {
        let last = headers.get_all(FORWARDED_HOST).iter().next_back();
        if last.is_none_or(|last| last.as_bytes().rsplit(|b| *b == b',').next() != Some(original.as_bytes()))
        {
            let joined = joined(headers.get(FORWARDED_HOST), original.as_bytes());
            headers.insert(FORWARDED_HOST, joined.unwrap_or_else(|| original.clone()));
        }
    }
    headers.insert(ORIGINAL_HOST, original);
}

/// Moves the host into the target, as HTTP/2 requires.
pub(super) fn absolute(uri: Uri, headers: &mut HeaderMap, scheme: &str) -> Uri {
    let host = headers.remove(header::HOST);
    let authority = host.and_then(|h| Authority::from_maybe_shared(h).ok());
    let mut parts = uri.into_parts();
    parts.scheme = Some(if scheme == "https" { Scheme::HTTPS } else { Scheme::HTTP });
    parts.authority = authority.or_else(|| Some(Authority::from_static("unknown")));
    if parts.path_and_query.is_none() {
        parts.path_and_query = Some(PathAndQuery::from_static("/"));
    }
    Uri::from_parts(parts).unwrap_or_default()
}

/// The client, as far as its headers can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Trusted {
    /// Its address; the port is unknown if a forwarding header gave it.
    pub(super) address: SocketAddr,
    /// Whether it is internal, so that its `x-envoy-` headers are trusted.
    pub(super) internal: bool,
}

/// Writes forwarding headers, and returns the client as far as it can be trusted.
pub(super) fn forwarded(
    headers: &mut HeaderMap,
    seen: Survey,
    http: &HttpConnection,
    client: &Client<'_>,
) -> Trusted {
    let (hops, address) = if seen.has(HeadField::ForwardedFor) {
        let listed = headers.get_all(&FORWARDED_FOR).iter().map(HeaderValue::as_bytes);
        let hops = listed.flat_map(|v| v.split(|b| *b == b',')).count();
        (hops, trusted_client(headers, http, client.peer))
    } else {
        (0, client.peer)
    };
    if http.use_remote_address && !http.extra.skip_forwarded_for {
        let ip = client.peer.ip();
        append_address(headers, if ip.is_loopback() { client.own } else { ip });
    }
    let ranges = &http.extra.internal_addresses;
    // A client behind several hops, or behind an unknown one, is not internal.
    let direct = hops == usize::from(!http.use_remote_address);
    let internal = direct && ranges.iter().any(|range| range.contains(&address.ip()));
    origin(headers, seen, http.use_remote_address, (!internal).then_some(address));
    let trusted = Trusted { address, internal };
    if http.use_remote_address && http.trusted_hops == 0
        || !(seen.has(HeadField::ForwardedProto) && headers.contains_key(&FORWARDED_PROTO))
    {
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static(if client.tls { "https" } else { "http" }));
    }
    if client.mutual || seen.has(HeadField::ForwardedCert) {
        client_certificate(headers, http.client_certificate.mode, client);
    }
    trusted
}

/// Marks an internal request as such, and removes control headers from an external one.
fn origin(headers: &mut HeaderMap, seen: Survey, edge: bool, outside: Option<SocketAddr>) {
    let Some(address) = outside else {
        headers.insert(INTERNAL, HeaderValue::from_static("true"));
        return;
    };
    if seen.has(HeadField::Internal) {
        for name in INSTRUCTIONS.iter().chain(EDGE_INSTRUCTIONS.iter().filter(|_| edge)) {
            headers.remove(*name);
        }
        headers.remove(INTERNAL);
    }
    if edge && let Ok(address) = HeaderValue::from_str(&address.ip().to_string()) {
        headers.insert(EXTERNAL_ADDRESS, address);
    }
}

/// Removes the headers in which Istio's proxies describe their workloads to each other. A proxy of Istio consumes them,
/// so no application sees them, and a client of a gateway cannot pass for a workload in the metrics of a server.
pub(super) fn strip_peer_metadata(headers: &mut HeaderMap) {
    headers.remove(PEER_METADATA);
    headers.remove(PEER_METADATA_ID);
}

/// Joins the cookie fields into which HTTP/2 may split a header (RFC 9113, 8.2.3).
pub(super) fn join_cookies(headers: &mut HeaderMap) {
    let pairs: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if pairs.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&pairs.join(&b"; "[..]))
    {
        headers.insert(header::COOKIE, joined);
    }
}

/// Appends a proxy to the `via` header.
pub(super) fn append_via(headers: &mut HeaderMap, own: &HeaderValue) {
    let joined = match headers.get(header::VIA) {
        Some(before) => HeaderValue::from_bytes(&[before.as_bytes(), b", ", own.as_bytes()].concat()).ok(),
        None => Some(own.clone()),
    };
    if let Some(joined) = joined {
        headers.insert(header::VIA, joined);
    }
}

fn trusted_client(headers: &HeaderMap, http: &HttpConnection, peer: SocketAddr) -> SocketAddr {
    // The peer counts as the last hop if the proxy appends it itself.
    let back = match (http.use_remote_address, http.trusted_hops) {
        (true, 0) => return peer,
        (true, hops) => hops as usize - 1,
        (false, hops) => hops as usize,
    };
    let listed = headers.get_all(&FORWARDED_FOR).iter().filter_map(|v| v.to_str().ok());
    let listed: Vec<&str> = listed.flat_map(|v| v.split(',')).map(str::trim).collect();
    let place = listed.len().checked_sub(back + 1);
    let reported: Option<IpAddr> = place.and_then(|place| listed[place].parse().ok());
    reported.map_or(peer, |ip| SocketAddr::new(ip, 0))
}

fn append_address(headers: &mut HeaderMap, ip: IpAddr) {
    let ip = ip.to_string();
    if let Some(value) = joined(headers.get(&FORWARDED_FOR), ip.as_bytes()) {
        headers.insert(FORWARDED_FOR, value);
    }
}

/// A comma-separated list with another item appended.
pub(super) fn joined(before: Option<&HeaderValue>, item: &[u8]) -> Option<HeaderValue> {
    let all = match before {
        Some(before) => [before.as_bytes(), b",", item].concat(),
        None => item.to_vec(),
    };
    HeaderValue::from_bytes(&all).ok()
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
    let value = match before {
        Some(before) => joined(Some(before), own.as_bytes()),
        None => Some(own.clone()),
    };
    if let Some(value) = value {
        headers.insert(FORWARDED_CERT, value);
    }
}

/// Ensures that a request has a request id: a random UUID of version 4. (Envoy reads its version digit 4 as "not
/// traced".) An edge proxy replaces an existing id, unless the client is internal or the listener preserves ids.
pub(super) fn request_id(
    headers: &mut HeaderMap,
    seen: Survey,
    http: &HttpConnection,
    internal: bool,
    random: impl Fn() -> u32,
) {
    if !http.generate_request_id {
        return;
    }
    let keep = !http.use_remote_address || internal || http.preserve_request_id;
    if keep && seen.has(HeadField::RequestId) && headers.contains_key(&REQUEST_ID) {
        return;
    }
    let id = HeaderValue::from_bytes(&unique::text(unique::number(random)));
    headers.insert(REQUEST_ID, id.expect("hexadecimal digits and dashes are allowed in headers"));
}

/// A number of milliseconds as a header value. Most are small; those are static.
pub(super) fn milliseconds(number: u128) -> HeaderValue {
    const SMALL: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
    match SMALL.get(usize::try_from(number).unwrap_or(usize::MAX)) {
        Some(text) => HeaderValue::from_static(text),
        None => HeaderValue::from(u64::try_from(number).unwrap_or(u64::MAX)),
    }
}

/// Control headers that are accepted only from internal clients.
const INSTRUCTIONS: [&str; 14] = [
    "x-envoy-retriable-status-codes",
    "x-envoy-retriable-header-names",
    "x-envoy-retry-on",
    "x-envoy-retry-grpc-on",
    "x-envoy-max-retries",
    "x-envoy-upstream-alt-stat-name",
    "x-envoy-upstream-rq-timeout-ms",
    "x-envoy-upstream-rq-per-try-timeout-ms",
    "x-envoy-upstream-rq-timeout-alt-response",
    "x-envoy-expected-rq-timeout-ms",
    "x-envoy-force-trace",
    "x-envoy-ip-tags",
    "x-envoy-original-url",
    "x-envoy-hedge-on-per-try-timeout",
];
/// Headers that an edge proxy also removes from external requests.
const EDGE_INSTRUCTIONS: [&str; 5] = [
    "x-envoy-decorator-operation",
    "x-envoy-downstream-service-cluster",
    "x-envoy-downstream-service-node",
    "x-envoy-original-path",
    "x-envoy-original-host",
];

#[cfg(test)]
mod tests {
    use super::*;
    use api::model::listener::{HttpExtra, RouteSource};

    fn settings() -> HttpConnection {
        HttpConnection::new("s", RouteSource::Rds("r".into()))
    }

    fn map(headers: &[(&'static str, &'static str)]) -> HeaderMap {
        headers.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
    }

    fn own() -> HeaderValue {
        HeaderValue::from_static("By=us;URI=them")
    }

    fn client(mutual: bool, certificate: &HeaderValue) -> Client<'_> {
        let own = "10.0.0.9".parse().unwrap();
        Client {
            peer: "10.0.0.7:99".parse().unwrap(),
            own,
            tls: mutual,
            mutual,
            certificate: Some(certificate),
        }
    }

    #[test]
    fn hop_by_hop_headers_end_here() {
        let mut headers = map(&[
            ("connection", "close, X-Private"),
            ("x-private", "1"),
            ("keep-alive", "5"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAMAAABk"),
            ("te", "gzip, trailers"),
            ("x-kept", "1"),
        ]);
        let seen = Survey::of(&headers);
        strip_hop_by_hop(&mut headers, seen, false);
        assert_eq!(headers, map(&[("te", "trailers"), ("x-kept", "1")]));
        let mut headers = map(&[("connection", "Upgrade"), ("upgrade", "websocket"), ("te", "gzip")]);
        let seen = Survey::of(&headers);
        strip_hop_by_hop(&mut headers, seen, true);
        assert_eq!(headers, map(&[("connection", "upgrade"), ("upgrade", "websocket")]));
    }

    #[test]
    fn the_client_address_comes_from_trusted_hops() {
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
            let seen = Survey::of(&headers);
            let found = forwarded(&mut headers, seen, &http, &client(false, &own()));
            assert_eq!(found.address.ip().to_string(), expected, "edge={edge} hops={hops}");
            assert_eq!(headers.get(FORWARDED_FOR).map(|v| v.to_str().unwrap()), after);
        }
    }

    #[test]
    fn a_local_client_is_reported_with_the_machines_address() {
        let mut headers = HeaderMap::new();
        let http = HttpConnection { use_remote_address: true, ..settings() };
        let certificate = own();
        let local = Client { peer: "127.0.0.1:9".parse().unwrap(), ..client(false, &certificate) };
        let found = forwarded(&mut headers, Survey::of(&HeaderMap::new()), &http, &local);
        assert_eq!(found.address.ip().to_string(), "127.0.0.1");
        assert_eq!(headers[FORWARDED_FOR], "10.0.0.9");
    }

    #[test]
    fn crumbs_of_cookies_are_joined() {
        let mut headers = HeaderMap::new();
        for crumb in ["a=1", "b=2"] {
            headers.append(header::COOKIE, HeaderValue::from_static(crumb));
        }
        join_cookies(&mut headers);
        assert_eq!(headers.get_all(header::COOKIE).iter().collect::<Vec<_>>(), ["a=1; b=2"]);
    }

    #[test]
    fn an_edge_proxy_ignores_internal_headers_from_outside() {
        let mut headers =
            map(&[("x-envoy-retry-on", "5xx"), ("x-forwarded-proto", "https"), ("x-other", "1")]);
        let http = HttpConnection { use_remote_address: true, ..settings() };
        let seen = Survey::of(&headers);
        forwarded(&mut headers, seen, &http, &client(false, &own()));
        assert!(!headers.contains_key("x-envoy-retry-on"));
        assert_eq!(headers["x-forwarded-proto"], "http");
        assert_eq!(headers["x-other"], "1");
        assert_eq!(headers["x-envoy-external-address"], "10.0.0.7");
    }

    #[test]
    fn only_those_inside_give_instructions() {
        let inside =
            HttpExtra { internal_addresses: vec!["10.0.0.0/8".parse().unwrap()], ..HttpExtra::default() };
        for (edge, ranges, hops, internal) in [
            (true, true, None, true),
            (true, true, Some("10.1.1.1"), false),
            (true, false, None, false),
            (false, true, Some("10.1.1.1"), true),
            (false, true, Some("10.1.1.1, 10.1.1.2"), false),
            (false, true, Some("9.1.1.1"), false),
            (false, true, None, false),
        ] {
            let mut headers = map(&[("x-envoy-retry-on", "5xx"), ("x-envoy-other", "1")]);
            if let Some(hops) = hops {
                headers.insert(FORWARDED_FOR, HeaderValue::from_static(hops));
            }
            let extra = if ranges { inside.clone() } else { HttpExtra::default() };
            let http = HttpConnection { use_remote_address: edge, extra, ..settings() };
            let seen = Survey::of(&headers);
            let found = forwarded(&mut headers, seen, &http, &client(false, &own())).internal;
            let reported = headers.contains_key("x-envoy-retry-on");
            assert_eq!((found, reported), (internal, internal), "edge={edge} ranges={ranges} {hops:?}");
            assert!(headers.contains_key("x-envoy-other"));
            assert_eq!(headers.contains_key(INTERNAL), internal);
        }
    }

    #[test]
    fn client_certificates_are_forwarded_as_the_listener_configures() {
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
            client_certificate(&mut headers, mode, &client(mutual, &own()));
            let found = headers.get(FORWARDED_CERT).map(|v| v.to_str().unwrap());
            assert_eq!(found, after, "{mode:?} mutual={mutual} {before:?}");
        }
    }

    #[test]
    fn request_ids_are_generated_unless_one_can_be_kept() {
        let edge = HttpConnection { use_remote_address: true, ..settings() };
        let random = || 0x1234_5678;
        let mut headers = map(&[("x-request-id", "mine")]);
        let seen = Survey::of(&headers);
        request_id(&mut headers, seen, &settings(), false, random);
        assert_eq!(headers[REQUEST_ID], "mine");
        request_id(&mut headers, seen, &edge, true, random);
        assert_eq!(headers[REQUEST_ID], "mine");
        request_id(&mut headers, seen, &edge, false, random);
        let made = headers[REQUEST_ID].to_str().unwrap();
        assert_eq!((made.len(), &made[14..15]), (36, "4"));
        assert!("89ab".contains(&made[19..20]), "{made}");
    }
}
