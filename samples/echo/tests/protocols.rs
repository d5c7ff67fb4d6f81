//! Tests of server and client together, over sockets on free ports: one test for each protocol.

use std::collections::HashMap;
use std::net::SocketAddr;

use clap::Parser;
use echo::client;
use echo::config::{ClientOptions, Command, CommandLine, ServerOptions};
use echo::report::Report;
use echo::server::Server;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A server on free ports that runs until it is stopped.
struct Running {
    ports: HashMap<&'static str, SocketAddr>,
    stop: oneshot::Sender<()>,
    done: JoinHandle<()>,
}

impl Running {
    fn url(&self, scheme: &str, port: &str, path: &str) -> String {
        format!("{scheme}://{}{path}", self.ports[port])
    }

    async fn stop(self) {
        self.stop.send(()).expect("the server waits for this");
        self.done.await.expect("the server ends in order");
    }
}

fn server_options(arguments: &[&str]) -> ServerOptions {
    match CommandLine::parse_from([&["echo", "server"], arguments].concat()).command {
        Command::Server(options) => options,
        Command::Client(_) => unreachable!("the command is a server"),
    }
}

fn client_options(arguments: &[&str]) -> ClientOptions {
    match CommandLine::parse_from([&["echo", "client"], arguments].concat()).command {
        Command::Client(options) => options,
        Command::Server(_) => unreachable!("the command is a client"),
    }
}

async fn start(more: &[&str]) -> Running {
    let ports = ["--http", "0", "--https", "0", "--grpc", "0", "--tcp", "0", "--tcp-server-first", "0"];
    let rest = [
        "--drain",
        "2s",
        "--address",
        "127.0.0.1",
        "--version",
        "v7",
        "--pod-name",
        "pod-7",
        "--hostname",
        "h",
    ];
    let options = server_options(&[&ports[..], &rest, more].concat());
    let server = Server::bind(&options).await.expect("free ports");
    let ports = server.addresses().collect();
    let (stop, stopped) = oneshot::channel::<()>();
    let done = tokio::spawn(server.serve(async move { drop(stopped.await) }));
    Running { ports, stop, done }
}

async fn call(arguments: &[&str]) -> Report {
    client::run(&client_options(arguments), std::future::pending()).await.expect("a run")
}

async fn shown(arguments: &[&str]) -> Value {
    let report = call(&[arguments, &["--show"]].concat()).await;
    assert_eq!(report.failed, 0, "{arguments:?}: {report:?}");
    report.first_response.expect("--show was set")
}

#[tokio::test]
async fn http_1_and_http_2_share_a_port_and_describe_the_request() {
    let server = start(&[]).await;
    let url = server.url("http", "http", "/a/b?body=1&x=y");
    for (flag, version) in [(None, "HTTP/1.1"), (Some("--http2"), "HTTP/2")] {
        let mut arguments =
            vec![url.as_str(), "-d", "hi", "-H", "x-twice: 1", "-H", "x-twice: 2", "-H", "host: echo.test"];
        arguments.extend(flag);
        let seen = shown(&arguments).await;
        for (name, value) in [
            ("protocol", json!("http")),
            ("method", json!("POST")),
            ("path", json!("/a/b")),
            ("query", json!("body=1&x=y")),
            ("http_version", json!(version)),
            ("authority", json!("echo.test")),
            ("body", json!("hi")),
            ("body_bytes", json!(2)),
            ("version", json!("v7")),
            ("pod", json!("pod-7")),
            ("local", json!(server.ports["http"].to_string())),
            ("tls", Value::Null),
        ] {
            assert_eq!(seen[name], value, "{name} in {seen}");
        }
        let headers = seen["headers"].as_array().expect("pairs");
        assert!(headers.contains(&json!(["x-twice", "1"])) && headers.contains(&json!(["x-twice", "2"])));
    }
    server.stop().await;
}

