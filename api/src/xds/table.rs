//! Pure. Encoded resources, and tables of the resources of one kind, sorted by name.
//!
//! A table is immutable. Its successor records the names that differ, so a client that has everything of the earlier
//! table needs a check of these names only.

use crate::wire::xds::Any;
use prost::Message;
use std::cmp::Ordering;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, LazyLock, Weak};

/// The resources of one kind.
#[derive(Debug, Default)]
pub struct Table {
    entries: Vec<(Arc<str>, Offered)>,
    /// The table that it succeeds. That table may be dropped already; its address is not reused while this refers to
    /// it.
    before: Weak<Table>,
    /// Names whose resources differ between the two tables, or are in only one of them.
    changed: Vec<Arc<str>>,
}

/// A table without resources.
pub static EMPTY: LazyLock<Arc<Table>> = LazyLock::new(Arc::default);

impl Table {
    /// The table of these resources, or `before` itself if it has the same ones. The last entry of a name counts.
    pub fn after(before: &Arc<Self>, mut entries: Vec<(Arc<str>, Offered)>) -> Arc<Self> {
        // The sort is stable, so the last entry of a name is the last of its run.
        entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        entries.dedup_by(|later, kept| {
            let same = later.0 == kept.0;
            if same {
                std::mem::swap(later, kept);
            }
            same
        });
        entries.shrink_to_fit();
        let mut changed = vec![];
        differences(&before.entries, &entries, |name| changed.push(name.clone()));
        if changed.is_empty() {
            return before.clone();
        }
        Arc::new(Self { entries, before: Arc::downgrade(before), changed })
    }

    /// The resource with a name.
    pub fn get(&self, name: &str) -> Option<&Offered> {
        self.entry(name).map(|(_, offered)| offered)
    }

    /// The resource with a name, and the shared allocation of the name.
    pub fn entry(&self, name: &str) -> Option<&(Arc<str>, Offered)> {
        self.entries.binary_search_by(|(other, _)| (**other).cmp(name)).ok().map(|at| &self.entries[at])
    }

    /// All resources, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = &(Arc<str>, Offered)> {
        self.entries.iter()
    }

    /// Number of resources.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the table has no resources.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Visits the names whose resources differ from another table's, or are in only one of the two.
    pub fn differences(&self, other: &Arc<Self>, mut visit: impl FnMut(&Arc<str>)) {
        if std::ptr::eq(self.before.as_ptr(), Arc::as_ptr(other)) {
            self.changed.iter().for_each(visit);
        } else if !std::ptr::eq(self, Arc::as_ptr(other)) {
            differences(&other.entries, &self.entries, &mut visit);
        }
    }
}

/// A resource, encoded once and shared by all clients that get it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    /// Hash of the content.
    pub version: u64,
    /// The encoded resource: an `Any` with its field key and its length, as messages of both forms of the protocol
    /// hold it.
    pub entry: Arc<[u8]>,
}

impl Offered {
    /// Encodes a resource, and computes the version from its content.
    pub fn new(body: &Any) -> Self {
        let mut hasher = DefaultHasher::new();
        body.type_url.hash(&mut hasher);
        body.value.hash(&mut hasher);
        let mut entry = Vec::with_capacity(prost::encoding::message::encoded_len(RESOURCE_FIELD, body));
        prost::encoding::message::encode(RESOURCE_FIELD, body, &mut entry);
        Self { version: hasher.finish(), entry: entry.into() }
    }

    /// The resource without the field key and length.
    pub fn body(&self) -> Any {
        let mut rest = &self.entry[..];
        let read =
            prost::encoding::decode_key(&mut rest).and_then(|_| Any::decode_length_delimited(&mut rest));
        read.expect("`new` has encoded it")
    }
}

fn differences<'a>(
    one: &'a [(Arc<str>, Offered)],
    other: &'a [(Arc<str>, Offered)],
    mut visit: impl FnMut(&'a Arc<str>),
) {
    let (mut one, mut other) = (one.iter().peekable(), other.iter().peekable());
    loop {
        let order = match (one.peek(), other.peek()) {
            (Some((a, _)), Some((b, _))) if Arc::ptr_eq(a, b) => Ordering::Equal,
            (Some((a, _)), Some((b, _))) => a.cmp(b),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return,
        };
        let a = one.next_if(|_| order != Ordering::Greater);
        let b = other.next_if(|_| order != Ordering::Less);
        match (a, b) {
            (Some((_, a)), Some((_, b))) if a.version == b.version => {}
            (_, Some((name, _))) | (Some((name, _)), None) => visit(name),
            (None, None) => return,
        }
    }
}

/// The field number of `resource` in `Resource`, the element of delta responses, and of `resources` in
/// `DiscoveryResponse`.
const RESOURCE_FIELD: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn offered(content: u8) -> Offered {
        Offered::new(&Any { type_url: "type".into(), value: vec![content] })
    }

    fn entries(of: &BTreeMap<u8, u8>) -> Vec<(Arc<str>, Offered)> {
        of.iter().map(|(name, content)| (Arc::from(name.to_string()), offered(*content))).collect()
    }

    fn content() -> impl Strategy<Value = BTreeMap<u8, u8>> {
        prop::collection::btree_map(0..8_u8, 0..3_u8, 0..8)
    }

    proptest! {
        #[test]
        fn differences_are_found_across_several_tables(
            contents in prop::collection::vec(content(), 1..5)
        ) {
            let mut tables = vec![(BTreeMap::new(), EMPTY.clone())];
            for content in contents {
                let next = Table::after(&tables[tables.len() - 1].1, entries(&content));
                tables.push((content, next));
            }
            for (one, table) in &tables {
                for (other, older) in &tables {
                    let mut found = BTreeSet::new();
                    table.differences(older, |name| { found.insert(name.to_string()); });
                    let names = one.keys().chain(other.keys());
                    let expected = names.filter(|n| one.get(n) != other.get(n)).map(ToString::to_string);
                    prop_assert_eq!(found, expected.collect::<BTreeSet<_>>());
                }
            }
        }
    }

    #[test]
    fn a_table_of_the_same_content_is_the_same_table() {
        let one = Table::after(&EMPTY, vec![("a".into(), offered(1)), ("b".into(), offered(2))]);
        let again = Table::after(&one, vec![("b".into(), offered(2)), ("a".into(), offered(1))]);
        assert!(Arc::ptr_eq(&one, &again));
    }

    #[test]
    fn the_last_resource_of_a_name_counts() {
        let table = Table::after(&EMPTY, vec![("a".into(), offered(1)), ("a".into(), offered(2))]);
        assert_eq!((table.len(), table.get("a")), (1, Some(&offered(2))));
    }
}
