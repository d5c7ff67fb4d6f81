//! Lines of the access log for requests and connections.

mod table;

use super::*;
use crate::flow::flags::Flags;
use crate::flow::record::{Detail, Key, Reporter, Traffic};
use api::model::access_log::{AccessLog, JsonFormat, LogFormat};
use http::{HeaderMap, HeaderValue};
use std::time::{Duration, UNIX_EPOCH};

fn log(format: LogFormat, omit_empty: bool) -> Log {
    Log::compile(&AccessLog { sink: LogSink::Stdout, format, omit_empty }, None).unwrap()
}

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
    let log = log(format, false);
    written(&log, &record(&log))
}

fn written(log: &Log, record: &Record) -> String {
    let mut out = vec![];
    line::write(&mut out, log, record);
    String::from_utf8(out).unwrap()
}

fn text(text: &str) -> LogFormat {
    LogFormat::Text(text.to_owned())
}

fn json(value: &serde_json::Value) -> LogFormat {
    LogFormat::Json(JsonFormat::fields(value.as_object().unwrap()))
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
    let text = line(json(&serde_json::json!({
        "agent": "%REQ(USER-AGENT)%",
        "code": "%RESPONSE_CODE%",
        "cut": "%REQ(X-REQUEST-ID):2%",
        "inner": {"b": "%BYTES_SENT%", "a": ["%PROTOCOL%", "%ROUTE_NAME%", 1.5, null, true, {}, []]},
        "mixed": "<%PROTOCOL%> 100%% %ROUTE_NAME%",
        "none": "%ROUTE_NAME%",
        "path": "%REQ_WITHOUT_QUERY(:PATH)%",
    })));
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        value,
        serde_json::json!({
            "code": 200, "agent": "curl\"x", "none": null, "mixed": "<HTTP/1.1> 100% -", "path": "/a", "cut": "id",
            "inner": {"a": ["HTTP/1.1", null, 1.5, null, true, {}, []], "b": 2}
        })
    );
    assert!(text.starts_with("{\"agent\":"), "fields have an order: {text}");
    assert!(text.ends_with("}\n"), "a line ends: {text}");
}

#[test]
fn empty_values_are_omitted_if_the_log_omits_them() {
    for (format, expected) in [
        (text("[%ROUTE_NAME%] [%PROTOCOL%]\n"), "[] [HTTP/1.1]\n"),
        (
            json(&serde_json::json!({
                "a": "%ROUTE_NAME%", "b": {"c": "%ROUTE_NAME%"}, "d": ["%ROUTE_NAME%", "%BYTES_SENT%", "x%ROUTE_NAME%"],
                "e": "%ROUTE_NAME%"
            })),
            "{\"d\":[2,\"x\"]}\n",
        ),
        (json(&serde_json::json!({"a": "%ROUTE_NAME%"})), "{}\n"),
        (json(&serde_json::json!({})), "{}\n"),
    ] {
        let log = log(format, true);
        assert_eq!(written(&log, &record(&log)), expected);
    }
}

#[test]
fn mistakes_are_named() {
    for (format, expected) in [
        (
            "%NOPE%",
            "access log format: `%NOPE%` has an operator that is not supported by this version: %NOPE%",
        ),
        ("%REQ(a", "access log format: `%REQ(a` has an operator without its second %"),
    ] {
        let log = AccessLog { sink: LogSink::Stdout, format: text(format), omit_empty: false };
        assert_eq!(Log::compile(&log, None).unwrap_err().to_string(), expected, "{format}");
    }
}

#[test]
fn a_header_cannot_forge_a_line() {
    let log = log(text("%REQ(X)%\n"), false);
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
    let sink = LogSink::File(path.clone());
    let from = AccessLog { sink, format: text("%RESPONSE_CODE%\n"), omit_empty: false };
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
    let of = |line| AccessLog { sink: LogSink::Stdout, format: text(line), omit_empty: false };
    let logs = Log::compile_all(&[of("%REQ(a)% %REQ(b)%\n"), of("%REQ(c)% %REQ(a)%\n")]).unwrap();
    let headers =
        ["a", "b", "c"].map(|name| (http::HeaderName::from_static(name), HeaderValue::from_static(name)));
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