#[tokio::test]
async fn a_response_without_an_expected_text_or_with_an_unexpected_one_has_failed() {
    let server = start(&[]).await;
    let url = server.url("http", "http", "/?body=1");
    for (flags, failed) in [
        (&["--expect", "v7", "--expect", "pod-7", "--expect-not", "v8"][..], None),
        (&["--expect", "v7", "--expect", "v8"], Some("a response without \"v8\"")),
        (&["--expect-not", "v7"], Some("a response with \"v7\"")),
    ] {
        let report = call(&[&[url.as_str(), "-n", "3"][..], flags].concat()).await;
        let reasons: Vec<(&str, u64)> =
            report.errors.iter().map(|(reason, count)| (reason.as_str(), *count)).collect();
        assert_eq!(reasons, failed.map(|reason| (reason, 3)).into_iter().collect::<Vec<_>>());
        assert_eq!((report.ok, report.failed), if failed.is_some() { (0, 3) } else { (3, 0) });
    }
    server.stop().await;
}

#[tokio::test]
async fn controls_change_status_size_pieces_trailers_and_connection() {
    let server = start(&[]).await;
    let cases: &[(&str, &[&str], &str, u64)] = &[
        ("/?status=503", &[], "503", 0),
        ("/?fail=100%25&fail_status=429", &[], "429", 0),
        ("/", &["-H", "x-echo-status: 418"], "418", 0),
        ("/?delay=soon", &[], "400", 0),
        ("/?trailers=1", &["-H", "te: trailers"], "200", 1),
        ("/?trailers=1", &["--http2"], "200", 1),
        ("/?size=100000&chunk=1000", &[], "200", 0),
        ("/?stream=1", &["-d", "back", "--http2"], "200", 0),
        ("/?status=204", &[], "204", 0),
        ("/health?status=503", &[], "200", 0),
    ];
    for (path, flags, status, trailers) in cases {
        let url = server.url("http", "http", path);
        let report = call(&[&[url.as_str()], *flags].concat()).await;
        assert_eq!(report.by_status.get(*status), Some(&1), "{path} {flags:?}: {report:?}");
        assert_eq!(report.trailers, *trailers, "{path} {flags:?}");
    }
    let url = server.url("http", "http", "/?size=37");
    assert_eq!(shown(&[&url]).await, json!("0123456789abcdef0123456789abcdef01234"));
    let url = server.url("http", "http", "/?stream=1");
    assert_eq!(shown(&[&url, "-d", "back"]).await, json!("back"));
    let url = server.url("http", "http", "/?close=1");
    assert_eq!(call(&[&url, "-n", "5"]).await.ok, 5, "a closed connection is replaced");
    let url = server.url("http", "http", "/?abort=1");
    let report = call(&[&url]).await;
    assert_eq!((report.failed, report.errors.len()), (1, 1));
}

#[tokio::test]
async fn a_share_of_requests_fails() {
    let server = start(&[]).await;
    let url = server.url("http", "http", "/?fail=50%25");
    let report = call(&[&url, "-n", "400", "-c", "4"]).await;
    // Six standard deviations of 400 fair coins are 60.
    assert!((140..=260).contains(&report.failed), "{report:?}");
    assert_eq!(report.by_status["503"], report.failed);
}

#[tokio::test]
async fn https_describes_the_handshake_and_offers_both_versions() {
    let server = start(&[]).await;
    let url = server.url("https", "https", "/");
    for (flag, alpn, version) in [(None, "http/1.1", "HTTP/1.1"), (Some("--http2"), "h2", "HTTP/2")] {
        let mut arguments = vec![url.as_str(), "--insecure", "--server-name", "echo-server"];
        arguments.extend(flag);
        let seen = shown(&arguments).await;
        assert_eq!(seen["http_version"], version);
        let tls = json!({"version": "TLSv1.3", "sni": "echo-server", "alpn": alpn, "client": null, "client_uris": []});
        assert_eq!(seen["tls"], tls);
    }
    let untrusted = call(&[&url, "--ca", "/dev/null"]).await;
    assert_eq!(untrusted.failed, 1, "an unknown certificate is refused");
    assert!(untrusted.errors.keys().all(|error| error.contains("TLS handshake failed")), "{untrusted:?}");
}

