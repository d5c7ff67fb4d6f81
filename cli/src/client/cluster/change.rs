//! Applies and deletes objects of a cluster. The API server checks all of them first, by a dry run, and nothing changes if
//! it refuses one.

use std::collections::BTreeSet;

use api::resource::check::Given;
use api::resource::kind;
use api::resource::verdict::Wanted;
use http::StatusCode;
use http_body_util::BodyExt;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, ValidationDirective};
use kube::client::Body;
use kube::core::{ApiResource, GroupVersionKind, Request, Status};
use kube::discovery::Scope;
use kube::{Api, Error, Resource};
use serde_json::Value;

use crate::arguments::DryRun;
use crate::client::cluster::failure::is_unknown_kind;
use crate::client::cluster::{Cluster, said};
use crate::failure::Failure;
use crate::manifest::object::{Key, text};
use crate::wire::{Apply, ChangeResponse, Outcome, Removal};

/// Creates or changes all of the objects, or none.
pub async fn apply(cluster: &Cluster, request: &Apply) -> Result<ChangeResponse, Failure> {
    let namespaces: BTreeSet<&str> =
        request.objects.iter().filter_map(|given| namespace(&given.object)).collect();
    let mut tried = ChangeResponse::default();
    for given in &request.objects {
        let one = Change::of(cluster, given).await?;
        // A namespace that the same command creates exists only afterwards, as do objects in it.
        let later =
            namespaces.contains(one.key.namespace.as_str()) && !exists(cluster, &one.key.namespace).await?;
        if !later {
            one.apply(request, true, &mut tried).await?;
        }
    }
    if !tried.problems.is_empty() {
        return Ok(refused(tried));
    }
    if request.dry_run != DryRun::None {
        return Ok(tried);
    }
    let mut done: Vec<ChangeResponse> = request.objects.iter().map(|_| ChangeResponse::default()).collect();
    for namespaces in [true, false] {
        for (given, response) in request.objects.iter().zip(&mut done) {
            if namespace(&given.object).is_some() == namespaces {
                Change::of(cluster, given).await?.apply(request, false, response).await?;
            }
        }
    }
    Ok(done.into_iter().fold(ChangeResponse::default(), joined))
}

/// The results for all objects, in their order.
fn joined(mut all: ChangeResponse, one: ChangeResponse) -> ChangeResponse {
    all.outcomes.extend(one.outcomes);
    all.warnings.extend(one.warnings);
    all.problems.extend(one.problems);
    all.wanted.extend(one.wanted);
    all
}

/// The name of a Namespace; `None` for other objects.
fn namespace(object: &Value) -> Option<&str> {
    (text(object, "/kind") == "Namespace").then(|| text(object, "/metadata/name"))
}

async fn exists(cluster: &Cluster, namespace: &str) -> Result<bool, Failure> {
    let all: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(cluster.client().clone());
    match all.get_opt(namespace).await {
        Ok(found) => Ok(found.is_some()),
        // A user who may not read namespaces gets the error of the change itself.
        Err(Error::Api(status)) if status.code == 403 => Ok(true),
        Err(error) => Err(cluster.failure(&error)),
    }
}

/// Changes the fields in which the two forms of an object differ.
pub async fn edit(cluster: &Cluster, before: &Value, after: &Given) -> Result<ChangeResponse, Failure> {
    let one = Change::of(cluster, after).await?;
    let patch = Patch::<()>::Json(json_patch::diff(before, &after.object));
    let parameters = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
    let mut response = ChangeResponse::default();
    match one.send(one.request.patch(&one.key.name, &parameters, &patch)).await {
        Ok(_) => response.outcomes.push(Outcome { object: one.key.printed(), verdict: "configured".into() }),
        Err(error) => one.refused(&error, &mut response)?,
    }
    Ok(response)
}

/// Deletes objects that exist. All that do not are left out of the outcomes.
pub async fn delete(cluster: &Cluster, request: &Removal) -> Result<ChangeResponse, Failure> {
    let mut tried = ChangeResponse::default();
    for dry_run in [true, false] {
        tried = ChangeResponse::default();
        for given in &request.objects {
            Change::of(cluster, given).await?.delete(dry_run, &mut tried).await?;
        }
        if dry_run && !tried.problems.is_empty() {
            return Ok(refused(tried));
        }
    }
    Ok(tried)
}

