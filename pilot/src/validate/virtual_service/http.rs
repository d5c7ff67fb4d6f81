//! Pure. Validates HTTP routes: the action for matching requests and its settings.

use super::context::Context;
use super::destination::{destination, weights};
use super::{cors, fault, header, matching, mirror, retry};
use crate::catalog::route::{HttpAction, HttpDestination, HttpRoute};
use crate::check::finding::Findings;
use crate::check::value;
use api::model::filter::FilterOverride;
use api::model::route::Redirect;
use api::resource::kind::virtual_service as written;
use api::resource::name::is_subdomain;
use base64::Engine;

pub(super) fn route(
    f: &mut Findings,
    path: &str,
    written: &written::HttpRoute,
    context: Context,
) -> Option<HttpRoute> {
    let headers = header::changes(f, &format!("{path}.headers"), written.headers.as_ref());
    let matches = written.matches.iter().enumerate();
    let matches =
        matches.map(|(i, m)| matching::http(f, &format!("{path}.match[{i}]"), m, context)).collect();
    let action = action(f, path, written, context);
    let rewrite = written.rewrite.as_ref();
    rewrite_rules(f, &format!("{path}.rewrite"), rewrite);
    let authority = rewrite.and_then(|r| r.authority.clone()).filter(|a| !a.is_empty());
    if authority.is_some() && headers.authority.is_some() {
        let reason = "sets the authority, which headers.request sets too";
        f.error(format!("{path}.rewrite.authority"), reason, "keep one of the two");
    }
    Some(HttpRoute {
        name: written.name.clone(),
        matches,
        action: action?,
        rewrite_uri: rewrite.and_then(|r| r.uri.clone()).filter(|uri| !uri.is_empty()),
        rewrite_authority: authority.or(headers.authority),
        rewrite_regex: rewrite.and_then(|r| r.uri_regex_rewrite.clone()).map(|r| (r.pattern, r.rewrite)),
        timeout: value::period(f, &format!("{path}.timeout"), written.timeout.as_deref()),
        retries: retry::retries(f, &format!("{path}.retries"), written.retries.as_ref()),
        filters: filters(f, path, written),
        mirrors: mirror::mirrors(f, path, written, context),
        request_headers: headers.request,
        response_headers: headers.response,
    })
}

/// The route's settings for filters, sorted by filter name.
fn filters(f: &mut Findings, path: &str, written: &written::HttpRoute) -> Vec<FilterOverride> {
    let cors = written.cors_policy.as_ref().map(|w| cors::policy(f, &format!("{path}.corsPolicy"), w));
    let fault = written.fault.as_ref().and_then(|w| fault::fault(f, &format!("{path}.fault"), w));
    cors.map(FilterOverride::from).into_iter().chain(fault.map(FilterOverride::from)).collect()
}

fn action(
    f: &mut Findings,
    path: &str,
    written: &written::HttpRoute,
    context: Context,
) -> Option<HttpAction> {
    let given = [
        ("route", !written.route.is_empty()),
        ("redirect", written.redirect.is_some()),
        ("directResponse", written.direct_response.is_some()),
        ("delegate", written.delegate.is_some()),
    ];
    let given: Vec<&str> = given.into_iter().filter(|(_, there)| *there).map(|(name, _)| name).collect();
    match given[..] {
        ["directResponse", "delegate"] => {
            let reason = "is ignored together with delegate";
            f.warn(
                format!("{path}.directResponse"),
                reason,
                "write it in the VirtualService of the delegate",
            );
        }
        [] => {
            f.error(path, "has no action", "add route, redirect or directResponse");
            return None;
        }
        [_] => {}
        [first, second, ..] => {
            f.error(
                format!("{path}.{second}"),
                format!("cannot be combined with {first}"),
                "keep one of the two",
            );
            return None;
        }
    }
    if !written.route.is_empty() {
        return forward(f, &format!("{path}.route"), &written.route, context);
    }
    if let Some(redirect) = &written.redirect {
        only_forwarded(f, path, written, "redirect");
        return Some(redirect_action(f, &format!("{path}.redirect"), redirect, &written.matches));
    }
    if let Some(direct) = written.direct_response.as_ref().filter(|_| written.delegate.is_none()) {
        only_forwarded(f, path, written, "directResponse");
        return direct_action(f, &format!("{path}.directResponse"), direct);
    }
    let delegate = written.delegate.as_ref()?;
    if !is_subdomain(&delegate.name) {
        // No object can have this name. Istio leaves the route out, and so does Ostria.
        f.warn(
            format!("{path}.delegate.name"),
            format!("`{}` is not a valid name, so the route leads nowhere", delegate.name),
            "correct it",
        );
    }
    let namespace = if delegate.namespace.is_empty() { context.own } else { &delegate.namespace };
    Some(HttpAction::Delegate { namespace: namespace.to_owned(), name: delegate.name.clone() })
}

