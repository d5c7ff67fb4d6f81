//! Pure. Decides whether the API server may store an object of the mesh, by the rules that `ostria apply` uses.
//!
//! The API server asks about one object at a time, so references that do not resolve are warnings: the objects that they
//! name may follow. Istio's kinds that this version does not support are refused. If the cluster has an Istio, whose
//! proxies may act on them, they get a warning that Ostria's proxies do not.

use crate::catalog::Catalog;
use crate::flow::Unsupported;
use crate::validate::reference;
use api::admission::{Request, Response};
use api::resource::check::Report;
use api::resource::document::{Problem, Refusal};
use api::resource::kind::refused::Refused;
use api::resource::kind::{KindLookup, known};
use serde_json::Value;

/// Reviews a request.
pub(super) fn review(catalog: &Catalog, request: &Request) -> Response {
    let of_a_part = request.sub_resource.as_ref().is_some_and(|part| !part.is_empty());
    if of_a_part || !matches!(request.operation.as_str(), "CREATE" | "UPDATE") {
        return Response::allowed(&request.uid);
    }
    let text = |field: &str| request.object[field].as_str().unwrap_or_default();
    let (version, kind) = (text("apiVersion"), text("kind"));
    match known(version, kind) {
        KindLookup::Served(kind) if kind.is_mesh() => judge(catalog, request),
        KindLookup::WrongVersion(known) if known.is_mesh() => warn(
            request,
            format!("{kind} of {version} is not checked: this version of the kind is not known"),
        ),
        KindLookup::Unserved(refused) if refused.is_of_istio() => unsupported(catalog, refused, request),
        _ => Response::allowed(&request.uid),
    }
}

fn warn(request: &Request, warning: String) -> Response {
    Response { warnings: vec![warning], ..Response::allowed(&request.uid) }
}

fn unsupported(catalog: &Catalog, kind: &Refused, request: &Request) -> Response {
    let object = named(request);
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
    let refusal = Unsupported::new(kind, text("namespace"), text("name")).refusal();
    let line = Problem::from(&refusal).line();
    if keeps_spec(request) || catalog.has_istio() {
        return warn(request, line);
    }
    Response::denied(&request.uid, line)
}

/// Whether the request changes something else than the `spec`: an object that was stored before this webhook existed can
/// still be labelled, and lose its finalizers.
fn keeps_spec(request: &Request) -> bool {
    request.operation == "UPDATE" && request.object["spec"] == request.old_object["spec"]
}

fn judge(catalog: &Catalog, request: &Request) -> Response {
    let Report { errors, warnings } = reference::admit(catalog, &named(request));
    let lines = |refusals: &[Refusal]| refusals.iter().map(|r| Problem::from(r).line()).collect::<Vec<_>>();
    if errors.is_empty() {
        return Response { warnings: lines(&warnings), ..Response::allowed(&request.uid) };
    }
    if keeps_spec(request) {
        return Response { warnings: lines(&errors), ..Response::allowed(&request.uid) };
    }
    Response::denied(&request.uid, message(&lines(&errors)))
}

/// The object, with a name if the API server will generate it.
fn named(request: &Request) -> Value {
    let mut object = request.object.clone();
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    let (name, prefix) = (text("name"), text("generateName"));
    if name.is_empty() && !prefix.is_empty() {
        let prefix: String = prefix.chars().take(MAX_PREFIX).collect();
        object["metadata"]["name"] = format!("{prefix}xxxxx").into();
    }
    if let Some(namespace) = request.namespace.as_ref().filter(|namespace| !namespace.is_empty()) {
        object["metadata"]["namespace"] = namespace.as_str().into();
    }
    object
}

/// One line for each error.
fn message(errors: &[String]) -> String {
    let more = errors.len().saturating_sub(MAX_ERRORS);
    let rest = (more > 0).then(|| format!("… and {more} more"));
    let lines: Vec<&str> = errors.iter().take(MAX_ERRORS).chain(rest.as_ref()).map(String::as_str).collect();
    lines.join("\n")
}

