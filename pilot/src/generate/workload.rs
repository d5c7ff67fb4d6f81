//! Pure. Workload metadata by address, for telemetry, and the name table of a proxy's DNS.

use super::spelling;
use super::view::View;
use crate::catalog::Catalog;
use crate::catalog::service::{Registry, Service};
use crate::catalog::workload::Workload as Pod;
use api::model::workload::{NameInfo, NameTable, Workload};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Returns the workload that `<network>/<address>` names. Its uid is the requested name, because the client knows it by
/// no other.
pub(super) fn by_name(catalog: &Catalog, name: &str) -> Option<Workload> {
    let address: IpAddr = name.rsplit('/').next()?.parse().ok()?;
    let pod = catalog.workload_by_ip(address)?;
    Some(Workload { uid: name.to_owned(), ..workload(pod, &catalog.mesh().trust_domain) })
}

fn workload(pod: &Pod, trust_domain: &str) -> Workload {
    let label = |name: &str| pod.labels.get(name).cloned().unwrap_or_default();
    Workload {
        uid: format!("{CLUSTER_ID}//Pod/{}/{}", pod.namespace, pod.name),
        name: pod.name.clone(),
        namespace: pod.namespace.clone(),
        addresses: pod.addresses.clone(),
        trust_domain: trust_domain.to_owned(),
        service_account: pod.service_account.clone(),
        workload_name: pod.workload_name.clone(),
        canonical_name: pod.canonical_name.clone(),
        canonical_revision: pod.canonical_revision.clone(),
        app: label("app"),
        version: label("version"),
        cluster_id: CLUSTER_ID.into(),
    }
}

/// All hosts that a proxy sees, with their virtual addresses or, if they have none, their pods'.
pub(super) fn names(view: &View) -> NameTable {
    let hosts: BTreeMap<String, NameInfo> =
        view.services().map(|s| (s.host.clone(), name_info(view, s))).collect();
    NameTable { hosts: hosts.into_iter().filter(|(_, info)| !info.addresses.is_empty()).collect() }
}

fn name_info(view: &View, service: &Service) -> NameInfo {
    let addresses: Vec<IpAddr> = if service.headless {
        let ready = view.pods(service).filter(|p| p.ready || service.publish_not_ready);
        let written = view.written(service).filter(|e| e.ready).filter_map(|e| e.host.parse().ok());
        ready.flat_map(|p| p.addresses.iter().copied()).chain(written).collect()
    } else {
        spelling::addresses(view, service)
    };
    let kubernetes = service.registry == Registry::Kubernetes;
    NameInfo {
        addresses,
        registry: if kubernetes { "Kubernetes" } else { "External" }.into(),
        short_name: if kubernetes { service.name.clone() } else { String::new() },
        namespace: service.namespace.clone(),
    }
}

/// The ID of the cluster that all workloads of a catalog run in.
pub const CLUSTER_ID: &str = "Kubernetes";
