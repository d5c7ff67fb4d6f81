//! Pure. What a user must be allowed to do to install the chart: the kinds that it renders, and Helm's record of the
//! release. A test compares the list with the chart's templates.

use crate::check::finding::{Finding, some};

/// A kind of object that an installation writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Its name in YAML.
    pub kind: &'static str,
    /// The API group.
    pub group: &'static str,
    /// The resource, as rules of RBAC name it.
    pub resource: &'static str,
    /// Whether its objects belong to a namespace.
    pub is_namespaced: bool,
}

const fn namespaced(kind: &'static str, group: &'static str, resource: &'static str) -> Written {
    Written { kind, group, resource, is_namespaced: true }
}

const fn cluster(kind: &'static str, group: &'static str, resource: &'static str) -> Written {
    Written { kind, group, resource, is_namespaced: false }
}

/// All kinds that an installation writes.
pub const WRITTEN: &[Written] = &[
    cluster("Namespace", "", "namespaces"),
    cluster("CustomResourceDefinition", "apiextensions.k8s.io", "customresourcedefinitions"),
    cluster("ClusterRole", RBAC, "clusterroles"),
    cluster("ClusterRoleBinding", RBAC, "clusterrolebindings"),
    cluster("MutatingWebhookConfiguration", ADMISSION, "mutatingwebhookconfigurations"),
    cluster("ValidatingWebhookConfiguration", ADMISSION, "validatingwebhookconfigurations"),
    // Helm keeps its record of the release in Secrets.
    namespaced("Secret", "", "secrets"),
    namespaced("ServiceAccount", "", "serviceaccounts"),
    namespaced("ConfigMap", "", "configmaps"),
    namespaced("Service", "", "services"),
    namespaced("Deployment", "apps", "deployments"),
    namespaced("Role", RBAC, "roles"),
    namespaced("RoleBinding", RBAC, "rolebindings"),
    namespaced("PodDisruptionBudget", "policy", "poddisruptionbudgets"),
    namespaced("HorizontalPodAutoscaler", "autoscaling", "horizontalpodautoscalers"),
    namespaced("Lease", "coordination.k8s.io", "leases"),
    namespaced("NetworkPolicy", "networking.k8s.io", "networkpolicies"),
];

/// The verbs that Helm uses on each of them.
pub const VERBS: [&str; 4] = ["get", "create", "patch", "delete"];

/// Whether the API server lets the user do something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    /// What the user would do, as in `create deployments.apps`.
    pub action: String,
    /// Whether the user may; or why that is not known.
    pub allowed: Result<bool, String>,
}

/// The findings about all permissions. `grants` says whether the user may give rights that the user does not hold
/// (`escalate` on roles, or all rights): the chart's roles need that.
pub fn findings(permissions: &[Permission], grants: &Result<bool, String>) -> Vec<Finding> {
    let denied: Vec<&str> = of(permissions, |allowed| matches!(allowed, Ok(false)));
    let unknown: Vec<&str> = of(permissions, Result::is_err);
    let mut findings = vec![];
    if denied.is_empty() && unknown.is_empty() {
        findings.push(Finding::ok(CHECK, "this user may create all that the chart contains"));
    }
    if !denied.is_empty() {
        findings.push(Finding::error(
            CHECK,
            format!("this user may not: {}", some(&denied)),
            "use a context with these rights, such as those of the ClusterRole cluster-admin",
        ));
    }
    if !unknown.is_empty() {
        let reason = permissions.iter().find_map(|permission| permission.allowed.as_ref().err());
        findings.push(Finding::warning(
            CHECK,
            format!("not known: {}: {}", some(&unknown), reason.map_or("", String::as_str)),
            "ask an administrator of the cluster which rights you hold (kubectl auth can-i --list)",
        ));
    }
    if *grants == Ok(false) {
        findings.push(Finding::warning(
            CHECK,
            "this user may create roles only with rights that the user holds, and the chart's roles hold more",
            "if the installation fails with `attempting to grant RBAC permissions not currently held`, let a cluster \
             administrator install",
        ));
    }
    findings
}

fn of(permissions: &[Permission], wanted: impl Fn(&Result<bool, String>) -> bool) -> Vec<&str> {
    permissions
        .iter()
        .filter(|permission| wanted(&permission.allowed))
        .map(|permission| permission.action.as_str())
        .collect()
}

const CHECK: &str = "permissions";
const RBAC: &str = "rbac.authorization.k8s.io";
const ADMISSION: &str = "admissionregistration.k8s.io";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::finding::Level;

    fn levels(permissions: &[(&str, Result<bool, String>)], grants: bool) -> Vec<Level> {
        let permission = |(action, allowed): &(&str, Result<bool, String>)| Permission {
            action: (*action).to_owned(),
            allowed: allowed.clone(),
        };
        let permissions: Vec<Permission> = permissions.iter().map(permission).collect();
        findings(&permissions, &Ok(grants)).into_iter().map(|finding| finding.level).collect()
    }

    #[test]
    fn denied_and_unknown_permissions_give_findings_of_their_own() {
        let no = || ("create secrets", Ok(false));
        let unknown = || ("get pods", Err("forbidden".to_owned()));
        assert_eq!(levels(&[("create services", Ok(true))], true), [Level::Ok]);
        assert_eq!(levels(&[("create services", Ok(true))], false), [Level::Ok, Level::Warning]);
        assert_eq!(levels(&[no()], true), [Level::Error]);
        assert_eq!(levels(&[no(), unknown()], true), [Level::Error, Level::Warning]);
    }

    #[test]
    fn every_kind_of_the_charts_templates_is_asked_for() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/helm/ostria/templates");
        let mut kinds = std::collections::BTreeSet::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            kinds.extend(text.lines().filter_map(|line| line.strip_prefix("kind: ")).map(str::to_owned));
        }
        assert!(kinds.len() > 10, "{kinds:?}");
        for kind in kinds {
            assert!(WRITTEN.iter().any(|written| written.kind == kind), "{kind} is not in WRITTEN");
        }
    }
}
