//! Pure. The revision of this control plane and its tags: the values of the label `istio.io/rev` that mean it.

/// A revision and its tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    name: String,
    tags: Vec<String>,
}

impl Default for Revision {
    fn default() -> Self {
        Self::new("", &[])
    }
}

impl Revision {
    /// The revision of this name, or the default one if the name is empty.
    pub fn new(name: &str, tags: &[String]) -> Self {
        let name = if name.is_empty() { DEFAULT } else { name };
        let tags = tags.iter().map(|tag| tag.trim()).filter(|tag| !tag.is_empty() && *tag != name);
        Self { name: name.to_owned(), tags: tags.map(str::to_owned).collect() }
    }

    /// Its name; `default` for the default one.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its name and its tags.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.name).chain(&self.tags).map(String::as_str)
    }

    /// Whether an object with this value of the label concerns it. An object without the label (an empty value) concerns
    /// every revision.
    pub fn reads(&self, label: &str) -> bool {
        label.is_empty() || self.names().any(|name| name == label)
    }

    /// The end of the names of its own objects; empty for the default revision.
    pub fn suffix(&self) -> String {
        if self.name == DEFAULT { String::new() } else { format!("-{}", self.name) }
    }
}

/// The revision in the name of a control plane's Service or service account, which is `base` or `base-revision`.
pub fn in_name<'a>(name: &'a str, base: &str) -> Option<&'a str> {
    match name.strip_prefix(base)? {
        "" => Some(DEFAULT),
        rest => rest.strip_prefix('-').filter(|revision| !revision.is_empty()),
    }
}

/// The name of the Service of Istio's control plane.
pub const ISTIOD: &str = "istiod";
/// The name of the revision that has none.
pub const DEFAULT: &str = "default";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_of_other_revisions_are_not_read() {
        let tags = ["stable".to_owned(), String::new()];
        for (name, tags, label, expected) in [
            ("", &[][..], "", true),
            ("", &[], "default", true),
            ("", &[], "canary", false),
            ("canary", &[], "", true),
            ("canary", &[], "canary", true),
            ("canary", &[], "default", false),
            ("canary", &tags, "stable", true),
            ("canary", &tags, "other", false),
        ] {
            assert_eq!(Revision::new(name, tags).reads(label), expected, "{name} {tags:?} {label}");
        }
    }

    #[test]
    fn names_end_with_a_revision_that_is_not_the_default_one() {
        let suffix = |name| Revision::new(name, &[]).suffix();
        assert_eq!(
            (suffix(""), suffix("default"), suffix("canary")),
            (String::new(), String::new(), "-canary".into())
        );
    }

    #[test]
    fn names_of_other_objects_name_no_revision() {
        let found =
            ["istiod", "istiod-1-24", "istiod-", "istiodx", "other"].map(|name| in_name(name, ISTIOD));
        assert_eq!(found, [Some("default"), Some("1-24"), None, None, None]);
    }
}
