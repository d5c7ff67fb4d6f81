//! Pure. Listener filters, and the ports for which they are disabled (`ListenerFilterChainMatchPredicate`).
//!
//! A predicate depends on the destination port alone, so it is read as a set of ports. Envoy evaluates it when the
//! filter's turn comes: before `original_dst` the port is that of the listener, after it the original one.

use super::any::{config_type, pack, typed};
use super::refusal::{At, Refusal, each, nothing_left, refuse, required};
use super::scalar::{limit, wire_limit};
use crate::model::listener::Inspect;
use crate::model::port_set::PortSet;
use envoy_types::pb::envoy::config::listener::v3 as wire;
use envoy_types::pb::envoy::config::listener::v3::listener_filter_chain_match_predicate::{MatchSet, Rule};
use envoy_types::pb::envoy::extensions::filters::listener::http_inspector::v3::HttpInspector;
use envoy_types::pb::envoy::extensions::filters::listener::original_dst::v3::OriginalDst;
use envoy_types::pb::envoy::extensions::filters::listener::tls_inspector::v3::TlsInspector;
use envoy_types::pb::envoy::r#type::v3::Int32Range;
use prost::Name;
use std::mem::take;
use std::time::Duration;
use wire::ListenerFilterChainMatchPredicate as Predicate;

/// Takes the listener filters and their timeout out of a listener.
pub(super) fn decode(wire: &mut wire::Listener) -> Result<Inspect, Refusal> {
    let mut found = Inspect {
        timeout: limit(wire.listener_filters_timeout.take(), "listener_filters_timeout", TIMEOUT)?,
        continue_on_timeout: take(&mut wire.continue_on_listener_filters_timeout),
        ..Inspect::default()
    };
    each(take(&mut wire.listener_filters), "listener_filters", |filter| listener_filter(filter, &mut found))?;
    Ok(found)
}

/// Puts the listener filters and their timeout into a listener.
pub(super) fn encode(model: &Inspect, listener: wire::Listener) -> wire::Listener {
    let filter = |name: &str, ports: &PortSet, config| {
        let filter = wire::ListenerFilter {
            name: format!("envoy.filters.listener.{name}"),
            filter_disabled: wire_predicate(&ports.complement()),
            config_type: Some(wire::listener_filter::ConfigType::TypedConfig(config)),
        };
        (!ports.is_empty()).then_some(filter)
    };
    let original = filter("original_dst", &model.original_destination, pack(&OriginalDst {}));
    let tls = filter("tls_inspector", &model.tls, pack(&TlsInspector::default()));
    let http = filter("http_inspector", &model.http, pack(&HttpInspector {}));
    wire::Listener {
        listener_filters: original.into_iter().chain(tls).chain(http).collect(),
        listener_filters_timeout: wire_limit(model.timeout, TIMEOUT),
        continue_on_listener_filters_timeout: model.continue_on_timeout,
        ..listener
    }
}

fn listener_filter(mut filter: wire::ListenerFilter, found: &mut Inspect) -> Result<(), Refusal> {
    let name = take(&mut filter.name);
    let Some(wire::listener_filter::ConfigType::TypedConfig(config)) = filter.config_type.take() else {
        return required(None, "typed_config");
    };
    let disabled = filter.filter_disabled.take().map_or(Ok(PortSet::none()), predicate);
    let enabled = disabled.at("filter_disabled")?.complement();
    nothing_left(&filter)?;
    let kind = config_type(&config)?;
    let field = if kind == OriginalDst::full_name() {
        if [&found.tls, &found.http].into_iter().any(is_conditional) {
            return refuse("stands after a filter with filter_disabled, whose port it would change");
        }
        &mut found.original_destination
    } else if kind == TlsInspector::full_name() {
        nothing_left(&typed::<TlsInspector>(&config)?).at("typed_config")?;
        &mut found.tls
    } else if kind == HttpInspector::full_name() {
        &mut found.http
    } else {
        return refuse(format!("listener filter {name} ({kind}) is not supported"));
    };
    *field = field.union(&enabled);
    Ok(())
}

fn is_conditional(ports: &PortSet) -> bool {
    !ports.is_empty() && *ports != PortSet::all()
}

/// The ports that a predicate matches.
fn predicate(wire: Predicate) -> Result<PortSet, Refusal> {
    match wire.rule {
        None => refuse("is empty"),
        Some(Rule::AnyMatch(true)) => Ok(PortSet::all()),
        // Envoy refuses `false` too.
        Some(Rule::AnyMatch(false)) => refuse("must be true").at("any_match"),
        Some(Rule::DestinationPortRange(range)) => Ok(ports(range)),
        Some(Rule::NotMatch(inner)) => predicate(*inner).map(|set| set.complement()).at("not_match"),
        Some(Rule::OrMatch(set)) => match_set(set, PortSet::none(), PortSet::union).at("or_match"),
        Some(Rule::AndMatch(set)) => match_set(set, PortSet::all(), PortSet::intersection).at("and_match"),
    }
}

fn match_set(
    set: MatchSet,
    start: PortSet,
    combine: fn(&PortSet, &PortSet) -> PortSet,
) -> Result<PortSet, Refusal> {
    if set.rules.len() < 2 {
        return refuse("has fewer than two rules").at("rules");
    }
    let sets = each(set.rules, "rules", predicate)?;
    Ok(sets.iter().fold(start, |all, set| combine(&all, set)))
}

