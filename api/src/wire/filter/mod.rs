//! Pure. HTTP filters and their settings in routes. One file per filter holds its codec, the fields of its messages
//! that have no effect and the arbitrary values of the property test; the tables here join them.

mod buffer;
mod cors;
mod fault;
mod grpc_web;
mod health_check;
mod istio;
mod plain;
mod rbac;

mod codec;

use super::any::{config_type, pack, typed};
#[cfg(test)]
use super::ignored;
use super::refusal::{At, Refusal, nothing_left, refuse, required};
use super::target::Target;
use super::xds::Any;
use crate::model::filter::{Filter, FilterOverride, HttpFilter, Setting};
use crate::model::listener::Direction;
use codec::Codec;
use envoy_types::pb::envoy::config::route::v3::FilterConfig;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as wire;
#[cfg(test)]
use proptest::prelude::*;
use prost::Name;
use std::collections::HashMap;
use std::mem::take;
use wire::http_filter::ConfigType;

/// Decoders of listeners' filters.
const FILTERS: &[Codec<Filter>] = &[
    fault::FILTER,
    rbac::FILTER,
    plain::ROUTER,
    buffer::FILTER,
    cors::FILTER,
    grpc_web::FILTER,
    health_check::FILTER,
    plain::GRPC_STATS,
    istio::ALPN_FILTER,
    istio::STATS_FILTER,
    istio::PEER_METADATA_FILTER,
];

/// Decoders of settings in tables, virtual hosts and routes.
const SETTINGS: &[Codec<Setting>] = &[buffer::SETTING, cors::SETTING, fault::SETTING, rbac::SETTING];

/// Fields of filters' messages that are read and have no effect.
#[cfg(test)]
pub(super) const IGNORED: &[&ignored::OfMessage] =
    &[&fault::IGNORED, &rbac::IGNORED, &plain::ROUTER_IGNORED, &plain::GRPC_STATS_IGNORED];

/// Encodes a filter's settings.
fn encode_filter(filter: &Filter, direction: Direction) -> Any {
    match filter {
        Filter::Fault(fault) => fault::encode(fault),
        Filter::Rbac(rules) => rbac::encode(rules),
        Filter::Buffer(buffer) => buffer::encode(*buffer),
        Filter::Cors => cors::encode(),
        Filter::GrpcWeb => grpc_web::encode(),
        Filter::HealthCheck(check) => health_check::encode(check),
        Filter::GrpcStats => plain::grpc_stats(),
        Filter::Alpn => istio::alpn(),
        Filter::Stats => istio::stats(),
        Filter::PeerMetadata => istio::peer_metadata(direction),
        Filter::Router => plain::router(),
    }
}

fn encode_setting(setting: &Setting) -> Any {
    match setting {
        Setting::Off => pack(&FilterConfig { disabled: true, ..FilterConfig::default() }),
        Setting::Buffer(buffer) => buffer::encode_setting(*buffer),
        Setting::Cors(policy) => cors::encode_setting(policy),
        Setting::Fault(fault) => fault::encode(fault),
        Setting::Rbac(rules) => rbac::encode_setting(rules),
    }
}

/// Arbitrary filters, for the property that decoding inverts encoding.
#[cfg(test)]
pub(super) fn arbitrary() -> BoxedStrategy<HttpFilter> {
    let kind = prop_oneof![
        fault::arbitrary().prop_map(Filter::Fault),
        rbac::arbitrary().prop_map(Filter::Rbac),
        buffer::arbitrary().prop_map(Filter::Buffer),
        health_check::arbitrary().prop_map(Filter::HealthCheck),
        Just(Filter::Cors),
        Just(Filter::GrpcWeb),
        Just(Filter::GrpcStats),
        Just(Filter::Alpn),
        Just(Filter::Stats),
        Just(Filter::PeerMetadata),
        Just(Filter::Router),
    ];
    let name = proptest::option::of(super::strategy::basic::name());
    (kind, name, any::<bool>())
        .prop_map(|(kind, name, disabled)| {
            let usual = HttpFilter::from(kind);
            HttpFilter { name: name.unwrap_or(usual.name), disabled, kind: usual.kind }
        })
        .boxed()
}

/// Arbitrary settings of a route, sorted by filter name.
#[cfg(test)]
pub(super) fn arbitrary_settings() -> BoxedStrategy<Vec<FilterOverride>> {
    let setting = prop_oneof![
        Just(Setting::Off),
        buffer::arbitrary().prop_map(Setting::Buffer),
        cors::arbitrary().prop_map(Setting::Cors),
        fault::arbitrary().prop_map(Setting::Fault),
        rbac::arbitrary().prop_map(Setting::Rbac),
    ];
    proptest::collection::btree_map(super::strategy::basic::name(), setting, 0..3)
        .prop_map(|settings| {
            settings.into_iter().map(|(name, setting)| FilterOverride { name, setting }).collect()
        })
        .boxed()
}

