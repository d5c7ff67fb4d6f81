//! Pure. The HTTP connection manager.

use super::any::config_type;
use super::refusal::{At, Refusal, each, nothing_left, optional, refuse, required};
use super::scalar::{enumeration, limit, number, truth, wire_limit, wire_number_unless, wire_truth};
use super::target::Target;
use super::{access_log, extra, filter, route, source};
use crate::model::listener::{
    Codec, Direction, ForwardClientCertificate, ForwardMode, HttpConnection, HttpExtra, RouteSource,
    Underscores,
};
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as wire;
use envoy_types::pb::envoy::extensions::request_id::uuid::v3::UuidRequestIdConfig;
use prost::Name;
use std::mem::take;
use std::time::Duration;
use wire::http_connection_manager::{
    CodecType, ForwardClientCertDetails, RouteSpecifier, ServerHeaderTransformation,
    SetCurrentClientCertDetails, UpgradeConfig,
};

pub(super) fn decode(mut wire: wire::HttpConnectionManager) -> Result<HttpConnection, Refusal> {
    let mut found = HttpConnection::new(take(&mut wire.stat_prefix), routes(wire.route_specifier.take())?);
    found.codec = match enumeration(take(&mut wire.codec_type), "codec_type")? {
        CodecType::Auto => Codec::Auto,
        CodecType::Http1 => Codec::Http1,
        CodecType::Http2 => Codec::Http2,
        CodecType::Http3 => return refuse("HTTP3 is not supported").at("codec_type"),
    };
    let filters = each(take(&mut wire.http_filters), "http_filters", filter::decode)?;
    found.filters = filters.into_iter().flatten().collect();
    let (server_name, keep_server) = server_name(&mut wire)?;
    found.server_name = server_name;
    found.use_remote_address = truth(wire.use_remote_address.take(), false);
    found.trusted_hops = take(&mut wire.xff_num_trusted_hops);
    found.client_certificate = client_certificate(&mut wire)?;
    found.generate_request_id = truth(wire.generate_request_id.take(), true);
    found.preserve_request_id = take(&mut wire.preserve_external_request_id);
    found.normalize_path = truth(wire.normalize_path.take(), false);
    found.merge_slashes = take(&mut wire.merge_slashes);
    let upgrades = each(take(&mut wire.upgrade_configs), "upgrade_configs", upgrade)?;
    found.upgrades = upgrades.into_iter().flatten().collect();
    let common_extra = limits(&mut wire, &mut found)?;
    let default_host = protocols(&mut wire, &mut found)?;
    found.access_log = each(take(&mut wire.access_log), "access_log", access_log::decode)?;
    optional(wire.request_id_extension.take(), "request_id_extension", |ids| request_ids(&ids))?;
    found.extra =
        HttpExtra { keep_server, underscores: common_extra, default_host, ..extra::decode(&mut wire)? };
    nothing_left(&wire)?;
    Ok(found)
}

pub(super) fn encode(
    model: &HttpConnection,
    direction: Direction,
    target: Target,
) -> wire::HttpConnectionManager {
    let codec = match model.codec {
        Codec::Auto => CodecType::Auto,
        Codec::Http1 => CodecType::Http1,
        Codec::Http2 => CodecType::Http2,
    };
    let (forward_client_cert_details, set_current_client_cert_details) =
        wire_client_certificate(model.client_certificate);
    let (server_name, server_header_transformation) =
        wire_server_name(model.server_name.as_deref(), model.extra.keep_server);
    let upgrade = |name: &String| UpgradeConfig { upgrade_type: name.clone(), ..UpgradeConfig::default() };
    let mut wire = wire::HttpConnectionManager {
        stat_prefix: model.stat_prefix.clone(),
        codec_type: codec.into(),
        route_specifier: Some(wire_routes(&model.routes)),
        http_filters: model.filters.iter().filter_map(|f| filter::encode(f, direction, target)).collect(),
        server_name,
        server_header_transformation: server_header_transformation.into(),
        use_remote_address: wire_truth(model.use_remote_address, false),
        xff_num_trusted_hops: model.trusted_hops,
        forward_client_cert_details: forward_client_cert_details.into(),
        set_current_client_cert_details,
        generate_request_id: wire_truth(model.generate_request_id, true),
        preserve_external_request_id: model.preserve_request_id,
        normalize_path: wire_truth(model.normalize_path, false),
        merge_slashes: model.merge_slashes,
        upgrade_configs: model.upgrades.iter().map(upgrade).collect(),
        stream_idle_timeout: wire_limit(model.stream_idle_timeout, STREAM_IDLE),
        request_timeout: wire_limit(model.request_timeout, None),
        request_headers_timeout: wire_limit(model.headers_timeout, None),
        max_request_headers_kb: wire_number_unless(model.max_headers_kib, HEADERS_KIB),
        common_http_protocol_options: wire_common(model),
        http_protocol_options: (model.accept_http_10 || !model.extra.default_host.is_empty()).then(|| {
            core::Http1ProtocolOptions {
                accept_http_10: model.accept_http_10,
                default_host_for_http_10: model.extra.default_host.clone(),
                ..core::Http1ProtocolOptions::default()
            }
        }),
        http2_protocol_options: (model.max_concurrent_streams != STREAMS).then(|| {
            core::Http2ProtocolOptions {
                max_concurrent_streams: wire_number_unless(model.max_concurrent_streams, STREAMS),
                ..core::Http2ProtocolOptions::default()
            }
        }),
        access_log: model.access_log.iter().map(access_log::encode).collect(),
        ..wire::HttpConnectionManager::default()
    };
    extra::encode(&model.extra, &mut wire);
    wire
}

