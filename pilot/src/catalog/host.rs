//! Pure. Matches hosts against host patterns and picks the most specific pattern.

/// Whether `pattern` (`*`, `*.suffix`, `*suffix` or a plain host) covers `host`; a wildcard host is covered by a
/// wider wildcard.
pub fn covers(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some(suffix) => {
            let host = host.strip_prefix('*').unwrap_or(host);
            // A wildcard stands for at least one character, but `*.a` covers the pattern `*.a` itself.
            host.ends_with(suffix)
        }
        None => pattern == host,
    }
}

/// Whether some host is covered by both patterns.
pub fn overlap(one: &str, other: &str) -> bool {
    covers(one, other) || covers(other, one)
}

/// How specific a pattern is: plain hosts before wildcards, longer wildcards before shorter.
pub fn specificity(pattern: &str) -> (bool, usize) {
    (!pattern.starts_with('*'), pattern.len())
}

/// Returns the most specific of the patterns that cover a host.
pub fn closest<'a>(host: &str, patterns: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    patterns.filter(|p| covers(p, host)).max_by_key(|p| specificity(p))
}

/// Completes a host as written in an object: in lower case, and with the object's own namespace and the domain appended
/// to a short name (no dot, not an IP address).
pub fn complete(host: &str, namespace: &str, domain: &str) -> String {
    let host = host.to_ascii_lowercase();
    if host.contains(['.', ':']) || host.starts_with('*') || host.is_empty() {
        host
    } else {
        service_host(&host, namespace, domain)
    }
}

/// Returns the host of a Kubernetes Service.
pub fn service_host(name: &str, namespace: &str, domain: &str) -> String {
    format!("{name}.{namespace}.svc.{domain}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_cover_hosts_by_their_suffix() {
        let table = [
            ("a.b", "a.b", true),
            ("a.b", "x.a.b", false),
            ("*", "a.b", true),
            ("*.b", "a.b", true),
            ("*.b", "x.a.b", true),
            ("*.b", "b", false),
            ("*.b", "*.b", true),
            ("*.b", "*.a.b", true),
            ("*.a.b", "*.b", false),
            ("*b", "ab", true),
        ];
        for (pattern, host, expected) in table {
            assert_eq!(covers(pattern, host), expected, "{pattern} {host}");
        }
    }

    #[test]
    fn the_most_specific_pattern_is_exact_then_longest() {
        let patterns = ["*", "*.b", "*.a.b", "x.a.b"];
        for (host, expected) in [("x.a.b", "x.a.b"), ("y.a.b", "*.a.b"), ("y.b", "*.b"), ("c", "*")] {
            assert_eq!(closest(host, patterns.into_iter()), Some(expected), "{host}");
        }
    }

    #[test]
    fn short_names_live_in_the_objects_namespace() {
        let complete = |host| complete(host, "shop", "cluster.local");
        assert_eq!(complete("Reviews"), "reviews.shop.svc.cluster.local");
        assert_eq!(complete("reviews.default.svc.cluster.local"), "reviews.default.svc.cluster.local");
        assert_eq!(complete("*.Example.com"), "*.example.com");
        assert_eq!(complete("*"), "*");
        assert_eq!(complete("2001:DB8::1"), "2001:db8::1");
    }
}