/// The response after a dry run that failed: nothing has happened to the other objects either.
fn refused(tried: ChangeResponse) -> ChangeResponse {
    ChangeResponse { problems: tried.problems, warnings: tried.warnings, ..ChangeResponse::default() }
}

/// An object that is to be changed.
struct Change<'a> {
    cluster: &'a Cluster,
    given: &'a Given,
    key: Key,
    request: Request,
}

/// A response of the API server to a change.
struct Response {
    status: StatusCode,
    warnings: Vec<String>,
    object: Value,
}

impl<'a> Change<'a> {
    async fn of(cluster: &'a Cluster, given: &'a Given) -> Result<Self, Failure> {
        let (resource, namespaced) = resource(cluster, &given.object).await?;
        let mut key = Key::of(&given.object);
        key.namespace = match text(&given.object, "/metadata/namespace") {
            _ if !namespaced => String::new(),
            "" => cluster.namespace().to_string(),
            own => own.to_string(),
        };
        let namespace = (!key.namespace.is_empty()).then_some(key.namespace.as_str());
        let request = Request::new(DynamicObject::url_path(&resource, namespace));
        Ok(Self { cluster, given, key, request })
    }

    async fn apply(
        &self,
        apply: &Apply,
        dry_run: bool,
        response: &mut ChangeResponse,
    ) -> Result<(), Failure> {
        let before = self.read().await?;
        let parameters = PatchParams {
            dry_run,
            force: apply.force,
            field_validation: Some(ValidationDirective::Strict),
            ..PatchParams::apply(MANAGER)
        };
        let patch = Patch::Apply(&self.given.object);
        match self.send(self.request.patch(&self.key.name, &parameters, &patch)).await {
            Ok(after) => {
                let version = |object: &Value| text(object, "/metadata/resourceVersion").to_string();
                let verdict = match before {
                    None => "created",
                    Some(_) if after.status == StatusCode::CREATED => "created",
                    Some(before) if !dry_run && version(&before) == version(&after.object) => "unchanged",
                    Some(_) => "configured",
                };
                response.outcomes.push(Outcome { object: self.key.printed(), verdict: verdict.into() });
                let warn = |text: &String| said::warning(&self.given.file, &self.key, text);
                response.warnings.extend(after.warnings.iter().map(warn));
                response.wanted.push(self.wanted(&after.object, false));
                Ok(())
            }
            Err(error) => self.refused(&error, response),
        }
    }

    async fn delete(&self, dry_run: bool, response: &mut ChangeResponse) -> Result<(), Failure> {
        let parameters = DeleteParams { dry_run, ..DeleteParams::default() };
        match self.send(self.request.delete(&self.key.name, &parameters)).await {
            Ok(_) => {
                response.outcomes.push(Outcome { object: self.key.printed(), verdict: "deleted".into() });
                response.wanted.push(self.wanted(&Value::Null, true));
                Ok(())
            }
            Err(Error::Api(status)) if status.code == 404 && !is_unknown_kind(&status) => Ok(()),
            Err(error) => self.refused(&error, response),
        }
    }

    /// The object as it is stored; `None` if it does not exist.
    async fn read(&self) -> Result<Option<Value>, Failure> {
        match self.send(self.request.get(&self.key.name, &kube::api::GetParams::default())).await {
            Ok(found) => Ok(Some(found.object)),
            Err(Error::Api(status)) if matches!(status.code, 403 | 404) => Ok(None),
            Err(error) => Err(self.cluster.failure(&error)),
        }
    }

    /// Records why the API server refuses the object. Fails if it cannot be reached.
    fn refused(&self, error: &Error, response: &mut ChangeResponse) -> Result<(), Failure> {
        let Error::Api(status) = error else { return Err(self.cluster.failure(error)) };
        if status.code == 401 || is_unknown_kind(status) {
            return Err(self.cluster.failure(error));
        }
        response.problems.extend(said::problems(&self.given.file, &self.key, status));
        Ok(())
    }

