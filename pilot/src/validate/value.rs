//! Pure. Parses the values that several kinds share: durations, ports, shares, hosts, subnets, visibility.

use super::finding::Findings;
use crate::catalog::visibility::ExportTo;
use api::model::matcher::Fraction;
use api::process::duration;
use api::resource::name::is_label;
use ipnet::IpNet;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

/// A duration of at least a millisecond; absent or refused: `None`.
pub(super) fn period(f: &mut Findings, path: &str, text: Option<&str>) -> Option<Duration> {
    let period = any_period(f, path, text)?;
    if period < Duration::from_millis(1) {
        f.error(path, format!("`{}` is too short", text.unwrap_or_default()), "write at least 1ms");
        return None;
    }
    Some(period)
}

/// A duration, zero included.
pub(super) fn any_period(f: &mut Findings, path: &str, text: Option<&str>) -> Option<Duration> {
    duration::parse(text?).map_err(|reason| f.error(path, reason, "correct the duration")).ok()
}

/// A port number; refused: 0.
pub(super) fn port(f: &mut Findings, path: &str, number: i64) -> u16 {
    match u16::try_from(number) {
        Ok(port) if port != 0 => port,
        _ => {
            f.error(path, format!("{number} is no port number"), "write a number from 1 to 65535");
            0
        }
    }
}

/// A share in percent.
pub(super) fn share(f: &mut Findings, path: &str, percent: f64) -> Fraction {
    if !(0.0..=100.0).contains(&percent) {
        f.error(path, format!("{percent} is no percentage"), "write a number from 0 to 100");
    }
    Fraction::from_percent(if percent.is_finite() { percent } else { 0.0 })
}

/// A host name or address, a wildcard in its first label where `wildcard` allows it.
pub(super) fn host(f: &mut Findings, path: &str, text: &str, wildcard: bool) -> bool {
    if text.is_empty() {
        f.missing(path);
        return false;
    }
    let name = match text.strip_prefix('*') {
        Some(_) if !wildcard => {
            f.error(path, format!("`{text}` may not be a wildcard"), "name one host");
            return false;
        }
        Some("") => return true,
        Some(rest) => rest.trim_start_matches(['.', '-']),
        None => text,
    };
    let valid = text.parse::<IpAddr>().is_ok() || is_domain(name);
    if !valid {
        let next = if wildcard { "write a domain name, `*.domain` or `*`" } else { "write a domain name" };
        f.error(path, format!("`{text}` is no valid host"), next);
    }
    valid
}

/// A domain name of any case; underscores are taken, as resolvers do.
fn is_domain(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let label = |l: &str| {
        !l.is_empty()
            && l.len() <= 63
            && !l.starts_with('-')
            && !l.ends_with('-')
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    text.len() <= 253 && text.split('.').all(label)
}

/// An address or a network.
pub(super) fn subnet(f: &mut Findings, path: &str, text: &str) -> Option<IpNet> {
    let parsed = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    if parsed.is_none() {
        f.error(path, format!("`{text}` is no address or network"), "write it as 10.0.0.1 or 10.0.0.0/16");
    }
    parsed
}

/// Several addresses or networks.
pub(super) fn subnets(f: &mut Findings, path: &str, texts: &[String]) -> Vec<IpNet> {
    texts.iter().enumerate().filter_map(|(i, t)| subnet(f, &format!("{path}[{i}]"), t)).collect()
}

/// `exportTo`.
pub(super) fn export_to(f: &mut Findings, path: &str, names: &[String], own: &str) -> ExportTo {
    match names {
        [] => return ExportTo::Unset,
        [one] if one == "*" => return ExportTo::All,
        [one] if one == "~" => return ExportTo::Nobody,
        _ => {}
    }
    let mut namespaces = BTreeSet::new();
    for (i, name) in names.iter().enumerate() {
        let path = format!("{path}[{i}]");
        match name.as_str() {
            "*" | "~" => f.error(path, format!("`{name}` excludes all other entries"), "keep one of them"),
            "." => {
                namespaces.insert(own.to_owned());
            }
            name if is_label(name) => {
                namespaces.insert(name.to_owned());
            }
            name => f.error(path, format!("`{name}` is no namespace"), "write `.`, `*`, `~` or a namespace"),
        }
    }
    ExportTo::Namespaces(namespaces)
}

/// A regular expression in RE2's syntax.
pub(super) fn regex(f: &mut Findings, path: &str, pattern: &str) -> bool {
    if pattern.len() > MAX_REGEX {
        f.error(path, format!("the expression is longer than {MAX_REGEX} bytes"), "shorten it");
        return false;
    }
    match regex::Regex::new(pattern) {
        Ok(_) => true,
        Err(error) => {
            let text = error.to_string();
            let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
            f.error(
                path,
                format!("`{pattern}` is no regular expression: {reason}"),
                "correct it (RE2 syntax)",
            );
            false
        }
    }
}

/// Istio's limit.
const MAX_REGEX: usize = 1024;
