//! Pure. The target of a redirect.

use super::rewrite::{replace, split};
use super::without_port;
use crate::flow::head::Head;
use crate::snapshot::table::Redirect as CompiledRedirect;

/// The `location` header of a redirect.
pub fn location(compiled: &CompiledRedirect, head: &Head<'_>) -> String {
    let CompiledRedirect { model: redirect, prefix, regex } = compiled;
    let regex = regex.as_ref();
    let scheme = redirect.scheme.as_deref().unwrap_or(head.scheme);
    let asked = without_port(head.authority);
    let asked_port = head.authority[asked.len()..].strip_prefix(':');
    let host = redirect.host.as_deref().unwrap_or(asked);
    let port = match redirect.port {
        Some(port) => Some(port.to_string()),
        // A port of the request's scheme does not apply to another scheme.
        None if redirect.scheme.is_some() && scheme != head.scheme && is_default(head.scheme, asked_port) => {
            None
        }
        None if redirect.host.is_some() => None,
        None => asked_port.map(str::to_owned),
    };
    let (path, query) = split(head.target);
    let path = match (&redirect.path, &redirect.prefix, regex) {
        (Some(path), _, _) => path.clone(),
        (None, Some(to), _) => replace(prefix, path, to),
        (None, None, Some((regex, with))) => {
            String::from_utf8_lossy(&regex.replace_all(path.as_bytes(), &**with)).into_owned()
        }
        (None, None, None) => path.to_owned(),
    };
    let query = if redirect.strip_query || path.contains('?') { "" } else { query };
    let port = port.map_or_else(String::new, |port| format!(":{port}"));
    format!("{scheme}://{host}{port}{path}{query}")
}

/// The `location` of a redirect to the same URL over https.
pub fn to_https(head: &Head<'_>) -> String {
    format!("https://{}{}", without_port(head.authority), head.target)
}

fn is_default(scheme: &str, port: Option<&str>) -> bool {
    matches!((scheme, port), ("http", Some("80")) | ("https", Some("443")) | (_, None))
}
