//! Pure. Findings about objects in the cluster that have no effect, because Ostria does not support their kind. A policy that
//! should deny requests is the worst of them.

use api::resource::descriptor::Descriptor;
use api::resource::kind::refused::Refused;

use crate::check::finding::{Finding, Level, count, some};

/// The objects of a kind.
#[derive(Debug)]
pub struct Stored {
    /// The kind.
    pub kind: &'static Refused,
    /// Their names, as `namespace/name`.
    pub names: Vec<String>,
}

/// The findings about objects that exist. `policies` is how bad it is that a policy is not enforced.
pub fn findings(all: &[Stored], policies: Level) -> Vec<Finding> {
    let stored: Vec<&Stored> = all.iter().filter(|stored| !stored.names.is_empty()).collect();
    if stored.is_empty() {
        return vec![Finding::ok(CHECK, "no object is of a kind that Ostria does not support")];
    }
    let finding = |stored: &&Stored| {
        let kind = stored.kind;
        let objects = count(stored.names.len(), "object");
        let (level, effect) =
            if kind.protects() { (policies, "NOT ENFORCED") } else { (Level::Warning, "without effect") };
        let Descriptor { kind: name, group, .. } = kind.descriptor;
        let message = format!("{name} of {group}: {objects} {effect}: {}", some(&stored.names));
        Finding { level, check: CHECK, message, next: Some(kind.instead.to_owned()) }
    };
    let mut findings: Vec<Finding> = stored.iter().map(finding).collect();
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    findings
}

/// What this file looks at.
pub const CHECK: &str = "kinds";

#[cfg(test)]
mod tests {
    use super::*;
    use api::resource::kind::refused::find;

    fn stored(group: &str, kind: &str, names: &[&str]) -> Stored {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Stored { kind: find(group, kind).unwrap(), names }
    }

    #[test]
    fn policies_that_are_not_enforced_come_first_and_are_as_bad_as_is_said() {
        let all = [
            stored("networking.istio.io", "EnvoyFilter", &["shop/lua"]),
            stored("networking.istio.io", "ProxyConfig", &[]),
            stored("security.istio.io", "AuthorizationPolicy", &["shop/deny", "shop/allow"]),
        ];
        let found = findings(&all, Level::Error);
        let lines: Vec<(Level, &str)> = found.iter().map(|one| (one.level, one.message.as_str())).collect();
        assert_eq!(
            lines,
            [
                (
                    Level::Error,
                    "AuthorizationPolicy of security.istio.io: 2 objects NOT ENFORCED: shop/deny, shop/allow"
                ),
                (Level::Warning, "EnvoyFilter of networking.istio.io: 1 object without effect: shop/lua"),
            ]
        );
        assert!(found[0].next.as_ref().unwrap().starts_with("do not rely on it"));
        assert_eq!(findings(&all, Level::Warning)[0].level, Level::Warning);
        assert_eq!(findings(&[], Level::Error)[0].level, Level::Ok);
    }
}
