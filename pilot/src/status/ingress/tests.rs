//! Which addresses are written to which Ingress, and the writer with a fake API server.

use super::*;
use crate::catalog::tests::catalog;
use crate::revision::Revision;
use http::{Request, Response};
use kube::client::Body;
use std::convert::Infallible;
use std::future::ready;
use std::sync::Mutex;
use std::time::Instant;

const CLASS: &str = "
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: istio}
spec: {controller: istio.io/ingress-controller}
";

fn ingress(name: &str, class: &str, addresses: &str) -> String {
    format!(
        "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: {name}, namespace: shop, uid: u-{name}}}\n\
         spec: {{ingressClassName: {class}, defaultBackend: {{service: {{name: a, port: {{number: 80}}}}}}}}\n\
         status: {{loadBalancer: {{ingress: [{addresses}]}}}}\n"
    )
}

fn gateway(status: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: istio-ingressgateway, namespace: istio-system}}\n\
         spec: {{clusterIP: 10.0.0.1, externalIPs: [192.0.2.9], ports: [{{port: 80}}]}}\nstatus: {status}\n"
    )
}

const BALANCER: &str = "{loadBalancer: {ingress: [{ip: 192.0.2.1}, {hostname: lb.test}]}}";

#[expect(clippy::disallowed_methods, reason = "a test's own clock")]
fn snapshot(text: &str) -> Arc<Snapshot> {
    Arc::new(Snapshot::new(Arc::new(catalog(text)), 1, Instant::now()))
}

/// The replica of the default revision, alone.
fn replicas(snapshot: &Arc<Snapshot>) -> Replicas {
    let (_, snapshots) = watch::channel(snapshot.clone());
    Replicas::new(snapshots, "istio-system", ("a", Revision::default()))
}

/// The Ingresses that are due, as `name: address address`.
fn shown(text: &str, written: &[(&str, &str, &[&str])]) -> Vec<String> {
    let written = written.iter().map(|(name, uid, addresses)| {
        let addresses = addresses.iter().map(|one| (*one).to_owned()).collect();
        (Key::new(Kind::Ingress, "shop", name), ((*uid).into(), addresses))
    });
    let snapshot = snapshot(text);
    let due = due(&snapshot.catalog, &replicas(&snapshot).claims(), &written.collect());
    due.iter().map(|(origin, addresses)| format!("{}: {}", origin.name, addresses.join(" "))).collect()
}

#[test]
fn served_ingresses_get_the_addresses_of_the_gateways_service() {
    let all = [CLASS, &gateway(BALANCER), &ingress("a", "istio", ""), &ingress("b", "nginx", "")].concat();
    let addresses: &[&str] = &["192.0.2.1", "192.0.2.9", "lb.test"];
    assert_eq!(shown(&all, &[]), ["a: 192.0.2.1 192.0.2.9 lb.test"]);
    let same = "{hostname: lb.test}, {ip: 192.0.2.9}, {ip: 192.0.2.1}";
    let settled = [CLASS, &gateway(BALANCER), &ingress("a", "istio", same)].concat();
    assert_eq!(shown(&settled, &[]), [""; 0], "nothing is written that is there");
    let foreign = [CLASS, &gateway(BALANCER), &ingress("a", "istio", "{ip: 192.0.2.7}")].concat();
    assert_eq!(shown(&foreign, &[]).len(), 1);
    assert_eq!(shown(&foreign, &[("a", "u-a", addresses)]), [""; 0], "another component has replaced it");
    assert_eq!(shown(&foreign, &[("a", "u-old", addresses)]).len(), 1, "another object of that name");
    assert_eq!(shown(&all, &[("a", "u-a", addresses)]).len(), 1, "somebody has removed it");
    let without = [CLASS, &ingress("a", "istio", "{ip: 192.0.2.7}")].concat();
    assert_eq!(shown(&without, &[]), ["a: "], "there is no gateway");
    let moved = [CLASS, &gateway(BALANCER), &ingress("a", "nginx", "{ip: 192.0.2.7}")].concat();
    assert_eq!(shown(&moved, &[]), [""; 0]);
    assert_eq!(shown(&moved, &[("a", "u-a", addresses)]), ["a: "], "it is served no more");
}

