//! Distributes the mesh's root certificates to all namespaces.

use std::sync::PoisonError;

use serde_json::json;

use crate::manifest::object::Key;
use crate::up::context::Context;
use crate::up::world::World;

/// Replaces the root certificates.
pub fn replace(context: &Context, roots: String) {
    *context.roots.write().unwrap_or_else(PoisonError::into_inner) = Some(roots);
    context.shared.change(|world| share(context, world));
}

/// Writes the roots into a ConfigMap of each namespace, where pods expect them on Kubernetes.
pub fn share(context: &Context, world: &mut World) {
    let roots = context.roots.read().unwrap_or_else(PoisonError::into_inner);
    let Some(roots) = roots.as_ref() else { return };
    let namespaces: Vec<String> = world.of_kind("Namespace").map(|(key, _)| key.name.clone()).collect();
    for namespace in namespaces {
        let mut object = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "istio-ca-root-cert", "namespace": namespace}, "data": {"root-cert.pem": roots}});
        let old = world.objects.get(&Key::of(&object));
        if old.is_some_and(|old| old["data"] == object["data"]) {
            continue;
        }
        let generation = old.and_then(|old| old["metadata"]["generation"].as_u64()).unwrap_or(0) + 1;
        object["metadata"]["generation"] = json!(generation);
        world.objects.insert(Key::of(&object), object);
    }
}
