//! Facts from a scripted API server: a map of collections that can be listed and watched, and that fails on demand.

use super::*;
use http::{Request, Response};
use http_body_util::{BodyExt, Either, Full, StreamBody};
use kube::client::Body;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::ready;
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

type Reply = Response<
    Either<Full<bytes::Bytes>, http_body_util::combinators::UnsyncBoxBody<bytes::Bytes, Infallible>>,
>;

/// The objects of one resource, and its watches.
#[derive(Default)]
struct Collection {
    objects: BTreeMap<String, Value>,
    watches: Vec<UnboundedSender<Value>>,
    lists: usize,
    /// The status with which requests are refused.
    refuses: Option<u16>,
}

#[derive(Clone, Default)]
struct Server(Arc<Mutex<BTreeMap<String, Collection>>>);

impl Server {
    /// A server of Kubernetes' own kinds, without objects.
    fn new() -> Self {
        let server = Self::default();
        for path in [
            NAMESPACES,
            NODES,
            SERVICES,
            PODS,
            SLICES,
            SECRETS,
            INGRESSES,
            CLASSES,
            MESH_CONFIGS,
            DEFINITIONS,
        ] {
            server.serve(path);
        }
        server
    }

    fn serve(&self, path: &str) {
        self.0.lock().unwrap().entry(path.to_owned()).or_default();
    }

    fn with<T>(&self, path: &str, change: impl FnOnce(&mut Collection) -> T) -> T {
        change(self.0.lock().unwrap().get_mut(path).expect("the path is served"))
    }

    fn put(&self, path: &str, name: &str, label: &str) {
        let metadata = json!({
            "name": name, "namespace": "n", "labels": {"l": label}, "resourceVersion": "5",
        });
        let object = json!({"metadata": metadata, "spec": {}});
        self.with(path, |of| {
            of.objects.insert(name.to_owned(), object.clone());
            of.tell(&json!({"type": "MODIFIED", "object": object}));
        });
    }

    fn delete(&self, path: &str, name: &str) {
        self.with(path, |of| {
            let object = of.objects.remove(name).expect("the object exists");
            of.tell(&json!({"type": "DELETED", "object": object}));
        });
    }

    fn install(&self, kind: &str) {
        self.install_version(kind, "v1");
    }

    fn install_version(&self, kind: &str, version: &str) {
        let (plural, group) = kind.split_once('.').unwrap();
        self.serve(&format!("/apis/{group}/{version}/{plural}"));
        self.put(DEFINITIONS, kind, "");
    }

    fn reply(&self, path: &str, query: &str) -> Reply {
        let mut all = self.0.lock().unwrap();
        let Some(of) = all.get_mut(path) else {
            // The discovery of a group's version.
            let resources: Vec<Value> = all
                .keys()
                .filter_map(|served| served.strip_prefix(path)?.strip_prefix('/'))
                .map(|name| json!({"name": name, "singularName": "", "namespaced": true, "kind": "", "verbs": []}))
                .collect();
            let list = json!({"groupVersion": path, "resources": resources});
            return if resources.is_empty() { refusal(404) } else { whole(200, &list) };
        };
        if let Some(status) = of.refuses {
            return refusal(status);
        }
        // The second watch of Secrets finds none.
        let chosen = !query.contains("Opaque");
        if query.contains("watch=") {
            let (send, receive) = unbounded_channel();
            if chosen {
                of.watches.push(send);
            } else {
                std::mem::forget(send);
            }
            let events = futures_util::stream::unfold(receive, async |mut receive| {
                let event: Value = receive.recv().await?;
                let frame = http_body::Frame::data(format!("{event}\n").into());
                Some((Ok::<_, Infallible>(frame), receive))
            });
            return Response::new(Either::Right(StreamBody::new(events).boxed_unsync()));
        }
        of.lists += 1;
        let items: Vec<&Value> = of.objects.values().filter(|_| chosen).collect();
        whole(200, &json!({"metadata": {"resourceVersion": "5"}, "items": items}))
    }
}

impl Collection {
    fn tell(&mut self, event: &Value) {
        self.watches.retain(|watch| watch.send(event.clone()).is_ok());
    }
}

fn whole(status: u16, body: &Value) -> Reply {
    let mut reply = Response::new(Either::Left(Full::from(body.to_string())));
    *reply.status_mut() = http::StatusCode::from_u16(status).unwrap();
    reply
}

fn refusal(status: u16) -> Reply {
    whole(
        status,
        &json!({"kind": "Status", "status": "Failure", "reason": "", "message": "", "code": status}),
    )
}

