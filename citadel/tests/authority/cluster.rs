//! The whole authority with an API server: reviewed tokens, the root in Secrets, and trust bundles.

use crate::server::Server;
use crate::{Issuer, Own, ask, csr, identity, own};
use api::process::log::{self, Format};
use axum::http::Method;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use citadel::app::App;
use citadel::config::Config;
use citadel::root::create;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

const BUNDLE: &str = "istio-ca-root-cert";

struct Citadel {
    grpc: SocketAddr,
    drain: CancellationToken,
    run: JoinHandle<anyhow::Result<()>>,
}

impl Citadel {
    async fn start(server: &Server, more: &[&str]) -> Self {
        let app = Self::bind(server, more).await.unwrap();
        let (grpc, drain) = (app.grpc_address().unwrap(), CancellationToken::new());
        let run = tokio::spawn(app.run(drain.clone()));
        Self { grpc, drain, run }
    }

    async fn bind(server: &Server, more: &[&str]) -> anyhow::Result<App> {
        let kubeconfig = server.kubeconfig().display().to_string();
        let arguments = [
            "citadel",
            "--address",
            "127.0.0.1",
            "--port",
            "0",
            "--http-port",
            "0",
            "--kubeconfig",
            &kubeconfig,
        ];
        let config = Config::read(arguments.iter().chain(more)).unwrap();
        App::bind(config, log::init("off", Format::Text)).await
    }

    async fn ask(
        &self,
        server: &Server,
        token: Option<&str>,
        own: Option<Own>,
    ) -> Result<Vec<String>, Status> {
        self.ask_with(server, &csr().1, token, own).await
    }

    async fn ask_with(
        &self,
        server: &Server,
        csr: &str,
        token: Option<&str>,
        own: Option<Own>,
    ) -> Result<Vec<String>, Status> {
        let roots = text(&server.get("secrets", "istio-system", "istio-ca-secret").unwrap(), "root-cert.pem");
        ask((self.grpc, roots.as_bytes()), csr, 0, token, own).await
    }

    async fn stop(self) {
        self.drain.cancel();
        self.run.await.unwrap().unwrap();
    }
}

fn text(secret: &Value, key: &str) -> String {
    String::from_utf8(STANDARD.decode(secret["data"][key].as_str().unwrap()).unwrap()).unwrap()
}

fn secret(parts: &[(&str, &str)]) -> Value {
    let data: serde_json::Map<String, Value> =
        parts.iter().map(|(key, text)| ((*key).to_owned(), json!(STANDARD.encode(text)))).collect();
    json!({ "data": data })
}

fn bundle(server: &Server, namespace: &str) -> Option<String> {
    let map = server.get("configmaps", namespace, BUNDLE)?;
    map["data"]["root-cert.pem"].as_str().map(str::to_owned)
}

fn status(account: &str, pod: Option<&str>) -> Value {
    let extra = pod.map_or(json!({}), |pod| json!({ "authentication.kubernetes.io/pod-name": [pod], "authentication.kubernetes.io/pod-uid": ["1"] }));
    let user = json!({ "username": format!("system:serviceaccount:{account}"), "extra": extra });
    json!({ "authenticated": true, "audiences": ["istio-ca"], "user": user })
}

fn token(issuer: &Issuer, account: &str) -> String {
    issuer.token("any", "istio-ca", &format!("system:serviceaccount:{account}"))
}

#[tokio::test]
async fn the_api_server_decides_about_tokens() {
    let (server, issuer) = (Server::start().await, Issuer::new());
    let citadel = Citadel::start(&server, &[]).await;
    let pod = token(&issuer, "default:reviews");
    server.review(&pod, status("default:reviews", Some("reviews-0")));
    let chain = citadel.ask(&server, Some(&pod), None).await.unwrap();
    assert_eq!(identity(&chain), "spiffe://cluster.local/ns/default/sa/reviews");

    let without_audience = json!({ "authenticated": true, "user": status("default:a", Some("p"))["user"] });
    let table = [
        ("default:unknown", json!({ "authenticated": false, "error": "gone" }), "does not accept it: gone"),
        ("default:a", without_audience, "does not confirm its audience"),
        ("default:vm", status("default:vm", None), "not bound to a Pod"),
    ];
    for (account, status, reason) in table {
        let token = token(&issuer, account);
        server.review(&token, status);
        let refusal = citadel.ask(&server, Some(&token), None).await.unwrap_err();
        assert_eq!(refusal.code(), Code::Unauthenticated, "{refusal}");
        assert!(refusal.message().contains(reason), "{refusal}");
    }
    let before = server.count(&Method::POST, "tokenreviews");
    let other = issuer.token("any", "other", "system:serviceaccount:default:reviews");
    for hopeless in ["garbage", &other] {
        assert_eq!(
            citadel.ask(&server, Some(hopeless), None).await.unwrap_err().code(),
            Code::Unauthenticated
        );
    }
    assert_eq!(server.count(&Method::POST, "tokenreviews"), before, "the API server receives no review");
    citadel.stop().await;
}

