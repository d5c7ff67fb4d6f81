//! The binary from a user's point of view: started from a file, asked to end, and with error messages if it cannot
//! start.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests are a shell, and fail by panicking"
)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tests::port;

const BINARY: &str = env!("CARGO_BIN_EXE_ostria-proxy");

fn bootstrap(admin: u16, listen: u16) -> String {
    format!(
        r#"
node: {{id: test, cluster: test}}
admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {admin}}}}}}}
static_resources:
  listeners:
  - name: inbound
    address: {{socket_address: {{address: 127.0.0.1, port_value: {listen}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: http
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
          route_config:
            name: local
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {{prefix: "/"}}
                direct_response: {{status: 200, body: {{inline_string: "hello"}}}}
"#
    )
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

/// A running proxy, which is killed when the test ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(file: &PathBuf) -> Running {
    let child = Command::new(BINARY).arg("run").arg("--bootstrap").arg(file).stderr(Stdio::null()).spawn();
    let child = child.unwrap();
    tests::cleanup::end_when_killed(child.id());
    Running(child)
}

fn output(arguments: &[&str]) -> Output {
    Command::new(BINARY).args(arguments).env_clear().output().unwrap()
}

fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").ok()?;
    let mut response = String::new();
    stream.read_to_string(&mut response).ok()?;
    Some(response)
}

fn wait_ready(admin: u16) {
    let url = format!("http://127.0.0.1:{admin}/ready");
    let done = output(&["wait", "--url", &url, "--timeoutSeconds", "20", "--periodMillis", "10"]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn a_bootstrap_file_is_served_until_shutdown() {
    let (folder, admin, listen) = (Folder::new(), port::free(), port::free());
    let mut running = start(&folder.write("envoy.yaml", &bootstrap(admin, listen)));
    wait_ready(admin);
    let response = get(listen, "/").unwrap();
    assert!(response.starts_with("HTTP/1.1 200") && response.ends_with("hello"), "{response}");
    assert!(get(admin, "/listeners").unwrap().contains(&format!("inbound::127.0.0.1:{listen}")));

    tests::program::terminate(running.0.id());
    let began = Instant::now();
    assert!(running.0.wait().unwrap().success());
    assert!(began.elapsed() < Duration::from_secs(10), "nothing was under way");
}

#[test]
fn quitquitquit_ends_the_process() {
    let (folder, admin, listen) = (Folder::new(), port::free(), port::free());
    let mut running = start(&folder.write("envoy.yaml", &bootstrap(admin, listen)));
    wait_ready(admin);
    let mut stream = TcpStream::connect(("127.0.0.1", admin)).unwrap();
    write!(stream, "POST /quitquitquit HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").unwrap();
    assert!(running.0.wait().unwrap().success());
}

#[test]
fn startup_errors_name_the_part_and_the_reason() {
    let folder = Folder::new();
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = busy.local_addr().unwrap().port();
    let good = bootstrap(port::free(), port::free());
    let files = [
        ("admin.yaml", bootstrap(taken, port::free()), 1, "cannot listen on"),
        ("listener.yaml", bootstrap(port::free(), taken), 1, "cannot bind listener inbound"),
        (
            "unknown.yaml",
            good.replace("stat_prefix", "stats"),
            64,
            "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.stats",
        ),
        (
            "lua.yaml",
            good.replace("envoy.extensions.filters.http.router.v3.Router", "x.Lua"),
            64,
            "http_filters[0]",
        ),
        ("text.yaml", "{".to_owned(), 64, "text.yaml"),
    ];
    for (name, text, code, part) in files {
        let file = folder.write(name, &text);
        let done = output(&["run", "--bootstrap", file.to_str().unwrap()]);
        let error = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(code), "{name}: {error}");
        assert!(error.contains(part), "{name}: {error}");
    }
}

#[test]
fn usage_errors_and_failures_have_different_exit_codes() {
    for (arguments, code, part) in [
        (&["run"][..], 64, "--bootstrap"),
        (&["proxy", "sidecar", "--domain", "a.svc.cluster.local"], 64, "INSTANCE_IP: is not set"),
        (&["proxy", "waypoint"], 64, "waypoint"),
        (&["run", "--bootstrap", "/nowhere.yaml"], 1, "/nowhere.yaml"),
        (&["wait", "--timeoutSeconds", "0", "--url", "http://127.0.0.1:1/"], 1, "not ready after 0 s"),
    ] {
        let done = output(arguments);
        let error = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(code), "{arguments:?}: {error}");
        assert!(error.contains(part), "{arguments:?}: {error}");
    }
    assert!(output(&["version"]).status.success());
}
