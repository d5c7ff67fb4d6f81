//! The writer against an API server of the tests' own. Time is virtual.

use super::*;
use crate::flow::{Unsupported, Verdict};
use crate::revision::Revision;
use crate::snapshot::Snapshot;
use api::resource::document::{Key, Place, Refusal};
use api::resource::kind::{Kind, refused};
use api::resource::verdict::Version;
use api::xds::server::Status;
use http::{Request, Response};
use kube::client::Body;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Value>,
    /// The status of each write, with the path, the query, and when it arrived.
    writes: Vec<(String, String, Value, Instant)>,
    reads: usize,
    /// The status code of the responses to writes, if not 200.
    code: Option<u16>,
}

/// Virtual services by path.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<State>>);

const FOLDER: &str = "/apis/networking.istio.io/v1/namespaces/shop/virtualservices/";

impl Server {
    fn put(&self, name: &str, generation: i64) {
        let object = json!({
            "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
            "metadata": {"name": name, "namespace": "shop", "uid": "u", "generation": generation},
            "spec": {},
        });
        self.0.lock().unwrap().objects.insert(format!("{FOLDER}{name}"), object);
    }

    fn respond(&self, request: &Request<()>, body: &[u8]) -> (u16, Value) {
        if let Some(resources) = served(request.uri().path()) {
            return (200, resources);
        }
        let mut state = self.0.lock().unwrap();
        let path = request.uri().path().strip_suffix("/status").expect("only this part is used").to_owned();
        let failed =
            |code: u16| (code, json!({"kind": "Status", "status": "Failure", "code": code, "message": "no"}));
        if request.method() == "GET" {
            state.reads += 1;
            return state.objects.get(&path).map_or(failed(404), |object| (200, object.clone()));
        }
        assert_eq!(request.headers()["content-type"], "application/apply-patch+yaml");
        let sent: Value = serde_json::from_slice(body).unwrap();
        let query = request.uri().query().unwrap_or_default().to_owned();
        state.writes.push((path.clone(), query, sent["status"].clone(), Instant::now()));
        if let Some(code) = state.code {
            return failed(code);
        }
        let object = state.objects.get_mut(&path).unwrap();
        object["status"] = sent["status"].clone();
        object["metadata"]["managedFields"] = json!([{"manager": MANAGER, "fieldsV1": {"f:status": {}}}]);
        (200, object.clone())
    }

    fn client(&self) -> Client {
        let server = self.clone();
        Client::new(tower::service_fn(move |request| server.clone().reply(request)), "default")
    }

    async fn reply(self, request: Request<Body>) -> Result<Response<Body>, Infallible> {
        let (head, body) = request.into_parts();
        let body = body.collect_bytes().await.unwrap();
        let (code, value) = self.respond(&Request::from_parts(head, ()), &body);
        let body = Body::from(value.to_string().into_bytes());
        Ok(Response::builder().status(code).body(body).unwrap())
    }

    fn writes(&self) -> usize {
        self.0.lock().unwrap().writes.len()
    }

    /// `Programmed` of an object.
    fn programmed(&self, name: &str) -> String {
        let state = self.0.lock().unwrap();
        let condition = &state.objects[&format!("{FOLDER}{name}")]["status"]["conditions"][2];
        format!(
            "{} {}",
            condition["status"].as_str().unwrap_or_default(),
            condition["message"].as_str().unwrap_or_default()
        )
    }
}

/// The kinds that the server has, by group and version; an older Istio lacks `v1` of the policies.
fn served(path: &str) -> Option<Value> {
    let names: &[&str] = match path {
        "/apis/networking.istio.io/v1" => &["virtualservices"],
        "/apis/security.istio.io/v1" => &[],
        "/apis/security.istio.io/v1beta1" => &["authorizationpolicies"],
        _ => return None,
    };
    let resource =
        |name: &&str| json!({"name": name, "singularName": "", "namespaced": true, "kind": "", "verbs": []});
    Some(json!({"groupVersion": path, "resources": names.iter().map(resource).collect::<Vec<_>>()}))
}

struct Running {
    server: Server,
    verdicts: Channel,
    leads: watch::Sender<bool>,
    drain: CancellationToken,
}

impl Running {
    fn new(leads: bool) -> Self {
        Self::of(Revision::default(), leads)
    }

