//! Pure. A listener's changes to a request before anything else reads it: header names with underscores, the port in
//! the host, escaped slashes in the path.

use crate::flow::flags::Flags;
use crate::flow::refusal::Refusal;
use crate::route::without_port;
use api::model::listener::{EscapedSlashes, HostPort, HttpExtra, Underscores};
use http::header::{HOST, HeaderMap, HeaderName, HeaderValue};

/// Handles headers with an underscore in their name, which some applications treat as a dash.
pub(super) fn underscores(headers: &mut HeaderMap, action: Underscores) -> Result<(), Refusal> {
    if action == Underscores::Allow {
        return Ok(());
    }
    let found: Vec<HeaderName> = headers.keys().filter(|name| name.as_str().contains('_')).cloned().collect();
    if !found.is_empty() && action == Underscores::Reject {
        return Err(Refusal::new(400, "Bad Request", Flags::DPE, "http1.unexpected_underscore"));
    }
    for name in found {
        headers.remove(name);
    }
    Ok(())
}

/// Whether the settings can change the host.
pub(super) fn changes_host(extra: &HttpExtra) -> bool {
    extra.host_port != HostPort::Keep || extra.strip_host_dot
}

/// Removes the trailing dot and the port from the host, as far as the listener asks for it.
pub(super) fn host(headers: &mut HeaderMap, extra: &HttpExtra, own_port: u16) {
    if !changes_host(extra) {
        return;
    }
    let Some(written) = headers.get(HOST).and_then(|host| host.to_str().ok()) else { return };
    let name = without_port(written);
    let dot = extra.strip_host_dot && name.ends_with('.');
    if extra.host_port == HostPort::Keep && !dot {
        return;
    }
    let port = written[name.len()..].strip_prefix(':');
    let strip = match extra.host_port {
        HostPort::Keep => false,
        HostPort::StripOwn => port.and_then(|port| port.parse().ok()) == Some(own_port),
        HostPort::Strip => true,
    };
    let name = if dot { &name[..name.len() - 1] } else { name };
    let made = match port.filter(|_| !strip) {
        Some(port) => format!("{name}:{port}"),
        None => name.to_owned(),
    };
    if made != written
        && let Ok(made) = HeaderValue::from_str(&made)
    {
        headers.insert(HOST, made);
    }
}

/// The target with its escaped slashes decoded; `None`: it stays unchanged.
pub(super) fn slashes(target: &str, action: EscapedSlashes) -> Result<Option<String>, Refusal> {
    if action == EscapedSlashes::Keep {
        return Ok(None);
    }
    let end = target.find(['?', '#']).unwrap_or(target.len());
    let (path, query) = target.split_at(end);
    let mut made = String::with_capacity(target.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        made.push_str(&rest[..at]);
        let plain = match rest.get(at + 1..at + 3) {
            Some("2f" | "2F") => Some('/'),
            Some("5c" | "5C") => Some('\\'),
            _ => None,
        };
        made.push(plain.unwrap_or('%'));
        rest = &rest[at + if plain.is_some() { 3 } else { 1 }..];
    }
    made.push_str(rest);
    if made == path {
        return Ok(None);
    }
    if action == EscapedSlashes::Reject {
        return Err(Refusal::new(400, "", Flags::NONE, "path_normalization_failed"));
    }
    made.push_str(query);
    Ok(Some(made))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_stripped_as_the_listener_configures() {
        for (host_port, dot, before, after) in [
            (HostPort::Keep, false, "a.:80", "a.:80"),
            (HostPort::Strip, false, "a:80", "a"),
            (HostPort::Strip, false, "[::1]:80", "[::1]"),
            (HostPort::StripOwn, false, "a:8000", "a"),
            (HostPort::StripOwn, false, "a:80", "a:80"),
            (HostPort::Keep, true, "a.:80", "a:80"),
            (HostPort::Strip, true, "a.", "a"),
        ] {
            let mut headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static(before))]);
            let extra = HttpExtra { host_port, strip_host_dot: dot, ..HttpExtra::default() };
            host(&mut headers, &extra, 8000);
            assert_eq!(headers[HOST], after, "{host_port:?} {dot} {before}");
        }
    }

    #[test]
    fn escaped_slashes_are_kept_refused_or_decoded() {
        use EscapedSlashes::{Keep, Redirect, Reject, Unescape};
        for (action, before, after) in [
            (Keep, "/a%2Fb", Ok(None)),
            (Unescape, "/a%2fb%5Cc?d=%2F", Ok(Some("/a/b\\c?d=%2F"))),
            (Redirect, "/a%2fb", Ok(Some("/a/b"))),
            (Unescape, "/a%20b%zz%2", Ok(None)),
            (Reject, "/a%2Fb", Err(400)),
            (Reject, "/a?%2F", Ok(None)),
        ] {
            let found = slashes(before, action).map_err(|refusal| refusal.status);
            assert_eq!(found, after.map(|a: Option<&str>| a.map(str::to_owned)), "{action:?} {before}");
        }
    }

    #[test]
    fn underscores_pass_are_dropped_or_refused() {
        for (action, left) in
            [(Underscores::Allow, Some(2)), (Underscores::Drop, Some(1)), (Underscores::Reject, None)]
        {
            let names =
                ["a_b", "c"].map(|name| (HeaderName::from_static(name), HeaderValue::from_static("1")));
            let mut headers = HeaderMap::from_iter(names);
            let found = underscores(&mut headers, action).ok().map(|()| headers.len());
            assert_eq!(found, left, "{action:?}");
        }
    }
}
