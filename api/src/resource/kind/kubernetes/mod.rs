//! Pure. The supported kinds of Kubernetes itself. The crate `k8s-openapi` defines their fields; `ostria up` has tables
//! of the fields that it supports.

pub mod ingress;
pub mod job;
pub mod node;
pub mod service;
pub mod workload;
pub mod pod;

use crate::resource::column::{AGE, Column, at, items, text};
use crate::resource::descriptor::Descriptor;
use serde_json::Value;

/// A kind of the core group.
const CORE: Descriptor = Descriptor {
    group: "",
    kind: "",
    plural: "",
    short: &[],
    categories: &[],
    namespaced: true,
    versions: &["v1"],
    columns: &[AGE],
    schema: None,
};

/// `v1` Namespace.
pub const NAMESPACE: Descriptor = Descriptor {
    kind: "Namespace",
    plural: "namespaces",
    short: &["ns"],
    namespaced: false,
    columns: &[Column::computed("STATUS", |object, _| phase(object)), AGE],
    ..CORE
};

/// `v1` ServiceAccount.
pub const SERVICE_ACCOUNT: Descriptor = Descriptor {
    kind: "ServiceAccount",
    plural: "serviceaccounts",
    short: &["sa"],
    columns: &[Column::computed("SECRETS", |object, _| items(object, ".secrets").count().to_string()), AGE],
    ..CORE
};

/// `v1` ConfigMap.
pub const CONFIG_MAP: Descriptor = Descriptor {
    kind: "ConfigMap",
    plural: "configmaps",
    short: &["cm"],
    columns: &[Column::computed("DATA", |object, _| entries(object)), AGE],
    ..CORE
};

/// `v1` Secret.
pub const SECRET: Descriptor = Descriptor {
    kind: "Secret",
    plural: "secrets",
    columns: &[
        Column::computed("TYPE", |object, _| crate::resource::column::or(text(object, ".type"), "Opaque")),
        Column::computed("DATA", |object, _| entries(object)),
        AGE,
    ],
    ..CORE
};

fn phase(namespace: &Value) -> String {
    crate::resource::column::or(text(namespace, ".status.phase"), "Active")
}

fn entries(object: &Value) -> String {
    let count = |path| at(object, path).as_object().map_or(0, serde_json::Map::len);
    (count(".data") + count(".binaryData") + count(".stringData")).to_string()
}
