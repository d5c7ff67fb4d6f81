//! Pure. Addresses for ServiceEntries that name none, as Istio gives them: from 240.240.0.0/16, which nobody routes, by
//! a hash of namespace and host. The same entries get the same addresses from every pilot, and one that comes or goes
//! changes another's only where their hashes meet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One service that wants addresses.
#[derive(Debug)]
pub(super) struct Claim {
    hash: u32,
    /// ServiceEntries that declare it: Istio gives each a place, and uses the lowest.
    entries: usize,
}

impl Claim {
    pub(super) fn new(namespace: &str, host: &str, entries: usize) -> Self {
        Self { hash: fnv1a(format!("{namespace}/{host}").as_bytes()), entries }
    }
}

/// The addresses of each claim, IPv4 first; none where there are no more. Earlier claims go first where two meet.
pub(super) fn allocate<'a>(claims: impl Iterator<Item = &'a Claim>) -> Vec<Vec<IpAddr>> {
    let mut taken = vec![false; PLACES as usize];
    let mut left = PLACES - UNUSABLE;
    let mut take = |hash: u32| {
        left = left.checked_sub(1)?;
        let place = free(&taken, hash)?;
        taken[place as usize] = true;
        Some(place)
    };
    claims
        .map(|claim| {
            let places = (0..claim.entries).map_while(|_| take(claim.hash));
            places.min().map(addresses).unwrap_or_default()
        })
        .collect()
}

/// The first free place of a hash: by double hashing, and from the beginning where that walks in a circle.
fn free(taken: &[bool], hash: u32) -> Option<u32> {
    let step = PRIME - hash % PRIME;
    let others = (1..PLACES).map(|i| hash.wrapping_add(i.wrapping_mul(step)) % (PLACES - 1));
    let mut places = std::iter::once(hash % PLACES).chain(others).chain(0..PLACES);
    // A last octet of 0 is left out.
    places.find(|place| !(place + 1).is_multiple_of(OCTET) && !taken[*place as usize])
}

fn addresses(place: u32) -> Vec<IpAddr> {
    let number = place + 1;
    let (third, fourth) = ((number / OCTET) as u8, (number % OCTET) as u8);
    let last = u16::from_be_bytes([third, fourth]);
    vec![
        Ipv4Addr::new(240, 240, third, fourth).into(),
        Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0xf0f0, last).into(),
    ]
}

fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// Places for addresses.
const PLACES: u32 = 256 * 254;
/// The largest prime below it that Istio uses.
const PRIME: u32 = 65_011;
/// Addresses of one third octet.
const OCTET: u32 = 255;
/// Places whose last octet would be 0.
const UNUSABLE: u32 = PLACES / OCTET;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn given(hosts: &[(&str, usize)]) -> Vec<String> {
        let claims: Vec<_> = hosts.iter().map(|(host, n)| Claim::new("default", host, *n)).collect();
        let all = allocate(claims.iter());
        all.iter().map(|a| a.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")).collect()
    }

    #[test]
    fn addresses_are_those_that_istio_gives() {
        // From the hash, and from Istio's own test of two entries for one host.
        assert_eq!(given(&[("istio.io", 1)]), ["240.240.122.168 2001:2::f0f0:7aa8"]);
        assert_eq!(given(&[("istio.io", 2)]), ["240.240.91.120 2001:2::f0f0:5b78"]);
    }

    #[test]
    fn one_more_entry_changes_no_other_address() {
        let hosts: Vec<String> = (0..2000).map(|n| format!("{n}.example.com")).collect();
        let all: Vec<_> = hosts.iter().map(|h| (h.as_str(), 1)).collect();
        let before = given(&all[..1999]);
        assert_eq!(before[..], given(&all)[..1999]);
        let distinct: BTreeSet<&String> = before.iter().collect();
        assert_eq!(distinct.len(), before.len(), "no address is given twice");
        assert!(before.iter().all(|a| a.starts_with("240.240.") && !a.contains(".0 ")));
    }

    #[test]
    fn when_all_are_taken_the_last_ones_get_none() {
        let hosts: Vec<String> = (0..PLACES).map(|n| format!("h{n}")).collect();
        let claims: Vec<_> = hosts.iter().map(|h| Claim::new("n", h, 1)).collect();
        let all = allocate(claims.iter());
        assert_eq!(all.iter().filter(|a| a.is_empty()).count(), UNUSABLE as usize);
    }
}