#[test]
fn an_ingress_of_another_revision_is_left_to_it() {
    let canary = "---\napiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: istio-system}\n\
                  spec: {serviceAccountName: ostria-pilot-canary, containers: [{name: pilot}]}\n\
                  status: {podIP: 10.1.0.2, phase: Running}\n";
    let labelled = ingress("a", "istio", "").replace("uid: u-a", "uid: u-a, labels: {istio.io/rev: canary}");
    let text = [CLASS, &gateway(BALANCER), &labelled, &ingress("b", "istio", ""), canary].concat();
    assert_eq!(shown(&text, &[]), ["b: 192.0.2.1 192.0.2.9 lb.test"]);
}

#[test]
fn without_a_service_the_nodes_of_the_gateways_pods_give_the_addresses() {
    let mesh = "
---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: 'ingressService: \"\"'}
---
apiVersion: v1
kind: Node
metadata: {name: node-1}
status: {addresses: [{type: InternalIP, address: 10.9.9.9}, {type: ExternalIP, address: 192.0.2.5}]}
---
apiVersion: v1
kind: Pod
metadata: {name: gate, namespace: istio-system, labels: {istio: ingressgateway}}
spec: {nodeName: node-1, containers: [{name: c, image: i}]}
status: {podIP: 10.1.1.1, conditions: [{type: Ready, status: 'True'}]}
";
    assert_eq!(shown(&[CLASS, mesh, &ingress("a", "istio", "")].concat(), &[]), ["a: 192.0.2.5"]);
    let unready = mesh.replace("'True'", "'False'");
    assert_eq!(shown(&[CLASS, &unready, &ingress("a", "istio", "")].concat(), &[]), [""; 0]);
}

/// A response other than 200: its code and message.
type Failure = (u16, &'static str);

/// Records writes, and responds with these failures in order, then with 200.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<(Vec<String>, Vec<Failure>)>>);

impl Server {
    fn reply(&self, request: &Request<Body>) -> Response<Body> {
        let mut state = self.0.lock().unwrap();
        assert_eq!(request.method(), "PATCH");
        state.0.push(request.uri().to_string());
        let refusal = (!state.1.is_empty()).then(|| state.1.remove(0));
        let (code, body) = match refusal {
            Some((code, message)) => {
                (code, json!({"kind": "Status", "status": "Failure", "code": code, "message": message}))
            }
            None => (200, json!({"metadata": {"name": "a"}})),
        };
        Response::builder().status(code).body(body.to_string().into_bytes().into()).unwrap()
    }
}

async fn writes(refusals: &[Failure]) -> Vec<String> {
    let server = Server::default();
    server.0.lock().unwrap().1 = refusals.to_vec();
    let snapshot = snapshot(&[CLASS, &gateway(BALANCER), &ingress("a", "istio", "")].concat());
    let (publish, snapshots) = watch::channel(snapshot.clone());
    let (lead, leads) = watch::channel(false);
    let drain = CancellationToken::new();
    let here = server.clone();
    let service = tower::service_fn(move |request| ready(Ok::<_, Infallible>(here.reply(&request))));
    let client = Client::new(service, "istio-system");
    let keeper = tokio::spawn(keep(client, (snapshots, replicas(&snapshot)), leads, drain.clone()));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(server.0.lock().unwrap().0.is_empty(), "it writes only while it leads");
    lead.send_replace(true);
    tokio::time::sleep(Duration::from_mins(2)).await;
    // Another snapshot with the same content, before the watch has reported the write.
    publish.send_replace(snapshot);
    tokio::time::sleep(Duration::from_secs(5)).await;
    drain.cancel();
    keeper.await.unwrap();
    let state = server.0.lock().unwrap();
    state.0.clone()
}

#[tokio::test(start_paused = true)]
async fn the_leader_writes_and_takes_over_from_any_controller_but_istio() {
    let path = "/apis/networking.k8s.io/v1/namespaces/shop/ingresses/a/status?";
    let written = writes(&[]).await;
    assert!(written.iter().all(|one| one.starts_with(path) && one.contains("fieldManager=ostria-pilot")));
    assert!(written.iter().all(|one| !one.contains("force=true")), "{written:?}");
    let nginx = writes(&[(409, "conflict with \"nginx\"")]).await;
    assert!(nginx[1].contains("force=true"), "{nginx:?}");
    let istio = writes(&[(409, "conflict with \"pilot-discovery\" using v1"); 9]).await;
    assert!(istio.iter().all(|one| !one.contains("force=true")), "{istio:?}");
    let failing = writes(&[(500, "no"), (503, "no")]).await;
    assert_eq!(failing.len(), 4, "it tries again, and once more as the status is still empty: {failing:?}");
}
