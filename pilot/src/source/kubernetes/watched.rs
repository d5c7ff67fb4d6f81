//! Pure. The kinds that are watched in a cluster, and the selectors of their objects.

use api::resource::kind::Kind;

/// One watch. Several can be of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct WatchId {
    /// The kind of its objects.
    pub(super) kind: Kind,
    /// Its number among the watches of this kind.
    pub(super) part: u8,
}

/// A watch of a kind that every API server serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Watched {
    pub(super) id: WatchId,
    /// The only namespace; all of them if absent.
    pub(super) namespace: Option<String>,
    /// The field selector.
    pub(super) fields: Option<String>,
}

/// The watches of Kubernetes' own kinds. `root` and `config_map` name the mesh configuration.
pub(super) fn core(root: &str, config_map: &str) -> Vec<Watched> {
    Kind::all()
        .filter(|kind| !kind.is_mesh() && !UNUSED.contains(kind))
        .flat_map(|kind| of(kind, root, config_map))
        .collect()
}

/// The watches of the mesh's kinds, which are served where their definitions are installed.
pub(super) fn mesh() -> impl Iterator<Item = WatchId> {
    Kind::all().filter(|kind| kind.is_mesh()).map(|kind| WatchId { kind, part: 0 })
}

/// The mesh's kind that a CustomResourceDefinition defines.
pub(super) fn defined_by(definition: &str) -> Option<Kind> {
    let (plural, group) = definition.split_once('.')?;
    Kind::all().find(|kind| kind.is_mesh() && kind.group() == group && kind.descriptor().plural == plural)
}

fn of(kind: Kind, root: &str, config_map: &str) -> Vec<Watched> {
    let (namespace, fields) = match kind {
        Kind::ConfigMap => (Some(root.to_owned()), vec![format!("metadata.name={config_map}")]),
        // Other Secrets, such as those of Helm, are large, and no gateway uses them.
        Kind::Secret => (None, vec!["type=kubernetes.io/tls".to_owned(), "type=Opaque".to_owned()]),
        // A pod that has ended gets no requests, and its address may belong to another.
        Kind::Pod => (None, vec!["status.phase!=Succeeded,status.phase!=Failed".to_owned()]),
        _ => {
            return vec![Watched { id: WatchId { kind, part: 0 }, namespace: None, fields: None }];
        }
    };
    let watched = |(part, fields)| Watched {
        id: WatchId { kind, part },
        namespace: namespace.clone(),
        fields: Some(fields),
    };
    (0..).zip(fields).map(watched).collect()
}

/// Kinds that do not affect the mesh in a cluster: they belong to `ostria up`, or repeat other kinds.
const UNUSED: &[Kind] = &[
    Kind::ServiceAccount,
    // EndpointSlices contain the same.
    Kind::Endpoints,
    Kind::Deployment,
    Kind::StatefulSet,
    Kind::ReplicaSet,
    Kind::Job,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_objects_that_can_affect_the_mesh_are_asked_for() {
        let all: Vec<String> = core("istio-system", "istio-canary")
            .into_iter()
            .map(|w| {
                let fields = w.fields.unwrap_or_default();
                format!("{} {} {fields}", w.id.kind, w.namespace.unwrap_or_default())
            })
            .collect();
        for expected in [
            "Namespace  ",
            "Service  ",
            "EndpointSlice  ",
            "Pod  status.phase!=Succeeded,status.phase!=Failed",
            "ConfigMap istio-system metadata.name=istio-canary",
            "Secret  type=kubernetes.io/tls",
            "Secret  type=Opaque",
        ] {
            assert!(all.iter().any(|one| one == expected), "{expected} is not in {all:?}");
        }
        assert!(
            !all.iter().any(|one| one.starts_with("Endpoints ") || one.starts_with("Deployment")),
            "{all:?}"
        );
    }

    #[test]
    fn a_definition_is_found_by_its_name_and_others_are_none() {
        for kind in mesh().map(|id| id.kind) {
            let name = format!("{}.{}", kind.descriptor().plural, kind.group());
            assert_eq!(defined_by(&name), Some(kind));
        }
        for other in ["virtualservices.example.com", "services", "pods.", "wasmplugins.extensions.istio.io"] {
            assert_eq!(defined_by(other), None, "{other}");
        }
    }
}
