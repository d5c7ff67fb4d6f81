//! The grammar, and the table of operators against Envoy's documentation.

use super::operator::{End, Field, Operator, Part, Point, Precision};
use super::row::Argument;
use super::*;

fn operator(text: &str) -> Result<Operator, FormatError> {
    match parse(text, Place::Log)?.as_slice() {
        [Piece::Operator(operator, _)] => Ok(operator.clone()),
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn format_strings_are_parsed() {
    let literal = |text: &str| Piece::Literal(text.to_owned());
    let field = |name: &str| Field::Header(name.to_owned());
    for (text, expected) in [
        ("", vec![]),
        ("plain, 100%%", vec![literal("plain, 100%")]),
        (
            "a %REQ(X-A?:path):3%%%b",
            vec![
                literal("a "),
                Piece::Operator(Operator::Request(field("x-a"), Some(Field::Path)), Some(3)),
                literal("%b"),
            ],
        ),
        (
            "%PROTOCOL%%DURATION%",
            vec![Piece::Operator(Operator::Protocol, None), Piece::Operator(Operator::Whole, None)],
        ),
    ] {
        assert_eq!(parse(text, Place::Log).unwrap(), expected, "{text}");
    }
}

#[test]
fn operators_have_their_values() {
    let duration = |from, to, precision| Operator::Duration(from, to, precision);
    for (text, expected) in [
        ("%REQ(HOST)%", Operator::Request(Field::Authority, None)),
        ("%RESP(host)%", Operator::Response(Field::Header("host".into()), None)),
        (
            "%COMMON_DURATION(US_CX_BEG:US_HS_END)%",
            duration(Point::ConnectBegins, Point::Secured, Precision::Milli),
        ),
        ("%REQUEST_DURATION%", duration(Point::RequestBegins, Point::RequestEnds, Precision::Milli)),
        (
            "%UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT(16)%",
            Operator::Address(End::UpstreamLocal, Part::Network(16)),
        ),
        ("%UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT()%", Operator::Address(End::UpstreamLocal, Part::Ip)),
        (
            r#"%COALESCE({"operators": ["REQUESTED_SERVER_NAME", {"command": "REQ", "param": "x", "max_length": 2}]}):9%"#,
            Operator::FirstOf(vec![
                (Operator::ServerName(operator::ServerName::Tls), None),
                (Operator::Request(Field::Header("x".into()), None), Some(2)),
            ]),
        ),
    ] {
        assert_eq!(operator(text).unwrap(), expected, "{text}");
    }
}

#[test]
fn errors_name_the_operator_and_the_reason() {
    for (text, place, expected) in [
        ("50%", Place::Header, "without its second %"),
        ("%START_TIME(%", Place::Header, "without its second %"),
        ("%REQ(x)%tunnel%", Place::Log, "without its second %"),
        ("%PROT%", Place::Header, "not supported by this version: %PROT%"),
        ("%protocol%", Place::Header, "not supported by this version: %protocol%"),
        ("%REQ(a):b%", Place::Log, "not supported by this version: %REQ(a):b%"),
        ("%REQ(a)b%", Place::Log, "not supported by this version: %REQ(a)b%"),
        ("%CEL(response.code)%", Place::Log, "%CEL(response.code)% (expressions are not supported)"),
        ("%REQ(:status)%", Place::Header, "`:status`, which is not there"),
        ("%RESP(:path)%", Place::Log, "`:path`, which is not there"),
        ("%REQ(a b)%", Place::Log, "`a b`, which is not a header name"),
        ("%REQ(a?b?c)%", Place::Log, "more than two headers"),
        ("%REQ%", Place::Log, "such as REQ(X?Y)"),
        ("%HOSTNAME(x)%", Place::Header, "nothing in parentheses"),
        ("%PROTOCOL:3%", Place::Header, "takes no length"),
        ("%BYTES_SENT%", Place::Header, "can stand in access logs alone"),
        ("%START_TIME(%Q)%", Place::Header, "format of time that is not known"),
        ("%START_TIME(%12f)%", Place::Reply, "format of time that is not known"),
        ("%PATH(X)%", Place::Log, "takes WQ or NQ, not `X`"),
        ("%COMMON_DURATION(DS_RX_BEG:NEVER)%", Place::Log, "`NEVER`, which is not a point in time"),
        ("%COMMON_DURATION(DS_RX_BEG:DS_TX_END:s)%", Place::Log, "takes ms, us or ns"),
        ("%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT(129)%", Place::Log, "up to 128"),
        ("%COALESCE({\"operators\": []})%", Place::Log, "names no operator"),
        ("%COALESCE({\"operators\": [\"NOPE\"]})%", Place::Log, "`NOPE`, which is not an operator"),
        ("%COALESCE({\"operators\": [\"DURATION\"]})%", Place::Header, "can stand in access logs alone"),
        ("%COALESCE(x)%", Place::Log, "takes {\"operators\": [...]}"),
    ] {
        let mistake = parse(text, place).unwrap_err().to_string();
        assert!(mistake.contains(expected), "{text}: {mistake}");
    }
}

#[test]
fn each_name_has_one_row_whose_example_parses() {
    for row in rows() {
        assert_eq!(rows().filter(|other| other.name == row.name).count(), 1, "{}", row.name);
        let read = |place| parse(&row.example(), place);
        assert_eq!(read(Place::Log).is_ok(), row.refusal().is_none(), "{}", row.name);
        for place in [Place::Header, Place::Reply] {
            let allowed = row.refusal().is_none() && row.allowed == Allowed::Everywhere;
            assert_eq!(read(place).is_ok(), allowed, "{} {place:?}", row.name);
        }
        let bare = parse(&format!("%{}%", row.name), Place::Log);
        let needs = matches!(row.argument, Argument::Required(_));
        assert_eq!(bare.is_ok(), row.refusal().is_none() && !needs, "{}", row.name);
    }
}

#[test]
fn the_table_has_every_operator_that_envoy_documents() {
    let missing: Vec<&str> = ENVOY.split_whitespace().filter(|name| row(name).is_none()).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let unknown: Vec<&str> = rows()
        .map(|row| row.name)
        .filter(|name| !ENVOY.split_whitespace().any(|known| known == *name))
        .collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn the_documentation_lists_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/compatibility.md");
    let text = std::fs::read_to_string(path).unwrap();
    let in_table =
        |kept: fn(&Row) -> bool| rows().filter(|row| kept(row)).map(|row| row.name).collect::<Vec<_>>();
    for (title, expected) in [
        ("operators everywhere", in_table(|row| is_value(row) && row.allowed == Allowed::Everywhere)),
        ("operators in access logs alone", in_table(|row| is_value(row) && row.allowed == Allowed::Log)),
        ("operators that never have a value", in_table(|row| matches!(row.meaning, Meaning::Nothing(_)))),
        ("operators that are refused", in_table(|row| row.refusal().is_some())),
    ] {
        let line = text.lines().find(|line| line.starts_with(&format!("| {title} |"))).unwrap_or_default();
        let listed: Vec<&str> = line.split('`').skip(1).step_by(2).collect();
        assert_eq!(listed, expected, "docs/compatibility.md: {title}");
    }
}

fn is_value(row: &Row) -> bool {
    matches!(row.meaning, Meaning::Value(_) | Meaning::OfOthers(_))
}

#[test]
fn the_default_formats_parse() {
    let json = defaults::JSON.iter().map(|(_, text)| *text);
    for text in [defaults::TEXT, defaults::ENVOY].into_iter().chain(json) {
        parse(text, Place::Log).unwrap();
    }
    assert!(defaults::JSON.is_sorted(), "keys travel in order");
}

/// The names in "Substitution Formatter" of Envoy 1.40's documentation.
const ENVOY: &str = "
    START_TIME START_TIME_LOCAL EMIT_TIME EMIT_TIME_LOCAL REQUEST_HEADERS_BYTES BYTES_RECEIVED BYTES_RETRANSMITTED
    PACKETS_RETRANSMITTED PROTOCOL UPSTREAM_PROTOCOL RESPONSE_CODE RESPONSE_CODE_DETAILS
    CONNECTION_TERMINATION_DETAILS RESPONSE_HEADERS_BYTES RESPONSE_TRAILERS_BYTES BYTES_SENT
    UPSTREAM_REQUEST_ATTEMPT_COUNT UPSTREAM_WIRE_BYTES_SENT UPSTREAM_WIRE_BYTES_RECEIVED
    UPSTREAM_HEADER_BYTES_SENT UPSTREAM_DECOMPRESSED_HEADER_BYTES_SENT UPSTREAM_HEADER_BYTES_RECEIVED
    UPSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED DOWNSTREAM_WIRE_BYTES_SENT DOWNSTREAM_WIRE_BYTES_RECEIVED
    DOWNSTREAM_HEADER_BYTES_SENT DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_SENT DOWNSTREAM_HEADER_BYTES_RECEIVED
    DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED DURATION COMMON_DURATION REQUEST_DURATION REQUEST_TX_DURATION
    RESPONSE_DURATION ROUNDTRIP_DURATION RESPONSE_TX_DURATION DOWNSTREAM_HANDSHAKE_DURATION
    UPSTREAM_CONNECTION_POOL_READY_DURATION RESPONSE_FLAGS RESPONSE_FLAGS_LONG ROUTE_NAME VIRTUAL_CLUSTER_NAME
    UPSTREAM_HOST UPSTREAM_HOST_NAME UPSTREAM_HOST_NAME_WITHOUT_PORT UPSTREAM_HOSTS_ATTEMPTED
    UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT UPSTREAM_HOST_NAMES_ATTEMPTED UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT
    UPSTREAM_CLUSTER UPSTREAM_CLUSTER_RAW UPSTREAM_LOCAL_ADDRESS UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT
    UPSTREAM_LOCAL_PORT UPSTREAM_REMOTE_ADDRESS UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT UPSTREAM_REMOTE_PORT
    UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID UPSTREAM_TRANSPORT_FAILURE_REASON UPSTREAM_DETECTED_CLOSE_TYPE
    UPSTREAM_LOCAL_CLOSE_REASON DOWNSTREAM_TRANSPORT_FAILURE_REASON DOWNSTREAM_LOCAL_CLOSE_REASON
    DOWNSTREAM_DETECTED_CLOSE_TYPE DOWNSTREAM_REMOTE_ADDRESS DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT
    DOWNSTREAM_REMOTE_PORT DOWNSTREAM_DIRECT_REMOTE_ADDRESS DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT
    DOWNSTREAM_DIRECT_REMOTE_PORT DOWNSTREAM_LOCAL_ADDRESS DOWNSTREAM_DIRECT_LOCAL_ADDRESS
    DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT DOWNSTREAM_LOCAL_PORT
    DOWNSTREAM_DIRECT_LOCAL_PORT DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID DOWNSTREAM_DIRECT_LOCAL_ADDRESS_ENDPOINT_ID
    CONNECTION_ID UPSTREAM_CONNECTION_ID UPSTREAM_CONNECTION_IDS_ATTEMPTED STREAM_ID GRPC_STATUS
    GRPC_STATUS_NUMBER REQUEST_HEADER REQ RESPONSE_HEADER RESP RESPONSE_TRAILER TRAILER DYNAMIC_METADATA
    CLUSTER_METADATA UPSTREAM_METADATA FILTER_STATE UPSTREAM_FILTER_STATE REQUESTED_SERVER_NAME
    DOWNSTREAM_LOCAL_IP_SAN DOWNSTREAM_PEER_IP_SAN DOWNSTREAM_LOCAL_DNS_SAN DOWNSTREAM_PEER_DNS_SAN
    DOWNSTREAM_LOCAL_URI_SAN DOWNSTREAM_PEER_URI_SAN DOWNSTREAM_LOCAL_EMAIL_SAN DOWNSTREAM_PEER_EMAIL_SAN
    DOWNSTREAM_LOCAL_OTHERNAME_SAN DOWNSTREAM_PEER_OTHERNAME_SAN DOWNSTREAM_LOCAL_SUBJECT DOWNSTREAM_PEER_SUBJECT
    DOWNSTREAM_PEER_ISSUER DOWNSTREAM_TLS_SESSION_ID DOWNSTREAM_TLS_CIPHER DOWNSTREAM_TLS_GROUP
    DOWNSTREAM_TLS_VERSION DOWNSTREAM_PEER_FINGERPRINT_256 DOWNSTREAM_PEER_FINGERPRINT_1 DOWNSTREAM_PEER_SERIAL
    DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256 DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_1 DOWNSTREAM_PEER_CHAIN_SERIALS
    DOWNSTREAM_PEER_ISSUER_FINGERPRINT_256 DOWNSTREAM_PEER_ISSUER_SERIAL DOWNSTREAM_PEER_CERT TLS_JA3_FINGERPRINT
    TLS_JA4_FINGERPRINT DOWNSTREAM_PEER_CERT_V_START DOWNSTREAM_PEER_CERT_V_END UPSTREAM_PEER_SUBJECT
    UPSTREAM_PEER_ISSUER UPSTREAM_TLS_SESSION_ID UPSTREAM_TLS_CIPHER UPSTREAM_TLS_GROUP UPSTREAM_TLS_VERSION
    UPSTREAM_SERVER_NAME UPSTREAM_PEER_CERT UPSTREAM_PEER_CERT_V_START UPSTREAM_PEER_CERT_V_END
    UPSTREAM_PEER_URI_SAN UPSTREAM_PEER_DNS_SAN UPSTREAM_PEER_IP_SAN UPSTREAM_LOCAL_URI_SAN UPSTREAM_LOCAL_DNS_SAN
    UPSTREAM_LOCAL_IP_SAN HOSTNAME LOCAL_REPLY_BODY FILTER_CHAIN_NAME ACCESS_LOG_TYPE UNIQUE_ID ENVIRONMENT
    TRACE_ID SPAN_ID QUERY_PARAM QUERY_PARAMS PATH CUSTOM_FLAGS COALESCE METADATA CEL TYPED_CEL REQ_WITHOUT_QUERY
    FILE_CONTENT SECRET
";
