//! Who is let in, who makes room, and when time is up, as a table of what connections do.

use super::*;
use proptest::prelude::*;

const LIMITS: Limits = Limits {
    strangers: 4,
    strangers_per_source: 3,
    known: 2,
    known_per_source: 2,
    first_byte: Duration::from_secs(5),
    handshake: Duration::from_secs(10),
    first_request: Duration::from_secs(12),
    idle: Duration::from_secs(60),
    response: Some(Duration::from_secs(20)),
    exchange: Some(Duration::from_secs(40)),
    head: 1_000,
    bodies: 1_000,
    request: 0,
};

/// A crowd with a clock.
struct Scene {
    crowd: Crowd,
    start: Instant,
    second: u64,
}

impl Scene {
    fn new(limits: Limits) -> Self {
        #[expect(clippy::disallowed_methods, reason = "a test's own clock")]
        let start = Instant::now();
        Self { crowd: Crowd::new(limits), start, second: 0 }
    }

    fn now(&self) -> Instant {
        self.start + Duration::from_secs(self.second)
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + self.second)
    }

    /// Comes from 10.0.0.`source`, a second after the one before.
    fn come(&mut self, source: u8) -> Place {
        self.second += 1;
        self.crowd.admit(IpAddr::from([10, 0, 0, source]), self.now())
    }

    fn free(&mut self, source: u8) -> Id {
        match self.come(source) {
            Place::Free(id) => id,
            other => panic!("{other:?}"),
        }
    }

    fn known(&mut self, source: u8) -> (Id, Option<Id>) {
        let id = self.free(source);
        self.crowd.spoke(id, true);
        (id, self.crowd.greeted(id, true, None, self.now()))
    }

    fn ask(&mut self, id: Id) -> u64 {
        self.crowd.began(id, self.now())
    }

    fn answer(&mut self, id: Id) -> u64 {
        let number = self.ask(id);
        assert_eq!(self.crowd.answered(id, number, 0, self.now()), None);
        number
    }

    /// What is closed at a second.
    fn closed_at(&mut self, second: u64) -> Vec<(Id, Why)> {
        self.second = second;
        let (now, wall) = (self.now(), self.wall());
        self.crowd.due(now, wall).0
    }
}

#[test]
fn whoever_has_shown_least_for_longest_makes_room() {
    let mut scene = Scene::new(Limits { strangers_per_source: 9, ..LIMITS });
    let served = scene.free(1);
    scene.answer(served);
    let idle = scene.free(1);
    let asked = scene.answer(idle);
    scene.crowd.ended(idle, asked, scene.now());
    let greeting = scene.free(1);
    scene.crowd.spoke(greeting, true);
    let silent = scene.free(1);
    assert_eq!(scene.come(2), Place::Taken(4, silent));
    assert_eq!(scene.come(2), Place::Taken(5, 4), "the oldest of the silent ones");
    scene.ask(5);
    assert_eq!(scene.come(2), Place::Taken(6, greeting));
    scene.answer(6);
    assert_eq!(scene.come(2), Place::Taken(7, idle));
    scene.answer(7);
    assert_eq!(scene.come(2), Place::Taken(8, 5), "a request that is not answered yet");
    scene.answer(8);
    assert_eq!(scene.come(2), Place::None, "all are being served");
    scene.crowd.remove(served);
    assert_eq!(scene.come(2), Place::Free(9));
}

