//! Writes the hand-made part of the corpus: messages that the product itself sends and reads, so that fuzzing starts
//! from valid inputs. `cargo run -p fuzz-targets --example seeds` from the repository's root; can be repeated.

use api::certificate::IstioCertificateRequest;
use api::model::{Kind, Resource};
use api::resource::parse;
use api::wire::xds::{DeltaDiscoveryRequest, DiscoveryRequest, Node, NodeInfo};
use api::wire::{self, Target};
use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RecordType};
use pilot::catalog::Catalog;
use pilot::catalog::policy::Mesh;
use pilot::flow::{Fact, Scope};
use pilot::snapshot::Snapshot;
use pilot::{generate, validate};
use prost::Message as _;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn main() {
    resources();
    discovered();
    bootstraps();
    hellos();
    messages();
    names();
    certificates();
    reviews();
    tokens();
    manifests();
    connections();
    requests();
}

fn write(target: &str, name: &str, bytes: impl AsRef<[u8]>) {
    let folder = root().join("fuzz/corpus").join(target);
    fs::create_dir_all(&folder).expect("the corpus can be written");
    fs::write(folder.join(name), bytes).expect("the corpus can be written");
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn yaml(folder: &str) -> Vec<(String, String)> {
    let entries = fs::read_dir(root().join(folder)).expect("the samples are there");
    let files = entries.map(|entry| entry.expect("a sample").path());
    files
        .filter(|file| file.extension().is_some_and(|e| e == "yaml"))
        .map(|file| {
            let name = file.file_stem().expect("a name").to_string_lossy().into_owned();
            (name, fs::read_to_string(&file).expect("a sample can be read"))
        })
        .collect()
}

fn resources() {
    for folder in ["samples/bookinfo/networking", "tests/tests/interop/accepted"] {
        for (name, text) in yaml(folder) {
            write("resource", &name, text);
        }
    }
    for (name, text) in RESOURCES {
        write("resource", name, text);
    }
}

/// The configuration that pilot sends for bookinfo.
fn discovered() {
    let mut catalog = Catalog::new(Mesh::default());
    let all = [yaml("samples/bookinfo"), yaml("samples/bookinfo/networking")].concat();
    for (_, text) in &all {
        let facts = parse::parse("", text).documents.into_iter().map(Fact::Upsert).collect();
        catalog = catalog.apply(validate::judge(facts, catalog.mesh()).0).0;
    }
    #[expect(clippy::disallowed_methods, reason = "a snapshot says when it was made")]
    let snapshot = Snapshot::new(Arc::new(catalog), 1, std::time::Instant::now());
    for gateway in [false, true] {
        let (pod, label, namespace) = if gateway {
            ("ingress", ("istio", "ingressgateway"), "istio-system")
        } else {
            ("reviews", ("app", "reviews"), "default")
        };
        let scope = Scope {
            gateway,
            pod: pod.to_owned(),
            namespace: namespace.to_owned(),
            addresses: vec![[10, 244, 0, 1].into()],
            labels: [(label.0.to_owned(), label.1.to_owned())].into(),
            service_account: pod.to_owned(),
            istio_extensions: true,
            proven: true,
            http_10: false,
        };
        let mut resources = generate::shared(&snapshot, &scope);
        resources.extend(generate::own(&snapshot, &scope));
        for resource in resources {
            sent(&resource);
        }
    }
}

fn sent(resource: &Resource) {
    let any = wire::encode(resource, &Target { istio_extensions: true });
    let choice = Kind::ALL.iter().position(|kind| *kind == resource.kind()).expect("one of them") as u8;
    let name: String =
        resource.name().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    write("xds", &format!("{:?}-{name}", resource.kind()), [&[choice][..], &any.value].concat());
}

fn bootstraps() {
    for (name, text) in yaml("tests/tests/interop") {
        write("bootstrap", &name, text);
    }
    for (name, text) in BOOTSTRAPS {
        write("bootstrap", name, text);
    }
}

fn hellos() {
    let config = |alpn: &[&str]| {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the defaults")
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
        Arc::new(config)
    };
    for (name, host, alpn) in [
        ("mesh", "outbound_.9080_._.reviews.default.svc.cluster.local", &["istio-http/1.1", "istio"][..]),
        ("browser", "a.example.com", &["h2", "http/1.1"]),
        ("address", "10.0.0.1", &[]),
    ] {
        let name_sent = host.to_owned().try_into().expect("a server's name");
        let mut connection = rustls::ClientConnection::new(config(alpn), name_sent).expect("a client");
        let mut hello = vec![];
        connection.write_tls(&mut hello).expect("memory can be written");
        write("client_hello", name, &hello);
        // The same message in records of 100 bytes.
        let records = hello[5..].chunks(100);
        let split = records.flat_map(|r| [&[22, 3, 1][..], &(r.len() as u16).to_be_bytes(), r].concat());
        write("client_hello", &format!("{name}-split"), split.collect::<Vec<u8>>());
    }
    for (name, text) in [
        ("http1", "GET /productpage HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("http10", "POST / HTTP/1.0\r\n\r\n"),
        ("http2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0"),
        ("redis", "*1\r\n$4\r\nPING\r\n"),
    ] {
        write("client_hello", name, text);
    }
}

fn messages() {
    for (name, text) in [
        ("get", "\0GET /a?b=c HTTP/1.1\r\nHost: a\r\nAccept: */*\r\nx: \r\n\r\n"),
        (
            "post",
            "\0POST http://a:80/ HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello",
        ),
        ("chunked", "\0\r\nPUT / HTTP/1.1\r\nhost: a\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\n\r\n"),
        ("both", "\0POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("connect", "\0CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("folded", "\0GET / HTTP/1.0\r\nHost: a\r\nx: a\r\n b\r\n\r\n"),
        ("response", "\u{1}HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"),
        ("no-content", "\u{1}HTTP/1.1 204 \r\ntransfer-encoding: chunked\r\n\r\n"),
        (
            "chunks",
            "\u{2}5\r\nhello\r\n1F;a=b\r\n0123456789012345678901234567890\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        ),
        ("trailers", "\u{2}1\r\na\r\n0\r\ngrpc-status: 0\r\ncontent-length: 5\r\n\r\n"),
        ("only-trailers", "\u{3}grpc-status: 0\r\nhost: b\r\n\r\n"),
    ] {
        write("http1", name, text);
    }
}

fn names() {
    for (name, kind) in [
        ("reviews.shop.svc.cluster.local.", RecordType::A),
        ("many.", RecordType::A),
        ("api.example.com.shop.svc.cluster.local.", RecordType::AAAA),
        ("a.wild.example.com.", RecordType::A),
        ("example.org.", RecordType::SRV),
    ] {
        let mut query = Message::query();
        query.metadata.id = 7;
        query.add_query(Query::query(Name::from_ascii(name).expect("a name"), kind));
        write("dns", &format!("{name}{kind}"), query.to_vec().expect("a packet"));
    }
}

/// The samples, and objects with all kinds of paths.
fn manifests() {
    for folder in ["samples/bookinfo", "samples/echo"] {
        for (name, text) in yaml(folder) {
            write("manifest", &name, text);
        }
    }
    for (name, text) in MANIFESTS {
        write("manifest", name, text);
    }
}

/// Initial requests, and one with names.
fn requests() {
    let node = Node::from(&NodeInfo {
        id: "sidecar~10.0.0.1~a.shop~shop.svc.cluster.local".into(),
        metadata: [("NAMESPACE".to_owned(), "shop".into())].into_iter().collect(),
        extensions: vec!["envoy.filters.http.router".into()],
        user_agent: "envoy/1.36.0".into(),
        ..NodeInfo::default()
    });
    let delta = DeltaDiscoveryRequest {
        node: Some(node.clone()),
        type_url: Kind::Endpoints.type_url().into(),
        resource_names_subscribe: vec!["outbound|80||a.shop".into(), "*".into()],
        initial_resource_versions: [("b".to_owned(), "1".to_owned())].into(),
        error_detail: Some(wire::xds::nack("no")),
        ..DeltaDiscoveryRequest::default()
    };
    let whole = DiscoveryRequest {
        node: Some(node),
        type_url: Kind::Listener.type_url().into(),
        resource_names: vec!["virtualInbound".into()],
        ..DiscoveryRequest::default()
    };
    let certificate =
        IstioCertificateRequest { csr: "-----BEGIN".into(), ..IstioCertificateRequest::default() };
    write("request", "delta", [&[0][..], &delta.encode_to_vec()].concat());
    write("request", "state-of-the-world", [&[1][..], &whole.encode_to_vec()].concat());
    write("request", "certificate", [&[2][..], &certificate.encode_to_vec()].concat());
}

/// The beginning of a connection, a request in two frames, and a response.
fn connections() {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let request = b"\0\0\x01\x01\x01\0\0\0\x01\x82\0\0\x02\x09\x04\0\0\0\x01\x86\x84";
    write("http2", "request", [&[0][..], preface, request].concat());
    write("http2", "answer", b"\x01\0\0\x01\x01\x04\0\0\0\x01\x88\0\0\x02\0\x01\0\0\0\x01ok");
}

const MANIFESTS: [(&str, &str); 3] = [
    (
        "volumes",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: shop}\nspec:\n  volumes:\n  - {name: v, emptyDir: {}}\n  \
         - {name: c, configMap: {name: m, items: [{key: key, path: a/b, mode: 256}]}}\n  - {name: h, hostPath: {path: /srv}}\n  \
         - name: p\n    projected: {sources: [{serviceAccountToken: {path: token}}, {secret: {name: s}}, {downwardAPI: {items: [{path: l, fieldRef: {fieldPath: metadata.labels}}]}}]}\n  \
         containers:\n  - name: main\n    command: [sleep]\n    env: [{name: A, value: b}]\n    volumeMounts:\n    \
         - {name: v, mountPath: /v, subPath: a/b}\n    - {name: c, mountPath: /var/run/c, subPathExpr: $(A)}\n    - {name: p, mountPath: /etc/p}\n",
    ),
    (
        "keys",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m, namespace: shop}\ndata: {key: a, b.c: d}\n",
    ),
    (
        "job",
        "apiVersion: batch/v1\nkind: Job\nmetadata: {name: j, namespace: shop}\nspec:\n  template:\n    spec:\n      restartPolicy: Never\n      \
         securityContext: {runAsUser: 1000, fsGroup: 1000}\n      containers: [{name: main, command: [sleep], securityContext: {capabilities: {drop: [ALL]}}}]\n",
    ),
];

fn certificates() {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::default();
    params.subject_alt_names =
        vec![SanType::URI("spiffe://cluster.local/ns/default/sa/reviews".try_into().expect("ASCII"))];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.is_ca = IsCa::ExplicitNoCa;
    let certificate = params.clone().self_signed(&key).expect("a certificate");
    write("certificate", "workload", [&[0][..], certificate.der()].concat());
    write("certificate", "identity", "\u{1}spiffe://cluster.local/ns/default/sa/reviews");
    write(
        "certificate",
        "named",
        [&[2, 0b11_1001, 0][..], b"spiffe://cluster.local/ns/a/sa/b\ndns.a"].concat(),
    );
    params.is_ca = IsCa::NoCa;
    params.key_usages.clear();
    params.extended_key_usages.clear();
    let request = params.serialize_request(&key).expect("a request");
    let pem = request.pem().expect("PEM");
    write("csr", "pem", format!("\u{1}{pem}"));
    write("csr", "der", [&[2][..], request.der()].concat());
    write("csr", "wishes", "\u{3}admin\nspiffe://cluster.local/ns/istio-system/sa/istiod\ndns.example.com");
    let message = IstioCertificateRequest { csr: pem, validity_duration: 3600, metadata: None };
    write("csr", "message", [&[0][..], &message.encode_to_vec()].concat());
}

fn reviews() {
    let folder = root().join("injector/src/pipeline/golden");
    for entry in fs::read_dir(folder).expect("the injector's pods") {
        let path = entry.expect("a pod").path();
        let text = fs::read_to_string(&path).expect("a pod can be read");
        let pod: serde_json::Value = serde_saphyr::from_str(&text).expect("a pod is YAML");
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        write("review", &name, format!("\u{1}{pod}"));
    }
    write("review", "review", format!("\0{REVIEW}"));
}

fn tokens() {
    for (name, text) in [
        (
            "good",
            "\u{1}{\"iss\":\"https://issuer\",\"aud\":[\"istio-ca\"],\"sub\":\"system:serviceaccount:default:reviews\",\"exp\":1800000000,\"nbf\":1700000000,\"iat\":1700000000}",
        ),
        (
            "audience",
            "\u{1}{\"iss\":\"https://issuer\",\"aud\":\"istio-ca\",\"sub\":\"system:serviceaccount:a:b\",\"exp\":1.8e9}",
        ),
        (
            "header",
            "\u{2}{\"alg\":\"ES256\",\"crit\":null,\"typ\":\"jose\"}\n{\"iss\":\"https://issuer\",\"aud\":\"istio-ca\",\"sub\":\"system:serviceaccount:a:b\",\"exp\":1800000000}",
        ),
        ("none", "\0eyJhbGciOiJub25lIn0.eyJpc3MiOiJodHRwczovL2lzc3VlciJ9."),
        (
            "keys",
            "\u{3}{\"keys\":[{\"kty\":\"RSA\",\"kid\":\"ec\",\"n\":\"AQAB\",\"e\":\"AQAB\",\"use\":\"sig\"},{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AAAA\",\"y\":\"AAAA\"}]}",
        ),
    ] {
        write("token", name, text);
    }
}

const RESOURCES: [(&str, &str); 6] = [
    ("virtual-service", include_str!("seeds/virtual-service.yaml")),
    ("destination-rule", include_str!("seeds/destination-rule.yaml")),
    ("gateway", include_str!("seeds/gateway.yaml")),
    ("service-entry", include_str!("seeds/service-entry.yaml")),
    ("policies", include_str!("seeds/policies.yaml")),
    ("mesh", include_str!("seeds/mesh.yaml")),
];

const BOOTSTRAPS: [(&str, &str); 2] =
    [("http", include_str!("seeds/http.yaml")), ("control-plane", include_str!("seeds/control-plane.yaml"))];

const REVIEW: &str = r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"1","namespace":"shop","operation":"CREATE","kind":{"group":"","version":"v1","kind":"Pod"},"object":{"metadata":{"name":"a"},"spec":{"containers":[{"name":"a","image":"a","ports":[{"containerPort":80}]}]}}}}"#;
