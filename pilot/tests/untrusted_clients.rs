//! Limits on the memory that clients of a running pilot use: pilot rejects oversized requests, frees the memory of
//! clients that disconnect, and rejects hostile request bodies before it parses them.

#![allow(clippy::unwrap_used, reason = "helpers of a test fail the test")]

use api::model::Kind;
use api::process::channel;
use api::wire::xds::{DeltaDiscoveryRequest, Node, NodeInfo};
use api::xds::connect::Stream;
use api::xds::server::Mode;
use serde_json::json;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;

/// A pilot on loopback; ends when dropped.
struct Pilot {
    child: Child,
    grpc: u16,
    http: u16,
}

impl Pilot {
    async fn start(folder: &Path) -> Self {
        let (grpc, http) = (tests::port::free(), tests::port::free());
        let child = Command::new(env!("CARGO_BIN_EXE_ostria-pilot"))
            .args(["--address", "127.0.0.1", "--log-level", "error", "--config-dir"])
            .arg(folder)
            .args(["--grpc-port", &grpc.to_string(), "--http-port", &http.to_string()])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        tests::cleanup::end_when_killed(child.id());
        let pilot = Self { child, grpc, http };
        for _ in 0..500 {
            if pilot.request("GET", "/readyz", b"").await.is_ok_and(|status| status == 200) {
                return pilot;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("pilot does not become ready");
    }

    /// Resident memory in MiB.
    fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() / 1024
    }

    /// Waits until pilot uses at most this much memory.
    async fn returns_to(&self, mebibytes: u64) {
        for _ in 0..300 {
            if self.memory() <= mebibytes {
                return;
            }
            // The allocator returns memory only while it is used, so the test sends requests, as a metrics scraper would.
            let _ = self.request("GET", "/metrics", b"").await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("pilot uses {} MiB, at most {mebibytes} were expected", self.memory());
    }

    async fn stream(&self, first: DeltaDiscoveryRequest) -> Result<Stream, tonic::Status> {
        let channel = channel::lazy(&format!("127.0.0.1:{}", self.grpc), None).unwrap();
        Stream::open(channel, tonic::metadata::MetadataMap::new(), vec![first], Mode::Delta).await
    }

    /// The status of an HTTP response.
    async fn request(&self, method: &str, path: &str, body: &[u8]) -> std::io::Result<u16> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.http)).await?;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: pilot\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await?;
        // An oversized request is answered before it has been read.
        let _ = stream.write_all(body).await;
        let mut response = vec![];
        let _ = stream.read_to_end(&mut response).await;
        let status = response.get(9..12).and_then(|text| std::str::from_utf8(text).ok());
        status.and_then(|text| text.parse().ok()).ok_or_else(|| std::io::Error::other("no response"))
    }
}

impl Drop for Pilot {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A proxy of a pod and namespace of its own, with as many bytes of labels, that subscribes to names.
fn request(number: usize, labels: usize, names: usize) -> DeltaDiscoveryRequest {
    let labels: serde_json::Map<_, _> =
        (0..labels / 64).map(|label| (format!("label-{label:08}"), "x".repeat(42).into())).collect();
    let metadata = json!({"NAMESPACE": format!("namespace-{number}"), "LABELS": labels});
    let info = NodeInfo {
        id: format!("sidecar~10.0.0.1~pod-{number}.namespace-{number}~namespace-{number}.svc.cluster.local"),
        metadata: metadata.as_object().unwrap().clone(),
        ..NodeInfo::default()
    };
    DeltaDiscoveryRequest {
        node: Some(Node::from(&info)),
        type_url: Kind::Endpoints.type_url().into(),
        resource_names_subscribe: (0..names)
            .map(|name| format!("outbound|80||missing-{name}.{number}"))
            .collect(),
        ..DeltaDiscoveryRequest::default()
    }
}

#[tokio::test]
async fn clients_with_megabytes_of_labels_are_rejected_and_use_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    let pilot = Pilot::start(folder.path()).await;
    let before = pilot.memory();
    for number in 0..40 {
        assert_eq!(rejection(&pilot, request(number, 3 << 20, 1)).await, Code::ResourceExhausted);
    }
    // Values that take twenty times their size after parsing.
    let mut grows = request(0, 0, 1);
    let nulls = json!({"NAMESPACE": "a", "X": vec![serde_json::Value::Null; 600_000]});
    let info = NodeInfo { metadata: nulls.as_object().unwrap().clone(), ..NodeInfo::default() };
    grows.node = Some(Node::from(&info));
    for _ in 0..10 {
        assert_eq!(rejection(&pilot, grows.clone()).await, Code::ResourceExhausted);
    }
    // If pilot kept them, these fifty requests would use more than 500 MiB. Only receive buffers stay.
    pilot.returns_to(before + 40).await;
}

async fn rejection(pilot: &Pilot, request: DeltaDiscoveryRequest) -> Code {
    let result = match pilot.stream(request).await {
        Ok(mut stream) => stream.next().await.map(|_| ()),
        Err(status) => Err(status),
    };
    result.unwrap_err().code()
}

#[tokio::test]
async fn memory_of_clients_is_freed_when_they_disconnect() {
    let folder = tempfile::tempdir().unwrap();
    let pilot = Pilot::start(folder.path()).await;
    // The first rounds allocate what pilot keeps for its lifetime.
    let before = round(&pilot).await.max(round(&pilot).await);
    for _ in 0..3 {
        round(&pilot).await;
    }
    pilot.returns_to(before + 30).await;
}

/// Connects fifty clients of different namespaces that subscribe to a thousand names each, disconnects them, and
/// returns the memory that pilot uses.
async fn round(pilot: &Pilot) -> u64 {
    let mut streams = vec![];
    for number in 0..50 {
        streams.push(pilot.stream(request(number, 50 << 10, 1000)).await.unwrap());
    }
    for stream in &mut streams {
        let response = stream.next().await.unwrap().unwrap();
        assert_eq!(response.removed_resources.len(), 1000, "none of the names exists");
    }
    drop(streams);
    // The clients are disconnected when pilot counts no proxy.
    for _ in 0..200 {
        if pilot.page("/metrics").await.contains("pilot_xds 0\n") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    pilot.memory()
}

impl Pilot {
    async fn page(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.http)).await.unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nhost: pilot\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        response
    }
}

#[tokio::test]
async fn hostile_requests_cost_little() {
    let folder = tempfile::tempdir().unwrap();
    let pilot = Pilot::start(folder.path()).await;
    let fine = json!({"objects": [{"file": "a", "object": {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}}}]});
    assert_eq!(pilot.request("POST", "/debug/validate", fine.to_string().as_bytes()).await.unwrap(), 200);
    let before = pilot.memory();
    let bombs = ["[],", "{\"\":0},", "[[[[0]]]],", "0,", "\"\","];
    for bomb in bombs {
        let text = format!("{{\"objects\":[{{\"object\":[{}0]}}]}}", bomb.repeat((7 << 20) / bomb.len()));
        assert_eq!(pilot.request("POST", "/debug/validate", text.as_bytes()).await.unwrap(), 400, "{bomb}");
    }
    let long = vec![b' '; 32 << 20];
    assert!(pilot.request("POST", "/debug/validate", &long).await.is_ok_and(|status| status == 413));
    pilot.returns_to(before + 48).await;
}