#[tokio::test]
async fn certificates_of_both_sides_are_verified_against_given_roots() {
    let folder = tempfile::tempdir().expect("a folder for certificates");
    let file = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path.to_str().expect("a text path").to_owned()
    };
    let issue = |name: &str, uri: &str| {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut contents = rcgen::CertificateParams::new(vec![name.to_owned()]).expect("a name");
        contents.subject_alt_names.push(rcgen::SanType::URI(uri.try_into().expect("a URI")));
        let certificate = contents.self_signed(&key).expect("a certificate");
        (file(&format!("{name}.pem"), certificate.pem()), file(&format!("{name}.key"), key.serialize_pem()))
    };
    let (server_cert, server_key) = issue("localhost", "spiffe://test/server");
    let (client_cert, client_key) = issue("caller", "spiffe://test/caller");
    let server = start(&["--cert", &server_cert, "--key", &server_key, "--client-ca", &client_cert]).await;
    let url = server.url("https", "https", "/");
    let trust = [url.as_str(), "--ca", server_cert.as_str(), "--server-name", "localhost"];
    let seen = shown(&[&trust[..], &["--cert", &client_cert, "--key", &client_key]].concat()).await;
    assert_eq!(seen["tls"]["client_uris"], json!(["spiffe://test/caller"]));
    assert!(seen["tls"]["client"].as_str().is_some_and(|subject| subject.contains("CN=")));
    assert_eq!(shown(&trust).await["tls"]["client"], Value::Null, "a certificate is requested, not required");
    let wrong_name = [url.as_str(), "--ca", server_cert.as_str(), "--server-name", "other"];
    assert_eq!(call(&wrong_name).await.failed, 1);
}

#[tokio::test]
async fn grpc_echoes_unary_calls_and_streams_in_both_directions() {
    let server = start(&[]).await;
    for port in ["grpc", "http"] {
        let url = server.url("grpc", port, "");
        for flags in [
            &["-n", "3"][..],
            &["--stream", "5"],
            &["--stream", "5", "--grpc", "collect"],
            &["--stream", "5", "--grpc", "repeat"],
            &["--grpc", "health"],
        ] {
            let report = call(&[&[url.as_str()], flags].concat()).await;
            assert!(report.failed == 0 && report.ok > 0, "{flags:?}: {report:?}");
        }
    }
    let url = server.url("grpc", "grpc", "");
    let seen = shown(&[&url, "-H", "end-user: jason"]).await;
    assert_eq!((&seen["protocol"], &seen["path"]), (&json!("grpc"), &json!("/ostria.echo.v1.Echo/Echo")));
    assert!(seen["headers"].as_array().expect("pairs").contains(&json!(["end-user", "jason"])));
    let secure = server.url("grpcs", "https", "");
    assert_eq!(shown(&[&secure, "--insecure"]).await["tls"]["alpn"], "h2");
    server.stop().await;
}

#[tokio::test]
async fn grpc_metadata_selects_codes_and_delays() {
    let server = start(&[]).await;
    let url = server.url("grpc", "grpc", "");
    let table = [
        ("x-echo-status: 7", "PERMISSION_DENIED"),
        ("x-echo-fail: 100%", "UNAVAILABLE"),
        ("x-echo-status: 99", "INVALID_ARGUMENT"),
    ];
    for (header, code) in table {
        let report = call(&[&url, "-H", header]).await;
        assert_eq!(report.by_status.get(code), Some(&1), "{header}: {report:?}");
        assert_eq!(report.failed, 1);
    }
    let late = call(&[&url, "-H", "x-echo-delay: 60s", "--timeout", "50ms"]).await;
    assert_eq!(late.errors.get("no response within 50ms"), Some(&1), "{late:?}");
}

