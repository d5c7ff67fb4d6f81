//! Which connections are admitted, which are closed for others, and when their time limits pass.

use super::*;
use proptest::prelude::*;

const LIMITS: Limits = Limits {
    anonymous: 4,
    anonymous_per_source: 3,
    authenticated: 2,
    authenticated_per_source: 2,
    first_byte: Duration::from_secs(5),
    handshake: Duration::from_secs(10),
    first_request: Duration::from_secs(12),
    idle: Duration::from_secs(60),
    response: Some(Duration::from_secs(20)),
    exchange: Some(Duration::from_secs(40)),
    age: None,
    head: 1_000,
    bodies: 1_000,
    request: 0,
};

/// A set of connections with a clock.
struct Fixture {
    connections: Connections,
    start: Instant,
    second: u64,
}

impl Fixture {
    fn new(limits: Limits) -> Self {
        #[expect(clippy::disallowed_methods, reason = "a test's own clock")]
        let start = Instant::now();
        Self { connections: Connections::new(limits), start, second: 0 }
    }

    fn now(&self) -> Instant {
        self.start + Duration::from_secs(self.second)
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + self.second)
    }

    /// A connection from 10.0.0.`source`, a second after the previous one.
    fn come(&mut self, source: u8) -> Admission {
        self.second += 1;
        self.connections.admit(IpAddr::from([10, 0, 0, source]), self.now())
    }

    fn free(&mut self, source: u8) -> Id {
        match self.come(source) {
            Admission::Free(id) => id,
            other => panic!("{other:?}"),
        }
    }

    fn authenticated(&mut self, source: u8) -> (Id, Option<Id>) {
        let id = self.free(source);
        self.connections.first_byte(id, true);
        (id, self.connections.handshake_done(id, true, None, self.now()))
    }

    fn ask(&mut self, id: Id) -> u64 {
        self.connections.began(id, self.now())
    }

    fn respond(&mut self, id: Id) -> u64 {
        let number = self.ask(id);
        assert_eq!(self.connections.responded(id, number, 0, self.now()), None);
        number
    }

    /// The connections that are closed at a second.
    fn closed_at(&mut self, second: u64) -> Vec<(Id, CloseReason)> {
        self.second = second;
        let (now, wall) = (self.now(), self.wall());
        self.connections.due(now, wall).0
    }
}

#[test]
fn the_connection_with_the_least_progress_is_closed_first() {
    let mut fixture = Fixture::new(Limits { anonymous_per_source: 9, ..LIMITS });
    let served = fixture.free(1);
    fixture.respond(served);
    let idle = fixture.free(1);
    let exchange = fixture.respond(idle);
    fixture.connections.ended(idle, exchange, fixture.now());
    let greeting = fixture.free(1);
    fixture.connections.first_byte(greeting, true);
    let silent = fixture.free(1);
    assert_eq!(fixture.come(2), Admission::Taken(4, silent));
    assert_eq!(fixture.come(2), Admission::Taken(5, 4), "the oldest of the silent ones");
    fixture.ask(5);
    assert_eq!(fixture.come(2), Admission::Taken(6, greeting));
    fixture.respond(6);
    assert_eq!(fixture.come(2), Admission::Taken(7, idle));
    fixture.respond(7);
    assert_eq!(fixture.come(2), Admission::Taken(8, 5), "a request without a response");
    fixture.respond(8);
    assert_eq!(fixture.come(2), Admission::None, "a response has begun on all");
    fixture.connections.remove(served);
    assert_eq!(fixture.come(2), Admission::Free(9));
}

