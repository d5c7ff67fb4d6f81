//! Pure. Validates changes to headers.

use crate::check::finding::Findings;
use api::format::{self, Place};
use api::model::matcher::{HeaderAction, HeaderMutations, HeaderWrite};
use api::resource::kind::virtual_service as written;

/// Changes to request and response headers, and the authority that a `Host` header among them sets.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) request: HeaderMutations,
    pub(super) response: HeaderMutations,
    pub(super) authority: Option<String>,
}

pub(super) fn changes(f: &mut Findings, path: &str, written: Option<&written::Headers>) -> Changes {
    let mut changes = Changes::default();
    let Some(written) = written else { return changes };
    if let Some(request) = &written.request {
        changes.request = mutations(f, &format!("{path}.request"), request, Some(&mut changes.authority));
    }
    if let Some(response) = &written.response {
        changes.response = mutations(f, &format!("{path}.response"), response, None);
    }
    changes
}

fn mutations(
    f: &mut Findings,
    path: &str,
    written: &written::HeaderOperations,
    mut authority: Option<&mut Option<String>>,
) -> HeaderMutations {
    let mut mutations = HeaderMutations::default();
    for (operation, headers, action) in
        [("set", &written.set, HeaderAction::Set), ("add", &written.add, HeaderAction::Append)]
    {
        for (name, value) in headers {
            let path = format!("{path}.{operation}.{name}");
            match &mut authority {
                Some(authority) if is_host(name) => {
                    checked_value(f, &path, value);
                    if authority.is_some() {
                        f.error(path, "sets the authority a second time", "set it once");
                    }
                    **authority = Some(value.clone());
                }
                _ => write(f, &path, (name, value), action, &mut mutations),
            }
        }
    }
    for (i, name) in written.remove.iter().enumerate() {
        if let Some(name) = checked(f, &format!("{path}.remove[{i}]"), name) {
            mutations.remove.push(name);
        }
    }
    mutations
}

fn write(
    f: &mut Findings,
    path: &str,
    (name, value): (&str, &str),
    action: HeaderAction,
    mutations: &mut HeaderMutations,
) {
    checked_value(f, path, value);
    if let Some(name) = checked(f, path, name) {
        mutations.write.push(HeaderWrite { name, value: value.to_owned(), action });
    }
}

fn checked_value(f: &mut Findings, path: &str, value: &str) {
    if value.bytes().any(|b| b.is_ascii_control() && b != b'\t') {
        f.error(path, "the value has a line break or another control character", "write it on one line");
    }
    if let Err(mistake) = format::parse(value, Place::Header) {
        f.error(path, format!("the value {mistake}"), "correct it, or write %% for a percent sign");
    }
}

fn checked(f: &mut Findings, path: &str, name: &str) -> Option<String> {
    if name.starts_with(':') || is_host(name) {
        f.error(path, format!("`{name}` cannot be changed here"), "use rewrite for path and authority");
        return None;
    }
    is_name(f, path, name).then(|| name.to_ascii_lowercase())
}

fn is_host(name: &str) -> bool {
    name.eq_ignore_ascii_case("host") || name.eq_ignore_ascii_case(":authority")
}

/// Checks that a header name is a token of RFC 9110.
pub(super) fn is_name(f: &mut Findings, path: &str, name: &str) -> bool {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    let valid = !name.is_empty() && name.bytes().all(token);
    if !valid {
        f.error(path, format!("`{name}` is not a valid header name"), "correct it");
    }
    valid
}
