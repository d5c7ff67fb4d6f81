//! Pure. `Deployment`, `StatefulSet` and `ReplicaSet`.

use super::pod::{containers, images};
use crate::resource::column::{AGE, Column, number, pairs};
use crate::resource::descriptor::Descriptor;
use serde_json::Value;

const PODS: &str = ".spec.template.spec.containers";
const CONTAINERS: Column = Column::computed("CONTAINERS", |object, _| containers(object, PODS)).wide();
const IMAGES: Column = Column::computed("IMAGES", |object, _| images(object, PODS)).wide();
const SELECTOR: Column =
    Column::computed("SELECTOR", |object, _| pairs(object, ".spec.selector.matchLabels")).wide();

/// `apps/v1` Deployment.
pub const DEPLOYMENT: Descriptor = Descriptor {
    group: "apps",
    kind: "Deployment",
    plural: "deployments",
    short: &["deploy"],
    categories: &["all"],
    namespaced: true,
    versions: &["v1"],
    columns: &[
        Column::computed("READY", |object, _| ready(object)),
        Column::computed("UP-TO-DATE", |object, _| count(object, ".status.updatedReplicas")),
        Column::computed("AVAILABLE", |object, _| count(object, ".status.availableReplicas")),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    schema: None,
};

/// `apps/v1` StatefulSet.
pub const STATEFUL_SET: Descriptor = Descriptor {
    group: "apps",
    kind: "StatefulSet",
    plural: "statefulsets",
    short: &["sts"],
    categories: &["all"],
    namespaced: true,
    versions: &["v1"],
    columns: &[Column::computed("READY", |object, _| ready(object)), AGE, CONTAINERS, IMAGES],
    schema: None,
};

/// `apps/v1` ReplicaSet.
pub const REPLICA_SET: Descriptor = Descriptor {
    group: "apps",
    kind: "ReplicaSet",
    plural: "replicasets",
    short: &["rs"],
    categories: &["all"],
    namespaced: true,
    versions: &["v1"],
    columns: &[
        Column::computed("DESIRED", |object, _| number(object, ".spec.replicas", 1).to_string()),
        Column::computed("CURRENT", |object, _| count(object, ".status.replicas")),
        Column::computed("READY", |object, _| count(object, ".status.readyReplicas")),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    schema: None,
};

fn ready(object: &Value) -> String {
    format!("{}/{}", count(object, ".status.readyReplicas"), number(object, ".spec.replicas", 1))
}

fn count(object: &Value, path: &str) -> String {
    number(object, path, 0).to_string()
}
