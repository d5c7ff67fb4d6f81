//! What users read of objects that are not as they should be: an Ingress that lacks something, and objects of Istio's kinds
//! that the mesh does not support.

use api::resource::kind::refused::of_istio;
use serde_json::{Value, json};
use tests::{certificates, wait};

use crate::cluster::{self, CHANGE, applied, apply, items, kubectl, must, run};
use crate::forward::Forward;
use crate::mesh::{self, SYSTEM};
use crate::shop::{self, NAMESPACE};

/// An Ingress with TLS, hosts and paths is served by the gateway, has its address, and says in Events what it lacks.
pub(crate) fn ingress() {
    shop::open();
    must(&["delete", "ingressclass", "istio", "--ignore-not-found"]);
    applied(NAMESPACE, CLASS);
    applied(NAMESPACE, INGRESS);
    let event = |word: &str| {
        wait::until(&format!("an event says {word:?}"), CHANGE, || {
            let text = kubectl(&["-n", NAMESPACE, "describe", "ingress", "shop"])?;
            if text.contains(word) { Ok(()) } else { Err(text) }
        });
    };
    event("there is no Secret istio-system/e2e-one");
    let address = wait::until("the Ingress has the gateway's address", CHANGE, || {
        let path = "jsonpath={.status.loadBalancer.ingress[0].ip}";
        let of = |namespace: &str, object: &str| kubectl(&["-n", namespace, "get", object, "-o", path]);
        let (own, service) = (of(NAMESPACE, "ingress/shop")?, of(SYSTEM, "service/istio-ingressgateway")?);
        if !own.is_empty() && own == service { Ok(own) } else { Err(format!("{own:?}, {service:?}")) }
    });
    let shown = must(&["-n", NAMESPACE, "get", "ingress", "shop"]);
    assert!(shown.contains(&address) && shown.contains("one.test,two.test"), "{shown}");

    let folder = tempfile::tempdir().expect("a folder can be made");
    certificates::write(folder.path());
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (chain, key) = (format!("--cert={}", file("one.pem")), format!("--key={}", file("one.key")));
    must(&["-n", SYSTEM, "create", "secret", "tls", "e2e-one", &chain, &key]);
    event("Resolved");
    let (plain, secure) = (forward(80), forward(443));
    let ask = |host: &str, path: &str, more: &[&str]| {
        let (scheme, port) = if more.is_empty() { ("http", &plain) } else { ("https", &secure) };
        let port = port.address().port();
        let url = format!("{scheme}://{host}:{port}{path}");
        let to = format!("{host}:{port}:127.0.0.1");
        let code =
            ["-s", "-S", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "5", "--resolve", &to, &url];
        run("curl", &[&code[..], more].concat(), "")
    };
    let root = ["--cacert", &file("ca.pem")];
    for (host, path, more, expected) in [
        ("one.test", "/productpage", &[][..], "200"),
        ("one.test", "/details/0", &[], "200"),
        ("one.test", "/detailsx", &[], "404"),
        ("one.test", "/productpage", &root, "200"),
        ("two.test", "/details/0", &[], "200"),
        ("two.test", "/details/1", &[], "404"),
        ("three.test", "/details/0", &[], "404"),
    ] {
        wait::until(&format!("{host}{path} responds with {expected}"), CHANGE, || {
            match ask(host, path, more)? {
                code if code == expected => Ok(()),
                other => Err(other),
            }
        });
    }
    must(&["-n", NAMESPACE, "delete", "ingress", "shop"]);
    must(&["-n", SYSTEM, "delete", "secret", "e2e-one"]);
    must(&["delete", "ingressclass", "istio"]);
}

fn forward(port: u16) -> Forward {
    Forward::start(SYSTEM, "service/istio-ingressgateway", port)
}

const CLASS: &str = "
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: istio}
spec: {controller: istio.io/ingress-controller}
";

const INGRESS: &str = "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: shop}
spec:
  ingressClassName: istio
  tls: [{hosts: [one.test], secretName: e2e-one}]
  rules:
  - host: one.test
    http:
      paths:
      - {path: /productpage, pathType: Prefix, backend: {service: {name: productpage, port: {number: 9080}}}}
      - {path: /details, pathType: Prefix, backend: {service: {name: details, port: {name: http}}}}
  - host: two.test
    http:
      paths:
      - {path: /details/0, pathType: Exact, backend: {service: {name: details, port: {number: 9080}}}}
";

/// Objects that an Istio has left in the cluster say that they have no effect, and no further ones are accepted.
pub(crate) fn unsupported() {
    mesh::ready();
    let definitions: Vec<String> = of_istio().map(|kind| definition(&kind.descriptor)).collect();
    // Those that the cluster has are the user's, with their objects.
    let present = must(&["get", "customresourcedefinitions", "-o", "name"]);
    if definitions.iter().any(|name| present.contains(name.as_str())) {
        eprintln!("not tried, because this cluster has definitions of Istio");
        return;
    }
    let _namespace = crate::namespace::Namespace::plain(PLACE);
    let all: Vec<Value> = of_istio().map(|kind| custom_resource_definition(&kind.descriptor)).collect();
    let objects = of_istio().map(|kind| {
        json!({
            "apiVersion": kind.descriptor.api_version(kind.descriptor.storage()), "kind": kind.descriptor.kind,
            "metadata": {"name": "kept", "labels": {"istio.io/rev": "none"}},
        })
    });
    let objects = list(&objects.collect::<Vec<_>>());
    applied(PLACE, &list(&all));
    // The webhook is not asked about objects of other revisions, but would refuse these.
    wait::until("the objects are stored", CHANGE, || apply(PLACE, &objects));
    must(&["-n", PLACE, "label", &definitions.join(","), "--all", "istio.io/rev-"]);
    for name in &definitions {
        wait::until(&format!("{name} says that it has no effect"), CHANGE, || {
            let stored = items(PLACE, name, &[])?.into_iter().next().ok_or("there is none")?;
            let says = cluster::has_condition(&stored, "Accepted", "False")
                && stored["status"].to_string().contains("is not supported by this version of Ostria");
            if says { Ok(()) } else { Err(stored["status"].to_string()) }
        });
    }
    let policy =
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: deny}\nspec: {}\n";
    let refusal = apply(PLACE, policy).expect_err("a policy that is not enforced is refused");
    assert!(refusal.contains("no proxy of Ostria enforces"), "{refusal}");
    for definition in &definitions {
        must(&["delete", "customresourcedefinition", definition, "--wait=false"]);
    }
}

fn list(items: &[Value]) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

fn definition(kind: &api::resource::descriptor::Descriptor) -> String {
    format!("{}.{}", kind.plural, kind.group)
}

/// A definition as Istio's, with any content.
fn custom_resource_definition(kind: &api::resource::descriptor::Descriptor) -> Value {
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let version = json!({
        "name": kind.storage(), "served": true, "storage": true,
        "schema": {"openAPIV3Schema": schema}, "subresources": {"status": {}},
    });
    let names = json!({"kind": kind.kind, "plural": kind.plural, "singular": kind.singular(), "listKind": format!("{}List", kind.kind)});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": definition(kind)},
        "spec": {"group": kind.group, "names": names, "scope": "Namespaced", "versions": [version]},
    })
}

const PLACE: &str = "ostria-e2e-unsupported";
