//! Pure. Route tables: virtual hosts, matches, and the actions other than forwarding.

use super::endpoint::ISTIO;
use super::refusal::{At, Refusal, each, nothing_left, optional, refuse, required};
use super::scalar::{enumeration, runtime_fraction, short, truth, wire_runtime_fraction, wire_truth};
use super::value::{from_struct, to_struct};
use super::{filter, forward, matcher, retry};
use crate::model::route::{
    PathMatch, Redirect, Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost,
};
use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use envoy_types::pb::envoy::config::core::v3::{DataSource, Metadata};
use envoy_types::pb::envoy::config::route::v3 as wire;
use serde_json::{Value, json};
use std::mem::take;
use wire::redirect_action::{PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier};
use wire::route_match::{GrpcRouteMatchOptions, PathSpecifier};
use wire::virtual_host::TlsRequirementType;

pub(super) fn decode(mut wire: wire::RouteConfiguration) -> Result<RouteConfiguration, Refusal> {
    let found = RouteConfiguration {
        name: take(&mut wire.name),
        virtual_hosts: each(take(&mut wire.virtual_hosts), "virtual_hosts", virtual_host)?,
        ignore_port_in_host: take(&mut wire.ignore_port_in_host_matching),
        request_headers: matcher::mutations(
            take(&mut wire.request_headers_to_add),
            take(&mut wire.request_headers_to_remove),
            "request_headers_to_add",
        )?,
        response_headers: matcher::mutations(
            take(&mut wire.response_headers_to_add),
            take(&mut wire.response_headers_to_remove),
            "response_headers_to_add",
        )?,
        internal_only_headers: take(&mut wire.internal_only_headers),
        most_specific_wins: take(&mut wire.most_specific_header_mutations_wins),
        filters: filter::settings(take(&mut wire.typed_per_filter_config))?,
    };
    nothing_left(&wire)?;
    Ok(found)
}

pub(super) fn encode(model: &RouteConfiguration) -> wire::RouteConfiguration {
    let (request_headers_to_add, request_headers_to_remove) = matcher::wire_mutations(&model.request_headers);
    let (response_headers_to_add, response_headers_to_remove) =
        matcher::wire_mutations(&model.response_headers);
    wire::RouteConfiguration {
        request_headers_to_add,
        request_headers_to_remove,
        response_headers_to_add,
        response_headers_to_remove,
        internal_only_headers: model.internal_only_headers.clone(),
        most_specific_header_mutations_wins: model.most_specific_wins,
        typed_per_filter_config: filter::wire_settings(&model.filters),
        name: model.name.clone(),
        virtual_hosts: model.virtual_hosts.iter().map(wire_virtual_host).collect(),
        ignore_port_in_host_matching: model.ignore_port_in_host,
        // A route may arrive before its cluster; Envoy responds with 503 until then.
        validate_clusters: Some(envoy_types::pb::google::protobuf::BoolValue { value: false }),
        max_direct_response_body_size_bytes: largest_body(model)
            .map(|value| envoy_types::pb::google::protobuf::UInt32Value { value }),
        ..wire::RouteConfiguration::default()
    }
}

/// Bytes of the largest direct response, if they exceed Envoy's default limit and the table must raise it.
fn largest_body(model: &RouteConfiguration) -> Option<u32> {
    let routes = model.virtual_hosts.iter().flat_map(|host| &host.routes);
    let bodies = routes.filter_map(|route| match &route.action {
        RouteAction::Direct { body, .. } => u32::try_from(body.len()).ok(),
        _ => None,
    });
    bodies.max().filter(|size| *size > ENVOYS_LARGEST_BODY)
}

/// Envoy's default limit.
const ENVOYS_LARGEST_BODY: u32 = 4096;