/// Errors in a message.
const MAX_ERRORS: usize = 20;
/// Characters of `generateName` that the API server uses.
const MAX_PREFIX: usize = 248;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Fact;
    use crate::validate;
    use api::resource::parse;
    use serde_json::json;

    fn catalog(yaml: &str) -> Catalog {
        let facts = parse::parse("a.yaml", yaml).documents.into_iter().map(Fact::Upsert).collect();
        let empty = Catalog::default();
        empty.apply(validate::judge(facts, empty.mesh()).0).0
    }

    fn request(operation: &str, object: Value) -> Request {
        Request {
            uid: "7".into(),
            namespace: Some("shop".into()),
            operation: operation.into(),
            object,
            ..Request::default()
        }
    }

    fn object(kind: &str, spec: &Value) -> Value {
        json!({"apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": {"name": "a"}, "spec": spec})
    }

    /// A VirtualService with one route of this weight.
    fn routes(weight: i64) -> Value {
        let route = json!({"destination": {"host": "web"}, "weight": weight});
        object("VirtualService", &json!({"hosts": ["web"], "http": [{"route": [route]}]}))
    }

    #[test]
    fn an_invalid_object_is_refused_by_the_name_of_its_field() {
        let response = review(&Catalog::default(), &request("CREATE", routes(-1)));
        assert!(!response.allowed && response.uid == "7");
        let message = response.status.unwrap().message;
        assert!(message.starts_with("VirtualService shop/a: spec.http[0].route[0].weight: "), "{message}");
        let unknown = object("VirtualService", &json!({"hosts": ["web"], "htp": []}));
        let message = review(&Catalog::default(), &request("UPDATE", unknown)).status.unwrap().message;
        assert!(message.contains("spec.htp: unknown field"), "{message}");
    }

    #[test]
    fn unresolved_references_and_conflicts_are_warnings() {
        let response = review(&Catalog::default(), &request("CREATE", routes(1)));
        assert!(response.allowed);
        assert!(response.warnings[0].contains("there is no service web"), "{:?}", response.warnings);
        let other = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.0.0.1, ports: [{port: 80, name: http}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: first, namespace: shop, creationTimestamp: '2026-01-01T00:00:00Z'}
spec: {hosts: [web], http: [{route: [{destination: {host: web}}]}]}
";
        let response = review(&catalog(other), &request("CREATE", routes(1)));
        assert!(response.allowed);
        assert!(response.warnings.iter().any(|w| w.contains("VirtualService shop/first")), "{response:?}");
    }

    #[test]
    fn a_kind_that_is_not_supported_is_refused_unless_an_istio_may_act_on_it() {
        let policy = |spec: Value| {
            json!({
                "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
                "metadata": {"name": "deny"}, "spec": spec,
            })
        };
        let create = request("CREATE", policy(json!({})));
        let response = review(&Catalog::default(), &create);
        assert!(!response.allowed);
        let message = response.status.unwrap().message;
        assert!(message.starts_with("AuthorizationPolicy shop/deny: kind: "), "{message}");
        assert!(message.contains("no proxy of Ostria enforces"), "{message}");
        let istio = "
apiVersion: v1
kind: Service
metadata: {name: istiod-1-30, namespace: istio-system}
spec: {clusterIP: 10.0.0.1, ports: [{port: 15012, name: https-dns}]}
";
        let response = review(&catalog(istio), &create);
        assert!(
            response.allowed && response.warnings[0].contains("no proxy of Ostria enforces"),
            "{response:?}"
        );
        let update = |old: Value| Request { old_object: policy(old), ..request("UPDATE", policy(json!({}))) };
        let response = review(&Catalog::default(), &update(json!({})));
        assert!(response.allowed && response.warnings.len() == 1, "{response:?}");
        assert!(!review(&Catalog::default(), &update(json!({"action": "DENY"}))).allowed);
        assert!(review(&Catalog::default(), &request("DELETE", policy(json!({})))).allowed);
    }

    #[test]
    fn deletions_parts_and_kinds_of_others_are_allowed() {
        let route = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "spec": 3});
        let of_another = json!({"apiVersion": "example.com/v1", "kind": "VirtualService", "spec": 3});
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": 3});
        let status = Request { sub_resource: Some("status".into()), ..request("UPDATE", routes(-1)) };
        let table = [
            (request("DELETE", routes(-1)), 0),
            (request("DELETE", Value::Null), 0),
            (request("CONNECT", routes(-1)), 0),
            (status, 0),
            (request("CREATE", route), 0),
            (request("CREATE", of_another), 0),
            (request("CREATE", pod), 0),
            (request("CREATE", Value::Null), 0),
        ];
        for (request, warnings) in table {
            let response = review(&Catalog::default(), &request);
            assert_eq!((response.allowed, response.warnings.len()), (true, warnings), "{request:?}");
        }
    }

    #[test]
    fn a_stored_invalid_object_can_be_changed_elsewhere_but_not_become_worse() {
        let mut labelled = routes(-1);
        labelled["metadata"]["labels"] = json!({"a": "b"});
        let update = |old: Value| Request { old_object: old, ..request("UPDATE", labelled.clone()) };
        let response = review(&Catalog::default(), &update(routes(-1)));
        assert!(response.allowed && response.warnings.len() == 1, "{response:?}");
        assert!(!review(&Catalog::default(), &update(routes(-2))).allowed);
        assert!(!review(&Catalog::default(), &update(routes(1))).allowed);
    }

    #[test]
    fn an_object_whose_name_the_api_server_generates_is_checked_by_its_prefix() {
        let mut object = routes(-1);
        object["metadata"] = json!({"generateName": "canary-"});
        let message = review(&Catalog::default(), &request("CREATE", object)).status.unwrap().message;
        assert!(message.starts_with("VirtualService shop/canary-xxxxx: spec.http"), "{message}");
    }

    #[test]
    fn a_message_lists_a_bounded_number_of_errors() {
        let fields: serde_json::Map<_, _> = (0..50).map(|n| (format!("unknown{n}"), json!(1))).collect();
        let object = object("Sidecar", &Value::Object(fields));
        let message = review(&Catalog::default(), &request("CREATE", object)).status.unwrap().message;
        assert_eq!(message.lines().count(), MAX_ERRORS + 1);
        assert!(message.ends_with("… and 30 more"), "{message}");
    }
}
