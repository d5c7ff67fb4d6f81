//! Pure. The DestinationRules of one namespace, merged by host, with a look-up by host.

use super::destination_rule::{DestinationRule, TrafficPolicy};
use super::host;
use std::collections::HashMap;
use std::sync::Arc;

/// The rules of a namespace.
#[derive(Debug, Default)]
pub(super) struct Rules {
    by_host: HashMap<String, Vec<Arc<DestinationRule>>>,
    /// Hosts with a wildcard.
    patterns: Vec<String>,
}

impl Rules {
    /// Merges rules, oldest first: the first traffic policy wins, subsets are joined, and a later subset with a name
    /// already in use is dropped. Rules with different `exportTo` stay separate.
    pub(super) fn merge<'a>(rules: impl Iterator<Item = &'a Arc<DestinationRule>>) -> Self {
        let mut sorted: Vec<&Arc<DestinationRule>> = rules.collect();
        sorted.sort_by(|a, b| a.origin.cmp(&b.origin));
        let mut merged = Self::default();
        for rule in sorted {
            let of_host = merged.by_host.entry(rule.host.clone()).or_default();
            if of_host.is_empty() && rule.host.starts_with('*') {
                merged.patterns.push(rule.host.clone());
            }
            match of_host.iter_mut().find(|m| m.export_to == rule.export_to) {
                Some(first) => add(Arc::make_mut(first), rule),
                None => of_host.push(rule.clone()),
            }
        }
        merged
    }

    /// All rules.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<DestinationRule>> {
        self.by_host.values().flatten()
    }

    /// The rules whose host covers `wanted`. Those for the same host are ordered oldest first.
    pub(super) fn covering<'a>(&'a self, wanted: &'a str) -> impl Iterator<Item = &'a Arc<DestinationRule>> {
        let exact = self.by_host.get(wanted).into_iter().flatten();
        let wider = self.patterns.iter().filter(move |p| *p != wanted && host::covers(p, wanted));
        exact.chain(wider.filter_map(move |pattern| self.by_host.get(pattern)).flatten())
    }
}

fn add(first: &mut DestinationRule, later: &DestinationRule) {
    if first.policy == TrafficPolicy::default() {
        first.policy = later.policy.clone();
    }
    for subset in &later.subsets {
        if first.subset(&subset.name).is_none() {
            first.subsets.push(subset.clone());
        }
    }
}
