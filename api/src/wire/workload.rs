//! Pure. Workload discovery and the name table, in Istio's messages.
//!
//! Istio's workload has no labels. `app` and `version`, which metrics need, are sent as an extension.

use super::any::unpack;
use super::istio::{self, Address, Extension};
use super::refusal::{At, Refusal, each, refuse, required};
use super::scalar::ip;
use super::stable::{STRUCT, sort_maps};
use super::value::{from_struct, to_struct};
use super::xds::Any;
use crate::model::workload::{NameInfo, NameTable, Workload};
use envoy_types::pb::google::protobuf::Struct;
use prost::{Message, Name};
use serde_json::Value;
use std::net::IpAddr;

pub(super) fn decode(address: Address) -> Result<Workload, Refusal> {
    if address.service.is_some() {
        return Err(Refusal::unsupported("service"));
    }
    let wire = required(address.workload, "workload")?;
    let labels = wire.extensions.iter().find(|e| e.name == LABELS).and_then(|e| e.config.as_ref());
    let labels = labels.map(unpack::<Struct>).transpose().at("extensions").at("workload")?;
    let labels = labels.as_ref().map(from_struct).unwrap_or_default();
    let label = |key: &str| labels.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    Ok(Workload {
        uid: wire.uid,
        name: wire.name,
        namespace: wire.namespace,
        addresses: each(wire.addresses, "addresses", |bytes| octets(&bytes)).at("workload")?,
        trust_domain: wire.trust_domain,
        service_account: wire.service_account,
        workload_name: wire.workload_name,
        canonical_name: wire.canonical_name,
        canonical_revision: wire.canonical_revision,
        app: label("app"),
        version: label("version"),
        cluster_id: wire.cluster_id,
    })
}

pub(super) fn encode(model: &Workload) -> Address {
    let workload = istio::Workload {
        uid: model.uid.clone(),
        name: model.name.clone(),
        namespace: model.namespace.clone(),
        addresses: model.addresses.iter().map(wire_octets).collect(),
        trust_domain: model.trust_domain.clone(),
        service_account: model.service_account.clone(),
        canonical_name: model.canonical_name.clone(),
        canonical_revision: model.canonical_revision.clone(),
        workload_name: model.workload_name.clone(),
        cluster_id: model.cluster_id.clone(),
        extensions: wire_labels(model).into_iter().collect(),
    };
    Address { workload: Some(workload), service: None }
}

pub(super) fn decode_names(wire: istio::NameTable) -> Result<NameTable, Refusal> {
    let mut table = NameTable::default();
    for (host, info) in wire.table {
        let info = NameInfo {
            addresses: each(info.ips, "ips", |text| ip(&text)).at_item("table", &host)?,
            registry: info.registry,
            short_name: info.shortname,
            namespace: info.namespace,
        };
        table.hosts.insert(host, info);
    }
    Ok(table)
}

pub(super) fn encode_names(model: &NameTable) -> istio::NameTable {
    let info = |info: &NameInfo| istio::NameInfo {
        ips: info.addresses.iter().map(IpAddr::to_string).collect(),
        registry: info.registry.clone(),
        shortname: info.short_name.clone(),
        namespace: info.namespace.clone(),
    };
    istio::NameTable { table: model.hosts.iter().map(|(host, i)| (host.clone(), info(i))).collect() }
}

fn wire_labels(model: &Workload) -> Option<Extension> {
    let labels = [("app", &model.app), ("version", &model.version)];
    let object: serde_json::Map<String, Value> = labels
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(key, value)| (key.to_owned(), Value::String(value.clone())))
        .collect();
    let mut value = to_struct(&object).encode_to_vec();
    sort_maps(&mut value, &STRUCT);
    let config = Any { type_url: Struct::type_url(), value };
    (!object.is_empty()).then(|| Extension { name: LABELS.into(), config: Some(config) })
}

fn octets(bytes: &[u8]) -> Result<IpAddr, Refusal> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Ok(IpAddr::from(four));
    }
    match <[u8; 16]>::try_from(bytes) {
        Ok(sixteen) => Ok(IpAddr::from(sixteen)),
        Err(_) => refuse("is neither 4 nor 16 bytes long"),
    }
}

fn wire_octets(address: &IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(four) => four.octets().to_vec(),
        IpAddr::V6(sixteen) => sixteen.octets().to_vec(),
    }
}

/// Name of the extension that carries the labels.
const LABELS: &str = "ostria.io/labels";
