//! Pure. Parses the values that several kinds share: durations, ports, percentages, hosts, subnets, visibility.

use super::finding::Findings;
use api::model::matcher::Fraction;
use api::process::duration;
use api::resource::object::Object;
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// Parses a duration of whole milliseconds, at least one; `None` if absent or refused.
pub(crate) fn period(f: &mut Findings, path: &str, text: Option<&str>) -> Option<Duration> {
    let period = any_period(f, path, text)?;
    let shown = text.unwrap_or_default();
    if period < Duration::from_millis(1) {
        f.error(path, format!("`{shown}` is too short"), "write at least 1ms");
        return None;
    }
    if !period.subsec_nanos().is_multiple_of(1_000_000) {
        f.error(path, format!("`{shown}` is more precise than a millisecond"), "write whole milliseconds");
        return None;
    }
    Some(period)
}

/// Parses a duration that may be zero.
pub(crate) fn any_period(f: &mut Findings, path: &str, text: Option<&str>) -> Option<Duration> {
    duration::parse(text?).map_err(|reason| f.error(path, reason, "correct the duration")).ok()
}

/// Parses a port number; 0 if refused.
pub(crate) fn port(f: &mut Findings, path: &str, number: i64) -> u16 {
    match u16::try_from(number) {
        Ok(port) if port != 0 => port,
        _ => {
            f.error(path, format!("{number} is not a valid port number"), "write a number from 1 to 65535");
            0
        }
    }
}

/// Parses a percentage.
pub(crate) fn share(f: &mut Findings, path: &str, percent: f64) -> Fraction {
    if !(0.0..=100.0).contains(&percent) {
        f.error(path, format!("{percent} is not a percentage"), "write a number from 0 to 100");
    }
    Fraction::from_percent(if percent.is_finite() { percent } else { 0.0 })
}

/// Checks a domain name or an IP address. With `wildcard`, the first label may begin with `*`.
pub(crate) fn host(f: &mut Findings, path: &str, text: &str, wildcard: bool) -> bool {
    text.parse::<IpAddr>().is_ok() || domain(f, path, text, wildcard)
}

/// Checks a domain name. With `wildcard`, the first label may begin with `*`.
pub(crate) fn domain(f: &mut Findings, path: &str, text: &str, wildcard: bool) -> bool {
    if text.is_empty() {
        f.missing(path);
        return false;
    }
    if text.starts_with('*') && !wildcard {
        f.error(path, format!("`{text}` may not be a wildcard"), "name one host");
        return false;
    }
    let valid = if wildcard { is_pattern(text) } else { is_domain(text) };
    if !valid {
        let next = if wildcard { "write a domain name, `*.domain` or `*`" } else { "write a domain name" };
        f.error(path, format!("`{text}` is not a valid host"), next);
    }
    valid
}

/// Checks a host of a Gateway's server or of a Sidecar: `*`, `*.domain`, or a name of several labels, since these hosts
/// are not completed by a namespace.
pub(crate) fn full_host(f: &mut Findings, path: &str, text: &str, address: bool) -> bool {
    if text == "*" {
        return true;
    }
    let valid = if address { host(f, path, text, true) } else { domain(f, path, text, true) };
    if !valid {
        return false;
    }
    if !text.contains('.') {
        f.error(
            path,
            format!("`{text}` is a short name"),
            "write the full name, such as a.shop.svc.cluster.local",
        );
        return false;
    }
    if text.starts_with('*') && !text.starts_with("*.") {
        f.error(path, format!("`{text}` has a wildcard within a label"), "write `*.domain`, or name hosts");
        return false;
    }
    true
}