fn virtual_host(mut wire: wire::VirtualHost) -> Result<VirtualHost, Refusal> {
    let require_tls = match enumeration(take(&mut wire.require_tls), "require_tls")? {
        TlsRequirementType::None => false,
        TlsRequirementType::All => true,
        TlsRequirementType::ExternalOnly => {
            return refuse("EXTERNAL_ONLY is not supported").at("require_tls");
        }
    };
    let (add, remove) = (take(&mut wire.request_headers_to_add), take(&mut wire.request_headers_to_remove));
    let request_headers = matcher::mutations(add, remove, "request_headers_to_add")?;
    let (add, remove) = (take(&mut wire.response_headers_to_add), take(&mut wire.response_headers_to_remove));
    let response_headers = matcher::mutations(add, remove, "response_headers_to_add")?;
    let found = VirtualHost {
        name: take(&mut wire.name),
        domains: take(&mut wire.domains).iter().map(|d| d.to_ascii_lowercase()).collect(),
        routes: each(take(&mut wire.routes), "routes", route)?,
        require_tls,
        attempt_count: take(&mut wire.include_request_attempt_count),
        attempt_count_in_response: take(&mut wire.include_attempt_count_in_response),
        request_headers,
        response_headers,
        retry: optional(wire.retry_policy.take(), "retry_policy", retry::decode)?,
        filters: filter::settings(take(&mut wire.typed_per_filter_config))?,
    };
    nothing_left(&wire)?;
    Ok(found)
}

fn wire_virtual_host(model: &VirtualHost) -> wire::VirtualHost {
    let (request_headers_to_add, request_headers_to_remove) = matcher::wire_mutations(&model.request_headers);
    let (response_headers_to_add, response_headers_to_remove) =
        matcher::wire_mutations(&model.response_headers);
    let tls = if model.require_tls { TlsRequirementType::All } else { TlsRequirementType::None };
    wire::VirtualHost {
        name: model.name.clone(),
        domains: model.domains.clone(),
        routes: model.routes.iter().map(wire_route).collect(),
        require_tls: tls.into(),
        include_request_attempt_count: model.attempt_count,
        include_attempt_count_in_response: model.attempt_count_in_response,
        request_headers_to_add,
        request_headers_to_remove,
        response_headers_to_add,
        response_headers_to_remove,
        retry_policy: model.retry.as_ref().map(retry::encode),
        typed_per_filter_config: filter::wire_settings(&model.filters),
        ..wire::VirtualHost::default()
    }
}

