//! The echo sample: every protocol that it speaks, from a pod with a sidecar and from one without.

use tests::wait;

use crate::cluster::{CHANGE, applied, echo, sample, until_settled};
use crate::mesh;
use crate::namespace::Namespace;

const NAMESPACE: &str = "echo";

/// Calls each port of the server by its protocol, and under port names that tell none.
pub(crate) fn every_protocol() {
    mesh::ready();
    let _namespace = Namespace::of_sample(NAMESPACE);
    applied(NAMESPACE, &sample("echo/echo.yaml"));
    until_settled(NAMESPACE);
    std::thread::scope(|scope| {
        let clients = [("client", true), ("client-plain", false)]
            .map(|(client, in_mesh)| scope.spawn(move || calls(client, in_mesh)));
        for client in clients {
            client.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    });
}

fn calls(client: &str, in_mesh: bool) {
    // The first call may come before the client's proxy knows the server.
    wait::until(&format!("{client} reaches the server"), CHANGE, || {
        let report = echo(NAMESPACE, client, &["http://echo-server:8080/", "--new-connection", "-n", "10"]);
        if report.failed == 0 { Ok(()) } else { Err(format!("{report:?}")) }
    });
    for (line, is_http) in CALLS {
        let report =
            echo(NAMESPACE, client, &[line, &["-n", "20", "--new-connection", "--show"][..]].concat());
        report.all_good();
        assert_eq!(report.by_version.len(), 2, "{client} {line:?} did not reach both servers: {report:?}");
        if *is_http {
            let caller = report.seen_header("x-forwarded-client-cert");
            let is_told = caller.as_ref().is_some_and(|text| text.contains("ns/echo/sa/client"));
            assert_eq!(is_told, in_mesh, "{client} {line:?}: {caller:?}");
        }
    }
}

/// A call, and whether it is HTTP that the server's sidecar reads.
const CALLS: &[(&[&str], bool)] = &[
    (&["http://echo-server:8080/"], true),
    (&["http://echo-server:8080/", "--http2"], true),
    (&["http://echo-server:8081/"], true),
    (&["http://echo-server:8080/", "-d", "a body"], true),
    (&["https://echo-server:8443/", "--insecure"], false),
    (&["grpc://echo-server:7070"], false),
    (&["grpc://echo-server:7070", "--stream", "5"], false),
    (&["ws://echo-server:8080/chat", "--stream", "3"], false),
    (&["tcp://echo-server:9000"], false),
    (&["tcp+first://echo-server:9001"], false),
    (&["tcp+first://echo-server:9002"], false),
];
