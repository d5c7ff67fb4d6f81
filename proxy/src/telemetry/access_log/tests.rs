//! Lines of the access log for requests and connections.

use super::*;
use crate::flow::flags::Flags;
use crate::flow::record::{Key, Reporter, Traffic};
use http::HeaderValue;
use std::time::{Duration, UNIX_EPOCH};

fn record(log: &Log) -> Record {
    let mut headers = HeaderMap::new();
    headers.insert("user-agent", HeaderValue::from_static("curl\"x"));
    headers.insert("x-request-id", HeaderValue::from_static("id-1"));
    let mut detail = Detail {
        start: Some(UNIX_EPOCH + Duration::from_millis(1_700_000_000_123)),
        method: Some(http::Method::GET),
        target: Some("/a?b=c".parse().unwrap()),
        protocol: Some("HTTP/1.1"),
        authority: Some(HeaderValue::from_static("reviews")),
        code_details: Some("via_upstream".into()),
        cluster: Some("c".into()),
        upstream_host: "10.0.0.2:80".parse().ok(),
        upstream_time: Some(Duration::from_millis(5)),
        ..Detail::default()
    };
    log.capture_request(&headers, &mut detail);
    let mut key = Key::unknown(Reporter::Source, Traffic::Http);
    (key.code, key.flags) = (200, Flags::DI);
    Record {
        key,
        duration: Duration::from_millis(7),
        received: 1,
        sent: 2,
        request_messages: 0,
        response_messages: 0,
        detail: Some(Box::new(detail)),
    }
}

fn line(format: LogFormat) -> String {
    let log = Log::compile(&AccessLog { sink: LogSink::Stdout, format }, None).unwrap();
    let mut out = vec![];
    line::write(&mut out, &log, &record(&log));
    String::from_utf8(out).unwrap()
}

#[test]
fn the_default_line_is_istios() {
    assert_eq!(
        line(LogFormat::DefaultText),
        "[2023-11-14T22:13:20.123Z] \"GET /a?b=c HTTP/1.1\" 200 DI via_upstream - \"-\" 1 2 7 5 \"-\" \
         \"curl\\\"x\" \"id-1\" \"reviews\" \"10.0.0.2:80\" c - - - - -\n"
    );
}

#[test]
fn json_keeps_numbers_and_nulls() {
    let fields = [
        ("code", "%RESPONSE_CODE%"),
        ("agent", "%REQ(USER-AGENT)%"),
        ("none", "%ROUTE_NAME%"),
        ("mixed", "<%PROTOCOL%> 100%%"),
        ("path", "%REQ_WITHOUT_QUERY(:PATH)%"),
        ("cut", "%REQ(X-REQUEST-ID):2%"),
    ];
    let format = LogFormat::Json(fields.map(|(k, v)| (k.to_owned(), v.to_owned())).to_vec());
    let text = line(format);
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        value,
        serde_json::json!({
            "code": 200, "agent": "curl\"x", "none": null, "mixed": "<HTTP/1.1> 100%", "path": "/a", "cut": "id"
        })
    );
    assert!(text.starts_with("{\"code\":200,"), "fields keep their order: {text}");
}

#[test]
fn unknown_operators_are_named() {
    for (format, expected) in [
        ("%NOPE%", FormatError::Unknown("NOPE".into())),
        ("%REQ(a", FormatError::Unclosed("%REQ(a".into())),
        ("%REQ(a b)%", FormatError::Unknown("REQ(a b)".into())),
    ] {
        let log = AccessLog { sink: LogSink::Stdout, format: LogFormat::Text(format.into()) };
        assert_eq!(Log::compile(&log, None).unwrap_err(), expected, "{format}");
    }
}

#[test]
fn a_header_cannot_forge_a_line() {
    let log = Log::compile(
        &AccessLog { sink: LogSink::Stdout, format: LogFormat::Text("%REQ(X)%\n".into()) },
        None,
    )
    .unwrap();
    let mut record = record(&log);
    let detail = record.detail.as_mut().unwrap();
    detail.request_headers[0] = HeaderValue::from_bytes(b"a\tb").ok();
    let mut out = vec![];
    line::write(&mut out, &log, &record);
    assert_eq!(out, b"a\\x09b\n");
}

#[test]
fn lines_reach_their_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log").to_str().unwrap().to_owned();
    let from =
        AccessLog { sink: LogSink::File(path.clone()), format: LogFormat::Text("%RESPONSE_CODE%\n".into()) };
    let log = Log::compile(&from, None).unwrap();
    let mut buffers = LogBuffers::default();
    buffers.write(&log, &record(&log));
    buffers.write(&log, &record(&log));
    assert!(!std::path::Path::new(&path).exists(), "lines are buffered");
    buffers.flush();
    assert_eq!(std::fs::read_to_string(path).unwrap(), "200\n200\n");
}

#[test]
fn logs_side_by_side_keep_their_own_headers() {
    let text = |text: &str| AccessLog { sink: LogSink::Stdout, format: LogFormat::Text(text.into()) };
    let logs = Log::compile_all(&[text("%REQ(a)% %REQ(b)%\n"), text("%REQ(c)% %REQ(a)%\n")]).unwrap();
    let headers = ["a", "b", "c"].map(|name| (HeaderName::from_static(name), HeaderValue::from_static(name)));
    let headers = HeaderMap::from_iter(headers);
    let mut detail = Detail::default();
    for log in &logs {
        log.capture_request(&headers, &mut detail);
    }
    let record = Record { detail: Some(Box::new(detail)), ..record(&logs[0]) };
    let mut out = vec![];
    for log in &logs {
        line::write(&mut out, log, &record);
    }
    assert_eq!(String::from_utf8(out).unwrap(), "a b\nc a\n");
}