/// Warns of fields that have no effect because the request is not forwarded, as with a redirect. Refuses those that
/// would change the response.
fn only_forwarded(f: &mut Findings, path: &str, written: &written::HttpRoute, action: &str) {
    let fields = [
        ("timeout", written.timeout.is_some()),
        ("retries", written.retries.is_some()),
        ("mirror", written.mirror.is_some()),
        ("mirrors", !written.mirrors.is_empty()),
        ("corsPolicy", written.cors_policy.is_some()),
    ];
    for (field, given) in fields {
        if given {
            f.warn(format!("{path}.{field}"), format!("is not used with {action}"), "remove it");
        }
    }
    for (field, given) in [("rewrite", written.rewrite.is_some()), ("fault", written.fault.is_some())] {
        if given {
            f.error(format!("{path}.{field}"), format!("is not used with {action}"), "remove it");
        }
    }
}

fn forward(
    f: &mut Findings,
    path: &str,
    written: &[written::HttpDestination],
    context: Context,
) -> Option<HttpAction> {
    let weights = weights(f, path, &written.iter().map(|d| d.weight).collect::<Vec<_>>());
    let mut destinations = vec![];
    for (i, (written, weight)) in written.iter().zip(weights).enumerate() {
        let path = format!("{path}[{i}]");
        let headers = header::changes(f, &format!("{path}.headers"), written.headers.as_ref());
        let to = destination(f, &format!("{path}.destination"), written.destination.as_ref(), context);
        let (Some(destination), true) = (to, weight > 0) else { continue };
        destinations.push(HttpDestination {
            index: i,
            destination,
            weight,
            request_headers: headers.request,
            response_headers: headers.response,
            rewrite_authority: headers.authority,
        });
    }
    (!destinations.is_empty()).then_some(HttpAction::Forward(destinations))
}

fn redirect_action(
    f: &mut Findings,
    path: &str,
    written: &written::HttpRedirect,
    matches: &[written::HttpMatch],
) -> HttpAction {
    let status = written.redirect_code.filter(|code| *code != 0).unwrap_or(301);
    if ![301, 302, 303, 307, 308].contains(&status) {
        f.error(
            format!("{path}.redirectCode"),
            format!("{status} is not a supported redirect status"),
            "write 301, 302, 303, 307 or 308",
        );
    }
    let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let scheme = filled(&written.scheme);
    if scheme.as_ref().is_some_and(|s| s != "http" && s != "https") {
        f.error(format!("{path}.scheme"), "is not a supported scheme", "write http or https");
    }
    if written.port.is_some() && written.derive_port.is_some() {
        f.error(format!("{path}.derivePort"), "cannot be combined with port", "keep one of the two");
    }
    let port = match written.derive_port {
        // Without a scheme the protocol is unchanged, and so is its port.
        Some(written::DerivePort::FromProtocolDefault) => {
            scheme.as_ref().map(|scheme| if scheme == "https" { 443 } else { 80 })
        }
        Some(written::DerivePort::FromRequestPort) => None,
        None => written
            .port
            .filter(|port| *port != 0)
            .map(|port| value::port(f, &format!("{path}.port"), port.into())),
    };
    let redirect = Redirect {
        status: status as u16,
        scheme,
        host: filled(&written.authority),
        port,
        path: filled(&written.uri),
        prefix: filled(&written.prefix_rewrite),
        ..Redirect::default()
    };
    if redirect.prefix.is_some() {
        prefix_redirect(f, &format!("{path}.prefixRewrite"), &redirect, matches);
    }
    if redirect == (Redirect { status: redirect.status, ..Redirect::default() })
        && written.derive_port.is_none()
        && written.port.is_none()
    {
        f.error(path, "changes nothing", "add uri, authority, port or scheme");
    }
    let request_port = written.derive_port == Some(written::DerivePort::FromRequestPort);
    HttpAction::Redirect { to: redirect, request_port }
}

