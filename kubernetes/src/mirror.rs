//! Pure. A copy of the objects that a watch reports. The copy stays complete while a broken watch lists everything again,
//! so that nobody acts on half of a list.

use kube::runtime::watcher::Event;
use std::collections::{BTreeMap, BTreeSet};

/// The objects of a watch by key. `T` is what the caller keeps of each object.
#[derive(Debug, Clone)]
pub struct Mirror<T> {
    objects: BTreeMap<String, T>,
    listing: BTreeMap<String, T>,
    is_complete: bool,
}

impl<T> Default for Mirror<T> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), listing: BTreeMap::new(), is_complete: false }
    }
}

impl<T: PartialEq> Mirror<T> {
    /// Applies an event and returns the keys whose object has changed. `read` returns an object's key and what is kept
    /// of it.
    pub fn apply<K>(&mut self, event: Event<K>, read: impl Fn(K) -> (String, T)) -> BTreeSet<String> {
        match event {
            Event::Init => {
                self.listing.clear();
                BTreeSet::new()
            }
            Event::InitApply(object) => {
                let (key, value) = read(object);
                self.listing.insert(key, value);
                BTreeSet::new()
            }
            Event::InitDone => {
                let old = std::mem::replace(&mut self.objects, std::mem::take(&mut self.listing));
                self.is_complete = true;
                let keys = old.keys().chain(self.objects.keys());
                keys.filter(|key| old.get(*key) != self.objects.get(*key)).cloned().collect()
            }
            Event::Apply(object) => {
                let (key, value) = read(object);
                self.insert(key, value)
            }
            Event::Delete(object) => {
                let (key, _) = read(object);
                self.objects.remove(&key).map(|_| key).into_iter().collect()
            }
        }
    }

    /// Keeps an object that another response than the watch's returned, such as that of a write.
    pub fn insert(&mut self, key: String, value: T) -> BTreeSet<String> {
        if self.objects.get(&key) == Some(&value) {
            return BTreeSet::new();
        }
        self.objects.insert(key.clone(), value);
        BTreeSet::from([key])
    }

    /// The object with this key.
    pub fn get(&self, key: &str) -> Option<&T> {
        self.objects.get(key)
    }

    /// The keys of all objects.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.objects.keys().map(String::as_str)
    }

    /// Whether everything has been listed once.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(mirror: &mut Mirror<u8>, event: Event<(&str, u8)>) -> Vec<String> {
        mirror.apply(event, |(key, value)| (key.to_owned(), value)).into_iter().collect()
    }

    #[test]
    fn a_list_is_taken_as_a_whole_and_only_changes_are_reported() {
        let mut mirror = Mirror::default();
        assert!(apply(&mut mirror, Event::Init).is_empty());
        assert!(apply(&mut mirror, Event::InitApply(("a", 1))).is_empty());
        assert!(!mirror.is_complete() && mirror.get("a").is_none());
        apply(&mut mirror, Event::InitApply(("b", 1)));
        assert_eq!(apply(&mut mirror, Event::InitDone), ["a", "b"]);
        assert!(mirror.is_complete());
        assert!(apply(&mut mirror, Event::Apply(("a", 1))).is_empty());
        assert_eq!(apply(&mut mirror, Event::Apply(("a", 2))), ["a"]);
        assert_eq!(apply(&mut mirror, Event::Delete(("a", 2))), ["a"]);
        assert!(apply(&mut mirror, Event::Delete(("a", 2))).is_empty());
    }

    #[test]
    fn a_second_list_replaces_the_first_when_it_ends() {
        let mut mirror = Mirror::default();
        for event in [Event::Init, Event::InitApply(("a", 1)), Event::InitApply(("b", 1)), Event::InitDone] {
            apply(&mut mirror, event);
        }
        apply(&mut mirror, Event::Init);
        apply(&mut mirror, Event::InitApply(("b", 1)));
        assert_eq!(mirror.keys().collect::<Vec<_>>(), ["a", "b"]);
        apply(&mut mirror, Event::InitApply(("c", 1)));
        assert_eq!(apply(&mut mirror, Event::InitDone), ["a", "c"]);
        assert_eq!(mirror.keys().collect::<Vec<_>>(), ["b", "c"]);
    }
}
