//! Pure. Settings of HTTP connections that few listeners need: normalization of hosts and paths, internal addresses,
//! and changes to the responses that the proxy generates.

use super::refusal::{At, Refusal, each, nothing_left, optional, refuse, required};
use super::scalar::{cidr, enumeration, short, wire_cidr, wire_number};
use super::{access_log, matcher};
use crate::model::listener::{
    Comparison, EscapedSlashes, HostPort, HttpExtra, LocalReply, ReplyFilter, ReplyFormat, ReplyMapper,
    Underscores,
};
use envoy_types::pb::envoy::config::accesslog::v3 as log;
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as wire;
use log::access_log_filter::FilterSpecifier;
use log::comparison_filter::Op;
use std::mem::take;
use wire::http_connection_manager::{InternalAddressConfig, PathWithEscapedSlashesAction, StripPortMode};

pub(super) fn decode(wire: &mut wire::HttpConnectionManager) -> Result<HttpExtra, Refusal> {
    let own_port = take(&mut wire.strip_matching_host_port);
    let host_port = match wire.strip_port_mode.take() {
        Some(StripPortMode::StripAnyHostPort(true)) => HostPort::Strip,
        _ if own_port => HostPort::StripOwn,
        _ => HostPort::Keep,
    };
    Ok(HttpExtra {
        internal_addresses: wire.internal_address_config.take().map_or(Ok(vec![]), internal)?,
        skip_forwarded_for: take(&mut wire.skip_xff_append),
        via: take(&mut wire.via),
        host_port,
        strip_host_dot: take(&mut wire.strip_trailing_host_dot),
        escaped_slashes: escaped_slashes(take(&mut wire.path_with_escaped_slashes_action))?,
        request_id_in_response: take(&mut wire.always_set_request_id_in_response),
        local_reply: wire
            .local_reply_config
            .take()
            .map_or(Ok(LocalReply::default()), reply)
            .at("local_reply_config")?,
        ..HttpExtra::default()
    })
}

pub(super) fn encode(model: &HttpExtra, wire: &mut wire::HttpConnectionManager) {
    wire.internal_address_config = (!model.internal_addresses.is_empty()).then(|| InternalAddressConfig {
        cidr_ranges: model.internal_addresses.iter().map(wire_cidr).collect(),
        ..InternalAddressConfig::default()
    });
    wire.skip_xff_append = model.skip_forwarded_for;
    wire.via.clone_from(&model.via);
    wire.strip_matching_host_port = model.host_port == HostPort::StripOwn;
    wire.strip_port_mode =
        (model.host_port == HostPort::Strip).then_some(StripPortMode::StripAnyHostPort(true));
    wire.strip_trailing_host_dot = model.strip_host_dot;
    wire.path_with_escaped_slashes_action = match model.escaped_slashes {
        EscapedSlashes::Keep => PathWithEscapedSlashesAction::ImplementationSpecificDefault,
        EscapedSlashes::Reject => PathWithEscapedSlashesAction::RejectRequest,
        EscapedSlashes::Redirect => PathWithEscapedSlashesAction::UnescapeAndRedirect,
        EscapedSlashes::Unescape => PathWithEscapedSlashesAction::UnescapeAndForward,
    }
    .into();
    wire.always_set_request_id_in_response = model.request_id_in_response;
    wire.local_reply_config =
        (model.local_reply != LocalReply::default()).then(|| wire_reply(&model.local_reply));
}

pub(super) fn underscores(wire: &mut core::HttpProtocolOptions) -> Result<Underscores, Refusal> {
    use core::http_protocol_options::HeadersWithUnderscoresAction as Wire;
    let field = "headers_with_underscores_action";
    Ok(match enumeration(take(&mut wire.headers_with_underscores_action), field)? {
        Wire::Allow => Underscores::Allow,
        Wire::RejectRequest => Underscores::Reject,
        Wire::DropHeader => Underscores::Drop,
    })
}

pub(super) fn wire_underscores(model: Underscores) -> i32 {
    use core::http_protocol_options::HeadersWithUnderscoresAction as Wire;
    match model {
        Underscores::Allow => Wire::Allow,
        Underscores::Reject => Wire::RejectRequest,
        Underscores::Drop => Wire::DropHeader,
    }
    .into()
}

fn internal(mut wire: InternalAddressConfig) -> Result<Vec<ipnet::IpNet>, Refusal> {
    let found = each(take(&mut wire.cidr_ranges), "cidr_ranges", |range| cidr(&range));
    found.and_then(|found| nothing_left(&wire).map(|()| found)).at("internal_address_config")
}

fn escaped_slashes(wire: i32) -> Result<EscapedSlashes, Refusal> {
    Ok(match enumeration(wire, "path_with_escaped_slashes_action")? {
        PathWithEscapedSlashesAction::ImplementationSpecificDefault
        | PathWithEscapedSlashesAction::KeepUnchanged => EscapedSlashes::Keep,
        PathWithEscapedSlashesAction::RejectRequest => EscapedSlashes::Reject,
        PathWithEscapedSlashesAction::UnescapeAndRedirect => EscapedSlashes::Redirect,
        PathWithEscapedSlashesAction::UnescapeAndForward => EscapedSlashes::Unescape,
    })
}