/// The ports from `start` on and before `end`. Envoy takes both for unsigned, so that a negative one is above all ports.
fn ports(range: Int32Range) -> PortSet {
    let (start, end) = (range.start.cast_unsigned(), range.end.cast_unsigned());
    let last = u16::try_from(end.saturating_sub(1).min(u16::MAX.into()));
    match (u16::try_from(start), last) {
        (Ok(first), Ok(last)) if end > 0 => PortSet::range(first..=last),
        _ => PortSet::none(),
    }
}

/// The predicate that matches these ports; `None`: no port.
fn wire_predicate(ports: &PortSet) -> Option<Predicate> {
    if *ports == PortSet::all() {
        return Some(Predicate { rule: Some(Rule::AnyMatch(true)) });
    }
    let mut rules: Vec<_> = ports
        .ranges()
        .iter()
        .map(|range| Int32Range { start: (*range.start()).into(), end: i32::from(*range.end()) + 1 })
        .map(|range| Predicate { rule: Some(Rule::DestinationPortRange(range)) })
        .collect();
    if rules.len() < 2 {
        rules.pop()
    } else {
        Some(Predicate { rule: Some(Rule::OrMatch(MatchSet { rules })) })
    }
}

const TIMEOUT: Option<Duration> = Some(Duration::from_secs(15));

#[cfg(test)]
mod tests {
    use super::*;
    use std::ops::RangeInclusive;

    fn range(start: i32, end: i32) -> Rule {
        Rule::DestinationPortRange(Int32Range { start, end })
    }

    fn not(rule: Rule) -> Rule {
        Rule::NotMatch(Box::new(Predicate { rule: Some(rule) }))
    }

    fn set<const N: usize>(rules: [Rule; N]) -> MatchSet {
        MatchSet { rules: rules.map(|rule| Predicate { rule: Some(rule) }).into() }
    }

    fn decoded(rule: Option<Rule>) -> Result<PortSet, String> {
        predicate(Predicate { rule }).map_err(|r| format!("{}: {}", r.path(), r.reason))
    }

    #[test]
    fn each_form_of_a_predicate_is_a_set_of_ports() {
        let cases: [(Rule, &[RangeInclusive<u16>]); 15] = [
            (Rule::AnyMatch(true), &[0..=65_535]),
            (range(80, 81), &[80..=80]),
            (range(80, 80), &[]),
            (range(81, 80), &[]),
            (range(-5, 3), &[]),
            (range(-1, 100_000), &[]),
            (range(80, -1), &[80..=65_535]),
            (range(0, 0), &[]),
            (range(65_535, 70_000), &[65_535..=65_535]),
            (range(70_000, 80_000), &[]),
            (range(i32::MIN, i32::MIN), &[]),
            (not(range(80, 81)), &[0..=79, 81..=65_535]),
            (not(not(range(80, 81))), &[80..=80]),
            (Rule::OrMatch(set([range(80, 82), range(8080, 8081)])), &[80..=81, 8080..=8080]),
            (Rule::AndMatch(set([range(80, 90), not(range(85, 86))])), &[80..=84, 86..=89]),
        ];
        for (rule, expected) in cases {
            let found = decoded(Some(rule.clone())).unwrap();
            assert_eq!(found.ranges(), expected, "{rule:?}");
        }
    }

    #[test]
    fn predicates_that_envoy_refuses_are_refused_by_field() {
        for (rule, expected) in [
            (None, ": is empty"),
            (Some(Rule::AnyMatch(false)), "any_match: must be true"),
            (Some(Rule::OrMatch(set([range(1, 2)]))), "or_match.rules: has fewer than two rules"),
            (Some(not(Rule::AndMatch(set([])))), "not_match.and_match.rules: has fewer than two rules"),
            (
                Some(Rule::OrMatch(set([range(1, 2), Rule::AnyMatch(false)]))),
                "or_match.rules[1].any_match: must be true",
            ),
        ] {
            assert_eq!(decoded(rule.clone()), Err(expected.to_owned()), "{rule:?}");
        }
    }

    #[test]
    fn the_port_of_a_predicate_must_be_the_original_one() {
        let filter = |config, rule: Option<Rule>| wire::ListenerFilter {
            name: "x".into(),
            filter_disabled: rule.map(|rule| Predicate { rule: Some(rule) }),
            config_type: Some(wire::listener_filter::ConfigType::TypedConfig(config)),
        };
        let tls = |rule| filter(pack(&TlsInspector::default()), rule);
        let original = || filter(pack(&OriginalDst {}), None);
        let of = |filters| {
            let mut listener = wire::Listener { listener_filters: filters, ..wire::Listener::default() };
            decode(&mut listener).map_err(|r| format!("{}: {}", r.path(), r.reason))
        };
        assert!(of(vec![original(), tls(Some(range(80, 81)))]).is_ok());
        assert!(of(vec![tls(None), original()]).is_ok());
        let refused = of(vec![tls(Some(range(80, 81))), original()]).unwrap_err();
        assert!(refused.starts_with("listener_filters[1]: stands after"), "{refused}");
    }
}
