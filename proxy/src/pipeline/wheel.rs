//! Pure. Timer wheel for a thread's distant deadlines. Nearly every request sets a deadline and removes it long before
//! it passes, so that must be cheap: here it updates a few numbers, where a timer of the runtime would need memory, a
//! lock and a sorted position. In return the wheel is coarse and wakes waiters a little early; they then wait exactly
//! for the time that is left.

use std::task::Waker;

/// Deadlines, indexed by the tick of a coarse clock at which they wake their waiter.
pub(super) struct Wheel {
    /// The first entry of each slot.
    slots: Box<[Place]>,
    entries: Vec<Entry>,
    /// The first unused entry; further unused entries are linked from it.
    free: Place,
    /// The last tick that was processed.
    tick: u64,
}

/// A position in the list of entries.
type Place = u32;

struct Entry {
    due: u64,
    /// `None`: the waiter was woken.
    waiter: Option<Waker>,
    before: Place,
    next: Place,
}

impl Wheel {
    /// An empty wheel.
    pub(super) fn new() -> Self {
        Self { slots: vec![NONE; SLOTS].into(), entries: vec![], free: NONE, tick: 0 }
    }

    /// Sets a deadline: wakes the waiter at tick `due`, or the next tick if that has passed, unless it is removed
    /// before.
    pub(super) fn set(&mut self, due: u64, waiter: Waker) -> Place {
        let due = due.max(self.tick + 1);
        let first = self.slots[slot(due)];
        let entry = Entry { due, waiter: Some(waiter), before: NONE, next: first };
        let place = self.free;
        let place = if place == NONE {
            self.entries.push(entry);
            (self.entries.len() - 1) as Place
        } else {
            self.free = self.entries[place as usize].next;
            self.entries[place as usize] = entry;
            place
        };
        if first != NONE {
            self.entries[first as usize].before = place;
        }
        self.slots[slot(due)] = place;
        place
    }

    /// Whether a deadline has woken its waiter. If not, replaces the waiter.
    pub(super) fn is_due(&mut self, place: Place, waiter: &Waker) -> bool {
        match &mut self.entries[place as usize].waiter {
            None => true,
            Some(known) => {
                known.clone_from(waiter);
                false
            }
        }
    }

    /// Removes a deadline, passed or not, and returns its waiter. The caller must drop the waiter outside any borrow of
    /// the wheel, since that may call back into it.
    pub(super) fn cancel(&mut self, place: Place) -> Option<Waker> {
        let waiter = self.entries[place as usize].waiter.take();
        if waiter.is_some() {
            self.unlink(place);
        }
        self.entries[place as usize].next = self.free;
        self.free = place;
        waiter
    }

    /// Advances to a tick and returns the waiters to wake.
    pub(super) fn turn(&mut self, to: u64) -> Vec<Waker> {
        let mut woken = vec![];
        let first = (self.tick + 1).max(to.saturating_sub(SLOTS as u64 - 1));
        for tick in first..=to {
            let mut place = self.slots[slot(tick)];
            while place != NONE {
                let next = self.entries[place as usize].next;
                if self.entries[place as usize].due <= to {
                    woken.extend(self.entries[place as usize].waiter.take());
                    self.unlink(place);
                }
                place = next;
            }
        }
        self.tick = self.tick.max(to);
        woken
    }

    fn unlink(&mut self, place: Place) {
        let Entry { due, before, next, .. } = self.entries[place as usize];
        match self.entries.get_mut(before as usize) {
            Some(before) => before.next = next,
            None => self.slots[slot(due)] = next,
        }
        if let Some(next) = self.entries.get_mut(next as usize) {
            next.before = before;
        }
    }
}

fn slot(tick: u64) -> usize {
    (tick % SLOTS as u64) as usize
}

const NONE: Place = Place::MAX;
const SLOTS: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn turn(wheel: &mut Wheel, to: u64) {
        wheel.turn(to).into_iter().for_each(Waker::wake);
    }

    #[test]
    fn a_deadline_wakes_its_last_waiter_once_and_in_its_tick() {
        let (first, last) = (Arc::<Woken>::default(), Arc::<Woken>::default());
        let mut wheel = Wheel::new();
        let place = wheel.set(700, first.clone().into());
        assert!(!wheel.is_due(place, &last.clone().into()));
        turn(&mut wheel, 699);
        assert_eq!(last.0.load(Ordering::Relaxed), 0);
        turn(&mut wheel, 700);
        turn(&mut wheel, 2000);
        assert_eq!((first.0.load(Ordering::Relaxed), last.0.load(Ordering::Relaxed)), (0, 1));
        assert!(wheel.is_due(place, &last.into()));
    }

    #[test]
    fn places_are_used_again() {
        let mut wheel = Wheel::new();
        for tick in 0..10_000 {
            let place = wheel.set(tick + 3000, Waker::noop().clone());
            turn(&mut wheel, tick);
            wheel.cancel(place);
        }
        assert_eq!(wheel.entries.len(), 1);
        assert!(wheel.slots.iter().all(|first| *first == NONE));
    }

    proptest! {
        #[test]
        fn exactly_the_deadlines_that_passed_and_were_not_lifted_wake(
            set in proptest::collection::vec((1u64..3000, any::<bool>()), 0..60),
            steps in proptest::collection::vec(1u64..900, 0..8),
        ) {
            let mut wheel = Wheel::new();
            let woken: Vec<Arc<Woken>> = set.iter().map(|_| Arc::default()).collect();
            let places: Vec<Place> =
                set.iter().zip(&woken).map(|((due, _), w)| wheel.set(*due, w.clone().into())).collect();
            for ((_, lifted), place) in set.iter().zip(&places) {
                if *lifted {
                    wheel.cancel(*place);
                }
            }
            let mut now = 0;
            for step in steps {
                now += step;
                turn(&mut wheel, now);
                for ((due, lifted), woken) in set.iter().zip(&woken) {
                    let expected = usize::from(!*lifted && *due <= now);
                    prop_assert_eq!(woken.0.load(Ordering::Relaxed), expected, "due {} at {}", due, now);
                }
            }
        }
    }
}