#[test]
fn requests_that_hold_too_much_cost_who_holds_most_of_the_source_that_holds_most() {
    let mut scene = Scene::new(Limits { strangers: 9, strangers_per_source: 9, ..LIMITS });
    let ids = [1, 1, 1, 2, 2].map(|source| scene.free(source));
    let asked = ids.map(|id| scene.ask(id));
    let took = |scene: &mut Scene, number: usize, bytes| scene.crowd.took(ids[number], asked[number], bytes);
    for (number, bytes) in [(0, 300), (1, 310), (2, 10), (3, 380)] {
        assert_eq!(took(&mut scene, number, bytes), None, "they hold 1,000 together");
    }
    // The largest of all is of another source, which holds less in sum.
    assert_eq!(took(&mut scene, 4, 1), Some(ids[1]));
    assert_eq!(took(&mut scene, 1, 5_000), None, "it is gone");
    assert_eq!(took(&mut scene, 4, 309), None, "what it held is free");
    assert_eq!(scene.crowd.answered(ids[3], asked[3], 0, scene.now()), None);
    assert_eq!(took(&mut scene, 3, 5_000), None, "what comes after the answer began is not held");
    assert_eq!(took(&mut scene, 4, 380), None);
    scene.crowd.ended(ids[4], asked[4], scene.now());
    assert_eq!(took(&mut scene, 0, 690), None);
    assert_eq!(took(&mut scene, 0, 1), Some(ids[0]), "who asks for too much alone");
    // A response counts while it is sent, and in place of its request.
    let (late, number) = (scene.free(2), scene.ask(ids[3]));
    let asking = scene.ask(late);
    assert_eq!(scene.crowd.took(late, asking, 900), None);
    assert_eq!(scene.crowd.answered(late, asking, 490, scene.now()), None);
    assert_eq!(scene.crowd.answered(ids[3], number, 490, scene.now()), None);
    assert_eq!(took(&mut scene, 2, 11), Some(late), "it has most, with the other of its source");
    // Known peers have room of their own.
    let (known, _) = scene.known(3);
    let number = scene.ask(known);
    assert_eq!(scene.crowd.took(known, number, 1_000), None);
    assert_eq!(scene.crowd.took(known, number, 1), Some(known));
}

#[test]
fn many_small_requests_count_too() {
    let mut scene = Scene::new(Limits { request: 300, ..LIMITS });
    let (many, one) = (scene.free(1), scene.free(2));
    let asked = [many, many, many, many].map(|id| scene.ask(id));
    assert_eq!(scene.crowd.answered(many, asked[0], 100, scene.now()), None);
    let number = scene.ask(one);
    assert_eq!(scene.crowd.answered(one, number, 1, scene.now()), Some(many));
    assert_eq!(scene.crowd.answered(one, number, 700, scene.now()), None);
    let (known, _) = scene.known(3);
    let number = scene.ask(known);
    assert_eq!(scene.crowd.answered(known, number, 1_000, scene.now()), None, "of known peers bodies alone");
}

#[test]
fn a_response_that_alone_holds_more_than_all_may_passes_while_the_others_fit() {
    let mut scene = Scene::new(LIMITS);
    let (first, second, third) = (scene.free(1), scene.free(2), scene.free(2));
    let mut answer = |id, bytes| {
        let number = scene.ask(id);
        scene.crowd.answered(id, number, bytes, scene.now())
    };
    assert_eq!(answer(first, 600), None);
    assert_eq!(answer(second, 5_000), None, "it is made already");
    assert_eq!(answer(third, 1), Some(second), "no more beside it");
}

#[test]
fn a_source_takes_its_own_places_and_leaves_those_of_others() {
    let mut scene = Scene::new(LIMITS);
    let other = scene.free(2);
    let first = scene.free(1);
    scene.free(1);
    scene.free(1);
    for _ in 0..20 {
        assert!(matches!(scene.come(1), Place::Taken(_, victim) if victim >= first));
    }
    assert!(scene.crowd.entries.contains_key(&other), "it is older than all of them");
    assert_eq!(scene.crowd.len(), 4);
}

#[test]
fn an_ipv6_source_is_its_network_and_a_mapped_address_is_that_of_ipv4() {
    let source = |text: &str| network(text.parse().unwrap());
    assert_eq!(source("2001:db8:1:2:3:4:5:6"), source("2001:db8:1:2::1"));
    assert_ne!(source("2001:db8:1:2::1"), source("2001:db8:1:3::1"));
    assert_eq!(source("::ffff:10.0.0.1"), source("10.0.0.1"));
    assert_ne!(source("10.0.0.2"), source("10.0.0.1"));
}