fn route(mut wire: wire::Route) -> Result<Route, Refusal> {
    let criteria = criteria(required(wire.r#match.take(), "match")?).at("match")?;
    let action = action(wire.action.take())?;
    let (add, remove) = (take(&mut wire.request_headers_to_add), take(&mut wire.request_headers_to_remove));
    let request_headers = matcher::mutations(add, remove, "request_headers_to_add")?;
    let (add, remove) = (take(&mut wire.response_headers_to_add), take(&mut wire.response_headers_to_remove));
    let response_headers = matcher::mutations(add, remove, "response_headers_to_add")?;
    let found = Route {
        name: take(&mut wire.name),
        criteria,
        action,
        request_headers,
        response_headers,
        filters: filter::settings(take(&mut wire.typed_per_filter_config))?,
        origin: wire.metadata.take().as_ref().and_then(origin),
    };
    nothing_left(&wire)?;
    Ok(found)
}

fn wire_route(model: &Route) -> wire::Route {
    let (request_headers_to_add, request_headers_to_remove) = matcher::wire_mutations(&model.request_headers);
    let (response_headers_to_add, response_headers_to_remove) =
        matcher::wire_mutations(&model.response_headers);
    let action = match &model.action {
        RouteAction::Forward(forward) => wire::route::Action::Route(forward::encode(forward)),
        RouteAction::Redirect(redirect) => wire::route::Action::Redirect(wire_redirect(redirect)),
        RouteAction::Direct { status, body } => {
            wire::route::Action::DirectResponse(wire_direct(*status, body))
        }
    };
    wire::Route {
        name: model.name.clone(),
        r#match: Some(wire_criteria(&model.criteria)),
        action: Some(action),
        request_headers_to_add,
        request_headers_to_remove,
        response_headers_to_add,
        response_headers_to_remove,
        typed_per_filter_config: filter::wire_settings(&model.filters),
        metadata: model.origin.as_deref().map(wire_origin),
        ..wire::Route::default()
    }
}

fn criteria(mut wire: wire::RouteMatch) -> Result<RouteMatch, Refusal> {
    let path = match wire.path_specifier.take() {
        Some(PathSpecifier::Prefix(text)) => PathMatch::Prefix(text),
        Some(PathSpecifier::Path(text)) => PathMatch::Exact(text),
        Some(PathSpecifier::SafeRegex(regex)) => PathMatch::Regex(regex.regex),
        Some(PathSpecifier::PathSeparatedPrefix(text)) => PathMatch::Segments(text),
        Some(PathSpecifier::ConnectMatcher(_)) => return Err(Refusal::unsupported("connect_matcher")),
        Some(PathSpecifier::PathMatchPolicy(_)) => return Err(Refusal::unsupported("path_match_policy")),
        None => return refuse("has no path"),
    };
    let found = RouteMatch {
        path,
        ignore_case: !truth(wire.case_sensitive.take(), true),
        headers: each(take(&mut wire.headers), "headers", matcher::header)?,
        query: each(take(&mut wire.query_parameters), "query_parameters", matcher::query)?,
        grpc: wire.grpc.take().is_some(),
        fraction: optional(wire.runtime_fraction.take(), "runtime_fraction", runtime_fraction)?,
    };
    nothing_left(&wire)?;
    Ok(found)
}

fn wire_criteria(model: &RouteMatch) -> wire::RouteMatch {
    let path = match &model.path {
        PathMatch::Prefix(text) => PathSpecifier::Prefix(text.clone()),
        PathMatch::Exact(text) => PathSpecifier::Path(text.clone()),
        PathMatch::Regex(text) => PathSpecifier::SafeRegex(matcher::wire_regex(text)),
        PathMatch::Segments(text) => PathSpecifier::PathSeparatedPrefix(text.clone()),
    };
    wire::RouteMatch {
        path_specifier: Some(path),
        case_sensitive: wire_truth(!model.ignore_case, true),
        headers: model.headers.iter().map(matcher::wire_header).collect(),
        query_parameters: model.query.iter().map(matcher::wire_query).collect(),
        grpc: model.grpc.then_some(GrpcRouteMatchOptions {}),
        runtime_fraction: model.fraction.map(wire_runtime_fraction),
        ..wire::RouteMatch::default()
    }
}

fn action(wire: Option<wire::route::Action>) -> Result<RouteAction, Refusal> {
    match wire {
        Some(wire::route::Action::Route(wire)) => {
            Ok(RouteAction::Forward(Box::new(forward::decode(wire).at("route")?)))
        }
        Some(wire::route::Action::Redirect(wire)) => redirect(wire).map(RouteAction::Redirect).at("redirect"),
        Some(wire::route::Action::DirectResponse(wire)) => direct(wire).at("direct_response"),
        Some(wire::route::Action::FilterAction(_)) => Err(Refusal::unsupported("filter_action")),
        Some(wire::route::Action::NonForwardingAction(_)) => {
            Err(Refusal::unsupported("non_forwarding_action"))
        }
        None => refuse("has no action"),
    }
}

fn redirect(mut wire: wire::RedirectAction) -> Result<Redirect, Refusal> {
    let status = match enumeration(take(&mut wire.response_code), "response_code")? {
        RedirectResponseCode::MovedPermanently => 301,
        RedirectResponseCode::Found => 302,
        RedirectResponseCode::SeeOther => 303,
        RedirectResponseCode::TemporaryRedirect => 307,
        RedirectResponseCode::PermanentRedirect => 308,
    };
    let scheme = match wire.scheme_rewrite_specifier.take() {
        Some(SchemeRewriteSpecifier::HttpsRedirect(true)) => Some("https".to_owned()),
        Some(SchemeRewriteSpecifier::SchemeRedirect(scheme)) => Some(scheme),
        Some(SchemeRewriteSpecifier::HttpsRedirect(false)) | None => None,
    };
    let (path, prefix, regex) = match wire.path_rewrite_specifier.take() {
        None => (None, None, None),
        Some(PathRewriteSpecifier::PathRedirect(path)) => (Some(path), None, None),
        Some(PathRewriteSpecifier::PrefixRewrite(prefix)) => (None, Some(prefix), None),
        Some(PathRewriteSpecifier::RegexRewrite(regex)) => {
            (None, None, Some(forward::regex_rewrite(regex).at("regex_rewrite")?))
        }
        Some(PathRewriteSpecifier::PathRewrite(_)) => return Err(Refusal::unsupported("path_rewrite")),
    };
    let host = Some(take(&mut wire.host_redirect)).filter(|h| !h.is_empty());
    let port = Some(short(take(&mut wire.port_redirect), "port_redirect")?).filter(|p| *p != 0);
    let strip_query = take(&mut wire.strip_query);
    nothing_left(&wire)?;
    Ok(Redirect { status, scheme, host, port, path, prefix, regex, strip_query })
}

fn wire_redirect(model: &Redirect) -> wire::RedirectAction {
    let code = match model.status {
        302 => RedirectResponseCode::Found,
        303 => RedirectResponseCode::SeeOther,
        307 => RedirectResponseCode::TemporaryRedirect,
        308 => RedirectResponseCode::PermanentRedirect,
        _ => RedirectResponseCode::MovedPermanently,
    };
    let scheme = model.scheme.as_deref().map(|scheme| match scheme {
        "https" => SchemeRewriteSpecifier::HttpsRedirect(true),
        other => SchemeRewriteSpecifier::SchemeRedirect(other.to_owned()),
    });
    let path = match (&model.path, &model.prefix, &model.regex) {
        (Some(path), _, _) => Some(PathRewriteSpecifier::PathRedirect(path.clone())),
        (None, Some(prefix), _) => Some(PathRewriteSpecifier::PrefixRewrite(prefix.clone())),
        (None, None, Some(regex)) => {
            Some(PathRewriteSpecifier::RegexRewrite(forward::wire_regex_rewrite(regex)))
        }
        (None, None, None) => None,
    };
    wire::RedirectAction {
        host_redirect: model.host.clone().unwrap_or_default(),
        port_redirect: model.port.unwrap_or_default().into(),
        response_code: code.into(),
        strip_query: model.strip_query,
        scheme_rewrite_specifier: scheme,
        path_rewrite_specifier: path,
    }
}

fn direct(mut wire: wire::DirectResponseAction) -> Result<RouteAction, Refusal> {
    let status = short(take(&mut wire.status), "status")?;
    let body = match wire.body.take().and_then(|b| b.specifier) {
        None => String::new(),
        Some(Specifier::InlineString(text)) => text,
        Some(Specifier::InlineBytes(bytes)) => {
            String::from_utf8(bytes).or_else(|_| refuse("is not UTF-8").at("body.inline_bytes"))?
        }
        Some(Specifier::Filename(_) | Specifier::EnvironmentVariable(_)) => {
            return refuse("only inline_string and inline_bytes are supported").at("body");
        }
    };
    nothing_left(&wire)?;
    Ok(RouteAction::Direct { status, body })
}

fn wire_direct(status: u16, body: &str) -> wire::DirectResponseAction {
    let specifier = Some(Specifier::InlineString(body.to_owned()));
    wire::DirectResponseAction {
        status: status.into(),
        body: (!body.is_empty()).then(|| DataSource { specifier, ..DataSource::default() }),
        ..wire::DirectResponseAction::default()
    }
}

fn origin(metadata: &Metadata) -> Option<String> {
    let object = from_struct(metadata.filter_metadata.get(ISTIO)?);
    object.get("config").and_then(Value::as_str).map(str::to_owned)
}

fn wire_origin(origin: &str) -> Metadata {
    let mut metadata = Metadata::default();
    if let Value::Object(object) = json!({"config": origin}) {
        metadata.filter_metadata.insert(ISTIO.into(), to_struct(&object));
    }
    metadata
}
