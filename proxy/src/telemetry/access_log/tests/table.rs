//! Every operator of the table, in the line of a request and of a connection for which all values are known.

use super::super::*;
use super::{json, log, record, text, written};
use crate::flow::certificate::Certificate;
use crate::flow::extra::{Attempted, Certificates, Extra, Opened, Secured};
use crate::flow::peer::Peer;
use crate::flow::record::{Detail, NO_GRPC_STATUS, Traffic};
use crate::flow::tls::Session;
use api::format::operator::Point;
use api::format::{self, AllowedTraffic, Meaning, Place, rows};
use api::model::access_log::AccessLog;
use api::model::listener::{ChainMatch, FilterChain, Protocol, TcpProxy};
use api::model::route::ClusterChoice;
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use rcgen::{CertificateParams, DnType, KeyPair, SanType};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

#[test]
fn each_operator_is_written_as_it_is_of_a_request_and_a_connection() {
    let mut named: Vec<&str> = vec![];
    for (written_as, request, connection) in TABLE {
        let name = written_as.split(['(', ':']).next().unwrap();
        named.push(name);
        let row = format::row(name).unwrap_or_else(|| panic!("{name} is in no table"));
        for (traffic, expected) in [(Traffic::Http, request), (Traffic::Tcp, connection)] {
            let log = log(text(&format!("%{written_as}%")), false);
            let made = written(&log, &full(&log, traffic));
            match expected.strip_suffix('*') {
                Some(start) => assert!(made.starts_with(start), "{written_as} of {traffic:?}: {made}"),
                None => assert_eq!(made, *expected, "{written_as} of {traffic:?}"),
            }
            let unseen = match row.traffic {
                AllowedTraffic::Both => false,
                AllowedTraffic::Http => traffic == Traffic::Tcp,
                AllowedTraffic::Tcp => traffic == Traffic::Http,
            };
            assert!(
                !unseen || ["-", "0", ""].contains(&made.as_str()),
                "{written_as} of {traffic:?}: {made}"
            );
        }
    }
    let missing: Vec<_> = rows()
        .filter(|row| row.refusal().is_none() && !named.contains(&row.name))
        .map(|row| row.name)
        .collect();
    assert!(missing.is_empty(), "no line has these: {missing:?}");
}

#[test]
fn values_that_are_never_available_are_null_in_json() {
    for row in rows().filter(|row| matches!(row.meaning, Meaning::Nothing(_))) {
        let log = log(json(&serde_json::json!({"a": row.example()})), false);
        assert_eq!(written(&log, &full(&log, Traffic::Http)), "{\"a\":null}\n", "{}", row.name);
    }
}

#[test]
fn values_keep_their_types_in_json() {
    for (operator, expected) in [
        ("%BYTES_SENT%", "2"),
        ("%CONNECTION_ID%", "41"),
        ("%COMMON_DURATION(DS_RX_BEG:DS_RX_END:us)%", "1500"),
        ("%DOWNSTREAM_LOCAL_PORT%", "2"),
        ("%GRPC_STATUS(NUMBER)%", "3"),
        ("%RESP(:STATUS)%", "\"200\""),
        ("%UPSTREAM_HOSTS_ATTEMPTED%", "\"10.0.0.1:80,10.0.0.2:80\""),
        ("%DOWNSTREAM_PEER_SERIAL%", "\"client serial\""),
        ("%UNIQUE_ID%", "\"00000000-0000-0000-0000-000000000005\""),
    ] {
        let log = log(json(&serde_json::json!({"a": operator})), false);
        assert_eq!(
            written(&log, &full(&log, Traffic::Http)),
            format!("{{\"a\":{expected}}}\n"),
            "{operator}"
        );
    }
}

