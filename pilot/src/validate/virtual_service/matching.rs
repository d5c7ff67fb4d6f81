//! Pure. Validates the match conditions of routes.

use super::context::Context;
use super::gateway::gateways;
use super::header;
use crate::catalog::route::{HttpMatch, SourceMatch};
use crate::catalog::visibility::Labels;
use crate::check::finding::Findings;
use crate::check::value;
use api::model::matcher::{HeaderMatch, HeaderTest, Pattern, QueryMatch, StringMatch};
use api::model::route::PathMatch;
use api::resource::kind::virtual_service as written;

pub(super) fn http(
    f: &mut Findings,
    path: &str,
    written: &written::HttpMatch,
    context: Context,
) -> HttpMatch {
    f.unserved(format!("{path}.statPrefix"), &written.stat_prefix);
    let mut headers = vec![];
    let pseudo =
        [("scheme", &written.scheme), ("method", &written.method), ("authority", &written.authority)];
    for (name, condition) in pseudo {
        let at = format!("{path}.{name}");
        let condition = condition.as_ref().and_then(|c| filled(f, &at, c));
        headers.extend(condition.map(|p| text_header(format!(":{name}"), p)));
    }
    for (name, condition) in &written.headers {
        headers.extend(named_header(f, &format!("{path}.headers.{name}"), name, condition));
    }
    for (name, condition) in &written.without_headers {
        let at = format!("{path}.withoutHeaders.{name}");
        // In Istio this expression means that the header is present.
        let any = written::StringMatch { regex: None, ..condition.clone() };
        let condition = if condition.regex.as_deref() == Some("*") { &any } else { condition };
        headers.extend(named_header(f, &at, name, condition).map(without));
    }
    let query = written
        .query_params
        .iter()
        .filter_map(|(name, condition)| query(f, &format!("{path}.queryParams.{name}"), name, condition));
    let query = query.collect();
    HttpMatch {
        name: written.name.clone(),
        path: written.uri.as_ref().and_then(|uri| uri_path(f, &format!("{path}.uri"), uri)),
        ignore_case: written.ignore_uri_case,
        headers,
        query,
        source: source(
            f,
            path,
            &Conditions {
                port: written.port,
                labels: &written.source_labels,
                namespace: &written.source_namespace,
                namespace_is_checked: true,
                gateways: &written.gateways,
            },
            context,
        ),
    }
}

/// The conditions that HTTP, TLS and TCP matches share.
pub(super) struct Conditions<'a> {
    pub(super) port: Option<u32>,
    pub(super) labels: &'a Labels,
    pub(super) namespace: &'a str,
    /// Whether an impossible namespace is refused. Istio refuses it in HTTP matches only.
    pub(super) namespace_is_checked: bool,
    pub(super) gateways: &'a [String],
}

pub(super) fn source(f: &mut Findings, path: &str, written: &Conditions, context: Context) -> SourceMatch {
    let at = format!("{path}.sourceNamespace");
    if !written.namespace.is_empty() && !value::namespace(f, &at, written.namespace) {
        let reason = format!("`{}` is not a valid namespace", written.namespace);
        if written.namespace_is_checked {
            f.error(at, reason, "correct it");
        } else {
            f.warn(at, format!("{reason}, so nothing matches"), "correct it");
        }
    }
    value::labels(f, &format!("{path}.sourceLabels"), written.labels);
    SourceMatch {
        // 0 means any port, as if the field were absent.
        port: written
            .port
            .filter(|port| *port != 0)
            .map(|port| value::port(f, &format!("{path}.port"), port.into())),
        labels: written.labels.clone(),
        namespace: Some(written.namespace.to_owned()).filter(|namespace| !namespace.is_empty()),
        gateways: gateways(f, &format!("{path}.gateways"), written.gateways, context.own),
    }
}

/// Parses a string match; `None` if it is empty, which means that the value is present.
fn pattern(f: &mut Findings, path: &str, written: &written::StringMatch) -> Option<Pattern> {
    let all = [
        written.exact.clone().map(Pattern::Exact),
        written.prefix.clone().map(Pattern::Prefix),
        written.regex.clone().map(Pattern::Regex),
    ];
    let mut given = all.into_iter().flatten();
    let first = given.next();
    if given.next().is_some() {
        f.error(path, "has several comparisons", "keep one of exact, prefix and regex");
    }
    if let Some(Pattern::Regex(regex)) = &first {
        value::regex(f, &format!("{path}.regex"), regex);
    }
    first
}

/// Like `pattern`, but refuses an empty prefix, which only a path may have.
pub(super) fn filled(f: &mut Findings, path: &str, written: &written::StringMatch) -> Option<Pattern> {
    let pattern = pattern(f, path, written);
    if matches!(&pattern, Some(Pattern::Prefix(prefix)) if prefix.is_empty()) {
        f.error(format!("{path}.prefix"), "is empty", "write a prefix, or leave the condition out");
    }
    pattern
}

fn uri_path(f: &mut Findings, path: &str, written: &written::StringMatch) -> Option<PathMatch> {
    match pattern(f, path, written)? {
        Pattern::Exact(text) => Some(PathMatch::Exact(text)),
        Pattern::Prefix(text) => Some(PathMatch::Prefix(text)),
        Pattern::Regex(text) => Some(PathMatch::Regex(text)),
        Pattern::Suffix(_) | Pattern::Contains(_) => None,
    }
}

fn named_header(
    f: &mut Findings,
    path: &str,
    name: &str,
    written: &written::StringMatch,
) -> Option<HeaderMatch> {
    if name.starts_with("@request.auth.") {
        let reason = "matching of JWT claims is not supported by this version: nothing verifies tokens";
        f.error(path, reason, "let the application verify the token and decide");
        return None;
    }
    if !PSEUDO.contains(&name) && !header::is_name(f, path, name) {
        return None;
    }
    let name = name.to_ascii_lowercase();
    Some(match filled(f, path, written) {
        None => present(name),
        Some(pattern) => text_header(name, pattern),
    })
}

fn present(name: String) -> HeaderMatch {
    HeaderMatch { name, test: HeaderTest::Present(true), invert: false, missing_as_empty: false }
}

fn text_header(name: String, pattern: Pattern) -> HeaderMatch {
    let test = HeaderTest::Text(StringMatch { pattern, ignore_case: false });
    HeaderMatch { name, test, invert: false, missing_as_empty: false }
}

/// Negates a header match; a missing header counts as empty.
fn without(header: HeaderMatch) -> HeaderMatch {
    let missing_as_empty = matches!(header.test, HeaderTest::Text(_));
    HeaderMatch { invert: true, missing_as_empty, ..header }
}

fn query(f: &mut Findings, path: &str, name: &str, written: &written::StringMatch) -> Option<QueryMatch> {
    if name.is_empty() {
        f.error(path, "a parameter has a name", "name it");
        return None;
    }
    let value = filled(f, path, written).map(|pattern| StringMatch { pattern, ignore_case: false });
    Some(QueryMatch { name: name.to_owned(), value, absent: false })
}

/// The pseudo-headers of HTTP/2 requests.
const PSEUDO: [&str; 4] = [":method", ":scheme", ":authority", ":path"];