/// Checks that a redirect with `prefixRewrite` matches by prefix.
fn prefix_redirect(f: &mut Findings, path: &str, redirect: &Redirect, matches: &[written::HttpMatch]) {
    if redirect.path.is_some() {
        f.error(path, "cannot be combined with uri", "keep one of the two");
    }
    let other = |m: &written::HttpMatch| m.uri.as_ref().is_some_and(|uri| uri.prefix.is_none());
    if let Some(i) = matches.iter().position(other) {
        f.error(
            path,
            format!("needs a prefix, and match[{i}].uri is not a prefix"),
            "write uri.prefix there",
        );
    }
}

fn direct_action(f: &mut Findings, path: &str, written: &written::DirectResponse) -> Option<HttpAction> {
    if !(200..600).contains(&written.status) {
        let reason = format!("{} is not a valid HTTP status", written.status);
        f.error(format!("{path}.status"), reason, "write a number from 200 to 599");
    }
    let body = match &written.body {
        None => String::new(),
        Some(body) => match (&body.string, &body.bytes) {
            (Some(text), None) => text.clone(),
            (None, Some(encoded)) => {
                let decoded = base64::engine::general_purpose::STANDARD.decode(encoded).ok();
                let Some(text) = decoded.and_then(|bytes| String::from_utf8(bytes).ok()) else {
                    f.error(format!("{path}.body.bytes"), "is not base64-encoded text", "write body.string");
                    return None;
                };
                text
            }
            (None, None) => {
                f.warn(format!("{path}.body"), "is empty", "add string, or remove it");
                String::new()
            }
            (Some(_), Some(_)) => {
                f.error(format!("{path}.body"), "needs one of string and bytes", "keep one of the two");
                return None;
            }
        },
    };
    if body.len() > MAX_BODY {
        f.error(format!("{path}.body"), "is longer than 1 MiB", "shorten it");
    } else if body.len() > LARGE_BODY {
        let reason = "is longer than 100 KiB, which every proxy with the route keeps in memory";
        f.warn(format!("{path}.body"), reason, "shorten it, or serve it from a service");
    }
    Some(HttpAction::Direct { status: written.status as u16, body })
}

fn rewrite_rules(f: &mut Findings, path: &str, written: Option<&written::Rewrite>) {
    let Some(written) = written else { return };
    let filled = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    if let Some(regex) = &written.uri_regex_rewrite {
        if filled(&written.uri) {
            f.error(format!("{path}.uriRegexRewrite"), "cannot be combined with uri", "keep one of the two");
        }
        if regex.rewrite.is_empty() {
            f.missing(format!("{path}.uriRegexRewrite.rewrite"));
        }
        if regex.pattern.is_empty() {
            f.missing(format!("{path}.uriRegexRewrite.match"));
        } else {
            value::regex(f, &format!("{path}.uriRegexRewrite.match"), &regex.pattern);
        }
    }
    if !filled(&written.uri) && !filled(&written.authority) && written.uri_regex_rewrite.is_none() {
        f.error(path, "changes nothing", "add uri, authority or uriRegexRewrite");
    }
}

const MAX_BODY: usize = 1 << 20;
const LARGE_BODY: usize = 100 << 10;
