//! Pure. A sorted map whose copies share what is equal: the entries are in chunks, and a change copies one chunk. With it, a
//! change of one object costs a catalog of thousands almost nothing.

use std::borrow::Borrow;
use std::sync::Arc;

/// A sorted map that is cheap to copy.
#[derive(Debug)]
pub(super) struct SharedMap<K, V> {
    /// Sorted; none is empty.
    chunks: Vec<Arc<Vec<(K, V)>>>,
}

impl<K, V> Clone for SharedMap<K, V> {
    fn clone(&self) -> Self {
        Self { chunks: self.chunks.clone() }
    }
}

impl<K, V> Default for SharedMap<K, V> {
    fn default() -> Self {
        Self { chunks: vec![] }
    }
}

impl<K: Ord + Clone, V: Clone> SharedMap<K, V> {
    pub(super) fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let chunk = self.chunks.get(self.chunk_of(key))?;
        let at = chunk.binary_search_by(|(known, _)| known.borrow().cmp(key)).ok()?;
        Some(&chunk[at].1)
    }

    fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let at = self.chunk_of(key);
        let chunk = self.chunks.get_mut(at)?;
        let at = chunk.binary_search_by(|(known, _)| known.borrow().cmp(key)).ok()?;
        Some(&mut Arc::make_mut(chunk)[at].1)
    }

    pub(super) fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.get(key).is_some()
    }

    /// Sets a value, and returns the one it replaces.
    pub(super) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let at = self.chunk_of(&key);
        let Some(chunk) = self.chunks.get_mut(at) else {
            self.chunks.push(Arc::new(vec![(key, value)]));
            return None;
        };
        let chunk = Arc::make_mut(chunk);
        match chunk.binary_search_by(|(known, _)| known.cmp(&key)) {
            Ok(at) => return Some(std::mem::replace(&mut chunk[at].1, value)),
            Err(at) => chunk.insert(at, (key, value)),
        }
        if chunk.len() > LARGEST {
            let rest = chunk.split_off(LARGEST / 2);
            self.chunks.insert(at + 1, Arc::new(rest));
        }
        None
    }

    pub(super) fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let chunk_at = self.chunk_of(key);
        let chunk = self.chunks.get_mut(chunk_at)?;
        let at = chunk.binary_search_by(|(known, _)| known.borrow().cmp(key)).ok()?;
        let chunk = Arc::make_mut(chunk);
        let (_, value) = chunk.remove(at);
        if chunk.is_empty() {
            self.chunks.remove(chunk_at);
        }
        Some(value)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> + Clone {
        self.chunks.iter().flat_map(|chunk| chunk.iter()).map(|(key, value)| (key, value))
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &K> + Clone {
        self.iter().map(|(key, _)| key)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &V> + Clone {
        self.iter().map(|(_, value)| value)
    }

    /// The entries from a key on.
    pub(super) fn range_from<'a, Q: Ord + ?Sized>(
        &'a self,
        from: &Q,
    ) -> impl Iterator<Item = (&'a K, &'a V)> + use<'a, K, V, Q>
    where
        K: Borrow<Q>,
    {
        let first = self.chunk_of(from);
        let skipped = self.chunks.get(first).map_or(0, |c| c.partition_point(|(key, _)| key.borrow() < from));
        let chunks = self.chunks.iter().skip(first);
        chunks.flat_map(|chunk| chunk.iter()).skip(skipped).map(|(key, value)| (key, value))
    }

    /// The chunk that holds a key, or would.
    fn chunk_of<Q: Ord + ?Sized>(&self, key: &Q) -> usize
    where
        K: Borrow<Q>,
    {
        let begins_before =
            |chunk: &Arc<Vec<(K, V)>>| chunk.first().is_some_and(|(first, _)| first.borrow() <= key);
        self.chunks.partition_point(begins_before).saturating_sub(1)
    }
}

impl<K: Ord + Clone, V: Clone> FromIterator<(K, V)> for SharedMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut map = Self::default();
        for (key, value) in entries {
            map.insert(key, value);
        }
        map
    }
}

/// A map from keys to lists, whose change copies one list only.
pub(super) type SharedLists<K, T> = SharedMap<K, Arc<Vec<T>>>;

impl<K: Ord + Clone, T: Clone> SharedLists<K, T> {
    /// The list of a key.
    pub(super) fn list<Q: Ord + ?Sized>(&self, key: &Q) -> &[T]
    where
        K: Borrow<Q>,
    {
        self.get(key).map_or(&[], |list| list.as_slice())
    }

    /// Changes the list of a key. An empty list is removed.
    pub(super) fn change(&mut self, key: K, change: impl FnOnce(&mut Vec<T>)) {
        // In place, so that a list that no other map shares is not copied.
        if let Some(list) = self.get_mut(&key) {
            let list = Arc::make_mut(list);
            change(list);
            if list.is_empty() {
                self.remove(&key);
            }
            return;
        }
        let mut list = vec![];
        change(&mut list);
        if !list.is_empty() {
            self.insert(key, Arc::new(list));
        }
    }
}

/// The most entries of a chunk. Copies of the map cost a pointer for each chunk, changes the copy of one chunk.
const LARGEST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn it_holds_what_a_plain_map_holds_and_copies_do_not_change(
            steps in prop::collection::vec((0..400u16, any::<bool>()), 0..900), from in 0..400u16
        ) {
            let (mut map, mut plain) = (SharedMap::default(), BTreeMap::new());
            let mut copies = vec![];
            for (i, (key, inserts)) in steps.into_iter().enumerate() {
                if inserts {
                    prop_assert_eq!(map.insert(key, i), plain.insert(key, i));
                } else {
                    prop_assert_eq!(map.remove(&key), plain.remove(&key));
                }
                prop_assert_eq!(map.get(&key), plain.get(&key));
                if i % 97 == 0 {
                    copies.push((map.clone(), plain.clone()));
                }
            }
            copies.push((map, plain));
            for (map, plain) in copies {
                prop_assert!(map.iter().eq(plain.iter()));
                prop_assert!(map.range_from(&from).eq(plain.range(from..)));
                prop_assert!(map.chunks.iter().all(|chunk| (1..=LARGEST).contains(&chunk.len())));
            }
        }
    }

    #[test]
    fn a_change_copies_one_chunk() {
        let map: SharedMap<u16, u16> = (0..1000).map(|key| (key, key)).collect();
        let mut next = map.clone();
        next.insert(500, 1);
        let shared = next.chunks.iter().filter(|chunk| map.chunks.iter().any(|old| Arc::ptr_eq(old, chunk)));
        assert_eq!(shared.count(), map.chunks.len() - 1);
    }

    #[test]
    fn a_list_that_becomes_empty_is_removed() {
        let mut lists: SharedLists<u8, u8> = SharedMap::default();
        lists.change(1, |list| list.push(7));
        let copy = lists.clone();
        lists.change(1, Vec::clear);
        assert!(lists.list(&1).is_empty() && !lists.contains_key(&1));
        assert_eq!(copy.list(&1), [7]);
    }
}
