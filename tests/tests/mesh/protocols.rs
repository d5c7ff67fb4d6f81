//! Every protocol of the echo server, with sidecars on both ends, on one end, and by a pod's address.

use tests::mesh::Mesh;
use tests::report::Report;

use crate::PROBE;

/// The arguments of a call, and a condition on its report beyond success.
type Case = (&'static [&'static str], fn(&Report) -> bool);

const CASES: &[Case] = &[
    (&["http://echo-server:8080/", "-n", "40", "-c", "4"], |report| report.by_version.len() == 2),
    (&["http://echo-server:8080/", "-n", "5", "--new-connection"], |report| {
        report.by_status.get("200") == Some(&5)
    }),
    (&["http://echo-server:8080/", "-n", "40", "-c", "2", "--http2"], |report| report.by_version.len() == 2),
    (&["http://echo-server:8080/?trailers=1", "-n", "5", "-H", "te:trailers"], |report| report.trailers == 5),
    (&["http://echo-server:8080/?trailers=1", "-n", "5", "--http2", "-H", "te:trailers"], |report| {
        report.trailers == 5
    }),
    (&["http://echo-server:8080/?size=3000000&chunk=7000", "-n", "2"], |report| report.ok == 2),
    (&["http://echo-server:8080/", "-X", "HEAD", "-n", "5"], |report| report.ok == 5),
    (&["http://echo-server:8080/?status=204", "-n", "5"], |report| report.by_status.get("204") == Some(&5)),
    (&["http://echo-server:8080/?close=1", "-n", "10"], |report| report.ok == 10),
    (&["grpc://echo-server:7070", "-n", "40", "-c", "2"], |report| report.by_version.len() == 2),
    (&["grpc://echo-server:7070", "--stream", "5", "-n", "5"], |report| {
        report.by_status.get("OK") == Some(&5)
    }),
    (&["grpc://echo-server:7070", "--grpc", "collect", "--stream", "5"], |report| report.ok == 1),
    (&["grpc://echo-server:7070", "--grpc", "repeat", "--stream", "5"], |report| report.ok == 1),
    (&["grpc://echo-server:7070", "--grpc", "health"], |report| report.by_status.get("SERVING") == Some(&1)),
    (&["grpc://echo-server:8081", "-n", "5"], |report| report.by_status.get("OK") == Some(&5)),
    (&["ws://echo-server:8080/chat", "--stream", "3", "-n", "3"], |report| report.ok == 3),
    (&["tcp://echo-server:9000", "-n", "5", "--new-connection", "--stream", "3"], |report| report.ok == 5),
    (&["tcp+first://echo-server:9001", "-n", "5", "--new-connection", "--stream", "3"], |report| {
        report.ok == 5
    }),
    (&["http://echo-server:8081/", "-n", "20"], |report| report.ok == 20),
    (&["http://echo-server:8081/", "-n", "5", "--http2"], |report| report.ok == 5),
    (&["ws://echo-server:8081/chat", "--stream", "3"], |report| report.ok == 1),
    (&["tcp+first://echo-server:9002", "-n", "2", "--new-connection", "--stream", "3"], |report| {
        report.ok == 2
    }),
    (&["https://echo-server:8443/", "--insecure", "--show", "-n", "5"], |report| {
        report.first_response["tls"]["sni"] == "echo-server"
    }),
    (&["https://echo-server:8443/", "--insecure", "--http2", "--show"], |report| {
        report.first_response["tls"]["alpn"] == "h2"
    }),
    (&["http://echo-server.echo.svc.cluster.local:8080/"], |report| report.ok == 1),
    (&["http://echo-server.echo:8080/"], |report| report.ok == 1),
];

#[test]
fn every_protocol_passes_through_sidecars_unharmed() {
    let mesh = Mesh::up(&["samples/echo"], PROBE);
    let mut wrong = vec![];
    for caller in ["deployment/client", "deployment/client-plain"] {
        for (arguments, holds) in CASES {
            let report = mesh.echo("echo", caller, arguments);
            // A client without a sidecar keeps its connection, and therefore its server.
            let plain_and_counting = caller.ends_with("plain") && report.by_version.len() == 1;
            if report.failed > 0 || report.ok == 0 || !(holds(&report) || plain_and_counting) {
                wrong.push(format!("{caller} {arguments:?}: {report:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} calls are not as they should be:\n{}", wrong.len(), wrong.join("\n"));
    addresses(&mesh);
}

/// Checks that a pod's own address, and a port that no service declares, are reachable as without a mesh.
fn addresses(mesh: &Mesh) {
    for server in mesh.pods("echo", "app", "echo-server") {
        for url in
            [format!("http://{}:8080/", server.address), format!("tcp+first://{}:9001", server.address)]
        {
            let report = mesh.echo("echo", "deployment/client", &[&url, "-n", "3"]);
            assert_eq!(report.all_good().by_pod.get(&server.name), Some(&3), "{url}: {report:?}");
        }
    }
    let plain = mesh.pod("echo", "client-plain");
    let report =
        mesh.echo("echo", "deployment/client", &[&format!("http://{}:8080/", plain.address), "-n", "3"]);
    assert_eq!(report.all_good().by_pod.get(&plain.name), Some(&3), "{report:?}");
}
