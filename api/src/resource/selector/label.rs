//! Pure. Validation of the keys and values of labels, with the API server's own error messages.

use crate::resource::name::is_subdomain;

/// The errors of a label's key: a name with an optional DNS prefix and `/` before it.
pub fn key_problems(key: &str) -> Vec<String> {
    let parts: Vec<&str> = key.split('/').collect();
    let (prefix, name) = match parts[..] {
        [name] => (None, name),
        [prefix, name] => (Some(prefix), name),
        _ => {
            return vec![format!(
                "a qualified name {NAME} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
    };
    let mut problems = Vec::new();
    match prefix {
        Some("") => problems.push("prefix part must be non-empty".into()),
        Some(prefix) if prefix.len() > 253 => {
            problems.push("prefix part must be no more than 253 bytes".into());
        }
        Some(prefix) if !is_subdomain(prefix) => problems.push(format!("prefix part {SUBDOMAIN}")),
        _ => {}
    }
    if name.is_empty() {
        problems.push("name part must be non-empty".into());
    } else if name.len() > LONGEST {
        problems.push(format!("name part must be no more than {LONGEST} bytes"));
    }
    if name.is_empty() || !is_text(name) {
        problems.push(format!("name part {NAME}"));
    }
    problems
}

/// The errors of a label's value, which may be empty.
pub fn value_problems(value: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if value.len() > LONGEST {
        problems.push(format!("must be no more than {LONGEST} bytes"));
    }
    if !is_text(value) {
        problems.push(VALUE.into());
    }
    problems
}

/// Whether a text consists of letters and digits, with `-`, `_` and `.` between them.
fn is_text(text: &str) -> bool {
    let ends = |c: char| c.is_ascii_alphanumeric();
    text.is_empty()
        || text.starts_with(ends)
            && text.ends_with(ends)
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

const LONGEST: usize = 63;
const NAME: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_the_form_of_kubernetes() {
        let long = "a".repeat(64);
        for good in ["app", "App.v1_x-y", "a", "example.com/app", "istio.io/rev", &long[..63]] {
            assert_eq!(key_problems(good), Vec::<String>::new(), "{good}");
        }
        let cases = [
            ("", "name part must be non-empty"),
            ("/a", "prefix part must be non-empty"),
            ("a/", "name part must be non-empty"),
            ("a/b/c", "a qualified name must consist"),
            ("A.com/a", "prefix part a lowercase RFC 1123 subdomain"),
            ("-a", "name part must consist"),
            ("a b", "name part must consist"),
            (&long, "name part must be no more than 63 bytes"),
        ];
        for (key, problem) in cases {
            let problems = key_problems(key);
            assert!(problems.iter().any(|found| found.starts_with(problem)), "{key}: {problems:?}");
        }
    }

    #[test]
    fn values_may_be_empty_but_not_contain_a_slash() {
        for good in ["", "v1", "a_b.c-d", "9"] {
            assert_eq!(value_problems(good), Vec::<String>::new(), "{good}");
        }
        for bad in ["a/b", "-a", "a.", "é", &"a".repeat(64)] {
            assert_eq!(value_problems(bad).len(), 1, "{bad}");
        }
    }
}
