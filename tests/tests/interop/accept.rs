//! Configuration of many kinds beyond bookinfo's: our pilot generates resources from it for a sidecar and for a
//! gateway, and a stock Envoy accepts all of them. The files are in `accepted/`.

use serde_json::{Value, json};
use std::path::PathBuf;
use tests::program;

use crate::plane::{ENVOY, Plane, pod};

#[test]
#[ignore = "fetches Envoy"]
fn nothing_that_pilot_sends_to_a_sidecar_is_refused() {
    let plane = plane();
    let metadata = json!({
        "NAMESPACE": "shop", "LABELS": {"app": "front", "version": "v1"},
        "SERVICE_ACCOUNT": "front", "CLUSTER_ID": "Kubernetes", "INSTANCE_IPS": "127.1.0.1",
    });
    let id = "sidecar~127.1.0.1~front-v1.shop~shop.svc.cluster.local";
    for protocol in ["DELTA_GRPC", "GRPC"] {
        let envoy = plane.envoy(id, &metadata, protocol);
        plane.until_accepted("front-v1.shop");
        let clusters = plane.fetch(&format!("{ENVOY}/clusters"));
        let names = [
            "|6379||cache.shop",
            "|443||api.external.test",
            "|8080|v2|front.shop",
            "|5432||db.shop",
            "|8080||robins.external.test",
            "|443||*part.external.test",
        ];
        for name in names {
            assert!(clusters.contains(name), "Envoy has no cluster {name}: {clusters}");
        }
        envoy.end();
    }
}

#[test]
#[ignore = "fetches Envoy"]
fn nothing_that_pilot_sends_to_a_gateway_is_refused() {
    let plane = plane();
    let metadata = json!({"NAMESPACE": "istio-system", "LABELS": {"istio": "ingressgateway", "app": "istio-ingressgateway"}});
    let id = "router~127.1.0.9~gateway.istio-system~istio-system.svc.cluster.local";
    let envoy = plane.envoy(id, &metadata, "DELTA_GRPC");
    plane.until_accepted("gateway.istio-system");
    let listeners = plane.fetch(&format!("{ENVOY}/listeners"));
    for port in ["0.0.0.0:8080", "0.0.0.0:8443", "0.0.0.0:9443", "0.0.0.0:31400"] {
        assert!(listeners.contains(port), "Envoy has no listener on {port}: {listeners}");
    }
    envoy.end();
}

fn plane() -> Plane {
    let folder = program::repository("tests/tests/interop/accepted");
    let files = std::fs::read_dir(folder).expect("the folder is there").flatten();
    let files: Vec<PathBuf> = files.map(|file| file.path()).collect();
    assert!(files.len() >= 5, "hardly any files");
    let pods = [("front-v1", 1), ("front-v2", 2), ("cache-v1", 3), ("db-v1", 4), ("batch-v1", 5)];
    let pods: Vec<Value> = pods.into_iter().map(|(name, number)| in_shop(pod(name, number))).collect();
    Plane::start(&files, &pods, &[])
}

fn in_shop(mut pod: Value) -> Value {
    pod["metadata"]["namespace"] = json!("shop");
    let app = pod["metadata"]["labels"]["app"].clone();
    pod["spec"]["serviceAccountName"] = app;
    let ports = [8080, 8081, 6379, 5432, 7070].map(|port| json!({"containerPort": port}));
    pod["spec"]["containers"] = json!([{"name": "app", "ports": ports}]);
    pod
}
