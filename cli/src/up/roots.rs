//! The mesh's root certificates in every namespace.

use serde_json::json;

use crate::manifest::object::Key;
use crate::up::context::Context;
use crate::up::world::World;

/// Each namespace has the mesh's roots in a config map, as pods expect on Kubernetes.
pub fn share(context: &Context, world: &mut World) {
    let Some(roots) = context.roots.get() else { return };
    let namespaces: Vec<String> = world.of_kind("Namespace").map(|(key, _)| key.name.clone()).collect();
    for namespace in namespaces {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "istio-ca-root-cert", "namespace": namespace}, "data": {"root-cert.pem": roots}});
        world.objects.entry(Key::of(&object)).or_insert(object);
    }
}