    fn wanted(&self, stored: &Value, gone: bool) -> Wanted {
        let Key { group, kind, namespace, name } = self.key.clone();
        let generation = stored.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or_default();
        Wanted { group, kind, namespace, name, uid: text(stored, "/metadata/uid").into(), generation, gone }
    }

    async fn send(
        &self,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<Response, Error> {
        let request = request.map_err(Error::BuildRequest)?;
        let (head, body) = self.cluster.client().send(request.map(Body::from)).await?.into_parts();
        let bytes = body.collect().await?.to_bytes();
        if head.status.is_success() {
            let object = serde_json::from_slice(&bytes).map_err(Error::SerdeError)?;
            return Ok(Response { status: head.status, warnings: said::warnings(&head.headers), object });
        }
        let unknown = || {
            let message = String::from_utf8_lossy(&bytes).into_owned();
            Status { code: head.status.as_u16(), ..Status::failure(&message, "Unknown") }
        };
        Err(Error::Api(Box::new(serde_json::from_slice(&bytes).unwrap_or_else(|_| unknown()))))
    }
}

/// The resource of an object's kind, in the version in which the object is written, and whether its objects are in
/// namespaces. Kinds that `ostria` does not know are looked up in the cluster.
async fn resource(cluster: &Cluster, object: &Value) -> Result<(ApiResource, bool), Failure> {
    let (group, version) =
        text(object, "/apiVersion").rsplit_once('/').unwrap_or(("", text(object, "/apiVersion")));
    let gvk = GroupVersionKind::gvk(group, version, text(object, "/kind"));
    if let Some(kind) = kind::of(group, &gvk.kind) {
        return Ok((ApiResource::from_gvk_with_plural(&gvk, kind.plural), kind.namespaced));
    }
    let found = kube::discovery::pinned_kind(cluster.client(), &gvk).await;
    let (resource, capabilities) = found.map_err(|error| match error {
        Error::Discovery(_) => Failure::missing(
            format!("the cluster has no kind {} of {}", gvk.kind, text(object, "/apiVersion")),
            "correct apiVersion and kind, or install the definition of the kind first",
        ),
        error => cluster.failure(&error),
    })?;
    Ok((resource, capabilities.scope == Scope::Namespaced))
}

/// The name under which the API server records what this command sets.
const MANAGER: &str = "ostria";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::cluster::fake::Server;
    use serde_json::json;

    const PATH: &str = "/apis/networking.istio.io/v1/namespaces/shop/virtualservices/a";

