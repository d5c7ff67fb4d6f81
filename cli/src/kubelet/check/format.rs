//! Pure. The syntax of names, keys and paths that Kubernetes' API server accepts. Many of them become file names here,
//! so a text with a wrong syntax could make `ostria` write to another place.

use api::resource::name::{is_label, is_subdomain};

/// Why a text has a wrong syntax; `None` if it is valid.
pub type Verdict = Option<&'static str>;

/// Checks a DNS label, such as the name of a container or volume.
pub fn label(text: &str) -> Verdict {
    (!is_label(text))
        .then_some("must be a DNS label: a-z, 0-9 and '-', at most 63 characters, beginning and ending with a letter or digit")
}

/// Checks the name of a Service: a DNS label that starts with a letter.
pub fn service(text: &str) -> Verdict {
    let starts = text.starts_with(|c: char| c.is_ascii_lowercase());
    label(text).or((!starts).then_some("must begin with a letter"))
}

/// Checks a DNS subdomain, such as the name of most objects.
pub fn subdomain(text: &str) -> Verdict {
    (!is_subdomain(text)).then_some(
        "must be a DNS subdomain: a-z, 0-9, '-' and '.', at most 253 characters, each part beginning and ending with a letter or digit",
    )
}

/// Checks the key of a label or annotation: a name with an optional DNS prefix.
pub fn qualified(text: &str) -> Verdict {
    let (prefix, name) = text.split_once('/').map_or((None, text), |(prefix, name)| (Some(prefix), name));
    let is_good = prefix.is_none_or(is_subdomain) && !name.is_empty() && is_value(name);
    (!is_good).then_some(
        "must be a name of letters, digits, '-', '_' and '.', at most 63 characters, with an optional DNS subdomain and '/' as prefix",
    )
}

/// Checks the value of a label.
pub fn value(text: &str) -> Verdict {
    (!is_value(text)).then_some(
        "must be letters, digits, '-', '_' and '.', at most 63 characters, beginning and ending with a letter or digit",
    )
}

fn is_value(text: &str) -> bool {
    let ends = |c: char| c.is_ascii_alphanumeric();
    text.is_empty()
        || text.len() <= 63
            && text.starts_with(ends)
            && text.ends_with(ends)
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

/// Checks a key of a ConfigMap or Secret.
pub fn config_key(text: &str) -> Verdict {
    let is_good = (1..=253).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        && !text.starts_with("..")
        && text != ".";
    (!is_good).then_some(
        "must be letters, digits, '-', '_' and '.', at most 253 characters, and not '.' or begin with '..'",
    )
}

/// Checks the name of an environment variable.
pub fn variable(text: &str) -> Verdict {
    let is_good = !text.is_empty() && text.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'=');
    (!is_good).then_some("must be printable ASCII characters without '='")
}

/// Checks the name of a container port.
pub fn port(text: &str) -> Verdict {
    let is_good = is_label(text)
        && text.len() <= 15
        && text.bytes().any(|b| b.is_ascii_lowercase())
        && !text.contains("--");
    (!is_good).then_some("must be a-z, 0-9 and single '-', at most 15 characters, with at least one letter")
}

/// Checks a relative path within a volume.
pub fn descending(text: &str) -> Verdict {
    let climbs = text.split('/').any(|part| part == "..");
    (text.starts_with('/') || climbs || text.contains('\0')).then_some("must be a relative path without '..'")
}

/// Checks the path of a file that is created in a volume.
pub fn file_path(text: &str) -> Verdict {
    let reserved = text.starts_with("..").then_some("must not begin with '..'");
    let is_folder = text.split('/').all(|part| part.is_empty() || part == ".");
    let long = text.split('/').any(|part| part.len() > 255);
    descending(text)
        .or(reserved)
        .or(is_folder.then_some("must name a file"))
        .or(long.then_some("is too long"))
}

/// Checks the path at which a container mounts a volume.
pub fn mount_path(text: &str) -> Verdict {
    let path = std::path::Path::new(text);
    let parts = || path.components().skip(1);
    let first = parts().next().and_then(|part| part.as_os_str().to_str());
    if !text.starts_with('/') || text.contains('\0') {
        Some("must be an absolute path")
    } else if text.contains(':') {
        Some("must not contain ':'")
    } else if text.split('/').any(|part| part == "..") {
        Some("must not contain '..'")
    } else if first.is_none() {
        Some("must not be the root folder")
    } else if matches!(first, Some("proc" | "sys")) || first == Some("dev") && parts().count() == 1 {
        Some("must not be /dev, or in /proc or /sys")
    } else {
        None
    }
}

/// Checks a path on the host.
pub fn host_path(text: &str) -> Verdict {
    let climbs = text.split('/').any(|part| part == "..");
    (!text.starts_with('/') || climbs || text.contains('\0'))
        .then_some("must be an absolute path without '..'")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(form: fn(&str) -> Verdict, good: &[&str], bad: &[&str]) {
        for text in good {
            assert_eq!(form(text), None, "{text:?}");
        }
        for text in bad {
            assert!(form(text).is_some(), "{text:?} is taken");
        }
    }

    #[test]
    fn names_are_checked_as_by_the_api_server() {
        let long = "a".repeat(64);
        table(
            label,
            &["a", "a-1", "1a", &long[1..]],
            &["", "A", "a.b", "a/b", "..", "-a", "a-", "a\n", &long],
        );
        table(service, &["a", "a-1"], &["1a", "a.b", ""]);
        table(subdomain, &["a", "a.b-c.1"], &["", "..", "a..b", ".a", "a/b", "a_b", "../x"]);
        table(port, &["http", "h2-8"], &["", "80", "a--b", "HTTP", "a234567890123456", "-a"]);
        table(variable, &["A", "a.b-c", "A B"], &["", "A=B", "A\n", "A\0", "Ä"]);
    }

    #[test]
    fn labels_are_checked_as_by_the_api_server() {
        let long = "a".repeat(64);
        let bad = ["", "/a", "a/", "A/b", "a/b/c", "..", "a b", "a\n", "_a", "../a", &long];
        table(qualified, &["app", "a.b/c_D.e", "App", "app.kubernetes.io/name"], &bad);
        table(value, &["", "v1", "A_b.c-d"], &["-a", "a-", "a b", "a/b", "..", "a\n", &long]);
    }

    #[test]
    fn keys_and_paths_stay_in_their_volume() {
        let long = "a".repeat(254);
        table(
            config_key,
            &["a", "A_b.c-d", ".hidden", "a..b", &long[1..]],
            &["", ".", "..", "..data", "a/b", "../a", "/a", "a b", "a\0", &long],
        );
        table(
            descending,
            &["", "a", "a/b", "a..b", "./a", "..a"],
            &["/", "/a", "..", "../a", "a/../b", "a/..", "a\0"],
        );
        table(file_path, &["a", "a/b", "a/..b"], &["", ".", "/", "a/../../b", "..", "..a/b", "/a", "a/.."]);
        let bad = [
            "",
            "a",
            "/",
            "/.",
            "//",
            "/a:b",
            "/a/../b",
            "/..",
            "/proc",
            "/proc/self",
            "/sys/fs",
            "/dev",
            "/dev/",
        ];
        table(mount_path, &["/a", "/etc/x/", "/dev/shm", "/process"], &bad);
        table(host_path, &["/", "/a/b"], &["", "a", "/a/../b", "/.."]);
    }
}