fn routes(wire: Option<RouteSpecifier>) -> Result<RouteSource, Refusal> {
    match wire {
        Some(RouteSpecifier::RouteConfig(config)) => {
            route::decode(config).map(RouteSource::Inline).at("route_config")
        }
        Some(RouteSpecifier::Rds(rds)) => {
            source::check(rds.config_source.as_ref()).at("config_source").at("rds")?;
            Ok(RouteSource::Rds(rds.route_config_name))
        }
        Some(RouteSpecifier::ScopedRoutes(_)) => Err(Refusal::unsupported("scoped_routes")),
        None => required(None, "route_config"),
    }
}

fn wire_routes(model: &RouteSource) -> RouteSpecifier {
    match model {
        RouteSource::Inline(config) => RouteSpecifier::RouteConfig(route::encode(config)),
        RouteSource::Rds(name) => RouteSpecifier::Rds(wire::Rds {
            config_source: Some(source::ads()),
            route_config_name: name.clone(),
        }),
    }
}

/// The value of the `server` header, and whether an upstream's own value is kept.
fn server_name(wire: &mut wire::HttpConnectionManager) -> Result<(Option<String>, bool), Refusal> {
    let name = Some(take(&mut wire.server_name)).filter(|n| !n.is_empty());
    match enumeration(take(&mut wire.server_header_transformation), "server_header_transformation")? {
        ServerHeaderTransformation::Overwrite => Ok((name.or_else(|| Some(SERVER.to_owned())), false)),
        ServerHeaderTransformation::PassThrough => Ok((None, false)),
        ServerHeaderTransformation::AppendIfAbsent => Ok((name.or_else(|| Some(SERVER.to_owned())), true)),
    }
}

fn wire_server_name(name: Option<&str>, keep: bool) -> (String, ServerHeaderTransformation) {
    let write =
        if keep { ServerHeaderTransformation::AppendIfAbsent } else { ServerHeaderTransformation::Overwrite };
    match name {
        None => (String::new(), ServerHeaderTransformation::PassThrough),
        Some(SERVER) => (String::new(), write),
        Some(name) => (name.to_owned(), write),
    }
}

fn client_certificate(wire: &mut wire::HttpConnectionManager) -> Result<ForwardClientCertificate, Refusal> {
    let mode = match enumeration(take(&mut wire.forward_client_cert_details), "forward_client_cert_details")?
    {
        ForwardClientCertDetails::Sanitize => ForwardMode::Sanitize,
        ForwardClientCertDetails::ForwardOnly => ForwardMode::ForwardOnly,
        ForwardClientCertDetails::AppendForward => ForwardMode::AppendForward,
        ForwardClientCertDetails::SanitizeSet => ForwardMode::SanitizeSet,
        ForwardClientCertDetails::AlwaysForwardOnly => ForwardMode::AlwaysForwardOnly,
    };
    let mut details = wire.set_current_client_cert_details.take().unwrap_or_default();
    let found = ForwardClientCertificate {
        mode,
        subject: truth(details.subject.take(), false),
        uri: take(&mut details.uri),
        dns: take(&mut details.dns),
        cert: take(&mut details.cert),
        chain: take(&mut details.chain),
    };
    nothing_left(&details).at("set_current_client_cert_details")?;
    Ok(found)
}

