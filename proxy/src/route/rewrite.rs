//! Pure. Rewrites the path and query that are sent upstream.

use crate::snapshot::table::{Forward, RewritePrefix};

/// The rewritten path and query; `None`: unchanged.
pub fn target(forward: &Forward, target: &str) -> Option<String> {
    let (path, query) = split(target);
    if let Some((prefix, to)) = &forward.prefix_rewrite {
        return Some([&replace(prefix, path, to), query].concat());
    }
    let (regex, to) = forward.regex_rewrite.as_ref()?;
    let replaced = regex.replace_all(path.as_bytes(), &**to);
    Some([&String::from_utf8_lossy(&replaced), query].concat())
}

/// A path with its prefix replaced. The result always starts with a slash.
pub(super) fn replace(prefix: &RewritePrefix, path: &str, to: &str) -> String {
    let rest = match prefix {
        RewritePrefix::Whole => "",
        RewritePrefix::Bytes(count) => path.get(*count..).unwrap_or(""),
    };
    let joined = [to, rest].concat();
    if joined.starts_with('/') { joined } else { ["/", &joined].concat() }
}

/// Splits a target into its path and the query with its question mark.
pub(super) fn split(target: &str) -> (&str, &str) {
    target.split_at(target.find(['?', '#']).unwrap_or(target.len()))
}
