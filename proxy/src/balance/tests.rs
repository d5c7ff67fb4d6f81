//! Tests of the pickers' shares and priorities.

use super::*;
use api::model::endpoint::{Endpoint, EndpointAddress, LoadAssignment, Locality, LocalityEndpoints};
use std::cell::Cell;
use std::sync::Arc;

fn endpoint(n: u8, health: Health, weight: u32) -> Endpoint {
    Endpoint {
        address: EndpointAddress::Socket(([10, 0, 0, n], 80).into()),
        health,
        hostname: String::new(),
        weight,
        mtls: false,
        workload: None,
    }
}

pub(super) fn endpoints(groups: Vec<(u32, Option<u32>, Vec<Endpoint>)>) -> Endpoints {
    let localities = groups
        .into_iter()
        .map(|(priority, weight, endpoints)| LocalityEndpoints {
            locality: Locality::default(),
            priority,
            weight,
            endpoints,
        })
        .collect();
    Endpoints::build(Arc::new(LoadAssignment { cluster: "c".into(), localities }), None)
}

pub(super) fn healthy(weights: &[u32]) -> Vec<Endpoint> {
    weights.iter().enumerate().map(|(i, w)| endpoint(i as u8, Health::Healthy, *w)).collect()
}

pub(super) fn chance() -> impl Fn() -> u32 {
    let state = Cell::new(0x9e37_79b9_7f4a_7c15u64);
    move || {
        state.set(state.get().wrapping_add(0x9e37_79b9_7f4a_7c15));
        (consistent::hash(&state.get().to_le_bytes()) >> 32) as u32
    }
}

fn counts(all: &Endpoints, policy: Policy) -> Vec<usize> {
    let random = chance();
    let picker = Picker::new(all, policy, 50, &|_| true, &random);
    let mut counts = vec![0; all.list.len()];
    for _ in 0..6000 {
        let context = PickContext { active: &|_| 0, hash: None, random: &random };
        if let Some(i) = picker.pick(&context) {
            counts[i] += 1;
        }
    }
    counts
}

const POLICIES: [Policy; 3] = [Policy::RoundRobin, Policy::Random, Policy::LeastRequest { choices: 2 }];

#[test]
fn a_retry_finds_the_one_healthy_endpoint_of_its_priority_that_has_not_failed() {
    let drains = endpoint(3, Health::Draining, 1);
    let all = endpoints(vec![
        (0, None, [healthy(&[1, 1]), vec![drains]].concat()),
        (0, None, vec![endpoint(4, Health::Healthy, 1)]),
        (1, None, vec![endpoint(5, Health::Healthy, 1)]),
    ]);
    for (tried, expected) in [(&[0][..], &[1, 3][..]), (&[0, 3], &[1]), (&[1, 3, 0], &[])] {
        let found: Vec<usize> =
            (0..64u32).filter_map(|part| another(&all, 0, &|i| tried.contains(&i), part << 26)).collect();
        assert!(found.iter().all(|i| expected.contains(i)), "{tried:?}: {found:?}");
        assert!(expected.iter().all(|i| found.contains(i)), "{tried:?}: {found:?}");
    }
    assert_eq!(another(&all, 4, &|_| false, 7), Some(4), "another priority is for its own failures");
    let degraded = endpoint(2, Health::Degraded, 1);
    let all = endpoints(vec![(0, None, [healthy(&[1, 1]), vec![degraded]].concat())]);
    assert_eq!(another(&all, 0, &|i| i == 0, 7), Some(1), "a healthy one first");
    assert_eq!(another(&all, 0, &|i| i < 2, 7), Some(2));
}

fn near(counts: &[usize], expected: &[usize]) {
    for (found, expected) in counts.iter().zip(expected) {
        assert!(found.abs_diff(*expected) <= 250, "{counts:?} is not near {expected}");
    }
}

#[test]
fn weights_are_followed() {
    let all = endpoints(vec![(0, None, healthy(&[1, 2, 3]))]);
    for policy in [Policy::RoundRobin, Policy::Random] {
        near(&counts(&all, policy), &[1000, 2000, 3000]);
    }
    let even = endpoints(vec![(0, None, healthy(&[1, 1, 1]))]);
    for policy in POLICIES {
        near(&counts(&even, policy), &[2000, 2000, 2000]);
    }
}

#[test]
fn unhealthy_and_draining_endpoints_are_not_chosen() {
    let mut list = healthy(&[1, 1, 1, 1, 1]);
    (list[1].health, list[2].health) = (Health::Unhealthy, Health::Draining);
    let all = endpoints(vec![(0, None, list)]);
    for policy in POLICIES {
        near(&counts(&all, policy), &[2000, 0, 0, 2000, 2000]);
        assert_eq!(counts(&all, policy)[1..3], [0, 0]);
    }
}