    fn of(revision: Revision, leads: bool) -> Self {
        let (server, verdicts, drain) = (Server::default(), Channel::default(), CancellationToken::new());
        let (leads, leading) = watch::channel(leads);
        let client = server.client();
        let (_, snapshots) =
            watch::channel(Arc::new(Snapshot::new(Arc::default(), 1, Instant::now().into_std())));
        let replicas = Replicas::new(snapshots, "istio-system", ("a", revision));
        tokio::spawn(keep(client, (verdicts.clone(), replicas), leading, drain.clone()));
        Self { server, verdicts, leads, drain }
    }

    fn judge(&self, name: &str, generation: i64, errors: Vec<Refusal>) {
        let version = Version { uid: "u".into(), generation, ..Version::default() };
        self.judge_version(name, version, errors);
    }

    fn judge_version(&self, name: &str, version: Version, errors: Vec<Refusal>) {
        let (key, generation) = (Key::new(Kind::VirtualService, "shop", name), version.generation);
        let verdict = Verdict { version, errors, ..Verdict::clean(Some(key), Place::cluster("c", "1")) };
        self.verdicts.note(vec![verdict], generation.unsigned_abs());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.drain.cancel();
    }
}

async fn seconds(number: u64) {
    tokio::time::sleep(Duration::from_secs(number)).await;
}

fn acknowledged() -> BTreeMap<api::model::Kind, Box<Status>> {
    BTreeMap::from([(api::model::Kind::Cluster, Box::default())])
}

#[tokio::test(start_paused = true)]
async fn an_object_of_an_unsupported_kind_says_so_in_the_version_that_is_served() {
    let running = Running::new(true);
    let path = "/apis/security.istio.io/v1beta1/namespaces/shop/authorizationpolicies/deny";
    let object = json!({
        "apiVersion": "security.istio.io/v1beta1", "kind": "AuthorizationPolicy",
        "metadata": {"name": "deny", "namespace": "shop", "uid": "u", "generation": 3},
    });
    running.server.0.lock().unwrap().objects.insert(path.to_owned(), object);
    let kind = refused::find("security.istio.io", "AuthorizationPolicy").unwrap();
    let version = Version { uid: "u".into(), generation: 3, ..Version::default() };
    running.verdicts.note_unsupported(vec![(Unsupported::new(kind, "shop", "deny"), Some(version))]);
    seconds(60).await;
    let state = running.server.0.lock().unwrap();
    assert_eq!(state.writes.len(), 1);
    let conditions = &state.objects[path]["status"]["conditions"];
    let shown = |number: usize| ["type", "status", "reason"].map(|field| conditions[number][field].clone());
    assert_eq!(shown(0), ["Accepted", "False", "Unsupported"]);
    assert_eq!(shown(1), ["Programmed", "False", "Unsupported"]);
    let message = conditions[0]["message"].as_str().unwrap();
    assert!(message.contains("no proxy of Ostria enforces the object; do not rely on it"), "{message}");
    assert_eq!(
        (conditions[0]["observedGeneration"].as_i64(), conditions.as_array().unwrap().len()),
        (Some(3), 2)
    );
}

