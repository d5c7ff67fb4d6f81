//! Pure. Validates CORS policies, which decide which other origins' pages may read responses.

use super::{header, matching};
use crate::check::finding::Findings;
use crate::check::value;
use api::model::filter::cors::CorsPolicy;
use api::model::matcher::{Fraction, StringMatch};
use api::resource::kind::virtual_service as written;

pub(super) fn policy(f: &mut Findings, path: &str, written: &written::CorsPolicy) -> CorsPolicy {
    let mut allow_origins = vec![];
    for (i, origin) in written.allow_origins.iter().enumerate() {
        let path = format!("{path}.allowOrigins[{i}]");
        let pattern = matching::filled(f, &path, origin);
        if pattern.is_none() || origin.exact.as_ref().is_some_and(String::is_empty) {
            f.error(&path, "has no origin", "write exact, prefix or regex");
        }
        allow_origins.extend(pattern.map(|pattern| StringMatch { pattern, ignore_case: false }));
    }
    // The deprecated field counts if the other is missing.
    if written.allow_origins.is_empty() {
        allow_origins.extend(written.allow_origin.iter().map(|origin| StringMatch::exact(origin.as_str())));
    } else if !written.allow_origin.is_empty() {
        f.warn(format!("{path}.allowOrigin"), "is ignored together with allowOrigins", "remove it");
    }
    if allow_origins.is_empty() && written.allow_origins.is_empty() {
        f.warn(path, "allows no origin", "add allowOrigins");
    }
    methods(f, path, &written.allow_methods);
    for (field, names) in
        [("allowHeaders", &written.allow_headers), ("exposeHeaders", &written.expose_headers)]
    {
        for (i, name) in names.iter().enumerate().filter(|(_, name)| *name != "*") {
            header::is_name(f, &format!("{path}.{field}[{i}]"), name);
        }
    }
    CorsPolicy {
        allow_origins,
        allow_methods: written.allow_methods.join(","),
        allow_headers: written.allow_headers.join(","),
        expose_headers: written.expose_headers.join(","),
        max_age: max_age(f, &format!("{path}.maxAge"), written.max_age.as_deref()),
        allow_credentials: written.allow_credentials,
        allow_private_network_access: None,
        forward_not_matching_preflights: Some(unmatched(f, path, &written.unmatched_preflights)),
        enabled: Some(Fraction { numerator: 100, denominator: 100 }),
        shadow: None,
    }
}

fn methods(f: &mut Findings, path: &str, methods: &[String]) {
    for (i, method) in methods.iter().enumerate() {
        if method != "*" && !METHODS.contains(&method.as_str()) {
            let reason = format!("`{method}` is not an HTTP method");
            f.error(
                format!("{path}.allowMethods[{i}]"),
                reason,
                "write a method of HTTP in capitals, or `*`",
            );
        }
    }
}

/// Parses `maxAge`; `Access-Control-Max-Age` has whole seconds.
fn max_age(f: &mut Findings, path: &str, text: Option<&str>) -> String {
    let Some(age) = value::any_period(f, path, text) else { return String::new() };
    if age.subsec_nanos() != 0 {
        let shown = text.unwrap_or_default();
        f.error(path, format!("`{shown}` is more precise than a second"), "write whole seconds");
    }
    age.as_secs().to_string()
}

/// Parses `unmatchedPreflights`: whether preflight requests from origins that are not allowed are forwarded to the
/// server.
fn unmatched(f: &mut Findings, path: &str, text: &str) -> bool {
    match text {
        "" | "UNSPECIFIED" | "FORWARD" => true,
        "IGNORE" => false,
        other => {
            let path = format!("{path}.unmatchedPreflights");
            f.error(path, format!("`{other}` is not known"), "write FORWARD or IGNORE");
            true
        }
    }
}

const METHODS: [&str; 9] = ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"];
