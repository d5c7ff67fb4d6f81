//! Pure. Finds DestinationRules of one namespace for the same host. Rules with the same `exportTo` are merged, the
//! oldest first; of rules with different `exportTo`, the oldest that a client sees applies.

use super::found::{Conflicts, in_namespaces, viewers, winner};
use crate::catalog::Catalog;
use crate::catalog::destination_rule::{DestinationRule, TrafficPolicy};
use crate::catalog::kind::Item;
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn find(catalog: &Catalog, found: &mut Conflicts) {
    let mut by_host: BTreeMap<(&str, &str), Vec<&DestinationRule>> = BTreeMap::new();
    for (_, item) in catalog.items() {
        if let Item::DestinationRule(rule) = item {
            by_host.entry((&rule.origin.namespace, &rule.host)).or_default().push(rule);
        }
    }
    for rules in by_host.values_mut().filter(|rules| rules.len() > 1) {
        rules.sort_by(|a, b| a.origin.cmp(&b.origin));
        for (at, later) in rules.iter().enumerate() {
            merged(&rules[..at], later, found);
            hidden(catalog, &rules[..at], later, found);
        }
    }
}

/// Finds the parts of a rule that have no effect because an older rule merged with it already sets them.
fn merged(older: &[&DestinationRule], later: &DestinationRule, found: &mut Conflicts) {
    let same = || older.iter().filter(|rule| rule.export_to == later.export_to);
    let own = later.policy != TrafficPolicy::default();
    let policy = same().find(|rule| own && rule.policy != TrafficPolicy::default());
    if let Some(first) = policy {
        let first = winner(&first.origin, &later.origin);
        let reason = format!("{first} has a policy for {}; this one has no effect", later.host);
        found.add(&later.origin, "spec.trafficPolicy", reason, "merge the two objects");
    }
    for (i, subset) in later.subsets.iter().enumerate() {
        if let Some(first) = same().find(|rule| rule.subset(&subset.name).is_some()) {
            let first = winner(&first.origin, &later.origin);
            let reason =
                format!("{first} has subset {} of {} too; this one has no effect", subset.name, later.host);
            found.add(&later.origin, format!("spec.subsets[{i}]"), reason, "rename or remove one");
        }
    }
}

/// Finds the clients for which an older rule with different visibility replaces this one.
fn hidden(catalog: &Catalog, older: &[&DestinationRule], later: &DestinationRule, found: &mut Conflicts) {
    let default = &catalog.mesh().default_destination_rule_export;
    let sees = |rule: &DestinationRule, viewer: &str| {
        viewer == rule.origin.namespace || rule.export_to.reaches(&rule.origin.namespace, viewer, default)
    };
    let all = older.iter().copied().chain([later]).map(|rule| (&rule.origin, &rule.export_to));
    let seen: BTreeSet<&str> = viewers(all).into_iter().filter(|viewer| sees(later, viewer)).collect();
    for first in older.iter().filter(|rule| rule.export_to != later.export_to) {
        let overridden: BTreeSet<&str> = seen.iter().copied().filter(|viewer| sees(first, viewer)).collect();
        if !overridden.is_empty() {
            let place = in_namespaces(&overridden, &seen);
            let first = winner(&first.origin, &later.origin);
            let reason = format!("{first} applies to {}; this object has no effect{place}", later.host);
            found.add(&later.origin, "spec.host", reason, "merge the two, or change exportTo");
            return;
        }
    }
}