proptest! {
    #[test]
    fn all_operators_of_the_grammar_can_be_logged(
        row in prop::sample::select(rows().collect::<Vec<_>>()),
        argument in prop::sample::select(ARGUMENTS),
        longest in prop::option::of(0usize..4),
    ) {
        let argument = if argument.is_empty() { String::new() } else { format!("({argument})") };
        let longest = longest.map(|length| format!(":{length}")).unwrap_or_default();
        for line in [format!("%{}{argument}{longest}%", row.name), row.example()] {
            let parsed = format::parse(&line, Place::Log);
            let made = Log::compile(&AccessLog { sink: LogSink::Stdout, format: text(&line), omit_empty: false }, None);
            prop_assert_eq!(parsed.is_ok(), made.is_ok(), "{}", line);
            if let Ok(log) = made {
                written(&log, &full(&log, Traffic::Http));
                written(&log, &record(&log));
            }
        }
    }
}

/// A record of a request or a connection in which all values are known.
fn full(log: &Log, traffic: Traffic) -> Record {
    let mut record = record(log);
    record.key.traffic = traffic;
    record.key.grpc_status = 3;
    let detail = record.detail.as_mut().unwrap();
    let trailers = HeaderMap::from_iter([(HeaderName::from_static("x"), HeaderValue::from_static("t"))]);
    log.capture_response(&trailers, detail);
    log.capture_trailers(&trailers, detail);
    **detail = Detail {
        target: Some("/a?b=c%20d".parse().unwrap()),
        peer: Some(Arc::new(Peer {
            uris: ["spiffe://a".into()].into(),
            dns: ["a.test".into()].into(),
            subject: "CN=a".into(),
            ..Peer::default()
        })),
        extra: Some(Box::new(extra(traffic))),
        responded: Some(Duration::from_millis(5)),
        upstream_protocol: Some("HTTP/2"),
        code_details: Some("a b".into()),
        termination_details: Some("ended".into()),
        transport_failure: Some("failed".into()),
        upstream_local: "10.0.0.9:1".parse().ok(),
        downstream_local: "10.0.0.8:2".parse().ok(),
        downstream_remote: "10.0.0.7:3".parse().ok(),
        downstream_direct: "10.0.0.6:4".parse().ok(),
        server_name: Some("sni.test".into()),
        route: Some("route".into()),
        tls: Some(session("TLS_AES_256_GCM_SHA384")),
        attempts: 2,
        ..(**detail).clone()
    };
    if traffic == Traffic::Tcp {
        without_http(&mut record);
    }
    record
}

/// Removes the values that a TCP connection does not have.
fn without_http(record: &mut Record) {
    record.key.code = 0;
    record.key.grpc_status = NO_GRPC_STATUS;
    let detail = record.detail.as_mut().unwrap();
    (detail.method, detail.target, detail.protocol, detail.upstream_protocol) = (None, None, None, None);
    (detail.authority, detail.responded, detail.upstream_time) = (None, None, None);
    (detail.code_details, detail.route) = (None, None);
    detail.request_headers.iter_mut().for_each(|header| *header = None);
    detail.response_headers.iter_mut().for_each(|header| *header = None);
    detail.response_trailers.iter_mut().for_each(|header| *header = None);
}

fn extra(traffic: Traffic) -> Extra {
    let begun = crate::io::now();
    let start = begun + Duration::from_millis(9);
    let after = |micros: u64| start + Duration::from_micros(micros);
    let mut extra = Extra::new(start, 41, "127.0.0.1:15006".parse().unwrap(), chain());
    let mut opened = Opened::new(42, begun, begun + Duration::from_millis(1));
    opened.secured = Some(Secured {
        at: begun + Duration::from_millis(3),
        session: Some(session("TLS_AES_128_GCM_SHA256")),
        server_name: Some("upstream.test".into()),
        shown: [endpoint().into()].into(),
    });
    for (address, name) in [("10.0.0.1:80", None), ("10.0.0.2:80", Some("two.test:80"))] {
        let name = name.map(Into::into);
        extra.attempted.push(Attempted { address: address.parse().unwrap(), name, connection: None });
    }
    extra.attempted[0].connection = Some(40);
    extra.leased(&Rc::new(opened), Duration::from_millis(2));
    let (peer, local) = (Some(certificate("client")), Some(certificate("own")));
    extra.certificates = Some(Rc::new(Certificates { peer, local }));
    if traffic != Traffic::Tcp {
        extra.mark(Point::RequestEnds, after(1_500));
        extra.mark(Point::SendBegins, after(1_000));
        extra.mark_sent(after(1_500));
        extra.mark(Point::UpstreamBodyBegins, after(5_200));
        extra.mark(Point::UpstreamResponseEnds, after(6_000));
        extra.mark(Point::ResponseBegins, after(5_100));
        (extra.request_head, extra.response_head, extra.trailers) = (11, 12, 13);
    }
    extra.handshake = Some(Duration::from_millis(8));
    extra.unique = 5;
    extra
}