    fn object(version: &str) -> Value {
        json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
            "metadata": {"name": "a", "namespace": "shop", "uid": "u", "generation": 3, "resourceVersion": version}})
    }

    fn request() -> Apply {
        let object = json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": "a"}});
        Apply { objects: vec![Given { file: "a.yaml:1".into(), object }], ..Apply::default() }
    }

    fn verdicts(response: &ChangeResponse) -> Vec<String> {
        response.outcomes.iter().map(|outcome| format!("{} {}", outcome.object, outcome.verdict)).collect()
    }

    #[tokio::test]
    async fn an_object_is_tried_before_it_is_applied_and_warnings_are_shown() {
        let patch = format!("PATCH {PATH}");
        let server = Server::default()
            .on(&format!("GET {PATH}"), 200, object("1"))
            .on(&patch, 200, object("2"))
            .warns(&patch, "VirtualService shop/a: spec.hosts: no such host; name another");
        let response = apply(&server.cluster(), &request()).await.unwrap();
        assert_eq!(verdicts(&response), ["virtualservice.networking.istio.io/a configured"]);
        assert_eq!(
            (response.warnings[0].path.as_str(), response.warnings[0].reason.as_str()),
            ("spec.hosts", "no such host")
        );
        assert_eq!((response.wanted[0].uid.as_str(), response.wanted[0].generation), ("u", 3));
        let patches: Vec<String> =
            server.asked().into_iter().filter(|one| one.starts_with("PATCH")).collect();
        assert_eq!(patches.len(), 2);
        assert!(patches[0].contains("dryRun=All") && !patches[1].contains("dryRun"), "{patches:?}");
        assert!(patches[1].contains("fieldManager=ostria") && patches[1].contains("fieldValidation=Strict"));
    }

    #[tokio::test]
    async fn a_verdict_says_whether_the_object_changed() {
        let patch = format!("PATCH {PATH}");
        let server =
            Server::default().on(&format!("GET {PATH}"), 200, object("1")).on(&patch, 200, object("1"));
        let response = apply(&server.cluster(), &request()).await.unwrap();
        assert_eq!(verdicts(&response), ["virtualservice.networking.istio.io/a unchanged"]);
        let created = Server::default().on(&patch, 201, object("1"));
        let response = apply(&created.cluster(), &request()).await.unwrap();
        assert_eq!(verdicts(&response), ["virtualservice.networking.istio.io/a created"]);
    }

    #[tokio::test]
    async fn nothing_is_applied_if_the_dry_run_refuses_an_object() {
        let message = "admission webhook \"w\" denied the request: VirtualService shop/a: spec.hosts: is empty; name a host";
        let server = Server::default().on(&format!("PATCH {PATH}"), 400, Server::refusal(400, message));
        let response = apply(&server.cluster(), &request()).await.unwrap();
        assert_eq!(
            response.problems[0].to_string(),
            "a.yaml:1: VirtualService shop/a: spec.hosts: is empty\n  next: name a host"
        );
        assert!(server.asked().iter().all(|one| one.starts_with("GET") || one.contains("dryRun=All")));
    }

    #[tokio::test]
    async fn missing_kinds_and_permissions_end_the_command_or_name_the_object() {
        let unknown = json!({"kind": "Status", "status": "Failure", "code": 404, "message": "no such resource", "details": {}});
        let server = Server::default().on(&format!("PATCH {PATH}"), 404, unknown);
        let failure = apply(&server.cluster(), &request()).await.unwrap_err().to_string();
        assert!(failure.contains("ostria crds"), "{failure}");
        let server = Server::default().on(&format!("PATCH {PATH}"), 403, Server::refusal(403, "may not"));
        let response = apply(&server.cluster(), &request()).await.unwrap();
        assert_eq!(response.problems[0].reason, "may not");
    }

    #[tokio::test]
    async fn objects_of_a_namespace_that_follows_are_not_tried() {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
        let mut request = request();
        request.objects.push(Given { file: "b.yaml:1".into(), object: namespace.clone() });
        let server = Server::default()
            .on("PATCH /api/v1/namespaces/shop", 201, namespace)
            .on(&format!("PATCH {PATH}"), 201, object("1"))
            .on(&format!("PATCH {PATH}?dry"), 404, Server::refusal(404, "namespaces \"shop\" not found"));
        let response = apply(&server.cluster(), &request).await.unwrap();
        assert_eq!(
            verdicts(&response),
            ["virtualservice.networking.istio.io/a created", "namespace/shop created"]
        );
        let patches: Vec<String> =
            server.asked().into_iter().filter(|one| one.starts_with("PATCH")).collect();
        assert!(
            patches[1].starts_with("PATCH /api/v1/namespaces/shop") && patches[2].contains("virtualservices")
        );
    }

    #[tokio::test]
    async fn a_deletion_is_tried_too_and_skips_what_is_absent() {
        let removal = |names: [&str; 2]| Removal {
            objects: names
                .map(|name| {
                    let mut object = object("1");
                    object["metadata"]["name"] = name.into();
                    Given { file: "command line".into(), object }
                })
                .into(),
            ignore_missing: true,
        };
        let server = Server::default().on(
            &format!("DELETE {PATH}"),
            200,
            json!({"kind": "Status", "status": "Success"}),
        );
        let response = delete(&server.cluster(), &removal(["a", "b"])).await.unwrap();
        assert_eq!(verdicts(&response), ["virtualservice.networking.istio.io/a deleted"]);
        assert!(response.wanted[0].gone);
        let path = format!("{}b", &PATH[..PATH.len() - 1]);
        let server = server.on(&format!("DELETE {path}?dry"), 403, Server::refusal(403, "may not"));
        let before = server.asked().len();
        let response = delete(&server.cluster(), &removal(["a", "b"])).await.unwrap();
        assert_eq!(
            (response.problems.len(), server.asked().len() - before),
            (1, 2),
            "nothing follows the dry run"
        );
    }
}