fn start(server: &Server) -> Receiver<Vec<Fact>> {
    start_waiting(server, Waiting::new(String::new()))
}

fn start_waiting(server: &Server, waiting: Waiting) -> Receiver<Vec<Fact>> {
    let (send, facts) = channel(64);
    let server = server.clone();
    let reply = move |request: Request<Body>| {
        ready(Ok::<_, Infallible>(
            server.reply(request.uri().path(), request.uri().query().unwrap_or_default()),
        ))
    };
    let cluster = Cluster {
        client: Client::new(tower::service_fn(reply), "default"),
        name: "c".into(),
        root_namespace: "istio-system".into(),
        config_map: "istio".into(),
        revision: Revision::default(),
    };
    tokio::spawn(run(cluster, send, waiting));
    facts
}

/// Waits for as many facts as expected and compares them, in any order.
async fn expect(facts: &mut Receiver<Vec<Fact>>, expected: &[&str]) {
    let mut found: Vec<String> = vec![];
    while found.len() < expected.len() {
        let group = tokio::time::timeout(Duration::from_secs(120), facts.recv()).await;
        let group = group.unwrap_or_else(|_| panic!("only {found:?}")).expect("the source goes on");
        found.extend(group.iter().map(|fact| match fact {
            Fact::Upsert(d) => format!("+{} {}", d.object.name(), d.object.labels["l"]),
            Fact::Delete(key) => format!("-{}", key.name),
            Fact::Synced => "synced".into(),
            Fact::Unsupported(object, version) => {
                format!("{}{} {}", if version.is_some() { '?' } else { '-' }, object.kind, object.name)
            }
            Fact::Unparsable(..) | Fact::Refused(_) | Fact::Readable(_) => panic!("{fact:?}"),
        }));
    }
    found.sort();
    assert_eq!(found, expected);
}

async fn expect_none(facts: &mut Receiver<Vec<Fact>>) {
    let group = tokio::time::timeout(Duration::from_secs(300), facts.recv()).await;
    assert!(group.is_err(), "{group:?}");
}

#[tokio::test(start_paused = true)]
async fn a_cluster_without_the_meshs_definitions_is_read_and_changes_follow() {
    let server = Server::new();
    server.put(SERVICES, "a", "1");
    let mut facts = start(&server);
    expect(&mut facts, &["+a 1", "synced"]).await;
    server.put(SERVICES, "b", "1");
    expect(&mut facts, &["+b 1"]).await;
    server.delete(SERVICES, "a");
    expect(&mut facts, &["-a"]).await;
}

