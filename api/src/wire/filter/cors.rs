//! Pure. CORS policies of tables, virtual hosts and routes; the filter itself has no settings.

use super::codec::Codec;
use crate::model::filter::cors::CorsPolicy;
use crate::model::filter::{Filter, Setting};
use crate::wire::any::{pack, unpack};
use crate::wire::matcher::{string, wire_string};
use crate::wire::refusal::{Refusal, each, nothing_left, optional};
use crate::wire::scalar::{runtime_fraction, wire_runtime_fraction};
use crate::wire::xds::Any;
use envoy_types::pb::envoy::extensions::filters::http::cors::v3::{Cors, CorsPolicy as Wire};
use envoy_types::pb::google::protobuf::BoolValue;
#[cfg(test)]
use proptest::prelude::*;
use std::mem::take;

pub(super) const FILTER: Codec<Filter> = Codec {
    message: "envoy.extensions.filters.http.cors.v3.Cors",
    read: |any| nothing_left(&unpack::<Cors>(any)?).map(|()| Filter::Cors),
};

pub(super) const SETTING: Codec<Setting> = Codec {
    message: "envoy.extensions.filters.http.cors.v3.CorsPolicy",
    read: |any| unpack(any).and_then(decode).map(Setting::Cors),
};

pub(super) fn encode() -> Any {
    pack(&Cors {})
}

fn decode(mut wire: Wire) -> Result<CorsPolicy, Refusal> {
    let given = |value: Option<BoolValue>| value.map(|value| value.value);
    let found = CorsPolicy {
        allow_origins: each(take(&mut wire.allow_origin_string_match), "allow_origin_string_match", string)?,
        allow_methods: take(&mut wire.allow_methods),
        allow_headers: take(&mut wire.allow_headers),
        expose_headers: take(&mut wire.expose_headers),
        max_age: take(&mut wire.max_age),
        allow_credentials: given(wire.allow_credentials.take()),
        allow_private_network_access: given(wire.allow_private_network_access.take()),
        forward_not_matching_preflights: given(wire.forward_not_matching_preflights.take()),
        enabled: optional(wire.filter_enabled.take(), "filter_enabled", runtime_fraction)?,
        shadow: optional(wire.shadow_enabled.take(), "shadow_enabled", runtime_fraction)?,
    };
    nothing_left(&wire)?;
    Ok(found)
}

pub(super) fn encode_setting(model: &CorsPolicy) -> Any {
    let given = |value: Option<bool>| value.map(|value| BoolValue { value });
    pack(&Wire {
        allow_origin_string_match: model.allow_origins.iter().map(wire_string).collect(),
        allow_methods: model.allow_methods.clone(),
        allow_headers: model.allow_headers.clone(),
        expose_headers: model.expose_headers.clone(),
        max_age: model.max_age.clone(),
        allow_credentials: given(model.allow_credentials),
        allow_private_network_access: given(model.allow_private_network_access),
        forward_not_matching_preflights: given(model.forward_not_matching_preflights),
        filter_enabled: model.enabled.map(wire_runtime_fraction),
        shadow_enabled: model.shadow.map(wire_runtime_fraction),
    })
}

#[cfg(test)]
pub(super) fn arbitrary() -> BoxedStrategy<CorsPolicy> {
    use crate::wire::strategy::basic::{fraction, string_match, text};
    use proptest::collection::vec;
    use proptest::option::of;
    let texts = (text(), text(), text(), text());
    let shares = (of(fraction()), of(fraction()));
    (vec(string_match(), 0..3), texts, any::<[Option<bool>; 3]>(), shares)
        .prop_map(|(allow_origins, texts, given, (enabled, shadow))| CorsPolicy {
            allow_origins,
            allow_methods: texts.0,
            allow_headers: texts.1,
            expose_headers: texts.2,
            max_age: texts.3,
            allow_credentials: given[0],
            allow_private_network_access: given[1],
            forward_not_matching_preflights: given[2],
            enabled,
            shadow,
        })
        .boxed()
}
