//! Pure. Parses the cluster settings in the webhook's path, as Istio's `injectionPath` and `injectionURL` write them:
//! `/inject/cluster/remote/net/network2`, or `/inject/:ENV:cluster=remote:ENV:net=network2`. They let one injector
//! serve several clusters.

use std::borrow::Cow;

use crate::config::Settings;

/// Applies the settings in `rest`, the part of the path after `/inject/`.
pub(super) fn applied<'a>(settings: &'a Settings, rest: &str) -> Cow<'a, Settings> {
    let pairs = pairs(rest.trim_end_matches('/'));
    if pairs.is_empty() {
        return Cow::Borrowed(settings);
    }
    let mut settings = settings.clone();
    let template = &mut settings.template;
    for (name, value) in pairs {
        match name {
            "cluster" => template.cluster_id = value,
            "net" => template.network = value,
            name => {
                template.variables.insert(name.to_ascii_uppercase(), value);
            }
        }
    }
    Cow::Owned(settings)
}

fn pairs(rest: &str) -> Vec<(&str, String)> {
    if let Some(list) = rest.strip_prefix(SEPARATOR) {
        let pairs = list.split(SEPARATOR).filter_map(|pair| pair.split_once('='));
        return pairs
            .filter(|(name, _)| is_name(name))
            .map(|(name, value)| (name, value.to_owned()))
            .collect();
    }
    let parts: Vec<&str> = rest.split('/').collect();
    let pairs = parts.as_chunks::<2>().0.iter().map(|[name, value]| (*name, value.replace(SLASH, "/")));
    pairs.filter(|(name, _)| is_name(name)).collect()
}

/// Whether the name, in capitals, is a valid variable name.
fn is_name(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && name.starts_with(|c: char| !c.is_ascii_digit())
}

const SEPARATOR: &str = ":ENV:";
const SLASH: &str = "--slash--";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_cluster_network_and_variables() {
        for (rest, cluster, network, variables) in [
            ("", None, None, &[][..]),
            ("cluster", None, None, &[]),
            ("cluster/one", Some("one"), None, &[]),
            ("cluster/one/net/west/", Some("one"), Some("west"), &[]),
            ("cluster/a--slash--1/net/b--slash--2", Some("a/1"), Some("b/2"), &[]),
            ("cluster/one/custom_env/foo", Some("one"), None, &[("CUSTOM_ENV", "foo")]),
            ("cluster/one/network", Some("one"), None, &[]),
            (":ENV:cluster=two:ENV:rootpage=/foo/bar", Some("two"), None, &[("ROOTPAGE", "/foo/bar")]),
            ("a/b/c/:ENV:d=e", None, None, &[("A", "b"), ("C", ":ENV:d=e")]),
            (":ENV:a=b:ENV:=c:ENV:=:ENV:d", None, None, &[("A", "b")]),
            ("9x/b/a=b/c", None, None, &[]),
        ] {
            let settings = Settings::default();
            let applied = applied(&settings, rest);
            let template = &applied.template;
            assert_eq!(template.cluster_id, cluster.unwrap_or("Kubernetes"), "{rest}");
            assert_eq!(template.network, network.unwrap_or_default(), "{rest}");
            let expected = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            assert_eq!(template.variables, expected.collect(), "{rest}");
        }
    }
}