#[test]
fn known_peers_have_places_that_strangers_cannot_take() {
    let mut scene = Scene::new(LIMITS);
    let (first, victim) = scene.known(9);
    assert_eq!(victim, None);
    for source in 1..=200 {
        scene.come(source);
    }
    assert_eq!(scene.crowd.len(), 5);
    assert!(scene.crowd.entries.contains_key(&first));
    // Places of known peers are limited too; the idle one makes room, one that is served does not.
    scene
        .crowd
        .entries
        .keys()
        .copied()
        .filter(|id| *id != first)
        .collect::<Vec<_>>()
        .into_iter()
        .for_each(|id| scene.crowd.remove(id));
    scene.answer(first);
    let (second, _) = scene.known(8);
    let (third, victim) = scene.known(7);
    assert_eq!(victim, Some(second));
    scene.answer(third);
    let (fourth, victim) = scene.known(6);
    assert_eq!(victim, Some(fourth), "no place is left, so the newest is closed itself");
    assert!(!scene.crowd.entries.contains_key(&fourth));
}

#[test]
fn each_step_has_its_time_and_steady_bytes_gain_none() {
    let mut scene = Scene::new(Limits { strangers: 20, strangers_per_source: 20, ..LIMITS });
    let silent = scene.free(1); // at 1 s
    let greeting = scene.free(1); // at 2 s
    scene.crowd.spoke(greeting, true);
    let plain = scene.free(1); // at 3 s
    scene.crowd.spoke(plain, false);
    assert_eq!(scene.closed_at(5), []);
    assert_eq!(scene.closed_at(6), [(silent, Why::Silent)]);
    scene.crowd.spoke(greeting, true);
    assert_eq!(scene.closed_at(11), []);
    assert_eq!(scene.closed_at(12), [(greeting, Why::Handshake)]);
    scene.crowd.spoke(plain, false);
    assert_eq!(scene.closed_at(14), []);
    assert_eq!(scene.closed_at(15), [(plain, Why::NoRequest)]);
    assert!(scene.crowd.is_empty());
}

#[test]
fn a_greeted_stranger_asks_soon_and_a_known_peer_when_it_likes() {
    let mut scene = Scene::new(Limits { strangers: 20, strangers_per_source: 20, ..LIMITS });
    let stranger = scene.free(1); // at 1 s
    scene.crowd.spoke(stranger, true);
    scene.crowd.greeted(stranger, false, None, scene.now());
    let (known, _) = scene.known(1); // at 2 s
    assert_eq!(scene.closed_at(13), [(stranger, Why::NoRequest)]);
    assert_eq!(scene.closed_at(61), []);
    assert_eq!(scene.closed_at(62), [(known, Why::Idle)]);
}

#[test]
fn a_request_has_its_time_until_the_response_and_until_its_end() {
    let mut scene = Scene::new(Limits { strangers: 20, strangers_per_source: 20, ..LIMITS });
    let unanswered = scene.free(1); // at 1 s
    scene.ask(unanswered);
    let answered = scene.free(1); // at 2 s
    scene.answer(answered);
    let over = scene.free(1); // at 3 s
    let number = scene.answer(over);
    scene.crowd.ended(over, number, scene.now());
    assert_eq!(scene.closed_at(20), []);
    assert_eq!(scene.closed_at(21), [(unanswered, Why::Slow)]);
    assert_eq!(scene.closed_at(42), [(answered, Why::Slow)]);
    assert_eq!(scene.closed_at(63), [(over, Why::Idle)]);
    let mut scene = Scene::new(Limits { exchange: None, ..LIMITS });
    let stream = scene.free(1);
    scene.answer(stream);
    assert_eq!(scene.closed_at(1_000_000), [], "streams last");
}

#[test]
fn one_of_several_requests_that_is_late_is_enough() {
    let mut scene = Scene::new(LIMITS);
    let id = scene.free(1); // at 1 s
    scene.ask(id);
    scene.second = 15;
    scene.answer(id);
    assert_eq!(scene.closed_at(20), []);
    assert_eq!(scene.closed_at(21), [(id, Why::Slow)]);
}

#[test]
fn a_connection_ends_with_its_peers_certificate_whatever_it_does() {
    let mut scene = Scene::new(Limits { exchange: None, ..LIMITS });
    let id = scene.free(1);
    let end = scene.wall() + Duration::from_secs(100);
    scene.crowd.greeted(id, true, Some(end), scene.now());
    scene.answer(id);
    let (over, next) = scene.crowd.due(scene.now(), scene.wall());
    assert!(over.is_empty());
    assert_eq!(next, Some(scene.now() + LIMITS.first_byte), "a clock that is set is noticed");
    assert_eq!(scene.closed_at(100), []);
    let (_, next) = scene.crowd.due(scene.now(), scene.wall());
    assert_eq!(next, Some(scene.now() + Duration::from_secs(1)));
    assert_eq!(scene.closed_at(101), [(id, Why::Expired)]);
}

