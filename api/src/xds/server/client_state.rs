//! Pure. The subscribed names and the resources of a client, for one type.
//!
//! Most clients subscribe to a whole table and have all of its resources. For those, only the differences from the
//! table are stored, and clients share the table. A client that subscribes to a small part has a list of its own.

use crate::xds::table::{EMPTY, Offered, Table};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The subscribed names and the resources of a client.
#[derive(Debug)]
pub(super) struct ClientState {
    /// The shared table: the client has these resources and subscribes to their names (or to everything), except for
    /// the differences below.
    base: Arc<Table>,
    wildcard: bool,
    /// Names whose subscription differs from the table.
    named: BTreeMap<Arc<str>, bool>,
    known: BTreeMap<Arc<str>, Option<ClientVersion>>,
}

/// What the client has for a name: the resource that it was sent or announced, refused or not.
#[derive(Debug, Clone)]
pub(super) enum ClientVersion {
    /// The server sent this resource.
    Sent(Offered),
    /// The client announced this version.
    Version(u64),
    /// The client announced a version that this server has never sent.
    Unknown,
    /// The server reported that there is no such resource.
    Absent,
}

impl ClientVersion {
    pub(super) fn is_version(&self, version: u64) -> bool {
        match self {
            Self::Sent(offered) => offered.version == version,
            Self::Version(own) => *own == version,
            Self::Unknown | Self::Absent => false,
        }
    }

    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

impl ClientState {
    pub(super) fn new() -> Self {
        Self { base: EMPTY.clone(), wildcard: false, named: BTreeMap::new(), known: BTreeMap::new() }
    }

    /// Whether the subscription is a wildcard.
    pub(super) fn wildcard(&self) -> bool {
        self.wildcard
    }

    pub(super) fn set_wildcard(&mut self, wildcard: bool) {
        if wildcard != self.wildcard {
            let names: BTreeSet<Arc<str>> = self.names().cloned().collect();
            self.wildcard = wildcard;
            self.named.clear();
            let base = self.base.clone();
            for name in base.iter().map(|(name, _)| name).chain(&names) {
                self.set_named(name, names.contains(name));
            }
        }
    }

    /// Whether the client subscribes to this name.
    pub(super) fn is_named(&self, name: &str) -> bool {
        self.named.get(name).copied().unwrap_or_else(|| self.named_by_base(name))
    }

    fn named_by_base(&self, name: &str) -> bool {
        !self.wildcard && self.base.get(name).is_some()
    }

    pub(super) fn set_named(&mut self, name: &str, named: bool) {
        if named == self.named_by_base(name) {
            self.named.remove(name);
        } else {
            self.named.insert(self.shared(name), named);
        }
    }

    /// What the client has for a name; `None`: unknown.
    pub(super) fn known(&self, name: &str) -> Option<ClientVersion> {
        let by_base = || self.base.get(name).cloned().map(ClientVersion::Sent);
        self.known.get(name).cloned().unwrap_or_else(by_base)
    }

    pub(super) fn set_known(&mut self, name: &str, known: Option<ClientVersion>) {
        let as_base = match (&known, self.base.get(name)) {
            (Some(known), Some(offered)) => known.is_version(offered.version),
            (None, None) => true,
            _ => false,
        };
        if as_base {
            self.known.remove(name);
        } else {
            self.known.insert(self.shared(name), known);
        }
    }

    /// The table's allocation of a name, so that clients share it.
    fn shared(&self, name: &str) -> Arc<str> {
        self.base.entry(name).map_or_else(|| Arc::from(name), |(name, _)| name.clone())
    }

    /// The subscribed names.
    pub(super) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        let by_base = self.base.iter().map(|(name, _)| name).filter(|_| !self.wildcard);
        let added = self.named.iter().filter(|(_, named)| **named).map(|(name, _)| name);
        by_base.filter(|name| !self.named.contains_key(*name)).chain(added)
    }

    /// The number of subscribed names.
    pub(super) fn count(&self) -> usize {
        let by_base = if self.wildcard { 0 } else { self.base.len() };
        let added = self.named.values().filter(|named| **named).count();
        by_base + added - (self.named.len() - added)
    }

    /// All names for which the client's state is known.
    pub(super) fn all_known(&self) -> impl Iterator<Item = (&Arc<str>, ClientVersion)> {
        let by_base = self.base.iter().map(|(name, offered)| (name, ClientVersion::Sent(offered.clone())));
        let own = self.known.iter().filter_map(|(name, known)| Some((name, known.clone()?)));
        by_base.filter(|(name, _)| !self.known.contains_key(*name)).chain(own)
    }

    /// The number of resources that the client has.
    pub(super) fn resources(&self) -> usize {
        let differs = |(name, known): (&Arc<str>, &Option<ClientVersion>)| {
            let (before, has) =
                (self.base.get(name).is_some(), known.as_ref().is_some_and(|k| !k.is_absent()));
            i64::from(has) - i64::from(before)
        };
        let more: i64 = self.known.iter().map(differs).sum();
        usize::try_from(self.base.len() as i64 + more).unwrap_or_default()
    }