fn session(cipher: &'static str) -> Session {
    Session { version: "TLSv1.3", cipher, group: Some("X25519") }
}

fn certificate(of: &str) -> Certificate {
    let fact = |name: &str| format!("{of} {name}").into();
    Certificate {
        uris: fact("uri"),
        dns: fact("dns"),
        ips: fact("ip"),
        emails: fact("email"),
        subject: fact("subject"),
        issuer: fact("issuer"),
        serial: fact("serial"),
        sha256: fact("sha256"),
        sha1: fact("sha1"),
        chain_sha256: fact("all sha256"),
        chain_sha1: fact("all sha1"),
        chain_serials: fact("serials"),
        pem: fact("pem"),
        from: UNIX_EPOCH + Duration::from_secs(86_400),
        until: UNIX_EPOCH + Duration::from_secs(172_800),
    }
}

/// A real certificate, which is parsed when a format names it.
fn endpoint() -> Vec<u8> {
    let mut params = CertificateParams::new(vec!["two.test".to_owned()]).unwrap();
    params.subject_alt_names.push(SanType::URI("spiffe://two".try_into().unwrap()));
    params.subject_alt_names.push(SanType::IpAddress("10.0.0.2".parse().unwrap()));
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "two");
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2030, 1, 1);
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
}

fn chain() -> Arc<FilterChain> {
    let tcp = TcpProxy {
        stat_prefix: String::new(),
        clusters: ClusterChoice::Single("c".into()),
        idle_timeout: None,
        max_connect_attempts: 1,
        access_log: vec![],
    };
    let criteria = ChainMatch::default();
    let protocol = Protocol::Tcp(tcp);
    Arc::new(FilterChain { name: "chain".into(), criteria, tls: None, authorization: vec![], protocol })
}

/// Possible arguments of operators.
const ARGUMENTS: &[&str] = &[
    "",
    "x",
    "X?y",
    "x?:status",
    ":path?x",
    "a?b?c",
    "a b",
    "NQ",
    "WQ:ORIG",
    "ORIG",
    "DECODED",
    "SNI_FIRST",
    "HOST_FIRST:ORIG",
    "ALLOW_WHITESPACES",
    "SNAKE_STRING",
    "NUMBER",
    "%s.%3f",
    "%Q",
    "16",
    "129",
    "DS_RX_BEG:DS_TX_END",
    "US_CX_BEG:US_TX_END:ns",
    "{\"operators\": [\"HOSTNAME\", {\"command\": \"RESP\", \"param\": \"x?:status\", \"max_length\": 2}]}",
];