fn reply(mut wire: wire::LocalReplyConfig) -> Result<LocalReply, Refusal> {
    let found = LocalReply {
        mappers: each(take(&mut wire.mappers), "mappers", mapper)?,
        format: optional(wire.body_format.take(), "body_format", format)?,
    };
    nothing_left(&wire)?;
    Ok(found)
}

fn wire_reply(model: &LocalReply) -> wire::LocalReplyConfig {
    wire::LocalReplyConfig {
        mappers: model.mappers.iter().map(wire_mapper).collect(),
        body_format: model.format.as_ref().map(wire_format),
    }
}

fn mapper(mut wire: wire::ResponseMapper) -> Result<ReplyMapper, Refusal> {
    let found = ReplyMapper {
        filter: required(wire.filter.take(), "filter").and_then(|f| filter(f).at("filter"))?,
        status: optional(wire.status_code.take(), "status_code", |n| short(n.value, "value"))?,
        body: optional(wire.body.take(), "body", |source| match source.specifier {
            Some(Specifier::InlineString(text)) => Ok(text),
            _ => refuse("only inline_string is supported"),
        })?,
        format: optional(wire.body_format_override.take(), "body_format_override", format)?,
        headers: matcher::mutations(take(&mut wire.headers_to_add), vec![], "headers_to_add")?,
    };
    nothing_left(&wire)?;
    Ok(found)
}

fn wire_mapper(model: &ReplyMapper) -> wire::ResponseMapper {
    let text = |text: &String| core::DataSource {
        specifier: Some(Specifier::InlineString(text.clone())),
        ..core::DataSource::default()
    };
    wire::ResponseMapper {
        filter: Some(wire_filter(&model.filter)),
        status_code: model.status.map(|status| wire_number(status.into())),
        body: model.body.as_ref().map(text),
        body_format_override: model.format.as_ref().map(wire_format),
        headers_to_add: matcher::wire_mutations(&model.headers).0,
    }
}

fn format(mut wire: core::SubstitutionFormatString) -> Result<ReplyFormat, Refusal> {
    let content_type = take(&mut wire.content_type);
    let (format, omit_empty) = access_log::decode_format(wire)?;
    Ok(ReplyFormat { format, omit_empty, content_type })
}

fn wire_format(model: &ReplyFormat) -> core::SubstitutionFormatString {
    core::SubstitutionFormatString {
        content_type: model.content_type.clone(),
        ..access_log::wire_format(&model.format, model.omit_empty)
    }
}

fn filter(wire: log::AccessLogFilter) -> Result<ReplyFilter, Refusal> {
    let all = |list| each(list, "filters", filter);
    match wire.filter_specifier {
        Some(FilterSpecifier::StatusCodeFilter(status)) => {
            let comparison = required(status.comparison, "comparison").at("status_code_filter")?;
            let number = comparison.value.map_or(0, |v| v.default_value);
            let operation = match enumeration(comparison.op, "op").at("status_code_filter")? {
                Op::Eq => Comparison::Equal,
                Op::Ge => Comparison::AtLeast,
                Op::Le => Comparison::AtMost,
                Op::Ne => Comparison::Other,
            };
            Ok(ReplyFilter::Status(operation, number))
        }
        Some(FilterSpecifier::ResponseFlagFilter(flags)) => Ok(ReplyFilter::Flags(flags.flags)),
        Some(FilterSpecifier::HeaderFilter(header)) => required(header.header, "header")
            .and_then(matcher::header)
            .map(ReplyFilter::Header)
            .at("header_filter"),
        Some(FilterSpecifier::AndFilter(list)) => all(list.filters).map(ReplyFilter::And).at("and_filter"),
        Some(FilterSpecifier::OrFilter(list)) => all(list.filters).map(ReplyFilter::Or).at("or_filter"),
        Some(_) => refuse("only status_code, response_flag, header, and, or filters are supported"),
        None => refuse("has no filter"),
    }
}

fn wire_filter(model: &ReplyFilter) -> log::AccessLogFilter {
    let all = |list: &[ReplyFilter]| list.iter().map(wire_filter).collect();
    let specifier = match model {
        ReplyFilter::Status(operation, number) => {
            let op = match operation {
                Comparison::Equal => Op::Eq,
                Comparison::AtLeast => Op::Ge,
                Comparison::AtMost => Op::Le,
                Comparison::Other => Op::Ne,
            };
            let value = core::RuntimeUInt32 { default_value: *number, runtime_key: RUNTIME_KEY.into() };
            let comparison = Some(log::ComparisonFilter { op: op.into(), value: Some(value) });
            FilterSpecifier::StatusCodeFilter(log::StatusCodeFilter { comparison })
        }
        ReplyFilter::Flags(flags) => {
            FilterSpecifier::ResponseFlagFilter(log::ResponseFlagFilter { flags: flags.clone() })
        }
        ReplyFilter::Header(header) => {
            FilterSpecifier::HeaderFilter(log::HeaderFilter { header: Some(matcher::wire_header(header)) })
        }
        ReplyFilter::And(list) => FilterSpecifier::AndFilter(log::AndFilter { filters: all(list) }),
        ReplyFilter::Or(list) => FilterSpecifier::OrFilter(log::OrFilter { filters: all(list) }),
    };
    log::AccessLogFilter { filter_specifier: Some(specifier) }
}

/// Envoy requires a runtime key, although no runtime layer holds a value for it.
const RUNTIME_KEY: &str = "local_reply";