#[test]
fn a_process_without_descriptors_closes_strangers_first_and_nobody_who_is_served() {
    let mut scene = Scene::new(LIMITS);
    let (known, _) = scene.known(1);
    let served = scene.free(1);
    scene.answer(served);
    let silent = scene.free(2);
    assert_eq!(scene.crowd.evict(), Some(silent));
    assert_eq!(scene.crowd.evict(), Some(known));
    assert_eq!(scene.crowd.evict(), None);
}

#[test]
fn limits_fit_into_the_open_files_of_the_process() {
    let limits = Limits::default();
    assert_eq!(limits.within(1 << 20), limits);
    let small = limits.within(1024);
    assert_eq!((small.strangers, small.known), (128, 256));
}

#[derive(Debug, Clone)]
enum Step {
    Come(u8),
    Speak(usize),
    Greet(usize, bool),
    Ask(usize),
    Answer(usize),
    End(usize),
    Leave(usize),
    Wait(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4u8).prop_map(Step::Come),
        1 => (0..8usize).prop_map(Step::Speak),
        1 => ((0..8usize), any::<bool>()).prop_map(|(n, known)| Step::Greet(n, known)),
        1 => (0..8usize).prop_map(Step::Ask),
        1 => (0..8usize).prop_map(Step::Answer),
        1 => (0..8usize).prop_map(Step::End),
        1 => (0..8usize).prop_map(Step::Leave),
        1 => (0..30u8).prop_map(Step::Wait),
    ]
}

proptest! {
    /// Whatever happens, the pools hold exactly the open connections, nobody exceeds a limit, and a connection that is
    /// being served is never closed to make room.
    #[test]
    fn the_books_are_kept(steps in prop::collection::vec(step(), 0..120)) {
        let mut scene = Scene::new(LIMITS);
        for step in steps {
            let ids: Vec<Id> = scene.crowd.entries.keys().copied().collect();
            let pick = |n: usize| ids.get(n).copied().unwrap_or(u64::MAX);
            let served = |crowd: &Crowd, id: Id| crowd.entries.get(&id).is_some_and(|e| e.phase == Phase::Served);
            let now = scene.now();
            match step {
                Step::Come(source) => {
                    let before: Vec<Id> =
                        ids.iter().copied().filter(|id| served(&scene.crowd, *id)).collect();
                    scene.come(source);
                    prop_assert!(before.iter().all(|id| scene.crowd.entries.contains_key(id)));
                }
                Step::Speak(n) => scene.crowd.spoke(pick(n), true),
                // A handshake is over once, before the first request.
                Step::Greet(n, known)
                    if scene.crowd.entries.get(&pick(n)).is_some_and(|e| e.phase < Phase::Waiting) =>
                {
                    scene.crowd.greeted(pick(n), known, None, now);
                }
                Step::Greet(..) => {}
                Step::Ask(n) => drop(scene.crowd.began(pick(n), now)),
                Step::Answer(n) => drop(scene.crowd.answered(pick(n), 0, 0, now)),
                Step::End(n) => scene.crowd.ended(pick(n), 0, now),
                Step::Leave(n) => scene.crowd.remove(pick(n)),
                Step::Wait(seconds) => drop(scene.closed_at(scene.second + u64::from(seconds))),
            }
            for (known, pool) in [(false, &scene.crowd.strangers), (true, &scene.crowd.known)] {
                let expected: Queue = scene.crowd.entries.iter().filter(|(_, e)| e.known == known)
                    .map(|(id, e)| (e.phase, e.since, *id)).collect();
                prop_assert_eq!(&pool.all, &expected);
                let by_source: Queue = pool.sources.values().flatten().copied().collect();
                prop_assert_eq!(&by_source, &expected);
                let most = if known { LIMITS.known } else { LIMITS.strangers };
                prop_assert!(pool.all.len() <= most);
            }
        }
    }
}