#[tokio::test]
async fn simultaneous_requests_with_a_token_cause_one_review() {
    let (server, issuer) = (Server::start().await, Issuer::new());
    let citadel = Citadel::start(&server, &["--allow-unbound-tokens"]).await;
    let token = token(&issuer, "default:vm");
    server.review(&token, status("default:vm", None));
    let asked = (0..8).map(|_| citadel.ask(&server, Some(&token), None));
    for chain in futures_util::future::join_all(asked).await {
        assert_eq!(identity(&chain.unwrap()), "spiffe://cluster.local/ns/default/sa/vm");
    }
    assert_eq!(server.count(&Method::POST, "tokenreviews"), 1);
    citadel.stop().await;
}

#[tokio::test]
async fn without_the_api_server_certificates_are_renewed_and_tokens_wait() {
    let (server, issuer) = (Server::start().await, Issuer::new());
    let citadel = Citadel::start(&server, &[]).await;
    let (first, second) = (token(&issuer, "default:reviews"), token(&issuer, "default:ratings"));
    server.review(&first, status("default:reviews", Some("reviews-0")));
    server.review(&second, status("default:ratings", Some("ratings-0")));
    let (key, request) = csr();
    let chain = citadel.ask_with(&server, &request, Some(&first), None).await.unwrap();

    server.set_away(true);
    // Each failure lengthens the pause in which the API server is left alone.
    loop {
        let refusal = citadel.ask(&server, Some(&second), None).await.unwrap_err();
        assert_eq!(refusal.code(), Code::Unavailable, "{refusal}");
        if refusal.message().contains("reviewed again in") {
            break;
        }
        assert!(refusal.message().contains("etcd is away"), "{refusal}");
    }
    assert!(citadel.ask(&server, None, Some(own(&chain, &key))).await.is_ok());

    server.set_away(false);
    let again = async {
        while citadel.ask(&server, Some(&second), None).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), again).await.expect("tokens are reviewed again");
    citadel.stop().await;
}

#[tokio::test]
async fn authorities_that_start_together_share_one_root_that_can_be_replaced() {
    let server = Server::start().await;
    let (one, two) = tokio::join!(Citadel::start(&server, &[]), Citadel::start(&server, &[]));
    let created = server.get("secrets", "istio-system", "istio-ca-secret").unwrap();
    assert_eq!(created["type"], "istio.io/ca-root");
    let old = text(&created, "root-cert.pem");
    server.until(|server| bundle(server, "default") == Some(old.clone())).await;
    assert_eq!(
        server.get("leases", "istio-system", "ostria-citadel-leader").unwrap()["spec"]["leaseDurationSeconds"],
        15
    );

    let next = create::fresh(&"cluster.local".parse().unwrap(), OffsetDateTime::now_utc()).unwrap();
    let both = format!("{old}{}", next.roots);
    let broken = secret(&[("ca-cert.pem", &next.certificate), ("ca-key.pem", "x"), ("root-cert.pem", &both)]);
    server.put("secrets", "istio-system", "cacerts", broken);
    let plugged = secret(&[("tls.crt", &next.certificate), ("tls.key", &next.key), ("ca.crt", &both)]);
    server.put("secrets", "istio-system", "cacerts", plugged);
    server.until(|server| bundle(server, "default").is_some_and(|bundle| bundle.contains(&next.roots))).await;
    // A Secret of the operator that goes away leaves the root in force.
    server.delete("secrets", "istio-system", "cacerts");
    server.put("namespaces", "", "later", json!({}));
    server.until(|server| bundle(server, "later").is_some()).await;
    assert!(bundle(&server, "later").unwrap().contains(&next.roots));
    for citadel in [one, two] {
        let token = token(&Issuer::new(), "default:reviews");
        server.review(&token, status("default:reviews", Some("reviews-0")));
        let chain = ask((citadel.grpc, both.as_bytes()), &csr().1, 0, Some(&token), None).await.unwrap();
        assert_eq!(chain.last().unwrap().trim(), both.trim());
        citadel.stop().await;
    }
}