    /// Removes the state of names without a subscription.
    pub(super) fn keep_named(&mut self) {
        let others: Vec<Arc<str>> =
            self.all_known().map(|(name, _)| name).filter(|name| !self.is_named(name)).cloned().collect();
        for name in &others {
            self.set_known(name, None);
        }
    }

    /// Stores only differences from this table if the client subscribes to or has most of it.
    pub(super) fn follow(&mut self, table: &Arc<Table>) {
        let most = |holding: &Self| if holding.wildcard { holding.resources() } else { holding.count() };
        if self.base.is_empty() && (table.is_empty() || most(self) < table.len() / 2) {
            return;
        }
        self.stand_beside(table);
        if most(self) < table.len() / 4 {
            self.stand_beside(&EMPTY);
        }
    }

    fn stand_beside(&mut self, table: &Arc<Table>) {
        let mut differing = vec![];
        table.differences(&self.base, |name| {
            differing.push((name.clone(), self.is_named(name), self.known(name)));
        });
        self.base = table.clone();
        for (name, named, known) in differing {
            self.set_named(&name, named);
            self.set_known(&name, known);
        }
    }

    /// The names for which the client may differ from `table`. For all others, the client has the table's resource.
    pub(super) fn doubtful<'a>(&'a self, table: &'a Arc<Table>) -> BTreeSet<&'a Arc<str>> {
        let rest = self.wildcard && !Arc::ptr_eq(&self.base, table);
        let rest = table.iter().map(|(name, _)| name).filter(|_| rest);
        let beside = self.base.iter().map(|(name, _)| name).filter(|_| !Arc::ptr_eq(&self.base, table));
        self.named.keys().chain(self.known.keys()).chain(rest).chain(beside).collect()
    }

    /// The number of names stored for this client alone.
    pub(super) fn kept(&self) -> impl Iterator<Item = &Arc<str>> {
        let known = self.known.keys().filter(|name| !self.named.contains_key(*name));
        self.named.keys().chain(known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::xds::Any;
    use proptest::prelude::*;

    /// A change of a client's state.
    #[derive(Debug, Clone)]
    enum Step {
        Wildcard(bool),
        Named(u8, bool),
        Set(u8, Option<u8>),
        KeepNamed,
        Follow(BTreeMap<u8, u8>),
    }

    fn step() -> impl Strategy<Value = Step> {
        let table = prop::collection::btree_map(0..6_u8, 0..3_u8, 0..7);
        prop_oneof![
            1 => any::<bool>().prop_map(Step::Wildcard),
            4 => (0..8_u8, any::<bool>()).prop_map(|(name, named)| Step::Named(name, named)),
            4 => (0..8_u8, prop::option::of(0..4_u8)).prop_map(|(name, known)| Step::Set(name, known)),
            1 => Just(Step::KeepNamed),
            4 => table.prop_map(Step::Follow),
        ]
    }

    fn offered(content: u8) -> Offered {
        Offered::new(&Any { type_url: "type".into(), value: vec![content] })
    }

    proptest! {
        #[test]
        fn the_state_is_the_same_with_any_base_table(
            steps in prop::collection::vec(step(), 0..60)
        ) {
            let (mut named, mut known) = (BTreeSet::new(), BTreeMap::new());
            let (mut holding, mut table) = (ClientState::new(), EMPTY.clone());
            for step in steps {
                match step {
                    Step::Wildcard(wildcard) => holding.set_wildcard(wildcard),
                    Step::Named(name, true) => {
                        named.insert(name.to_string());
                        holding.set_named(&name.to_string(), true);
                    }
                    Step::Named(name, false) => {
                        named.remove(&name.to_string());
                        holding.set_named(&name.to_string(), false);
                    }
                    Step::Set(name, content) => {
                        let version = content.map(|content| offered(content).version);
                        match version {
                            Some(version) => known.insert(name.to_string(), version),
                            None => known.remove(&name.to_string()),
                        };
                        holding.set_known(&name.to_string(), content.map(|c| ClientVersion::Sent(offered(c))));
                    }
                    Step::KeepNamed => {
                        known.retain(|name, _| named.contains(name));
                        holding.keep_named();
                    }
                    Step::Follow(content) => {
                        let entries = content.iter().map(|(n, c)| (Arc::from(n.to_string()), offered(*c)));
                        table = Table::after(&table, entries.collect());
                        holding.follow(&table);
                    }
                }
                let names: BTreeSet<String> = holding.names().map(ToString::to_string).collect();
                prop_assert_eq!(&names, &named);
                prop_assert_eq!(holding.count(), named.len());
                let found: BTreeMap<String, u64> = holding.all_known().map(|(name, known)| {
                    let ClientVersion::Sent(offered) = known else { panic!("{known:?}") };
                    (name.to_string(), offered.version)
                }).collect();
                prop_assert_eq!(&found, &known);
                prop_assert_eq!(holding.resources(), known.len());
                let doubtful = holding.doubtful(&table);
                for name in (0..8_u8).map(|name| name.to_string()) {
                    let sure = !doubtful.contains(&Arc::from(name.as_str()));
                    let subscribed = holding.wildcard() || named.contains(&name);
                    let has = known.get(&name).copied();
                    let there = table.get(&name).map(|offered| offered.version);
                    prop_assert!(!sure || has == there.filter(|_| subscribed), "{} is not among the differences", name);
                }
            }
        }
    }
}
