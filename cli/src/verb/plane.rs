//! What the verbs share that act on control planes of a cluster: `check`, `install` and `uninstall`.

use crate::check::finding::{Finding, Report};
use crate::check::plane::Plane;
use crate::client::cluster::Cluster;
use crate::failure::Failure;
use crate::helm::release::Target;
use crate::place::Place;
use crate::survey::{after, before};
use crate::verb::print;

/// The report before an installation as the Helm release of this name.
pub async fn precheck(cluster: &Cluster, plane: &Plane, release: &str) -> Result<Report, Failure> {
    let findings = before::findings(cluster.client(), plane, release).await;
    Ok(Report::of(findings.map_err(|error| cluster.failure(&error))?))
}

/// The findings about control planes that are installed in a namespace.
pub async fn checked(cluster: &Cluster, namespace: &str, planes: &[Plane]) -> Result<Vec<Finding>, Failure> {
    let mut findings = vec![];
    for plane in planes {
        let found = after::control_plane(cluster, plane, print::now()).await;
        findings.extend(found.map_err(|error| cluster.failure(&error))?);
    }
    let mesh = after::mesh(cluster.client(), namespace, planes).await;
    findings.extend(mesh.map_err(|error| cluster.failure(&error))?);
    Ok(findings)
}

/// The cluster as Helm's flags select it.
pub fn target(place: &Place, plane: &Plane) -> Target {
    let access = place.access();
    Target { kubeconfig: access.kubeconfig, context: access.context, namespace: plane.namespace.clone() }
}

/// The cluster in a message.
pub fn place_of(cluster: &Cluster) -> String {
    match cluster.named().context.as_str() {
        "" => format!("the cluster {}", cluster.named().server),
        context => format!("the cluster of context {context}"),
    }
}

/// The revision that a flag names: `default` is the one without a name.
pub fn revision(flag: Option<&str>) -> String {
    flag.filter(|name| *name != "default").unwrap_or_default().to_owned()
}

/// A revision in a message.
pub fn word(revision: &str) -> &str {
    if revision.is_empty() { "default" } else { revision }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_revision_default_has_no_name_of_its_own() {
        assert_eq!((revision(None), revision(Some("default"))), (String::new(), String::new()));
        assert_eq!(revision(Some("canary")), "canary");
        assert_eq!((word(""), word("canary")), ("default", "canary"));
    }
}