/// Decodes a filter; `None` for an unknown filter that is optional.
pub(super) fn decode(mut filter: wire::HttpFilter) -> Result<Option<HttpFilter>, Refusal> {
    let name = take(&mut filter.name);
    let optional = take(&mut filter.is_optional);
    let disabled = take(&mut filter.disabled);
    let Some(ConfigType::TypedConfig(config)) = filter.config_type.take() else {
        return required(None, "typed_config");
    };
    nothing_left(&filter)?;
    let kind = config_type(&config)?;
    match FILTERS.iter().find(|codec| codec.message == kind) {
        Some(codec) => {
            let kind = (codec.read)(&config).at("typed_config")?;
            Ok(Some(HttpFilter { name, disabled, kind }))
        }
        None if optional => Ok(None),
        None => refuse(format!("filter {name} ({kind}) is not supported")),
    }
}

/// Encodes a filter; `None` if the client lacks it.
pub(super) fn encode(filter: &HttpFilter, direction: Direction, target: Target) -> Option<wire::HttpFilter> {
    if filter.kind.is_istios() && !target.istio_extensions {
        return None;
    }
    Some(wire::HttpFilter {
        name: filter.name.clone(),
        disabled: filter.disabled,
        config_type: Some(ConfigType::TypedConfig(encode_filter(&filter.kind, direction))),
        ..wire::HttpFilter::default()
    })
}

/// The settings in `typed_per_filter_config`, sorted by filter name.
pub(super) fn settings(wire: HashMap<String, Any>) -> Result<Vec<FilterOverride>, Refusal> {
    let mut found = vec![];
    for (name, config) in wire {
        let setting = setting(&config).at_item(FIELD, &name)?;
        found.extend(setting.map(|setting| FilterOverride { name, setting }));
    }
    found.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

pub(super) fn wire_settings(model: &[FilterOverride]) -> HashMap<String, Any> {
    model.iter().map(|of| (of.name.clone(), encode_setting(&of.setting))).collect()
}

/// Decodes settings; `None` if their filter is unknown and optional.
fn setting(config: &Any) -> Result<Option<Setting>, Refusal> {
    let kind = config_type(config)?;
    if kind != FilterConfig::full_name() {
        return known_setting(&kind, config)?
            .map_or_else(|| refuse(format!("settings of type {kind} are not supported")), |s| Ok(Some(s)));
    }
    let mut wrapped: FilterConfig = typed(config)?;
    let (inner, optional) = (wrapped.config.take(), take(&mut wrapped.is_optional));
    if take(&mut wrapped.disabled) {
        return Ok(Some(Setting::Off));
    }
    nothing_left(&wrapped)?;
    let inner = required(inner, "config")?;
    let kind = config_type(&inner)?;
    match known_setting(&kind, &inner).at("config")? {
        None if !optional => refuse(format!("settings of type {kind} are not supported")).at("config"),
        setting => Ok(setting),
    }
}

fn known_setting(kind: &str, config: &Any) -> Result<Option<Setting>, Refusal> {
    SETTINGS.iter().find(|codec| codec.message == kind).map(|codec| (codec.read)(config)).transpose()
}

/// The field that holds the settings of routes.
const FIELD: &str = "typed_per_filter_config";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::filter::fault::Fault;
    use crate::wire::refusal::Refusal;
    use envoy_types::pb::envoy::extensions::filters::http::fault::v3::HttpFault;
    use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;

    fn settings_of(config: Any) -> Result<Vec<FilterOverride>, String> {
        settings(HashMap::from([("f".to_owned(), config)]))
            .map_err(|r: Refusal| format!("{}: {}", r.path(), r.reason))
    }

    #[test]
    fn settings_may_be_wrapped() {
        let fault = pack(&HttpFault::default());
        let strange = pack(&Router::default());
        let wrapped = |config: Option<&Any>, is_optional, disabled| {
            pack(&FilterConfig { config: config.cloned(), is_optional, disabled })
        };
        let one = |setting| Ok(vec![FilterOverride { name: "f".into(), setting }]);
        let no = |text: &str| Err(text.to_owned());
        let unknown = "settings of type envoy.extensions.filters.http.router.v3.Router are not supported";
        for (config, expected) in [
            (fault.clone(), one(Setting::Fault(Fault::default()))),
            (wrapped(Some(&fault), false, false), one(Setting::Fault(Fault::default()))),
            (wrapped(Some(&fault), false, true), one(Setting::Off)),
            (wrapped(Some(&strange), true, false), Ok(vec![])),
            (
                wrapped(Some(&strange), false, false),
                no(&format!("typed_per_filter_config[f].config: {unknown}")),
            ),
            (strange.clone(), no(&format!("typed_per_filter_config[f]: {unknown}"))),
            (wrapped(None, false, false), no("typed_per_filter_config[f].config: is missing")),
        ] {
            assert_eq!(settings_of(config.clone()), expected, "{config:?}");
        }
    }
}