#[tokio::test]
async fn a_plugged_in_root_that_cannot_be_used_ends_the_start() {
    let server = Server::start().await;
    server.put(
        "secrets",
        "istio-system",
        "cacerts",
        secret(&[("tls.crt", "x"), ("tls.key", "x"), ("ca.crt", "x")]),
    );
    let error = Citadel::bind(&server, &[]).await.err().unwrap();
    let text = format!("{error:#}");
    assert!(text.contains("Secret cacerts cannot be used") && text.contains("tls.crt: "), "{text}");
    assert!(server.get("secrets", "istio-system", "istio-ca-secret").is_none());
}

#[tokio::test]
async fn only_the_namespaces_that_discovery_selectors_select_get_the_trust_bundle() {
    let server = Server::start().await;
    let mesh = |text: &str| json!({ "data": { "mesh": text } });
    let selects = "discoverySelectors: [{matchLabels: {mesh: 'on'}}]\nextensionProviders: []";
    server.put("configmaps", "istio-system", "istio", mesh(selects));
    let labelled = |value: &str| json!({ "metadata": { "labels": { "mesh": value } } });
    server.put("namespaces", "", "inside", labelled("on"));
    server.put("namespaces", "", "outside", labelled("off"));
    let citadel = Citadel::start(&server, &[]).await;
    server.until(|server| bundle(server, "inside").is_some()).await;
    server.put("namespaces", "", "last", labelled("on"));
    server.until(|server| bundle(server, "last").is_some()).await;
    assert_eq!((bundle(&server, "outside"), bundle(&server, "default")), (None, None));

    server.put("namespaces", "", "outside", labelled("on"));
    server.until(|server| bundle(server, "outside").is_some()).await;
    server.put("configmaps", "istio-system", "istio", mesh("discoverySelectors: 1"));
    server.put("namespaces", "", "later", labelled("on"));
    server.until(|server| bundle(server, "later").is_some()).await;
    assert_eq!(bundle(&server, "default"), None, "selectors that cannot be read change nothing");
    server.put("configmaps", "istio-system", "istio", mesh("{}"));
    server.until(|server| bundle(server, "default").is_some()).await;
    citadel.stop().await;
}

#[tokio::test]
async fn every_namespace_gets_the_trust_bundle_and_gets_it_back() {
    let server = Server::start().await;
    let foreign = json!({ "data": { "root-cert.pem": "x" }, "metadata": { "managedFields": [
        { "manager": "pilot-discovery", "fieldsV1": { "f:data": { "f:root-cert.pem": {} } } }] } });
    server.put("namespaces", "", "theirs", json!({}));
    server.put("configmaps", "theirs", BUNDLE, foreign);
    server.put(
        "namespaces",
        "",
        "ending",
        json!({ "metadata": { "deletionTimestamp": "2026-11-21T12:00:00Z" } }),
    );
    let citadel = Citadel::start(&server, &[]).await;
    let roots = text(&server.get("secrets", "istio-system", "istio-ca-secret").unwrap(), "root-cert.pem");
    let has = |namespace: &'static str| {
        let roots = roots.clone();
        move |server: &Server| bundle(server, namespace).as_ref() == Some(&roots)
    };
    for namespace in ["default", "istio-system"] {
        server.until(has(namespace)).await;
    }
    let map = server.get("configmaps", "default", BUNDLE).unwrap();
    assert_eq!(map["metadata"]["labels"]["istio.io/config"], "true");
    server.put("namespaces", "", "new", json!({}));
    server.until(has("new")).await;

    server.delete("configmaps", "default", BUNDLE);
    server.until(has("default")).await;
    let edited = json!({ "data": { "root-cert.pem": "x" }, "metadata": { "managedFields": [
        { "manager": "kubectl-edit", "fieldsV1": { "f:data": { "f:root-cert.pem": {} } } }] } });
    server.put("configmaps", "default", BUNDLE, edited);
    server.until(has("default")).await;

    let written = server.count(&Method::PATCH, BUNDLE);
    assert_eq!(written, 5, "default, istio-system, new, and default twice again");
    // What follows this namespace's bundle was decided after everything before it.
    server.put("namespaces", "", "default", json!({ "metadata": { "labels": { "a": "b" } } }));
    server.put("namespaces", "", "last", json!({}));
    server.until(has("last")).await;
    assert_eq!(server.count(&Method::PATCH, BUNDLE), written + 1);
    assert_eq!(bundle(&server, "theirs").unwrap(), "x");
    for namespace in ["ending", "kube-public"] {
        assert_eq!(bundle(&server, namespace), None, "{namespace}");
    }
    citadel.stop().await;
    let lease = server.get("leases", "istio-system", "ostria-citadel-leader").unwrap();
    assert!(lease["spec"]["holderIdentity"].is_null(), "the lease is released: {lease}");
}
