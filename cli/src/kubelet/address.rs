//! Pure. Allocates addresses of pods and services from two fixed ranges. A service gets the same address for the same
//! name as long as the address is free.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// The node's address: DNS server, control plane and gateway of all pods.
pub const NODE: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 1);
/// First address and prefix length of the pod range.
pub const PODS: (Ipv4Addr, u32) = (Ipv4Addr::new(10, 244, 0, 0), 16);
/// First address and size of the pod range.
const POD_RANGE: (Ipv4Addr, u32) = (PODS.0, 1 << (32 - PODS.1));
/// First address and size of the service range.
const SERVICES: (Ipv4Addr, u32) = (Ipv4Addr::new(10, 96, 0, 0), 1 << 20);
/// The first addresses of a range belong to the node.
const RESERVED: u32 = 2;

/// Allocates a pod's address: the lowest free address above the last one, so that an address is not reused at once.
pub fn pod(last: Option<Ipv4Addr>, taken: &BTreeSet<Ipv4Addr>) -> Option<Ipv4Addr> {
    let start = last.map_or(RESERVED, |last| u32::from(last) - u32::from(PODS.0) + 1);
    pick(POD_RANGE, start, taken)
}

/// Allocates a service's address, derived from its name.
pub fn service(namespace: &str, name: &str, taken: &BTreeSet<Ipv4Addr>) -> Option<Ipv4Addr> {
    let seed = fnv(&[namespace, "/", name]);
    pick(SERVICES, (seed % u64::from(SERVICES.1)) as u32, taken)
}

/// The hardware address of a link, derived from its IP address: locally administered, in the form of container
/// networks.
pub fn hardware(address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!("0a:58:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

/// Whether an address is in the service range.
pub fn is_service(address: Ipv4Addr) -> bool {
    let offset = u32::from(address).wrapping_sub(u32::from(SERVICES.0));
    (RESERVED..SERVICES.1 - 1).contains(&offset)
}

/// Whether an address is in the pod range.
pub fn is_pod(address: Ipv4Addr) -> bool {
    u32::from(address).wrapping_sub(u32::from(POD_RANGE.0)) < POD_RANGE.1
}

/// A stable hash of text.
pub fn fnv(parts: &[&str]) -> u64 {
    parts
        .iter()
        .flat_map(|part| part.bytes())
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn pick(range: (Ipv4Addr, u32), start: u32, taken: &BTreeSet<Ipv4Addr>) -> Option<Ipv4Addr> {
    let usable = range.1 - RESERVED - 1;
    let start = start.max(RESERVED) - RESERVED;
    (0..usable)
        .map(|step| Ipv4Addr::from(u32::from(range.0) + RESERVED + (start + step) % usable))
        .find(|address| !taken.contains(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_count_up_and_wrap_around_taken_addresses() {
        let taken = BTreeSet::from([Ipv4Addr::new(10, 244, 0, 2)]);
        assert_eq!(pod(None, &taken), Some(Ipv4Addr::new(10, 244, 0, 3)));
        assert_eq!(pod(Some(Ipv4Addr::new(10, 244, 255, 254)), &taken), Some(Ipv4Addr::new(10, 244, 0, 3)));
    }

    #[test]
    fn a_service_keeps_its_address_unless_it_is_taken() {
        let first = service("default", "reviews", &BTreeSet::new()).unwrap();
        assert_eq!(service("default", "reviews", &BTreeSet::new()), Some(first));
        assert!(is_service(first));
        let second = service("default", "reviews", &BTreeSet::from([first])).unwrap();
        assert_ne!(first, second);
        assert!(!is_service(NODE));
    }

    #[test]
    fn a_hardware_address_is_unicast_and_locally_administered() {
        assert_eq!(hardware(NODE), "0a:58:0a:f4:00:01");
    }
}