/// Checks an SNI name. Labels may contain underscores, as in `outbound_.80_._.a.b`.
pub(crate) fn server_name(f: &mut Findings, path: &str, text: &str) {
    let label = |l: &str| {
        !l.is_empty()
            && l.len() <= 63
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if text.len() > 255 || !text.split('.').all(label) {
        f.error(path, format!("`{text}` is not a valid server name"), "write a domain name");
    }
}

/// Whether a text is a domain name, optionally with a trailing dot. The last label must not be a number, or the name
/// would be taken for an address.
pub(crate) fn is_domain(text: &str) -> bool {
    let labels = text.strip_suffix('.').unwrap_or(text);
    let number = |l: &str| l.bytes().all(|b| b.is_ascii_digit());
    text.len() <= 255
        && labels.split('.').all(is_label)
        && !text.rsplit('.').next().is_some_and(|last| !last.is_empty() && number(last))
}

/// Whether a text is a domain name, or one whose first label is or begins with `*`.
fn is_pattern(text: &str) -> bool {
    let (first, rest) = text.split_once('.').map_or((text, None), |(first, rest)| (first, Some(rest)));
    let plain = first.strip_prefix("*-").or_else(|| first.strip_prefix('*')).unwrap_or(first);
    text.len() <= 255
        && first.len() <= 63
        && (first == "*" || is_label(plain))
        && rest.is_none_or(|rest| rest.is_empty() || is_domain(rest))
}

/// Whether a text is an RFC 1123 label, of any case: Istio accepts capitals in names that Kubernetes does not check.
pub(crate) fn is_label(text: &str) -> bool {
    api::resource::name::is_label(&text.to_ascii_lowercase())
}

/// Checks the name of a namespace. Capitals are no error in Istio, although no namespace can have such a name.
pub(crate) fn namespace(f: &mut Findings, path: &str, text: &str) -> bool {
    if !is_label(text) {
        return false;
    }
    if text.bytes().any(|b| b.is_ascii_uppercase()) {
        f.warn(
            path,
            format!("`{text}` is not a valid namespace: names have lower-case letters"),
            "correct it",
        );
    }
    true
}

/// Checks labels that are compared with those of workloads, by Kubernetes' syntax.
pub(crate) fn labels(f: &mut Findings, path: &str, labels: &BTreeMap<String, String>) {
    for (key, value) in labels {
        let (prefix, name) = key.rsplit_once('/').map_or((None, key.as_str()), |(p, n)| (Some(p), n));
        let named = !name.is_empty() && name.len() <= 63 && is_label_text(name);
        if !named || prefix.is_some_and(|p| p.len() > 253 || !p.split('.').all(is_label)) {
            f.error(path, format!("`{key}` is not a valid label name"), "correct it");
        }
        if !is_label_text(value) {
            f.error(format!("{path}.{key}"), format!("`{value}` is not a valid label value"), "correct it");
        }
    }
}

/// Whether a text has only letters, digits and, between them, `-`, `_` and `.`.
fn is_label_text(text: &str) -> bool {
    let ends = [text.bytes().next(), text.bytes().next_back()];
    text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        && ends.into_iter().flatten().all(|b| b.is_ascii_alphanumeric())
}

/// Parses labels that select workloads; `path` is that of the labels. Absent labels select all workloads, with a
/// warning if a selector was written.
pub(crate) fn selector(f: &mut Findings, path: &str, labels: Option<&BTreeMap<String, String>>) {
    let Some(labels) = labels else { return };
    if labels.is_empty() {
        f.warn(path, "is empty: every workload of the namespace is selected", "name labels, or remove it");
    }
    for (key, value) in labels {
        if key.is_empty() {
            f.error(path, "has a label without a name", "give it a name");
        }
        if key.contains('*') || value.contains('*') {
            f.error(path, format!("`{key}={value}` has a wildcard"), "write whole names and values");
        }
        if value.len() > 63 {
            f.error(format!("{path}.{key}"), "is longer than 63 bytes, the limit for labels", "correct it");
        }
    }
}

/// Parses an address or a subnet.
pub(crate) fn subnet(f: &mut Findings, path: &str, text: &str) -> Option<IpNet> {
    let parsed = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    if parsed.is_none() {
        f.error(
            path,
            format!("`{text}` is not an IP address or network"),
            "write it as 10.0.0.1 or 10.0.0.0/16",
        );
    }
    parsed
}

/// Parses several addresses or subnets.
pub(crate) fn subnets(f: &mut Findings, path: &str, texts: &[String]) -> Vec<IpNet> {
    texts.iter().enumerate().filter_map(|(i, t)| subnet(f, &format!("{path}[{i}]"), t)).collect()
}

/// Checks a regular expression in RE2 syntax.
pub(crate) fn regex(f: &mut Findings, path: &str, pattern: &str) -> bool {
    if pattern.is_empty() {
        f.error(path, "is empty", "write an expression, or leave the condition out");
        return false;
    }
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
                format!("`{pattern}` is not a valid regular expression: {reason}"),
                "correct it (RE2 syntax)",
            );
            false
        }
    }
}

/// Returns the name of the Secret that a `credentialName` refers to.
pub(crate) fn secret<'a>(f: &mut Findings, path: &str, reference: &'a str) -> &'a str {
    let name = secret_name(reference);
    if name.contains("://") {
        let reason = "a reference to anything but a Secret is not supported by this version";
        f.error(path, reason, "write the name of a Secret in the gateway's namespace");
    } else if name.is_empty() && !reference.is_empty() {
        f.error(path, format!("`{reference}` is not the name of a Secret"), "name one");
    }
    name
}

/// The name in a reference to a Secret, without a `kubernetes://` prefix.
pub(crate) fn secret_name(reference: &str) -> &str {
    reference.strip_prefix("kubernetes://").unwrap_or(reference)
}

/// Istio's limit on the length of a regular expression.
const MAX_REGEX: usize = 1024;
/// Whether gateways listen on the target ports of a Service rather than on its own. Istio's label
/// `experimental.istio.io/disable-gateway-port-translation` turns this off.
pub(crate) fn translates_ports(object: &Object) -> bool {
    let label = object.labels.get("experimental.istio.io/disable-gateway-port-translation");
    label.is_none_or(|value| value != "true")
}
