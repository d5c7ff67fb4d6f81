//! Pure. Allocates virtual addresses to ServiceEntries that declare none, as Istio does: from 240.240.0.0/16, which is
//! not routable, by a hash of namespace and host. Every pilot allocates the same addresses to the same entries. Adding
//! or removing an entry changes another entry's address only if their hashes collide.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A service that needs allocated addresses.
#[derive(Debug)]
pub(super) struct Claim {
    hash: u32,
    /// The number of ServiceEntries that declare the service. Istio allocates a place for each and uses the lowest.
    entries: usize,
}

impl Claim {
    pub(super) fn new(namespace: &str, host: &str, entries: usize) -> Self {
        Self { hash: fnv1a(format!("{namespace}/{host}").as_bytes()), entries }
    }
}

/// Returns the addresses of each claim, IPv4 first. A claim gets none when the range is exhausted. On a collision the
/// earlier claim wins.
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

/// Returns the first free place for a hash: by double hashing, and by a linear scan if the probe sequence cycles.
fn free(taken: &[bool], hash: u32) -> Option<u32> {
    let step = PRIME - hash % PRIME;
    let others = (1..PLACES).map(|i| hash.wrapping_add(i.wrapping_mul(step)) % (PLACES - 1));
    let mut places = std::iter::once(hash % PLACES).chain(others).chain(0..PLACES);
    // An address whose last octet is 0 is skipped.
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

/// The number of places in the range.
const PLACES: u32 = 256 * 254;
/// The largest prime below `PLACES` that Istio uses.
const PRIME: u32 = 65_011;
/// The number of usable addresses that share a third octet.
const OCTET: u32 = 255;
/// The number of places whose last octet would be 0.
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
    fn automatic_addresses_equal_istios() {
        // One address follows from the hash alone; the other is from Istio's own test of two entries for one host.
        assert_eq!(given(&[("istio.io", 1)]), ["240.240.122.168 2001:2::f0f0:7aa8"]);
        assert_eq!(given(&[("istio.io", 2)]), ["240.240.91.120 2001:2::f0f0:5b78"]);
    }

    #[test]
    fn another_entry_changes_no_existing_address() {
        let hosts: Vec<String> = (0..2000).map(|n| format!("{n}.example.com")).collect();
        let all: Vec<_> = hosts.iter().map(|h| (h.as_str(), 1)).collect();
        let before = given(&all[..1999]);
        assert_eq!(before[..], given(&all)[..1999]);
        let distinct: BTreeSet<&String> = before.iter().collect();
        assert_eq!(distinct.len(), before.len(), "no address is given twice");
        assert!(before.iter().all(|a| a.starts_with("240.240.") && !a.contains(".0 ")));
    }

    #[test]
    fn entries_get_no_address_when_all_are_taken() {
        let hosts: Vec<String> = (0..PLACES).map(|n| format!("h{n}")).collect();
        let claims: Vec<_> = hosts.iter().map(|h| Claim::new("n", h, 1)).collect();
        let all = allocate(claims.iter());
        assert_eq!(all.iter().filter(|a| a.is_empty()).count(), UNUSABLE as usize);
    }
}
