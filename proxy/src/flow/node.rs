//! Pure. The proxy's own workload, for the labels of its metrics and for filters.

use api::model::workload::Workload;
use api::name::NodeKind;
use std::net::IpAddr;

/// The proxy's workload.
#[derive(Debug, Clone)]
pub struct Node {
    /// Sidecar or router.
    pub kind: NodeKind,
    /// Its service cluster, such as `reviews.default`.
    pub cluster: String,
    /// Names and labels of the workload.
    pub workload: Workload,
    /// Its trust domain, such as `cluster.local`.
    pub trust_domain: String,
    /// The workload's IP address, as its inbound listeners see it.
    pub address: IpAddr,
}

impl Node {
    /// A proxy without a workload, such as one run from a static bootstrap.
    pub fn anonymous() -> Self {
        Self {
            kind: NodeKind::Router,
            cluster: String::new(),
            workload: Workload::default(),
            trust_domain: "cluster.local".into(),
            address: IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
        }
    }

    /// The workload's principal (`cluster.local/ns/default/sa/reviews`), if it has a service account.
    pub fn principal(&self) -> Option<String> {
        let workload = &self.workload;
        (!workload.service_account.is_empty()).then(|| {
            format!("{}/ns/{}/sa/{}", self.trust_domain, workload.namespace, workload.service_account)
        })
    }
}
