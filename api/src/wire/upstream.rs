//! Pure. A cluster's HTTP options: HTTP versions, lifetime of connections, automatic SNI.

use super::any::{pack, typed};
use super::refusal::{At, Refusal, nothing_left, refuse};
use super::scalar::{limit, number, wire_limit, wire_number_unless};
use super::xds::Any;
use crate::model::cluster::UpstreamHttp;
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::http_protocol_options::explicit_http_config::ProtocolConfig;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::http_protocol_options::{
    AutoHttpConfig, ExplicitHttpConfig, UpstreamProtocolOptions, UseDownstreamHttpConfig,
};
use prost::Name;
use std::collections::HashMap;
use std::mem::take;
use std::time::Duration;

/// HTTP options of a cluster.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct HttpOptions {
    pub(super) http: UpstreamHttp,
    pub(super) idle_timeout: Option<Duration>,
    pub(super) max_requests_per_connection: u32,
    pub(super) auto_sni: bool,
    pub(super) auto_san: bool,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            http: UpstreamHttp::Http1,
            idle_timeout: IDLE,
            max_requests_per_connection: 0,
            auto_sni: false,
            auto_san: false,
        }
    }
}

/// The options in `typed_extension_protocol_options`.
pub(super) fn decode(extensions: HashMap<String, Any>) -> Result<HttpOptions, Refusal> {
    let mut found = HttpOptions::default();
    for (name, config) in extensions {
        let options = if name == HttpProtocolOptions::full_name() {
            typed(&config).and_then(options)
        } else {
            refuse("is not supported")
        };
        found = options.at_item("typed_extension_protocol_options", name)?;
    }
    Ok(found)
}

pub(super) fn encode(options: &HttpOptions) -> HashMap<String, Any> {
    if *options == HttpOptions::default() {
        return HashMap::new();
    }
    let common = core::HttpProtocolOptions {
        idle_timeout: wire_limit(options.idle_timeout, IDLE),
        max_requests_per_connection: wire_number_unless(options.max_requests_per_connection, 0),
        ..core::HttpProtocolOptions::default()
    };
    let authority = core::UpstreamHttpProtocolOptions {
        auto_sni: options.auto_sni,
        auto_san_validation: options.auto_san,
        ..core::UpstreamHttpProtocolOptions::default()
    };
    let wire = HttpProtocolOptions {
        common_http_protocol_options: (common != core::HttpProtocolOptions::default()).then_some(common),
        upstream_http_protocol_options: (authority != core::UpstreamHttpProtocolOptions::default())
            .then_some(authority),
        upstream_protocol_options: Some(wire_versions(options.http)),
        ..HttpProtocolOptions::default()
    };
    HashMap::from([(HttpProtocolOptions::full_name(), pack(&wire))])
}

fn options(mut wire: HttpProtocolOptions) -> Result<HttpOptions, Refusal> {
    let mut common = wire.common_http_protocol_options.take().unwrap_or_default();
    let idle_timeout =
        limit(common.idle_timeout.take(), "idle_timeout", IDLE).at("common_http_protocol_options")?;
    let max_requests_per_connection = number(common.max_requests_per_connection.take(), 0);
    nothing_left(&common).at("common_http_protocol_options")?;
    let mut authority = wire.upstream_http_protocol_options.take().unwrap_or_default();
    let (auto_sni, auto_san) = (take(&mut authority.auto_sni), take(&mut authority.auto_san_validation));
    nothing_left(&authority).at("upstream_http_protocol_options")?;
    let http = wire.upstream_protocol_options.take().map_or(Ok(UpstreamHttp::Http1), versions)?;
    nothing_left(&wire)?;
    Ok(HttpOptions { http, idle_timeout, max_requests_per_connection, auto_sni, auto_san })
}

fn versions(wire: UpstreamProtocolOptions) -> Result<UpstreamHttp, Refusal> {
    match wire {
        UpstreamProtocolOptions::ExplicitHttpConfig(config) => explicit(config).at("explicit_http_config"),
        UpstreamProtocolOptions::UseDownstreamProtocolConfig(mut config) => {
            http1(config.http_protocol_options.take())
                .and_then(|()| http2(config.http2_protocol_options.take()))
                .and_then(|()| nothing_left(&config))
                .at("use_downstream_protocol_config")?;
            Ok(UpstreamHttp::SameAsClient)
        }
        UpstreamProtocolOptions::AutoConfig(mut config) => {
            http1(config.http_protocol_options.take())
                .and_then(|()| http2(config.http2_protocol_options.take()))
                .and_then(|()| nothing_left(&config))
                .at("auto_config")?;
            Ok(UpstreamHttp::Negotiated)
        }
    }
}

fn explicit(config: ExplicitHttpConfig) -> Result<UpstreamHttp, Refusal> {
    match config.protocol_config {
        None => Ok(UpstreamHttp::Http1),
        Some(ProtocolConfig::HttpProtocolOptions(options)) => {
            http1(Some(options)).map(|()| UpstreamHttp::Http1)
        }
        Some(ProtocolConfig::Http2ProtocolOptions(options)) => {
            http2(Some(options)).map(|()| UpstreamHttp::Http2)
        }
        Some(ProtocolConfig::Http3ProtocolOptions(_)) => Err(Refusal::unsupported("http3_protocol_options")),
    }
}

fn http1(options: Option<core::Http1ProtocolOptions>) -> Result<(), Refusal> {
    options.map_or(Ok(()), |o| nothing_left(&o)).at("http_protocol_options")
}

pub(super) fn http2(options: Option<core::Http2ProtocolOptions>) -> Result<(), Refusal> {
    options.map_or(Ok(()), |o| nothing_left(&o)).at("http2_protocol_options")
}

fn wire_versions(http: UpstreamHttp) -> UpstreamProtocolOptions {
    let (http1, http2) = (core::Http1ProtocolOptions::default(), core::Http2ProtocolOptions::default());
    let explicit = |config| {
        UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig { protocol_config: Some(config) })
    };
    match http {
        UpstreamHttp::Http1 => explicit(ProtocolConfig::HttpProtocolOptions(http1)),
        UpstreamHttp::Http2 => explicit(ProtocolConfig::Http2ProtocolOptions(http2)),
        UpstreamHttp::SameAsClient => {
            UpstreamProtocolOptions::UseDownstreamProtocolConfig(UseDownstreamHttpConfig {
                http_protocol_options: Some(http1),
                http2_protocol_options: Some(http2),
                ..UseDownstreamHttpConfig::default()
            })
        }
        UpstreamHttp::Negotiated => UpstreamProtocolOptions::AutoConfig(AutoHttpConfig {
            http_protocol_options: Some(http1),
            http2_protocol_options: Some(http2),
            ..AutoHttpConfig::default()
        }),
    }
}

const IDLE: Option<Duration> = Some(Duration::from_secs(3600));
