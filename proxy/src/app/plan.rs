//! The plan from which a process starts, independent of the source of its settings.

use crate::admin::Needs;
use crate::config::{DrainTimes, Prober, Scrape};
use crate::control::xds::{Server, Subscriptions};
use crate::credentials::Store;
use crate::flow::node::Node;
use crate::lookup::resolv_conf::ResolvConf;
use crate::redirect::verify::Probe;
use crate::snapshot::Snapshot;
use api::process::enroll::Authority;
use api::process::log;
use api::wire::json::Bootstrap;
use api::wire::xds::NodeInfo;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// Everything that a process needs to start.
pub(super) struct Plan {
    pub(super) started: Instant,
    pub(super) log: log::Handle,
    pub(super) node: NodeInfo,
    pub(super) own: Arc<Node>,
    pub(super) concurrency: usize,
    pub(super) pages: Vec<Page>,
    pub(super) store: Arc<Store>,
    pub(super) snapshot: Snapshot,
    pub(super) discovery: Option<(Server, Subscriptions)>,
    pub(super) certificate: Certificate,
    pub(super) needs: Needs,
    pub(super) dns: Option<DnsPlan>,
    pub(super) drain: DrainTimes,
    pub(super) probers: BTreeMap<String, Prober>,
    pub(super) scrape: Vec<Scrape>,
    pub(super) address: IpAddr,
    pub(super) socket_mark: Option<u32>,
    /// The test connections that must be captured before startup; `None`: no traffic is captured.
    pub(super) capture: Option<Probe>,
    pub(super) bootstrap: Bootstrap,
    /// Whether a listener that cannot be bound ends the process; true if a file is the only configuration.
    pub(super) must_bind: bool,
}

/// A group of pages to serve.
pub(super) struct Page {
    pub(super) address: SocketAddr,
    pub(super) kind: PageKind,
    /// The setting that chooses the port, for error messages.
    pub(super) setting: &'static str,
}

/// The group of pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PageKind {
    Admin,
    Status,
    Health,
    Metrics,
}

/// The source of the workload's own certificate.
pub(super) enum Certificate {
    None,
    Authority(Box<Authority>),
    Mounted(PathBuf),
}

/// The settings of the DNS server.
pub(super) struct DnsPlan {
    pub(super) address: SocketAddr,
    pub(super) namespace: String,
    pub(super) resolv: ResolvConf,
}