#[test]
fn too_many_buffered_bytes_close_the_largest_connection_of_the_largest_source() {
    let mut fixture = Fixture::new(Limits { anonymous: 9, anonymous_per_source: 9, ..LIMITS });
    let ids = [1, 1, 1, 2, 2].map(|source| fixture.free(source));
    let exchange = ids.map(|id| fixture.ask(id));
    let received = |fixture: &mut Fixture, number: usize, bytes| {
        fixture.connections.received(ids[number], exchange[number], bytes)
    };
    for (number, bytes) in [(0, 300), (1, 310), (2, 10), (3, 380)] {
        assert_eq!(received(&mut fixture, number, bytes), None, "they hold 1,000 together");
    }
    // The largest connection is of another source, whose sum is smaller.
    assert_eq!(received(&mut fixture, 4, 1), Some(ids[1]));
    assert_eq!(received(&mut fixture, 1, 5_000), None, "it was closed");
    assert_eq!(received(&mut fixture, 4, 309), None, "what it held is free");
    assert_eq!(fixture.connections.responded(ids[3], exchange[3], 0, fixture.now()), None);
    assert_eq!(received(&mut fixture, 3, 5_000), None, "bytes after the response began are not buffered");
    assert_eq!(received(&mut fixture, 4, 380), None);
    fixture.connections.ended(ids[4], exchange[4], fixture.now());
    assert_eq!(received(&mut fixture, 0, 690), None);
    assert_eq!(received(&mut fixture, 0, 1), Some(ids[0]), "the client with the most buffered bytes");
    // A response counts while it is sent, and in place of its request.
    let (late, number) = (fixture.free(2), fixture.ask(ids[3]));
    let asking = fixture.ask(late);
    assert_eq!(fixture.connections.received(late, asking, 900), None);
    assert_eq!(fixture.connections.responded(late, asking, 490, fixture.now()), None);
    assert_eq!(fixture.connections.responded(ids[3], number, 490, fixture.now()), None);
    assert_eq!(received(&mut fixture, 2, 11), Some(late), "it has most, with the other of its source");
    // Authenticated connections have a limit of their own.
    let (authenticated, _) = fixture.authenticated(3);
    let number = fixture.ask(authenticated);
    assert_eq!(fixture.connections.received(authenticated, number, 1_000), None);
    assert_eq!(fixture.connections.received(authenticated, number, 1), Some(authenticated));
}

#[test]
fn many_small_requests_count_as_well() {
    let mut fixture = Fixture::new(Limits { request: 300, ..LIMITS });
    let (many, one) = (fixture.free(1), fixture.free(2));
    let exchange = [many, many, many, many].map(|id| fixture.ask(id));
    assert_eq!(fixture.connections.responded(many, exchange[0], 100, fixture.now()), None);
    let number = fixture.ask(one);
    assert_eq!(fixture.connections.responded(one, number, 1, fixture.now()), Some(many));
    assert_eq!(fixture.connections.responded(one, number, 700, fixture.now()), None);
    let (authenticated, _) = fixture.authenticated(3);
    let number = fixture.ask(authenticated);
    assert_eq!(
        fixture.connections.responded(authenticated, number, 1_000, fixture.now()),
        None,
        "of known peers bodies alone"
    );
}

#[test]
fn a_response_that_alone_exceeds_the_limit_is_admitted_while_the_others_fit() {
    let mut fixture = Fixture::new(LIMITS);
    let (first, second, third) = (fixture.free(1), fixture.free(2), fixture.free(2));
    let mut respond = |id, bytes| {
        let number = fixture.ask(id);
        fixture.connections.responded(id, number, bytes, fixture.now())
    };
    assert_eq!(respond(first, 600), None);
    assert_eq!(respond(second, 5_000), None, "it exists already");
    assert_eq!(respond(third, 1), Some(second), "no more beside it");
}

#[test]
fn a_source_at_its_limit_closes_only_its_own_connections() {
    let mut fixture = Fixture::new(LIMITS);
    let other = fixture.free(2);
    let first = fixture.free(1);
    fixture.free(1);
    fixture.free(1);
    for _ in 0..20 {
        assert!(matches!(fixture.come(1), Admission::Taken(_, victim) if victim >= first));
    }
    assert!(fixture.connections.entries.contains_key(&other), "it is older than all of them");
    assert_eq!(fixture.connections.len(), 4);
}

#[test]
fn an_ipv6_source_is_its_network_and_a_mapped_address_counts_as_ipv4() {
    let source = |text: &str| network(text.parse().unwrap());
    assert_eq!(source("2001:db8:1:2:3:4:5:6"), source("2001:db8:1:2::1"));
    assert_ne!(source("2001:db8:1:2::1"), source("2001:db8:1:3::1"));
    assert_eq!(source("::ffff:10.0.0.1"), source("10.0.0.1"));
    assert_ne!(source("10.0.0.2"), source("10.0.0.1"));
}