/// An operator, and its text for a request and for a connection.
const TABLE: &[(&str, &str, &str)] = &[
    ("REQ(:METHOD)", "GET", "-"),
    ("REQ(x?:path):3", "/a?", "-"),
    ("REQUEST_HEADER(USER-AGENT)", "curl\\\"x", "-"),
    ("REQ_WITHOUT_QUERY(:path)", "/a", "-"),
    ("RESP(:status)", "200", "-"),
    ("RESP(x?y)", "t", "-"),
    ("RESPONSE_HEADER(y?:status)", "200", "-"),
    ("RESPONSE_HEADER(x-envoy-upstream-service-time)", "5", "-"),
    ("TRAILER(y?x)", "t", "-"),
    ("RESPONSE_TRAILER(x):0", "", "-"),
    ("PATH", "/a?b=c%20d", "-"),
    ("PATH(NQ):1", "/", "-"),
    ("PATH(WQ:ORIG)", "-", "-"),
    ("QUERY_PARAM(b):3", "c%2", "-"),
    ("QUERY_PARAMS", "b=c%20d", "-"),
    ("QUERY_PARAMS(DECODED):4", "b=c ", "-"),
    ("PROTOCOL", "HTTP/1.1", "-"),
    ("UPSTREAM_PROTOCOL", "HTTP/2", "-"),
    ("STREAM_ID", "id-1", "00000000-0000-0000-0000-000000000005"),
    ("UNIQUE_ID", "00000000-0000-0000-0000-000000000005", "00000000-0000-0000-0000-000000000005"),
    ("RESPONSE_CODE", "200", "0"),
    ("RESPONSE_CODE_DETAILS", "a_b", "-"),
    ("RESPONSE_CODE_DETAILS(ALLOW_WHITESPACES)", "a b", "-"),
    ("RESPONSE_FLAGS", "DI", "DI"),
    ("RESPONSE_FLAGS_LONG", "DelayInjected", "DelayInjected"),
    ("LOCAL_REPLY_BODY", "", ""),
    ("GRPC_STATUS", "InvalidArgument", "-"),
    ("GRPC_STATUS(SNAKE_STRING)", "INVALID_ARGUMENT", "-"),
    ("GRPC_STATUS_NUMBER", "3", "-"),
    ("ROUTE_NAME", "route", "-"),
    ("VIRTUAL_CLUSTER_NAME", "-", "-"),
    ("START_TIME", "2023-11-14T22:13:20.123Z", "2023-11-14T22:13:20.123Z"),
    ("START_TIME(%s.%6f)", "1700000000.123000", "1700000000.123000"),
    ("EMIT_TIME", "2023-11-14T22:13:20.130Z", "2023-11-14T22:13:20.130Z"),
    ("DURATION", "7", "7"),
    ("COMMON_DURATION(DS_RX_BEG:DS_TX_END:us)", "7000", "-"),
    ("COMMON_DURATION(DS_CX_BEG:DS_CX_END)", "-", "7"),
    ("COMMON_DURATION(US_CX_BEG:US_HS_END:ns)", "3000000", "3000000"),
    ("COMMON_DURATION(US_CX_END:US_TX_BEG)", "9", "-"),
    ("COMMON_DURATION(US_TX_BEG:US_TX_END:us)", "500", "-"),
    ("COMMON_DURATION(DS_TX_BEG:US_RX_END:us)", "900", "-"),
    ("COMMON_DURATION(US_RX_BEG:US_RX_BODY_BEG:us)", "200", "-"),
    ("COMMON_DURATION(DS_RX_END:DS_RX_BEG)", "-", "-"),
    ("REQUEST_DURATION", "1", "-"),
    ("REQUEST_TX_DURATION", "1", "-"),
    ("RESPONSE_DURATION", "5", "-"),
    ("RESPONSE_TX_DURATION", "2", "-"),
    ("ROUNDTRIP_DURATION", "-", "-"),
    ("DOWNSTREAM_HANDSHAKE_DURATION", "-", "8"),
    ("UPSTREAM_CONNECTION_POOL_READY_DURATION", "2", "2"),
    ("BYTES_RECEIVED", "1", "1"),
    ("BYTES_SENT", "2", "2"),
    ("REQUEST_HEADERS_BYTES", "11", "0"),
    ("RESPONSE_HEADERS_BYTES", "12", "0"),
    ("RESPONSE_TRAILERS_BYTES", "13", "0"),
    ("BYTES_RETRANSMITTED", "0", "0"),
    ("PACKETS_RETRANSMITTED", "0", "0"),
    ("UPSTREAM_REQUEST_ATTEMPT_COUNT", "2", "2"),
    ("UPSTREAM_HOSTS_ATTEMPTED", "10.0.0.1:80,10.0.0.2:80", "10.0.0.1:80,10.0.0.2:80"),
    ("UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT", "10.0.0.1,10.0.0.2", "10.0.0.1,10.0.0.2"),
    ("UPSTREAM_HOST_NAMES_ATTEMPTED", "10.0.0.1:80,two.test:80", "10.0.0.1:80,two.test:80"),
    ("UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT", "10.0.0.1,two.test", "10.0.0.1,two.test"),
    ("UPSTREAM_CONNECTION_IDS_ATTEMPTED", "40,42", "40,42"),
    ("DYNAMIC_METADATA(a:b)", "-", "-"),
    ("CLUSTER_METADATA(a:b):3", "-", "-"),
    ("UPSTREAM_METADATA(a)", "-", "-"),
    ("METADATA(ROUTE:a)", "-", "-"),
    ("FILTER_STATE(a:PLAIN)", "-", "-"),
    ("UPSTREAM_FILTER_STATE(a)", "-", "-"),
    ("CUSTOM_FLAGS", "-", "-"),
    ("TRACE_ID", "-", "-"),
    ("SPAN_ID", "-", "-"),
    (
        "COALESCE({\"operators\": [\"TRACE_ID\", {\"command\": \"REQ\", \"param\": \"x?:authority\"}, \"REQUESTED_SERVER_NAME\"]}):5",
        "revie",
        "sni.t",
    ),
    ("UPSTREAM_HOST", "10.0.0.2:80", "10.0.0.2:80"),
    ("UPSTREAM_HOST_NAME", "two.test:80", "two.test:80"),
    ("UPSTREAM_HOST_NAME_WITHOUT_PORT", "two.test", "two.test"),
    ("UPSTREAM_CLUSTER", "c", "c"),
    ("UPSTREAM_CLUSTER_RAW", "c", "c"),
    ("UPSTREAM_LOCAL_ADDRESS", "10.0.0.9:1", "10.0.0.9:1"),
    ("UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", "10.0.0.9", "10.0.0.9"),
    ("UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT(16)", "10.0.0.0/16", "10.0.0.0/16"),
    ("UPSTREAM_LOCAL_PORT", "1", "1"),
    ("UPSTREAM_REMOTE_ADDRESS", "10.0.0.2:80", "10.0.0.2:80"),
    ("UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(64)", "10.0.0.2/32", "10.0.0.2/32"),
    ("UPSTREAM_REMOTE_PORT", "80", "80"),
    ("UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID", "-", "-"),
    ("DOWNSTREAM_REMOTE_ADDRESS", "10.0.0.7:3", "10.0.0.7:3"),
    ("DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", "10.0.0.7", "10.0.0.7"),
    ("DOWNSTREAM_REMOTE_PORT", "3", "3"),
    ("DOWNSTREAM_DIRECT_REMOTE_ADDRESS", "10.0.0.6:4", "10.0.0.6:4"),
    ("DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT", "10.0.0.6", "10.0.0.6"),
    ("DOWNSTREAM_DIRECT_REMOTE_PORT", "4", "4"),
    ("DOWNSTREAM_LOCAL_ADDRESS", "10.0.0.8:2", "10.0.0.8:2"),
    ("DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT(8)", "10.0.0.0/8", "10.0.0.0/8"),
    ("DOWNSTREAM_LOCAL_PORT", "2", "2"),
    ("DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID", "-", "-"),
    ("DOWNSTREAM_DIRECT_LOCAL_ADDRESS", "127.0.0.1:15006", "127.0.0.1:15006"),
    ("DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT", "127.0.0.1", "127.0.0.1"),
    ("DOWNSTREAM_DIRECT_LOCAL_PORT", "15006", "15006"),
    ("DOWNSTREAM_DIRECT_LOCAL_ADDRESS_ENDPOINT_ID", "-", "-"),
    ("CONNECTION_ID", "41", "41"),
    ("UPSTREAM_CONNECTION_ID", "42", "42"),
    ("CONNECTION_TERMINATION_DETAILS", "ended", "ended"),
    ("UPSTREAM_TRANSPORT_FAILURE_REASON", "failed", "failed"),
    ("DOWNSTREAM_TRANSPORT_FAILURE_REASON", "-", "-"),
    ("FILTER_CHAIN_NAME", "chain", "chain"),
    ("ACCESS_LOG_TYPE", "DownstreamEnd", "TcpConnectionEnd"),
    ("REQUESTED_SERVER_NAME", "sni.test", "sni.test"),
    ("REQUESTED_SERVER_NAME(HOST_FIRST)", "reviews", "-"),
    ("REQUESTED_SERVER_NAME(SNI_FIRST:ORIG)", "sni.test", "sni.test"),
    ("DOWNSTREAM_TLS_VERSION", "TLSv1.3", "TLSv1.3"),
    ("DOWNSTREAM_TLS_CIPHER", "TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384"),
    ("DOWNSTREAM_TLS_GROUP", "X25519", "X25519"),
    ("DOWNSTREAM_PEER_URI_SAN", "spiffe://a", "spiffe://a"),
    ("DOWNSTREAM_PEER_DNS_SAN", "a.test", "a.test"),
    ("DOWNSTREAM_PEER_IP_SAN", "client ip", "client ip"),
    ("DOWNSTREAM_PEER_EMAIL_SAN", "client email", "client email"),
    ("DOWNSTREAM_PEER_SUBJECT", "CN=a", "CN=a"),
    ("DOWNSTREAM_PEER_ISSUER", "client issuer", "client issuer"),
    ("DOWNSTREAM_PEER_SERIAL", "client serial", "client serial"),
    ("DOWNSTREAM_PEER_FINGERPRINT_256", "client sha256", "client sha256"),
    ("DOWNSTREAM_PEER_FINGERPRINT_1", "client sha1", "client sha1"),
    ("DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256", "client all sha256", "client all sha256"),
    ("DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_1", "client all sha1", "client all sha1"),
    ("DOWNSTREAM_PEER_CHAIN_SERIALS", "client serials", "client serials"),
    ("DOWNSTREAM_PEER_CERT", "client pem", "client pem"),
    ("DOWNSTREAM_PEER_CERT_V_START", "1970-01-02T00:00:00.000Z", "1970-01-02T00:00:00.000Z"),
    ("DOWNSTREAM_PEER_CERT_V_END(%s)", "172800", "172800"),
    ("DOWNSTREAM_LOCAL_URI_SAN", "own uri", "own uri"),
    ("DOWNSTREAM_LOCAL_DNS_SAN", "own dns", "own dns"),
    ("DOWNSTREAM_LOCAL_IP_SAN", "own ip", "own ip"),
    ("DOWNSTREAM_LOCAL_EMAIL_SAN", "own email", "own email"),
    ("DOWNSTREAM_LOCAL_SUBJECT", "own subject", "own subject"),
    ("UPSTREAM_TLS_VERSION", "TLSv1.3", "TLSv1.3"),
    ("UPSTREAM_TLS_CIPHER", "TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256"),
    ("UPSTREAM_TLS_GROUP", "X25519", "X25519"),
    ("UPSTREAM_SERVER_NAME", "upstream.test", "upstream.test"),
    ("UPSTREAM_PEER_URI_SAN", "spiffe://two", "spiffe://two"),
    ("UPSTREAM_PEER_DNS_SAN", "two.test", "two.test"),
    ("UPSTREAM_PEER_IP_SAN", "10.0.0.2", "10.0.0.2"),
    ("UPSTREAM_PEER_SUBJECT", "CN=two", "CN=two"),
    ("UPSTREAM_PEER_ISSUER", "CN=two", "CN=two"),
    ("UPSTREAM_PEER_CERT", "-----BEGIN%20CERTIFICATE-----%0A*", "-----BEGIN%20CERTIFICATE-----%0A*"),
    ("UPSTREAM_PEER_CERT_V_START(%F)", "2020-01-01", "2020-01-01"),
    ("UPSTREAM_PEER_CERT_V_END(%F %T)", "2030-01-01 00:00:00", "2030-01-01 00:00:00"),
    ("HOSTNAME", "*", "*"),
    ("ENVIRONMENT(THERE_IS_NO_SUCH_THING)", "-", "-"),
];
