//! Pure. The patch that puts the certificates into an object that registers webhooks.

use json_patch::Patch;
use k8s_openapi::ByteString;
use serde_json::{Value, json};

/// The patch that gives each webhook of `object` this `bundle` (PEM); `None` if each has it. The patch applies only
/// where the webhooks are in the same order as here.
pub fn patch(object: &Value, bundle: &[u8]) -> Option<Patch> {
    let bundle = json!(ByteString(bundle.to_vec()));
    let webhooks = object.get("webhooks")?.as_array()?;
    let mut operations = Vec::new();
    for (at, webhook) in webhooks.iter().enumerate() {
        if webhook.pointer("/clientConfig/caBundle") == Some(&bundle) {
            continue;
        }
        operations.push(
            json!({"op": "test", "path": format!("/webhooks/{at}/name"), "value": webhook.get("name")}),
        );
        let path = format!("/webhooks/{at}/clientConfig/caBundle");
        operations.push(json!({"op": "add", "path": path, "value": bundle}));
    }
    (!operations.is_empty())
        .then(|| serde_json::from_value(operations.into()).expect("the operations have the form of a patch"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn webhook(name: &str, bundle: Option<&str>) -> Value {
        let mut webhook = json!({"name": name, "clientConfig": {"service": {"name": "s", "namespace": "n"}}});
        if let Some(bundle) = bundle {
            webhook["clientConfig"]["caBundle"] = json!(bundle);
        }
        webhook
    }

    #[test]
    fn webhooks_without_the_bundle_get_it_and_nothing_else_changes() {
        // "new" in base64.
        let new = "bmV3";
        let table = [
            (vec![], vec![]),
            (vec![Some(new), Some(new)], vec![]),
            (vec![None, Some(new), Some("b2xk")], vec![0, 2]),
        ];
        for (bundles, changed) in table {
            let names = ["a", "b", "c"];
            let webhooks = |bundles: &[Option<&str>]| -> Vec<Value> {
                names.iter().zip(bundles).map(|(name, bundle)| webhook(name, *bundle)).collect()
            };
            let object = json!({"metadata": {"name": "w"}, "webhooks": webhooks(&bundles)});
            let patch = patch(&object, b"new");
            assert_eq!(patch.is_some(), !changed.is_empty(), "{bundles:?}");
            let Some(patch) = patch else { continue };
            let mut patched = object.clone();
            json_patch::patch(&mut patched, &patch).unwrap();
            let all = vec![Some(new); bundles.len()];
            assert_eq!(patched, json!({"metadata": {"name": "w"}, "webhooks": webhooks(&all)}));
            assert_eq!(patch.0.len(), 2 * changed.len());
            let mut other = object;
            other["webhooks"].as_array_mut().unwrap().reverse();
            assert!(json_patch::patch(&mut other, &patch).is_err(), "another order is refused");
        }
        assert_eq!(patch(&json!({}), b"new"), None);
    }
}
