//! Pure. The parts that several kinds share: choosing objects by label or field, ports by number.

pub mod parse;

pub mod field;
pub mod requirement;

pub mod label;

use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Chooses workloads by labels (`selector.matchLabels`).
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LabelSelector {
    /// All must be there.
    pub match_labels: BTreeMap<String, String>,
}

/// Chooses workloads by labels (`workloadSelector.labels`).
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadSelector {
    /// All must be there.
    pub labels: BTreeMap<String, String>,
}

/// A port by its number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PortSelector {
    /// The number.
    pub number: u32,
}

/// A declared port.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Port {
    /// The number.
    pub number: u32,
    /// What it speaks.
    pub protocol: String,
    /// Its name.
    pub name: String,
    /// The workload's port; the same number when absent.
    pub target_port: Option<u32>,
}