#[test]
fn anonymous_connections_never_displace_authenticated_ones() {
    let mut fixture = Fixture::new(LIMITS);
    let (first, victim) = fixture.authenticated(9);
    assert_eq!(victim, None);
    for source in 1..=200 {
        fixture.come(source);
    }
    assert_eq!(fixture.connections.len(), 5);
    assert!(fixture.connections.entries.contains_key(&first));
    // Authenticated connections are limited as well: an idle one is closed, one with a response is not.
    fixture
        .connections
        .entries
        .keys()
        .copied()
        .filter(|id| *id != first)
        .collect::<Vec<_>>()
        .into_iter()
        .for_each(|id| fixture.connections.remove(id));
    fixture.respond(first);
    let (second, _) = fixture.authenticated(8);
    let (third, victim) = fixture.authenticated(7);
    assert_eq!(victim, Some(second));
    fixture.respond(third);
    let (fourth, victim) = fixture.authenticated(6);
    assert_eq!(victim, Some(fourth), "no place is left, so the newest is closed itself");
    assert!(!fixture.connections.entries.contains_key(&fourth));
}

#[test]
fn each_phase_has_its_time_limit_even_if_bytes_keep_arriving() {
    let mut fixture = Fixture::new(Limits { anonymous: 20, anonymous_per_source: 20, ..LIMITS });
    let silent = fixture.free(1); // at 1 s
    let greeting = fixture.free(1); // at 2 s
    fixture.connections.first_byte(greeting, true);
    let plain = fixture.free(1); // at 3 s
    fixture.connections.first_byte(plain, false);
    assert_eq!(fixture.closed_at(5), []);
    assert_eq!(fixture.closed_at(6), [(silent, CloseReason::Silent)]);
    fixture.connections.first_byte(greeting, true);
    assert_eq!(fixture.closed_at(11), []);
    assert_eq!(fixture.closed_at(12), [(greeting, CloseReason::Handshake)]);
    fixture.connections.first_byte(plain, false);
    assert_eq!(fixture.closed_at(14), []);
    assert_eq!(fixture.closed_at(15), [(plain, CloseReason::NoRequest)]);
    assert!(fixture.connections.is_empty());
}

#[test]
fn after_the_handshake_only_anonymous_clients_must_send_a_request_soon() {
    let mut fixture = Fixture::new(Limits { anonymous: 20, anonymous_per_source: 20, ..LIMITS });
    let anonymous = fixture.free(1); // at 1 s
    fixture.connections.first_byte(anonymous, true);
    fixture.connections.handshake_done(anonymous, false, None, fixture.now());
    let (authenticated, _) = fixture.authenticated(1); // at 2 s
    assert_eq!(fixture.closed_at(13), [(anonymous, CloseReason::NoRequest)]);
    assert_eq!(fixture.closed_at(61), []);
    assert_eq!(fixture.closed_at(62), [(authenticated, CloseReason::Idle)]);
}

#[test]
fn a_request_has_time_limits_for_its_response_and_its_end() {
    let mut fixture = Fixture::new(Limits { anonymous: 20, anonymous_per_source: 20, ..LIMITS });
    let unanswered = fixture.free(1); // at 1 s
    fixture.ask(unanswered);
    let responded = fixture.free(1); // at 2 s
    fixture.respond(responded);
    let expired = fixture.free(1); // at 3 s
    let number = fixture.respond(expired);
    fixture.connections.ended(expired, number, fixture.now());
    assert_eq!(fixture.closed_at(20), []);
    assert_eq!(fixture.closed_at(21), [(unanswered, CloseReason::Slow)]);
    assert_eq!(fixture.closed_at(42), [(responded, CloseReason::Slow)]);
    assert_eq!(fixture.closed_at(63), [(expired, CloseReason::Idle)]);
    let mut fixture = Fixture::new(Limits { exchange: None, ..LIMITS });
    let stream = fixture.free(1);
    fixture.respond(stream);
    assert_eq!(fixture.closed_at(1_000_000), [], "streams last");
}

#[test]
fn one_late_request_of_several_closes_the_connection() {
    let mut fixture = Fixture::new(LIMITS);
    let id = fixture.free(1); // at 1 s
    fixture.ask(id);
    fixture.second = 15;
    fixture.respond(id);
    assert_eq!(fixture.closed_at(20), []);
    assert_eq!(fixture.closed_at(21), [(id, CloseReason::Slow)]);
}

