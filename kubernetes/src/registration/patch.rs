//! Pure. What to change in an object that registers webhooks: the certificates, and what happens to a request that the
//! webhook cannot handle.

use json_patch::Patch;
use k8s_openapi::ByteString;
use serde_json::{Value, json};

/// What the leader does next.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    /// It changes the object.
    Write(Patch),
    /// It tests whether the webhook works.
    Test,
}

/// The next step for an object. Certificates (`bundle`, PEM) are written first: the webhook works only with them. Once it
/// `works`, requests that it cannot handle are refused. `None` if the object is in order.
pub(super) fn step(object: &Value, bundle: &[u8], works: bool) -> Option<Step> {
    let webhooks = object.get("webhooks")?.as_array()?;
    if let Some(patch) = patch(webhooks, bundle, works) {
        return Some(Step::Write(patch));
    }
    (!works && !webhooks.iter().all(is_required)).then_some(Step::Test)
}

/// The patch that gives each webhook this bundle and, where it is `required`, `failurePolicy: Fail`; `None` if each has
/// them. The patch applies only where the webhooks are in the same order as here.
fn patch(webhooks: &[Value], bundle: &[u8], required: bool) -> Option<Patch> {
    let bundle = json!(ByteString(bundle.to_vec()));
    let mut operations = vec![];
    for (at, webhook) in webhooks.iter().enumerate() {
        let verified = webhook.pointer("/clientConfig/caBundle") == Some(&bundle);
        let certificates = (!verified).then(|| ("clientConfig/caBundle", bundle.clone()));
        let policy = (required && !is_required(webhook)).then(|| ("failurePolicy", "Fail".into()));
        let fields: Vec<(&str, Value)> = certificates.into_iter().chain(policy).collect();
        if !fields.is_empty() {
            let name =
                json!({"op": "test", "path": format!("/webhooks/{at}/name"), "value": webhook.get("name")});
            operations.push(name);
        }
        for (field, value) in fields {
            operations.push(json!({"op": "add", "path": format!("/webhooks/{at}/{field}"), "value": value}));
        }
    }
    (!operations.is_empty())
        .then(|| serde_json::from_value(operations.into()).expect("the operations have the form of a patch"))
}

fn is_required(webhook: &Value) -> bool {
    webhook["failurePolicy"] == "Fail"
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
            let webhooks_of = |object: &Value| object["webhooks"].as_array().unwrap().clone();
            let patch = patch(&webhooks_of(&object), b"new", false);
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
        assert_eq!(step(&json!({}), b"new", false), None);
    }

    /// In base64.
    const ONE: &str = "b25l";
    const TWO: &str = "dHdv";

    #[test]
    fn a_registration_that_is_in_order_needs_no_step() {
        let with = |policy: &str, bundle: &str| {
            let mut webhook = webhook("a", Some(bundle));
            webhook["failurePolicy"] = json!(policy);
            json!({"webhooks": [webhook]})
        };
        assert_eq!(step(&with("Fail", ONE), b"one", false), None);
        assert_eq!(step(&with("Fail", ONE), b"one", true), None);
        assert_eq!(step(&with("Ignore", ONE), b"one", false), Some(Step::Test));
        assert!(matches!(step(&with("Ignore", ONE), b"one", true), Some(Step::Write(_))));
        assert!(matches!(step(&with("Fail", TWO), b"one", false), Some(Step::Write(_))));
        assert_eq!(step(&json!({}), b"one", true), None);
    }
}
