//! Pure. Types that several kinds share: selectors by label or field, and ports.

pub mod parse;

pub mod field;
pub mod requirement;

pub mod label;

use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Selects workloads by labels (`selector.matchLabels`).
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LabelSelector {
    /// Labels that a workload must have.
    pub match_labels: BTreeMap<String, String>,
}

/// Selects workloads by labels (`workloadSelector.labels`).
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadSelector {
    /// Labels that a workload must have.
    pub labels: BTreeMap<String, String>,
}

/// A port, by its number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PortSelector {
    /// Port number.
    pub number: u32,
}

/// A port of a service.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Port {
    /// Port number.
    pub number: u32,
    /// Protocol.
    pub protocol: String,
    /// Port name.
    pub name: String,
    /// Port of the workload; the same number if absent.
    pub target_port: Option<u32>,
}
