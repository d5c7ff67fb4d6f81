//! Pure. Merges the DestinationRules of one namespace that name the same host.

use super::destination_rule::{DestinationRule, TrafficPolicy};
use std::sync::Arc;

/// Merges rules, oldest first: the first policy wins, subsets join, a subset name that is taken is dropped. Rules
/// that are exported to different namespaces stay apart.
pub(super) fn merge<'a>(rules: impl Iterator<Item = &'a Arc<DestinationRule>>) -> Vec<Arc<DestinationRule>> {
    let mut sorted: Vec<&Arc<DestinationRule>> = rules.collect();
    sorted.sort_by(|a, b| a.origin.cmp(&b.origin));
    let mut merged: Vec<Arc<DestinationRule>> = vec![];
    for rule in sorted {
        let same = |m: &&mut Arc<DestinationRule>| m.host == rule.host && m.export_to == rule.export_to;
        match merged.iter_mut().find(same) {
            Some(first) => add(Arc::make_mut(first), rule),
            None => merged.push(rule.clone()),
        }
    }
    merged
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