#[test]
fn when_most_are_unhealthy_all_are_used() {
    let mut list = healthy(&[1, 1, 1]);
    (list[1].health, list[2].health) = (Health::Unhealthy, Health::Unhealthy);
    near(&counts(&endpoints(vec![(0, None, list)]), Policy::RoundRobin), &[2000; 3]);
}

#[test]
fn degraded_endpoints_get_only_what_the_healthy_ones_cannot_carry() {
    use Health::{Degraded as D, Healthy as H, Unhealthy as U};
    for (health, expected) in [
        ([H, H, H, D], [2000, 2000, 2000, 0]),
        ([H, H, D, U], [2100, 2100, 1800, 0]),
        ([H, D, U, U], [3000, 3000, 0, 0]),
        ([D, D, U, U], [3000, 3000, 0, 0]),
        ([D, D, D, D], [1500; 4]),
        ([D, U, U, U], [1500; 4]),
    ] {
        let list = health.iter().enumerate().map(|(i, health)| endpoint(i as u8, *health, 1)).collect();
        let all = endpoints(vec![(0, None, list)]);
        for policy in POLICIES {
            near(&counts(&all, policy), &expected);
        }
    }
}

#[test]
fn a_lower_priority_takes_over() {
    let bad = vec![endpoint(1, Health::Unhealthy, 1)];
    let good = vec![endpoint(2, Health::Healthy, 1)];
    let all = endpoints(vec![(0, None, bad), (1, None, good)]);
    assert_eq!(counts(&all, Policy::RoundRobin), [0, 6000]);
}

#[test]
fn places_share_by_weight() {
    let all = endpoints(vec![
        (0, Some(1), vec![endpoint(1, Health::Healthy, 1)]),
        (0, Some(3), vec![endpoint(2, Health::Healthy, 1)]),
    ]);
    near(&counts(&all, Policy::RoundRobin), &[1500, 4500]);
}

#[test]
fn huge_ring_sizes_are_limited() {
    let all = endpoints(vec![(0, None, healthy(&[1, 1, 2]))]);
    near(&counts(&all, Policy::LeastRequest { choices: u32::MAX }), &[0, 0, 6000]);
}

#[test]
fn without_endpoints_none_is_picked() {
    for all in [endpoints(vec![]), endpoints(vec![(0, None, vec![])])] {
        assert_eq!(counts(&all, Policy::RoundRobin).iter().sum::<usize>(), 0);
    }
}

#[test]
fn the_less_busy_of_two_is_chosen() {
    let all = endpoints(vec![(0, None, healthy(&[1, 1]))]);
    let random = chance();
    let policy = Policy::LeastRequest { choices: 8 };
    let picker = Picker::new(&all, policy, 0, &|_| true, &random);
    let active = |i: usize| if i == 0 { 10 } else { 1 };
    let context = PickContext { active: &active, hash: None, random: &random };
    let second = (0..1000).filter(|_| picker.pick(&context) == Some(1)).count();
    assert!(second > 950, "{second}");
}

#[test]
fn a_key_stays_with_its_endpoint_when_others_go() {
    for policy in [Policy::RingHash { min_size: 1024 }, Policy::Maglev { table_size: 65_537 }] {
        let place = |list: Vec<Endpoint>| {
            let all = endpoints(vec![(0, None, list)]);
            let random = chance();
            let picker = Picker::new(&all, policy, 0, &|_| true, &random);
            (0..2000u64)
                .map(|key| {
                    let hash = Some(consistent::hash(&key.to_le_bytes()));
                    let context = PickContext { active: &|_| 0, hash, random: &random };
                    all.list[picker.pick(&context).unwrap()].address
                })
                .collect::<Vec<_>>()
        };
        let before = place(healthy(&[1; 5]));
        let mut fewer = healthy(&[1; 5]);
        let gone = fewer.remove(4);
        let EndpointAddress::Socket(gone) = gone.address else { unreachable!() };
        let after = place(fewer);
        let moved = before.iter().zip(&after).filter(|(b, a)| **b != gone && b != a).count();
        // The remaining endpoints take over the removed endpoint's points, and thereby some keys of each other.
        assert!(moved < 400, "{policy:?}: {moved} keys moved without need");
        for n in 0..5u8 {
            let share = before.iter().filter(|a| a.ip() == std::net::IpAddr::from([10, 0, 0, n])).count();
            assert!((200..700).contains(&share), "{policy:?}: endpoint {n} has {share} of 2000");
        }
    }
}
