//! Pure. Limits on the number and length of the names that a client subscribes to. A session stores each name, even if
//! there is no such resource.

use super::client_state::ClientState;
use super::request::Request;
use std::collections::BTreeSet;

/// Why a request exceeds the limits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Excess {
    /// More names than a session may store.
    #[error("it subscribes to more than {MAX_NAMES} names")]
    Names,
    /// A name longer than any resource's name.
    #[error("it subscribes to a name of {0} bytes; the limit is {MAX_NAME} bytes")]
    Length(usize),
}

/// Checks a request. `own` is the state of the request's type; `all` is the number of subscribed names of all types.
pub(super) fn check(request: &Request, own: Option<&ClientState>, all: usize) -> Result<(), Excess> {
    let longest = longest(request);
    if longest > MAX_NAME {
        return Err(Excess::Length(longest));
    }
    let subscribed = |name: &str| own.is_some_and(|own| own.is_named(name));
    let (kept, names) = match request {
        Request::Delta(request) => {
            if request.initial_resource_versions.len() > MAX_NAMES {
                return Err(Excess::Names);
            }
            (all, &request.resource_names_subscribe)
        }
        // These names replace the earlier ones.
        Request::Sotw(request) => (all - own.map_or(0, ClientState::count), &request.resource_names),
    };
    if kept + names.len() <= MAX_NAMES {
        return Ok(());
    }
    let delta = matches!(request, Request::Delta(_));
    let distinct: BTreeSet<&str> =
        names.iter().map(String::as_str).filter(|name| !(delta && subscribed(name))).collect();
    if kept + distinct.len() <= MAX_NAMES { Ok(()) } else { Err(Excess::Names) }
}

fn longest(request: &Request) -> usize {
    let length = |names: &[String]| names.iter().map(String::len).max().unwrap_or_default();
    match request {
        Request::Delta(request) => {
            let initial = request.initial_resource_versions.keys().map(String::len).max().unwrap_or_default();
            length(&request.resource_names_subscribe).max(initial)
        }
        Request::Sotw(request) => length(&request.resource_names),
    }
}

impl Request {
    /// Bytes that a session may hold for the names in the request.
    pub fn weight(&self) -> usize {
        match self {
            Self::Delta(request) => {
                let names = request.resource_names_subscribe.iter();
                names.chain(request.initial_resource_versions.keys()).map(|name| weight(name)).sum()
            }
            Self::Sotw(request) => request.resource_names.iter().map(|name| weight(name)).sum(),
        }
    }
}

/// The approximate memory of a name in bytes: its text, and its entries in two tables.
pub(super) fn weight(name: &str) -> usize {
    name.len() + PLACES
}

const PLACES: usize = 128;
/// Names of a session, for all types together: enough for the clusters of 50,000 ports and their endpoints.
pub(super) const MAX_NAMES: usize = 100_000;
/// Bytes of a name. A cluster's name contains a host of up to 253 bytes and a subset of up to 63.
pub(super) const MAX_NAME: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::xds::{DeltaDiscoveryRequest, DiscoveryRequest};

    fn delta(names: impl Iterator<Item = String>) -> Request {
        let resource_names_subscribe = names.collect();
        Request::Delta(DeltaDiscoveryRequest { resource_names_subscribe, ..DeltaDiscoveryRequest::default() })
    }

    fn sotw(names: impl Iterator<Item = String>) -> Request {
        Request::Sotw(DiscoveryRequest { resource_names: names.collect(), ..DiscoveryRequest::default() })
    }

    fn numbers(count: usize) -> impl Iterator<Item = String> {
        (0..count).map(|number| number.to_string())
    }

    #[test]
    fn the_limit_on_names_is_exact() {
        for request in [delta, sotw] as [fn(Box<dyn Iterator<Item = String>>) -> Request; 2] {
            assert_eq!(check(&request(Box::new(numbers(MAX_NAMES))), None, 0), Ok(()));
            assert_eq!(check(&request(Box::new(numbers(MAX_NAMES + 1))), None, 0), Err(Excess::Names));
            let twice = numbers(MAX_NAMES).chain(numbers(10));
            assert_eq!(check(&request(Box::new(twice)), None, 0), Ok(()), "the same names");
        }
        assert_eq!(check(&delta(numbers(1)), None, MAX_NAMES), Err(Excess::Names));
    }

    #[test]
    fn names_that_are_subscribed_already_do_not_count_again() {
        let mut own = ClientState::new();
        numbers(MAX_NAMES).for_each(|name| own.set_named(&name, true));
        let all = own.count();
        assert_eq!(check(&delta(numbers(5)), Some(&own), all), Ok(()));
        assert_eq!(check(&delta(["x".to_owned()].into_iter()), Some(&own), all), Err(Excess::Names));
        assert_eq!(check(&sotw(numbers(MAX_NAMES)), Some(&own), all), Ok(()), "they replace the others");
    }

    #[test]
    fn long_names_and_too_many_announced_resources_are_refused() {
        let long = || std::iter::once("x".repeat(MAX_NAME + 1));
        assert_eq!(check(&delta(long()), None, 0), Err(Excess::Length(MAX_NAME + 1)));
        assert_eq!(check(&sotw(long()), None, 0), Err(Excess::Length(MAX_NAME + 1)));
        let initial = |names: &mut dyn Iterator<Item = String>| {
            Request::Delta(DeltaDiscoveryRequest {
                initial_resource_versions: names.map(|name| (name, String::new())).collect(),
                ..DeltaDiscoveryRequest::default()
            })
        };
        assert_eq!(check(&initial(&mut long()), None, 0), Err(Excess::Length(MAX_NAME + 1)));
        assert_eq!(check(&initial(&mut numbers(MAX_NAMES + 1)), None, 0), Err(Excess::Names));
        assert_eq!(check(&initial(&mut numbers(MAX_NAMES)), None, 0), Ok(()));
    }
}
