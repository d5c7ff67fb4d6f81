//! Pure. Settings of role-based access control of requests, for the filter and for routes.

use super::codec::Codec;
use crate::model::authorization::Authorization;
use crate::model::filter::{Filter, Setting};
use crate::wire::any::{pack_in_order, unpack};
use crate::wire::authorization;
use crate::wire::ignored::{METRIC_NAME, OfMessage, field};
use crate::wire::refusal::{At, Refusal, nothing_left, nothing_left_but};
use crate::wire::stable::{RBAC_FILTER, RBAC_ROUTE};
use crate::wire::xds::Any;
use envoy_types::pb::envoy::extensions::filters::http::rbac::v3::{Rbac, RbacPerRoute};
#[cfg(test)]
use proptest::prelude::*;

pub(super) const FILTER: Codec<Filter> = Codec {
    message: "envoy.extensions.filters.http.rbac.v3.RBAC",
    read: |any| unpack(any).and_then(decode).map(Filter::Rbac),
};

pub(super) const SETTING: Codec<Setting> = Codec {
    message: "envoy.extensions.filters.http.rbac.v3.RBACPerRoute",
    read: |any| unpack(any).and_then(decode_setting).map(Setting::Rbac),
};

pub(super) const IGNORED: OfMessage = (
    "envoy.extensions.filters.http.rbac.v3.RBAC",
    &[
        field(3, "shadow_rules_stat_prefix", METRIC_NAME),
        field(6, "rules_stat_prefix", METRIC_NAME),
        field(7, "track_per_rule_stats", METRIC_NAME),
    ],
);

fn decode(mut filter: Rbac) -> Result<Vec<Authorization>, Refusal> {
    let rules = authorization::both(filter.rules.take(), filter.shadow_rules.take())?;
    nothing_left_but(&filter, &IGNORED)?;
    Ok(rules)
}

pub(super) fn encode(model: &[Authorization]) -> Any {
    pack_in_order(&wire(model), &RBAC_FILTER)
}

/// Rules of a route. Without rules, the filter is off for that route.
fn decode_setting(mut wire: RbacPerRoute) -> Result<Vec<Authorization>, Refusal> {
    let rules = wire.rbac.take().map_or(Ok(vec![]), decode).at("rbac")?;
    nothing_left(&wire)?;
    Ok(rules)
}

pub(super) fn encode_setting(model: &[Authorization]) -> Any {
    let rbac = (!model.is_empty()).then(|| wire(model));
    pack_in_order(&RbacPerRoute { rbac }, &RBAC_ROUTE)
}

/// Encodes enforced and shadow rules, which share a filter.
fn wire(model: &[Authorization]) -> Rbac {
    let of = |shadow: bool| model.iter().find(|rules| rules.shadow == shadow).map(authorization::encode);
    Rbac { rules: of(false), shadow_rules: of(true), ..Rbac::default() }
}

/// One set of enforced rules, one of shadow rules, both or none.
#[cfg(test)]
pub(super) fn arbitrary() -> BoxedStrategy<Vec<Authorization>> {
    use crate::wire::strategy::security::authorization;
    let rules = |shadow| authorization().prop_map(move |a| Authorization { shadow, ..a });
    (proptest::option::of(rules(false)), proptest::option::of(rules(true)))
        .prop_map(|(enforced, shadow)| enforced.into_iter().chain(shadow).collect())
        .boxed()
}