#[tokio::test(start_paused = true)]
async fn ingresses_and_nodes_are_watched_and_unread_fields_of_a_node_are_no_change() {
    let server = Server::new();
    server.put(INGRESSES, "i", "1");
    server.put(CLASSES, "k", "1");
    let mut facts = start(&server);
    expect(&mut facts, &["+i 1", "+k 1", "synced"]).await;
    let node = |zone: &str, beat: &str| {
        let labels = json!({"topology.kubernetes.io/zone": zone, "kubernetes.io/hostname": beat});
        let status = json!({"conditions": [{"type": "Ready", "lastHeartbeatTime": beat}], "images": [beat]});
        let metadata =
            json!({"name": "node-1", "labels": labels, "resourceVersion": beat, "annotations": {"a": beat}});
        server.with(NODES, |of| {
            of.tell(&json!({"type": "MODIFIED", "object": {"metadata": metadata, "status": status}}));
        });
    };
    node("z1", "1");
    let group = facts.recv().await.unwrap();
    let [Fact::Upsert(document)] = group.as_slice() else { panic!("{group:?}") };
    let expected = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": "node-1", "labels": {"topology.kubernetes.io/zone": "z1"}},
        "status": {},
    });
    assert_eq!(document.raw, expected);
    node("z1", "2");
    expect_none(&mut facts).await;
    node("z2", "3");
    assert!(matches!(facts.recv().await.unwrap().as_slice(), [Fact::Upsert(_)]));
    server.delete(INGRESSES, "i");
    expect(&mut facts, &["-i"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_cannot_be_listed_is_waited_for() {
    let server = Server::new();
    server.with(PODS, |of| of.refuses = Some(403));
    server.put(SERVICES, "a", "1");
    let waiting = Waiting::new(String::new());
    let mut facts = start_waiting(&server, waiting.clone());
    expect(&mut facts, &["+a 1"]).await;
    expect_none(&mut facts).await;
    assert_eq!(*waiting.borrow(), "Pod (the API server responds with status 403 )");
    server.with(PODS, |of| of.refuses = None);
    expect(&mut facts, &["synced"]).await;
    tokio::task::yield_now().await;
    assert_eq!(*waiting.borrow(), "");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_breaks_or_expires_reports_only_what_it_missed() {
    let server = Server::new();
    for name in ["a", "b"] {
        server.put(SERVICES, name, "1");
    }
    let mut facts = start(&server);
    expect(&mut facts, &["+a 1", "+b 1", "synced"]).await;
    server.with(SERVICES, |of| of.watches.clear());
    expect_none(&mut facts).await;
    assert_eq!(server.with(SERVICES, |of| of.lists), 1, "a broken watch is resumed without a list");

    let expired = json!({"type": "ERROR", "object": {"status": "Failure", "reason": "Expired", "message": "", "code": 410}});
    server.with(SERVICES, |of| {
        of.objects.remove("a");
        of.tell(&expired);
        of.watches.clear();
    });
    expect(&mut facts, &["-a"]).await;
    assert_eq!(server.with(SERVICES, |of| of.lists), 2);
    expect_none(&mut facts).await;
}

#[tokio::test(start_paused = true)]
async fn a_version_that_the_server_forgot_before_the_watch_began_is_listed_again() {
    let server = Server::new();
    let mut facts = start(&server);
    expect(&mut facts, &["synced"]).await;
    server.with(SERVICES, |of| {
        of.refuses = Some(410);
        of.watches.clear();
    });
    tokio::time::sleep(Duration::from_secs(30)).await;
    server.with(SERVICES, |of| of.refuses = None);
    server.put(SERVICES, "a", "1");
    expect(&mut facts, &["+a 1"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_definition_is_picked_up_when_installed_and_its_objects_go_with_it() {
    let server = Server::new();
    let mut facts = start(&server);
    expect(&mut facts, &["synced"]).await;
    server.install("virtualservices.networking.istio.io");
    server.put(ROUTES, "r", "1");
    expect(&mut facts, &["+r 1"]).await;
    server.put(DEFINITIONS, "virtualservices.networking.istio.io", "changed");
    expect_none(&mut facts).await;
    server.with(ROUTES, |of| of.refuses = Some(404));
    server.delete(DEFINITIONS, "virtualservices.networking.istio.io");
    expect(&mut facts, &["-r"]).await;
    server.with(ROUTES, |of| of.refuses = None);
    server.install("virtualservices.networking.istio.io");
    expect(&mut facts, &["+r 1"]).await;
}

#[tokio::test(start_paused = true)]
async fn objects_of_unsupported_kinds_are_reported_while_their_definition_is_installed() {
    let server = Server::new();
    server.install_version(FILTERS, "v1alpha3");
    let path = "/apis/networking.istio.io/v1alpha3/envoyfilters";
    server.put(path, "f", "1");
    let mut facts = start(&server);
    expect(&mut facts, &["?EnvoyFilter f", "synced"]).await;
    server.put(path, "f", "2");
    expect_none(&mut facts).await;
    server.put(path, "g", "1");
    expect(&mut facts, &["?EnvoyFilter g"]).await;
    server.delete(path, "f");
    expect(&mut facts, &["-EnvoyFilter f"]).await;
    server.delete(DEFINITIONS, FILTERS);
    expect(&mut facts, &["-EnvoyFilter g"]).await;
}

#[tokio::test(start_paused = true)]
async fn an_unsupported_kind_that_cannot_be_listed_keeps_nobody_waiting() {
    let server = Server::new();
    server.install_version(FILTERS, "v1alpha3");
    server.with("/apis/networking.istio.io/v1alpha3/envoyfilters", |of| of.refuses = Some(403));
    let mut facts = start(&server);
    expect(&mut facts, &["synced"]).await;
    expect_none(&mut facts).await;
}

const FILTERS: &str = "envoyfilters.networking.istio.io";
const NAMESPACES: &str = "/api/v1/namespaces";
const NODES: &str = "/api/v1/nodes";
const INGRESSES: &str = "/apis/networking.k8s.io/v1/ingresses";
const CLASSES: &str = "/apis/networking.k8s.io/v1/ingressclasses";
const SERVICES: &str = "/api/v1/services";
const PODS: &str = "/api/v1/pods";
const SECRETS: &str = "/api/v1/secrets";
const MESH_CONFIGS: &str = "/api/v1/namespaces/istio-system/configmaps";
const SLICES: &str = "/apis/discovery.k8s.io/v1/endpointslices";
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const ROUTES: &str = "/apis/networking.istio.io/v1/virtualservices";