#[tokio::test(start_paused = true)]
async fn each_change_is_written_once_and_nothing_when_nothing_changes() {
    let running = Running::new(true);
    let server = &running.server;
    let proxy = running.verdicts.proxies.add("web.shop".into());
    proxy.note(&acknowledged(), 1, false);
    server.put("a", 1);
    running.judge("a", 1, vec![]);
    seconds(5).await;
    assert_eq!((server.writes(), &*server.programmed("a")), (1, "True acknowledged by 1 of 1 proxies"));
    {
        let state = server.0.lock().unwrap();
        let (path, query, status, _) = &state.writes[0];
        assert_eq!(*path, format!("{FOLDER}a"));
        assert!(query.contains("fieldManager=ostria-pilot") && !query.contains("force=true"), "{query}");
        assert_eq!(status["observedGeneration"], 1);
    }
    let reads = server.0.lock().unwrap().reads;
    let other = running.verdicts.proxies.add("db.shop".into());
    seconds(600).await;
    drop(other);
    running.judge("b", 1, vec![]);
    seconds(60).await;
    assert_eq!((server.writes(), server.0.lock().unwrap().reads), (1, reads + 1), "b does not exist");
    server.put("a", 2);
    running.judge("a", 2, vec![Refusal { reason: "is bad".into(), ..Refusal::default() }]);
    seconds(5).await;
    assert_eq!(server.writes(), 2);
    assert!(
        server.programmed("a").starts_with("False this version is not in force"),
        "{}",
        server.programmed("a")
    );
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_does_not_respond_is_named_after_a_while() {
    let running = Running::new(true);
    let server = &running.server;
    let proxy = running.verdicts.proxies.add("web.shop".into());
    server.put("a", 1);
    running.judge("a", 1, vec![]);
    seconds(3).await;
    assert_eq!(server.writes(), 0);
    seconds(5).await;
    assert_eq!(server.programmed("a"), "Unknown acknowledged by 0 of 1 proxies; waiting for web.shop");
    proxy.note(&acknowledged(), 1, false);
    seconds(3).await;
    assert_eq!((server.writes(), &*server.programmed("a")), (2, "True acknowledged by 1 of 1 proxies"));
}

#[tokio::test(start_paused = true)]
async fn only_a_leader_writes_and_a_next_one_writes_nothing_again() {
    let running = Running::new(false);
    let server = &running.server;
    running.verdicts.proxies.add("web.shop".into());
    server.put("a", 1);
    running.judge("a", 1, vec![]);
    seconds(60).await;
    assert_eq!((server.writes(), server.0.lock().unwrap().reads), (0, 0));
    running.leads.send_replace(true);
    seconds(10).await;
    assert_eq!(server.writes(), 1);
    running.leads.send_replace(false);
    seconds(10).await;
    running.leads.send_replace(true);
    seconds(60).await;
    assert_eq!((server.writes(), server.0.lock().unwrap().reads), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn at_most_ten_objects_are_written_in_a_second() {
    let running = Running::new(true);
    for number in 0..120 {
        let name = format!("a{number}");
        running.server.put(&name, 1);
        running.judge(&name, 1, vec![]);
    }
    seconds(60).await;
    let state = running.server.0.lock().unwrap();
    assert_eq!(state.writes.len(), 120);
    for (first, eleventh) in state.writes.iter().zip(&state.writes[10..]) {
        assert!(eleventh.3 - first.3 >= Duration::from_secs(1));
    }
}

#[tokio::test(start_paused = true)]
async fn the_status_of_others_and_of_newer_versions_is_left_alone() {
    let running = Running::new(true);
    let server = &running.server;
    for name in ["foreign", "newer", "conflict"] {
        server.put(name, 1);
    }
    {
        let mut state = server.0.lock().unwrap();
        let object = |name: &str| format!("{FOLDER}{name}");
        let fields = json!([{"manager": "pilot-discovery", "fieldsV1": {"f:status": {"f:conditions": {}}}}]);
        state.objects.get_mut(&object("foreign")).unwrap()["metadata"]["managedFields"] = fields;
        state.objects.get_mut(&object("newer")).unwrap()["metadata"]["generation"] = json!(2);
        state.code = Some(409);
    }
    for name in ["foreign", "newer", "conflict"] {
        running.judge(name, 1, vec![]);
    }
    seconds(60).await;
    let written: Vec<String> = server.0.lock().unwrap().writes.iter().map(|write| write.0.clone()).collect();
    assert_eq!(written, [format!("{FOLDER}conflict")]);
}

#[tokio::test(start_paused = true)]
async fn an_object_of_another_revision_is_left_to_it() {
    let running = Running::of(Revision::new("canary", &["stable".to_owned()]), true);
    for (name, label) in [("canary", "canary"), ("tagged", "stable"), ("other", "other"), ("free", "")] {
        running.server.put(name, 1);
        let version =
            Version { uid: "u".into(), generation: 1, revision: label.into(), ..Version::default() };
        running.judge_version(name, version, vec![]);
    }
    seconds(60).await;
    let state = running.server.0.lock().unwrap();
    let written: Vec<&str> = state.writes.iter().filter_map(|write| write.0.strip_prefix(FOLDER)).collect();
    // No other control plane has a pod, so it also writes what belongs to nobody.
    assert_eq!(written, ["canary", "free", "other", "tagged"]);
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_fails_is_asked_again_ever_more_slowly() {
    let running = Running::new(true);
    running.server.put("a", 1);
    running.server.0.lock().unwrap().code = Some(500);
    running.judge("a", 1, vec![]);
    seconds(120).await;
    let tries = running.server.writes();
    assert!((4..=12).contains(&tries), "{tries}");
    running.server.0.lock().unwrap().code = None;
    seconds(40).await;
    assert_eq!(running.server.programmed("a"), "Unknown no proxy is connected");
}
