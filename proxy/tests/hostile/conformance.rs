//! The external suite `h2spec` against every kind of listener, in plaintext and TLS, with responses from an
//! upstream and from the proxy itself. Needs `deploy/tools/h2spec`, so it runs only on request: `make h2spec`.

use crate::bootstrap::LISTENERS;
use crate::greeting::Authority;
use crate::process::Setup;
use crate::upstream::polite;
use std::path::Path;
use std::process::Command;

#[test]
#[ignore = "needs h2spec: run `make h2spec`"]
fn every_listener_passes_h2spec() {
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/tools/h2spec");
    let found = Command::new(tool).output().unwrap();
    assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
    let h2spec = String::from_utf8(found.stdout).unwrap().trim().to_owned();
    let authority = Authority::new();
    // A proxy that generates responses itself, over HTTP/2 too.
    let other = Setup::to(polite()).start();
    for http2 in [false, true] {
        let setup = Setup { certificates: Some(authority.path().to_owned()), ..Setup::to(polite()) };
        let setup = if http2 {
            Setup { upstream_http2: true, upstream: other.address("direct"), ..setup }
        } else {
            setup
        };
        let proxy = setup.start();
        for listener in LISTENERS.into_iter().filter(|name| *name != "opaque") {
            let text = suite(&h2spec, proxy.address(listener).port(), listener == "tls");
            let summary = text.lines().last().unwrap_or_default();
            eprintln!("{listener}, HTTP/{} upstream: {summary}", if http2 { 2 } else { 1 });
            let failures = text.split("Failures:").nth(1).unwrap_or_default();
            let failed = failures.split('×').skip(1).filter(|case| !excused(listener, case));
            assert_eq!(failed.count(), 0, "{listener}: {failures}");
            assert!(summary.starts_with("146 tests"), "{summary}");
        }
        proxy.wait_idle();
    }
}

fn suite(h2spec: &str, port: u16, tls: bool) -> String {
    let mut suite = Command::new(h2spec);
    suite.args(["--strict", "--timeout", "5", "--port", &port.to_string()]);
    if tls {
        suite.args(["--tls", "--insecure"]);
    }
    String::from_utf8(suite.output().unwrap().stdout).unwrap()
}

/// Whether docs/http2-conformance.md gives a reason for the failure of a case.
fn excused(listener: &str, case: &str) -> bool {
    // If HTTP/1 is accepted too, an invalid preface is a malformed request, and the response is 400.
    let preface = case.contains("Sends invalid connection preface");
    // If the proxy itself responds, the stream may already have its response and its end, or the reset after the
    // response, before the client's second frame. The other listeners must pass the same cases.
    let ends = ["DATA Frame (length:5, flags:0x01", "RST_STREAM Frame (length:4, flags:0x00"];
    let answered = listener == "direct" && ends.iter().any(|end| case.contains(&format!("Actual: {end}")));
    preface || answered
}