#[tokio::test]
async fn websocket_messages_are_echoed_over_plaintext_and_tls() {
    let server = start(&[]).await;
    let plain = server.url("ws", "http", "/any/path");
    let report = call(&[&plain, "-n", "4", "-c", "2", "--stream", "3", "-d", "caf\u{e9}"]).await;
    assert_eq!((report.ok, report.by_status["101"], report.by_version["v7"]), (4, 4, 4), "{report:?}");
    let secure = server.url("wss", "https", "/");
    assert_eq!(call(&[&secure, "--insecure", "--new-connection", "-n", "2"]).await.ok, 2);
    let refused = call(&[&server.url("ws", "http", "/?status=403")]).await;
    assert_eq!((refused.failed, refused.by_status["403"]), (1, 1));
}

#[tokio::test]
async fn a_websocket_can_begin_with_a_description_of_the_request() {
    use futures_util::StreamExt;
    let server = start(&[]).await;
    let url = server.url("ws", "http", "/chat?hello=1");
    let stream = tokio::net::TcpStream::connect(server.ports["http"]).await.expect("a connection");
    let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await.expect("a WebSocket");
    let hello = socket.next().await.expect("a message").expect("a good one").into_text().expect("text");
    let hello: Value = serde_json::from_str(&hello).expect("JSON");
    assert_eq!(
        (&hello["protocol"], &hello["path"], &hello["pod"]),
        (&json!("websocket"), &json!("/chat"), &json!("pod-7"))
    );
    server.stop().await;
    let farewell = socket.next().await.expect("a message").expect("a good one");
    assert!(farewell.is_close(), "a server that stops says goodbye");
}

#[tokio::test]
async fn tcp_echoes_client_first_and_server_first_and_survives_half_close() {
    let server = start(&[]).await;
    for (scheme, port) in [("tcp", "tcp"), ("tcp+first", "tcp-server-first")] {
        let url = server.url(scheme, port, "");
        let report = call(&[&url, "-n", "6", "-c", "2", "--stream", "3"]).await;
        assert_eq!((report.ok, report.by_pod["pod-7"]), (6, 6), "{report:?}");
        let report = call(&[&url, "-n", "3", "--new-connection", "-d", &"x".repeat(100_000)]).await;
        assert_eq!(report.ok, 3, "{report:?}");
    }
    let silent = call(&[&server.url("tcp+first", "tcp", ""), "--timeout", "50ms"]).await;
    assert_eq!(silent.failed, 1, "the client-first port says nothing on its own");
}

#[tokio::test]
async fn a_run_ends_after_its_time_and_keeps_its_rate() {
    let server = start(&[]).await;
    let url = server.url("http", "http", "/");
    let report = call(&[&url, "--duration", "300ms", "--rate", "100", "-c", "4"]).await;
    assert!(report.failed == 0 && (3..=30).contains(&report.requests), "{report:?}");
    let report = call(&[&url, "-n", "3", "--duration", "1m"]).await;
    assert_eq!(report.requests, 3, "whichever limit comes first");
}

#[tokio::test]
async fn an_unreachable_server_is_an_error_with_its_cause() {
    // Nothing listens on the port of tcpmux.
    let report = call(&["http://127.0.0.1:1/", "-n", "2"]).await;
    assert_eq!(report.failed, 2);
    assert!(report.errors.keys().all(|error| error.contains("refused")), "{report:?}");
}

#[tokio::test]
async fn a_server_that_shuts_down_loses_no_request() {
    let server = start(&["--shutdown-delay", "2s"]).await;
    let url = server.url("http", "http", "/?delay=20ms");
    let options = client_options(&[&url, "-c", "8", "--duration", "300ms"]);
    let running =
        tokio::spawn(async move { client::run(&options, std::future::pending()).await.expect("a run") });
    server.stop().await;
    let report = running.await.expect("the client ends");
    assert!(report.failed == 0 && report.ok >= 8, "{report:?}");
}

#[tokio::test]
async fn a_taken_port_is_named_with_its_flag() {
    let server = start(&[]).await;
    let port = server.ports["http"].port().to_string();
    let error =
        Server::bind(&server_options(&["--address", "127.0.0.1", "--grpc", &port])).await.expect_err("taken");
    assert!(error.to_string().contains("--grpc"), "{error}");
}
