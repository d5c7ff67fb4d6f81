//! Pure. Finds delegate VirtualServices that have no effect, or only part of it: no VirtualService delegates to them,
//! they are not exported to the namespace of the root, or one of their matches lies outside the root's match.

use super::found::Conflicts;
use crate::catalog::kind::Item;
use crate::catalog::route::{HttpAction, RouteSet};
use crate::catalog::visibility::ExportTo;
use crate::catalog::{Catalog, delegate};
use api::resource::document::Key;
use api::resource::kind::Kind;
use std::collections::BTreeSet;

pub(super) fn find(catalog: &Catalog, found: &mut Conflicts) {
    let all = || {
        catalog.items().filter_map(|(_, item)| match item {
            Item::Routes(set) => Some(set),
            _ => None,
        })
    };
    let mut used: BTreeSet<Key> = BTreeSet::new();
    for root in all().filter(|set| !set.hosts.is_empty()) {
        for (i, route) in root.http.iter().enumerate() {
            let HttpAction::Delegate { namespace, name } = &route.action else { continue };
            let key = Key::new(Kind::VirtualService, namespace, name);
            if let Some(Item::Routes(set)) = catalog.item(&key)
                && set.hosts.is_empty()
            {
                follow(root, i, set, found);
            }
            used.insert(key);
        }
    }
    for set in all().filter(|set| set.hosts.is_empty()) {
        if !used.contains(&set.origin.key()) {
            let reason = "no VirtualService delegates to this one; it has no effect".to_owned();
            found.add(&set.origin, "spec.hosts", reason, "name hosts, or delegate to it");
        }
    }
}

fn follow(root: &RouteSet, i: usize, to: &RouteSet, found: &mut Conflicts) {
    let own = &root.origin.namespace;
    if !to.export_to.reaches(&to.origin.namespace, own, &ExportTo::All) {
        let to = to.origin.key();
        let reason = format!("{to} is not exported to namespace {own}; this route has no effect");
        let path = format!("spec.http[{i}].delegate");
        found.add(&root.origin, path, reason, "export it to this namespace");
        return;
    }
    for (d, route) in to.http.iter().enumerate() {
        if delegate::join(&root.http[i], route).is_none() {
            let by = root.origin.key();
            let reason = format!(
                "a match fits within none of spec.http[{i}].match of {by}, which delegates here; there this route has no \
                 effect"
            );
            let next = "let it match less than the root does";
            found.add(&to.origin, format!("spec.http[{d}].match"), reason, next);
        }
    }
}
