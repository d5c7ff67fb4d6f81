//! Recordings without the filters that only Istio's build of Envoy has.

use super::recording::Recording;
use api::model::Kind;
use api::wire::xds::Any;
use prost::Message;
use prost::encoding::{
    DecodeContext, WireType, decode_key, decode_varint, encode_key, encode_varint, skip_field,
};

/// Leaves out the filters that only Istio's build of Envoy has, so that an unmodified Envoy takes the rest, of which every
/// byte stays.
pub fn for_stock_envoy(mut recording: Recording) -> Recording {
    for body in recording.entry(Kind::Listener).or_default().values_mut() {
        for chains in [FILTER_CHAINS, DEFAULT_CHAIN] {
            body.value = rewritten(&body.value, chains, &|chain| {
                Some(rewritten(chain, FILTERS, &|filter| network_filter(filter)))
            });
        }
    }
    for body in recording.entry(Kind::Cluster).or_default().values_mut() {
        body.value = rewritten(&body.value, CLUSTER_FILTERS, &|filter| {
            (!is_istios(ClusterFilter::decode(filter).ok()?.config)).then(|| filter.to_vec())
        });
    }
    recording
}

/// A network filter; `None` if it is one of Istio's.
fn network_filter(filter: &[u8]) -> Option<Vec<u8>> {
    if is_istios(ChainFilter::decode(filter).ok()?.config) {
        return None;
    }
    // The connection manager is the only message that has filters at this place.
    Some(rewritten(filter, TYPED_CONFIG, &|config| {
        Some(rewritten(config, VALUE, &|value| {
            let is_http =
                Any::decode(config).is_ok_and(|any| any.type_url.ends_with(".HttpConnectionManager"));
            let kept = |filter: &[u8]| {
                (!is_istios(ChainFilter::decode(filter).ok()?.config)).then(|| filter.to_vec())
            };
            Some(if is_http { rewritten(value, HTTP_FILTERS, &kept) } else { value.to_vec() })
        }))
    }))
}

/// Whether a filter's type is one of Istio's. Those without a published message are sent as `TypedStruct`.
fn is_istios(config: Option<Any>) -> bool {
    let url = config.map(|config| config.type_url).unwrap_or_default();
    let name = url.rsplit('/').next().unwrap_or_default();
    ["istio.", "stats.", "envoy.tcp.metadataexchange."].iter().any(|start| name.starts_with(start))
        || name.ends_with(".TypedStruct")
}

/// An encoded message in which each value of a field of messages or bytes is replaced, or left out.
fn rewritten(message: &[u8], field: u32, change: &dyn Fn(&[u8]) -> Option<Vec<u8>>) -> Vec<u8> {
    let (mut out, mut rest) = (vec![], message);
    while !rest.is_empty() {
        let begin = rest;
        let (tag, kind) = decode_key(&mut rest).expect("it is a message");
        let mut after = rest;
        skip_field(kind, tag, &mut after, DecodeContext::default()).expect("it is a message");
        if tag == field && kind == WireType::LengthDelimited {
            let length = decode_varint(&mut rest).expect("it is a message");
            if let Some(value) = change(&rest[..usize::try_from(length).expect("it fits")]) {
                encode_key(tag, kind, &mut out);
                encode_varint(value.len() as u64, &mut out);
                out.extend(value);
            }
        } else {
            out.extend(&begin[..begin.len() - after.len()]);
        }
        rest = after;
    }
    out
}

/// `Filter` of a filter chain and `HttpFilter`, as far as they are alike.
#[derive(Clone, PartialEq, Message)]
struct ChainFilter {
    #[prost(message, optional, tag = "4")]
    config: Option<Any>,
}

/// `Filter` of a cluster.
#[derive(Clone, PartialEq, Message)]
struct ClusterFilter {
    #[prost(message, optional, tag = "2")]
    config: Option<Any>,
}

const FILTER_CHAINS: u32 = 3;
const DEFAULT_CHAIN: u32 = 25;
const FILTERS: u32 = 3;
const CLUSTER_FILTERS: u32 = 40;
const HTTP_FILTERS: u32 = 5;
const TYPED_CONFIG: u32 = 4;
const VALUE: u32 = 2;