fn wire_client_certificate(
    model: ForwardClientCertificate,
) -> (ForwardClientCertDetails, Option<SetCurrentClientCertDetails>) {
    let mode = match model.mode {
        ForwardMode::Sanitize => ForwardClientCertDetails::Sanitize,
        ForwardMode::ForwardOnly => ForwardClientCertDetails::ForwardOnly,
        ForwardMode::AppendForward => ForwardClientCertDetails::AppendForward,
        ForwardMode::SanitizeSet => ForwardClientCertDetails::SanitizeSet,
        ForwardMode::AlwaysForwardOnly => ForwardClientCertDetails::AlwaysForwardOnly,
    };
    let details = SetCurrentClientCertDetails {
        subject: wire_truth(model.subject, false),
        uri: model.uri,
        dns: model.dns,
        cert: model.cert,
        chain: model.chain,
        ..SetCurrentClientCertDetails::default()
    };
    (mode, (details != SetCurrentClientCertDetails::default()).then_some(details))
}

/// The name of an upgrade; `None` if it is disabled.
fn upgrade(mut wire: UpgradeConfig) -> Result<Option<String>, Refusal> {
    let name = take(&mut wire.upgrade_type);
    let enabled = truth(wire.enabled.take(), true);
    nothing_left(&wire)?;
    Ok(enabled.then_some(name))
}

/// Timeouts and size limits. Returns the action for headers with underscores, which is in the same message.
fn limits(
    wire: &mut wire::HttpConnectionManager,
    found: &mut HttpConnection,
) -> Result<Underscores, Refusal> {
    found.stream_idle_timeout = limit(wire.stream_idle_timeout.take(), "stream_idle_timeout", STREAM_IDLE)?;
    found.request_timeout = limit(wire.request_timeout.take(), "request_timeout", None)?;
    found.headers_timeout = limit(wire.request_headers_timeout.take(), "request_headers_timeout", None)?;
    found.max_headers_kib = number(wire.max_request_headers_kb.take(), HEADERS_KIB);
    let mut common = wire.common_http_protocol_options.take().unwrap_or_default();
    common_limits(&mut common, found)
        .and_then(|found| nothing_left(&common).map(|()| found))
        .at("common_http_protocol_options")
}

fn common_limits(
    wire: &mut core::HttpProtocolOptions,
    found: &mut HttpConnection,
) -> Result<Underscores, Refusal> {
    found.idle_timeout = limit(wire.idle_timeout.take(), "idle_timeout", IDLE)?;
    found.max_connection_duration =
        limit(wire.max_connection_duration.take(), "max_connection_duration", None)?;
    found.max_headers_count = number(wire.max_headers_count.take(), HEADERS);
    extra::underscores(wire)
}

fn wire_common(model: &HttpConnection) -> Option<core::HttpProtocolOptions> {
    let common = core::HttpProtocolOptions {
        idle_timeout: wire_limit(model.idle_timeout, IDLE),
        max_connection_duration: wire_limit(model.max_connection_duration, None),
        max_headers_count: wire_number_unless(model.max_headers_count, HEADERS),
        headers_with_underscores_action: extra::wire_underscores(model.extra.underscores),
        ..core::HttpProtocolOptions::default()
    };
    (common != core::HttpProtocolOptions::default()).then_some(common)
}

/// Settings of the HTTP versions. Returns the default host of HTTP/1.0 requests.
fn protocols(wire: &mut wire::HttpConnectionManager, found: &mut HttpConnection) -> Result<String, Refusal> {
    let mut http1 = wire.http_protocol_options.take().unwrap_or_default();
    found.accept_http_10 = take(&mut http1.accept_http_10);
    let default_host = take(&mut http1.default_host_for_http_10);
    nothing_left(&http1).at("http_protocol_options")?;
    let mut http2 = wire.http2_protocol_options.take().unwrap_or_default();
    found.max_concurrent_streams = number(http2.max_concurrent_streams.take(), STREAMS);
    nothing_left(&http2).at("http2_protocol_options")?;
    Ok(default_host)
}

/// Checks the request id extension: only UUIDs are supported. Packing the trace reason has no effect without spans.
fn request_ids(wire: &wire::RequestIdExtension) -> Result<(), Refusal> {
    let kind = wire.typed_config.as_ref().map_or(Ok(String::new()), config_type)?;
    if kind == UuidRequestIdConfig::full_name() { Ok(()) } else { refuse(format!("{kind} is not supported")) }
}

const SERVER: &str = "envoy";
const STREAM_IDLE: Option<Duration> = Some(Duration::from_secs(300));
const IDLE: Option<Duration> = Some(Duration::from_secs(3600));
const HEADERS_KIB: u32 = 60;
const HEADERS: u32 = 100;
const STREAMS: u32 = 1024;
