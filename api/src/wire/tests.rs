//! The codec as a whole: decoding inverts encoding, refusals name their field, arbitrary bytes cause no panic.

use super::*;
use crate::model::listener::{FilterChain, Protocol};
use proptest::prelude::*;
use prost::Message;

const ISTIO: Target = Target { istio_extensions: true };
const STOCK: Target = Target { istio_extensions: false };

proptest! {
    #[test]
    fn decoding_inverts_encoding(resource in strategy::resource()) {
        let any = encode(&resource, &ISTIO);
        prop_assert_eq!(any.type_url.as_str(), resource.kind().type_url());
        prop_assert_eq!(decode(&any), Ok(resource));
    }

    #[test]
    fn equal_resources_have_equal_bytes(resource in strategy::resource()) {
        prop_assert_eq!(encode(&resource, &ISTIO), encode(&resource.clone(), &ISTIO));
    }

    #[test]
    fn stock_envoy_gets_everything_but_the_filters_it_lacks(resource in strategy::resource()) {
        prop_assert_eq!(decode(&encode(&resource, &STOCK)), Ok(without_istio_filters(resource)));
    }

    #[test]
    fn random_bytes_are_survived(kind in 0..7usize, value in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&Any { type_url: Kind::ALL[kind].type_url().into(), value });
    }

    #[test]
    fn damaged_resources_are_survived(
        resource in strategy::resource(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut any = encode(&resource, &ISTIO);
        for (at, byte) in damage {
            if !any.value.is_empty() {
                let at = at.index(any.value.len());
                any.value[at] = byte;
            }
        }
        if let Ok(found) = decode(&any) {
            // Encoding and decoding again gives the same value.
            prop_assert_eq!(decode(&encode(&found, &ISTIO)), Ok(found));
        }
    }
}

fn without_istio_filters(resource: Resource) -> Resource {
    let strip = |chain: &mut FilterChain| {
        if let Protocol::Http(http) = &mut chain.protocol {
            http.filters.retain(|filter| !filter.kind.is_istios());
        }
    };
    match resource {
        Resource::Listener(mut listener) => {
            listener.chains.iter_mut().chain(&mut listener.default_chain).for_each(strip);
            Resource::Listener(listener)
        }
        other => other,
    }
}

#[test]
fn a_type_that_is_not_ours_is_refused_by_its_name() {
    let any = Any { type_url: "type.googleapis.com/envoy.config.route.v3.VirtualHost".into(), value: vec![] };
    let error = decode(&any).unwrap_err();
    assert_eq!(
        error.to_string(),
        "VirtualHost \"\": resources of type type.googleapis.com/envoy.config.route.v3.VirtualHost are not supported"
    );
}

#[test]
fn a_message_nested_deeper_than_the_parsers_limit_is_refused() {
    use envoy_types::pb::envoy::config::rbac::v3::{Permission, permission::Rule};
    let mut rule = Permission { rule: Some(Rule::Any(true)) };
    for _ in 0..500 {
        rule = Permission { rule: Some(Rule::NotRule(Box::new(rule))) };
    }
    assert!(Permission::decode(rule.encode_to_vec().as_slice()).is_err());
}