#[test]
fn a_connection_ends_when_its_peers_certificate_expires() {
    let mut fixture = Fixture::new(Limits { exchange: None, ..LIMITS });
    let id = fixture.free(1);
    let end = fixture.wall() + Duration::from_secs(100);
    fixture.connections.handshake_done(id, true, Some(end), fixture.now());
    fixture.respond(id);
    let (expired, next) = fixture.connections.due(fixture.now(), fixture.wall());
    assert!(expired.is_empty());
    assert_eq!(next, Some(fixture.now() + LIMITS.first_byte), "a clock that is set is noticed");
    assert_eq!(fixture.closed_at(100), []);
    let (_, next) = fixture.connections.due(fixture.now(), fixture.wall());
    assert_eq!(next, Some(fixture.now() + Duration::from_secs(1)));
    assert_eq!(fixture.closed_at(101), [(id, CloseReason::Expired)]);
}

#[test]
fn a_process_without_descriptors_closes_anonymous_connections_first_and_no_busy_one() {
    let mut fixture = Fixture::new(LIMITS);
    let (authenticated, _) = fixture.authenticated(1);
    let served = fixture.free(1);
    fixture.respond(served);
    let silent = fixture.free(2);
    assert_eq!(fixture.connections.evict(), Some(silent));
    assert_eq!(fixture.connections.evict(), Some(authenticated));
    assert_eq!(fixture.connections.evict(), None);
}

#[test]
fn limits_are_lowered_to_the_limit_on_open_files() {
    let limits = Limits::default();
    assert_eq!(limits.within(1 << 20), limits);
    let small = limits.within(1024);
    assert_eq!((small.anonymous, small.authenticated), (128, 256));
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
        1 => ((0..8usize), any::<bool>()).prop_map(|(n, authenticated)| Step::Greet(n, authenticated)),
        1 => (0..8usize).prop_map(Step::Ask),
        1 => (0..8usize).prop_map(Step::Answer),
        1 => (0..8usize).prop_map(Step::End),
        1 => (0..8usize).prop_map(Step::Leave),
        1 => (0..30u8).prop_map(Step::Wait),
    ]
}

proptest! {
    /// After any sequence of events, the pools contain exactly the open connections, no limit is exceeded, and no
    /// connection with a response is closed to admit another.
    #[test]
    fn the_pools_stay_consistent(steps in prop::collection::vec(step(), 0..120)) {
        let mut fixture = Fixture::new(LIMITS);
        for step in steps {
            let ids: Vec<Id> = fixture.connections.entries.keys().copied().collect();
            let pick = |n: usize| ids.get(n).copied().unwrap_or(u64::MAX);
            let served = |connections: &Connections, id: Id| connections.entries.get(&id).is_some_and(|e| e.phase == Phase::Responding);
            let now = fixture.now();
            match step {
                Step::Come(source) => {
                    let before: Vec<Id> =
                        ids.iter().copied().filter(|id| served(&fixture.connections, *id)).collect();
                    fixture.come(source);
                    prop_assert!(before.iter().all(|id| fixture.connections.entries.contains_key(id)));
                }
                Step::Speak(n) => fixture.connections.first_byte(pick(n), true),
                // A handshake ends once, before the first request.
                Step::Greet(n, authenticated)
                    if fixture.connections.entries.get(&pick(n)).is_some_and(|e| e.phase < Phase::Waiting) =>
                {
                    fixture.connections.handshake_done(pick(n), authenticated, None, now);
                }
                Step::Greet(..) => {}
                Step::Ask(n) => drop(fixture.connections.began(pick(n), now)),
                Step::Answer(n) => drop(fixture.connections.responded(pick(n), 0, 0, now)),
                Step::End(n) => fixture.connections.ended(pick(n), 0, now),
                Step::Leave(n) => fixture.connections.remove(pick(n)),
                Step::Wait(seconds) => drop(fixture.closed_at(fixture.second + u64::from(seconds))),
            }
            for (authenticated, pool) in [(false, &fixture.connections.anonymous), (true, &fixture.connections.authenticated)] {
                let expected: Queue = fixture.connections.entries.iter().filter(|(_, e)| e.authenticated == authenticated)
                    .map(|(id, e)| (e.phase, e.since, *id)).collect();
                prop_assert_eq!(&pool.all, &expected);
                let by_source: Queue = pool.sources.values().flatten().copied().collect();
                prop_assert_eq!(&by_source, &expected);
                let most = if authenticated { LIMITS.authenticated } else { LIMITS.anonymous };
                prop_assert!(pool.all.len() <= most);
            }
        }
    }
}
