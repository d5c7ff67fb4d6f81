//! Pure. The question that the proxy of an ending pod asks pilot: have all proxies taken the pod's endpoints out of use?
//! Exists so that the pod's application is not stopped while other proxies still send requests to it.

use serde::{Deserialize, Serialize};

/// Where pilot is asked, with `POST`.
pub const PATH: &str = "/ostria/removal";

/// The question. Pilot responds when the removal is acknowledged, or when the time is over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RemovalQuestion {
    /// Node ID of the proxy, as in xDS. It names the pod.
    pub node: String,
    /// Namespace of the pod.
    pub namespace: String,
    /// How long to wait at most, in milliseconds.
    pub milliseconds: u64,
}

/// The response.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Removal {
    /// Whether pilot knows that the pod ends, and each proxy has acknowledged or refused a configuration in which the
    /// pod gets no more requests.
    pub acknowledged: bool,
}
