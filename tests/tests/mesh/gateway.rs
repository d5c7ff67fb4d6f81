//! HTTPS at the gateway: certificates from Secrets, TLS passthrough by server name, redirects from HTTP to HTTPS.

use std::time::Duration;

use tests::mesh::{Mesh, Options};
use tests::program;
use tests::report::Report;
use tests::wait;

use crate::PROBE;

const RULES: &str = "apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: front, namespace: echo}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 443, name: https, protocol: HTTPS}
    tls: {mode: SIMPLE, credentialName: front-cert}
    hosts: [shop.example]
  - port: {number: 443, name: tls, protocol: TLS}
    tls: {mode: PASSTHROUGH}
    hosts: [sealed.example]
  - port: {number: 80, name: http, protocol: HTTP}
    tls: {httpsRedirect: true}
    hosts: [shop.example]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: echo}
spec:
  hosts: [shop.example]
  gateways: [front]
  http:
  - route:
    - destination: {host: echo-server, port: {number: 8080}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: sealed, namespace: echo}
spec:
  hosts: [sealed.example]
  gateways: [front]
  tls:
  - match:
    - sniHosts: [sealed.example]
    route:
    - destination: {host: echo-server, port: {number: 8443}}
";

#[test]
fn https_is_served_with_the_secrets_certificate_and_passed_through_by_name() {
    let folders = vec!["samples/echo".into(), "samples/bookinfo/gateway-pod.yaml".into()];
    let mut mesh = Mesh::begin(&Options { folders, https: true, ..Options::default() }, PROBE);
    mesh.until_up();
    let first = certificate(&mesh, "first");
    mesh.apply_text(RULES).text();
    expect(&mesh, &first);
    let sealed = call(&mesh, "https://sealed.example/", &["--insecure"]);
    assert_eq!(sealed.all_good().first_response["tls"]["sni"], "sealed.example", "{sealed:?}");
    let page = mesh.page("/some/path", &[("host", "shop.example")]);
    assert_eq!(page.status, 301, "{page:?}");
    assert_eq!(page.headers["location"], "https://shop.example/some/path");
    // Another certificate in the Secret replaces the first one without a restart.
    let second = certificate(&mesh, "second");
    expect(&mesh, &second);
    call(&mesh, "https://shop.example/", &["--ca", &first]).none_good();
    call(&mesh, "https://other.example/", &["--insecure"]).none_good();
}

/// Waits until the server responds to every request. It receives plain HTTP from the gateway.
fn expect(mesh: &Mesh, roots: &str) {
    wait::until("the certificate is served", Duration::from_secs(3), || {
        let report = call(mesh, "https://shop.example/", &["--ca", roots]);
        if report.ok == 1 { Ok(()) } else { Err(format!("{report:?}")) }
    });
    for more in [&[][..], &["--http2"]] {
        let report = call(mesh, "https://shop.example/", &[&["--ca", roots, "-n", "10"][..], more].concat());
        assert!(report.all_good().first_response["tls"].is_null(), "{report:?}");
        assert_eq!(report.seen_header("x-forwarded-proto").as_deref(), Some("https"), "{report:?}");
    }
}

fn call(mesh: &Mesh, url: &str, more: &[&str]) -> Report {
    let address = mesh.https().to_string();
    let line = ["client", "--allow-failures", "--show", "--connect", &address, url];
    Report::of(&program::run(&program::path("echo"), &[&line[..], more].concat()))
}

/// Puts a generated certificate into the Secret. Returns the path of a file with it, for verification.
fn certificate(mesh: &Mesh, name: &str) -> String {
    let key = rcgen::KeyPair::generate().expect("a key can be made");
    let names = vec!["shop.example".to_owned()];
    let certificate =
        rcgen::CertificateParams::new(names).and_then(|parameters| parameters.self_signed(&key));
    let pem = certificate.expect("a certificate can be signed").pem();
    let indented = |text: &str| text.lines().map(|line| format!("    {line}\n")).collect::<Vec<_>>().concat();
    let secret = format!(
        "apiVersion: v1\nkind: Secret\ntype: kubernetes.io/tls\nmetadata: {{name: front-cert, namespace: istio-system}}\n\
         stringData:\n  tls.crt: |\n{}  tls.key: |\n{}",
        indented(&pem),
        indented(&key.serialize_pem()),
    );
    mesh.apply_text(&secret).text();
    mesh.write(&format!("{name}.pem"), &pem)
}
