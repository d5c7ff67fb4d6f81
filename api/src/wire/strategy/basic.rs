//! Arbitrary parts of all kinds of resources: names, addresses, durations, matchers, changes to headers, logs.

use crate::model::access_log::{AccessLog, JsonFormat, LogFormat, LogSink};
use crate::model::matcher::*;
use ipnet::IpNet;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

pub(in crate::wire) fn name() -> BoxedStrategy<String> {
    "[a-z][a-z0-9.|_-]{0,10}".boxed()
}

pub(in crate::wire) fn text() -> BoxedStrategy<String> {
    "\\PC{0,8}".boxed()
}

/// Never zero, which would mean "no limit".
pub(in crate::wire) fn duration() -> BoxedStrategy<Duration> {
    (1u64..100_000_000).prop_map(Duration::from_millis).boxed()
}

pub(in crate::wire) fn ip() -> BoxedStrategy<IpAddr> {
    prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u8; 16]>().prop_map(IpAddr::from)].boxed()
}

pub(in crate::wire) fn socket() -> BoxedStrategy<SocketAddr> {
    (ip(), any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port)).boxed()
}

pub(in crate::wire) fn net() -> BoxedStrategy<IpNet> {
    (ip(), 0u8..=128)
        .prop_map(|(ip, n)| IpNet::new(ip, if ip.is_ipv4() { n % 33 } else { n }).unwrap())
        .boxed()
}

pub(in crate::wire) fn fraction() -> BoxedStrategy<Fraction> {
    prop_oneof![Just(100u32), Just(10_000), Just(1_000_000)]
        .prop_flat_map(|d| (0..=d).prop_map(move |n| Fraction { numerator: n, denominator: d }))
        .boxed()
}

pub(in crate::wire) fn string_match() -> BoxedStrategy<StringMatch> {
    let pattern = prop_oneof![
        text().prop_map(Pattern::Exact),
        text().prop_map(Pattern::Prefix),
        text().prop_map(Pattern::Suffix),
        text().prop_map(Pattern::Contains),
        text().prop_map(Pattern::Regex),
    ];
    (pattern, any::<bool>()).prop_map(|(pattern, ignore_case)| StringMatch { pattern, ignore_case }).boxed()
}

pub(in crate::wire) fn header_match() -> BoxedStrategy<HeaderMatch> {
    let test = prop_oneof![
        any::<bool>().prop_map(HeaderTest::Present),
        string_match().prop_map(HeaderTest::Text),
        (any::<i64>(), any::<i64>()).prop_map(|(a, b)| HeaderTest::Range(a, b)),
    ];
    (name(), test, any::<bool>(), any::<bool>())
        .prop_map(|(name, test, invert, missing_as_empty)| HeaderMatch {
            name,
            test,
            invert,
            missing_as_empty,
        })
        .boxed()
}

pub(in crate::wire) fn mutations() -> BoxedStrategy<HeaderMutations> {
    let action = prop_oneof![
        Just(HeaderAction::Append),
        Just(HeaderAction::Set),
        Just(HeaderAction::AddIfAbsent),
        Just(HeaderAction::SetIfPresent),
    ];
    let write =
        (name(), text(), action).prop_map(|(name, value, action)| HeaderWrite { name, value, action });
    (vec(name(), 0..2), vec(write, 0..3))
        .prop_map(|(remove, write)| HeaderMutations { remove, write })
        .boxed()
}

pub(in crate::wire) fn access_log() -> BoxedStrategy<AccessLog> {
    let sink = prop_oneof![
        Just(LogSink::Stdout),
        Just(LogSink::Stderr),
        name().prop_map(|n| LogSink::File(format!("/var/log/{n}"))),
    ];
    let format = prop_oneof![1 => Just(LogFormat::DefaultText), 2 => log_format()];
    (sink, format, any::<bool>())
        .prop_map(|(sink, format, omit_empty)| AccessLog { sink, format, omit_empty })
        .boxed()
}

/// A format that the configuration gives explicitly.
pub(in crate::wire) fn log_format() -> BoxedStrategy<LogFormat> {
    prop_oneof![
        text().prop_map(LogFormat::Text),
        btree_map(name(), json_format(), 0..4).prop_map(|m| LogFormat::Json(m.into_iter().collect())),
    ]
    .boxed()
}

fn json_format() -> BoxedStrategy<JsonFormat> {
    let constant = prop_oneof![Just("null"), Just("true"), Just("-1"), Just("0.5")];
    let leaf = prop_oneof![
        3 => text().prop_map(JsonFormat::Text),
        1 => constant.prop_map(|text| JsonFormat::Constant(text.into())),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            btree_map(name(), inner.clone(), 0..3).prop_map(|m| JsonFormat::Object(m.into_iter().collect())),
            vec(inner, 0..3).prop_map(JsonFormat::List),
        ]
    })
    .boxed()
}
