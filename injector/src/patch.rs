//! Pure. Computes the JSON patch from the pod before to the pod after.
//!
//! Both pods are typed and may lack fields of the object that the API server holds: a newer Kubernetes may send fields
//! that these types do not have. So the patch contains only what differs between the two typed pods, and finds list
//! elements by name, so that an unknown field stays with its element.

use json_patch::{
    AddOperation, Patch, PatchOperation, RemoveOperation, ReplaceOperation,
    jsonptr::{PointerBuf, Token},
};
use serde_json::{Map, Value};

/// Returns the patch that applies the differences between `before` and `after` to `sent`, where `before` is `sent` in
/// its typed form.
pub fn between(sent: &Value, before: &Value, after: &Value) -> Patch {
    let mut patch = Vec::new();
    value(&mut patch, &PointerBuf::root(), sent, before, after);
    Patch(patch)
}

fn value(patch: &mut Vec<PatchOperation>, path: &PointerBuf, sent: &Value, before: &Value, after: &Value) {
    if before == after {
        return;
    }
    match (sent, before, after) {
        (Value::Object(sent), Value::Object(before), Value::Object(after)) => {
            object(patch, path, [sent, before, after]);
        }
        (Value::Array(sent), Value::Array(before), Value::Array(after)) if keeps_order(before, after) => {
            list(patch, path, [sent, before, after]);
        }
        _ => {
            let replaced = ReplaceOperation { path: path.clone(), value: after.clone() };
            patch.push(PatchOperation::Replace(replaced));
        }
    }
}

fn object(
    patch: &mut Vec<PatchOperation>,
    path: &PointerBuf,
    [sent, before, after]: [&Map<String, Value>; 3],
) {
    for name in before.keys().filter(|name| !after.contains_key(*name) && sent.contains_key(*name)) {
        patch.push(PatchOperation::Remove(RemoveOperation { path: child(path, name) }));
    }
    for (name, new) in after {
        let path = child(path, name);
        match (sent.get(name), before.get(name)) {
            (Some(sent), Some(before)) => value(patch, &path, sent, before, new),
            // A default that the types add to an absent field is not a difference.
            (None, Some(before)) if before == new => {}
            _ => patch.push(PatchOperation::Add(AddOperation { path, value: new.clone() })),
        }
    }
}

/// Whether `after` is `before` with named elements inserted, so that single insertions suffice.
fn keeps_order(before: &[Value], after: &[Value]) -> bool {
    let names =
        |list: &[Value]| list.iter().map(|item| Some(item.get("name")?.as_str()?.to_owned())).collect();
    let (Some(before), Some(after)): (Option<Vec<_>>, Option<Vec<_>>) = (names(before), names(after)) else {
        return false;
    };
    let mut rest = after.iter();
    before.iter().all(|name| rest.any(|other| other == name))
}

fn list(patch: &mut Vec<PatchOperation>, path: &PointerBuf, [sent, before, after]: [&[Value]; 3]) {
    let mut known = sent.iter().zip(before).peekable();
    for (index, new) in after.iter().enumerate() {
        let path = child(path, &index.to_string());
        match known.next_if(|(_, before)| before["name"] == new["name"]) {
            Some((sent, before)) => value(patch, &path, sent, before, new),
            None => patch.push(PatchOperation::Add(AddOperation { path, value: new.clone() })),
        }
    }
}

fn child(path: &PointerBuf, name: &str) -> PointerBuf {
    let mut path = path.clone();
    path.push_back(Token::new(name));
    path
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "tables of JSON literals read best as values")]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(sent: Value, before: Value, after: Value, expected_operations: usize, expected: Value) {
        let patch = between(&sent, &before, &after);
        let mut patched = sent;
        json_patch::patch(&mut patched, &patch).unwrap_or_else(|error| panic!("{patch}: {error}"));
        assert_eq!(patched, expected, "{patch}");
        assert_eq!(patch.0.len(), expected_operations, "{patch}");
    }

    #[test]
    fn equal_pods_need_no_patch() {
        let pod = json!({"a": {"b": [1, 2]}});
        check(pod.clone(), pod.clone(), pod.clone(), 0, pod);
    }

    #[test]
    fn fields_are_added_replaced_and_removed_where_they_differ() {
        check(
            json!({"keep": 1, "change": 1, "drop": 1, "null": null}),
            json!({"keep": 1, "change": 1, "drop": 1}),
            json!({"keep": 1, "change": 2, "add/ed~": 3, "null": {"x": 1}}),
            4,
            json!({"keep": 1, "change": 2, "add/ed~": 3, "null": {"x": 1}}),
        );
    }

    #[test]
    fn inserting_an_element_in_front_keeps_unknown_fields_of_the_others() {
        check(
            json!([{"name": "a", "future": 1}, {"name": "b", "future": 2}]),
            json!([{"name": "a"}, {"name": "b"}]),
            json!([{"name": "new"}, {"name": "a"}, {"name": "between"}, {"name": "b", "known": true}]),
            3,
            json!([
                {"name": "new"}, {"name": "a", "future": 1}, {"name": "between"},
                {"name": "b", "future": 2, "known": true}
            ]),
        );
    }

    #[test]
    fn lists_that_lose_or_reorder_elements_are_replaced() {
        let before = json!([{"name": "a"}, {"name": "b"}]);
        for after in [json!([{"name": "b"}, {"name": "a"}]), json!([{"name": "b"}]), json!([1]), json!(null)]
        {
            check(json!({"l": before}), json!({"l": before}), json!({"l": after}), 1, json!({"l": after}));
        }
    }

    #[test]
    fn fields_that_only_the_types_add_stay_out() {
        check(json!({}), json!({"containers": []}), json!({"containers": []}), 0, json!({}));
        check(
            json!({"spec": {}}),
            json!({"spec": {"containers": []}}),
            json!({"spec": {"containers": [{"name": "a"}]}}),
            1,
            json!({"spec": {"containers": [{"name": "a"}]}}),
        );
    }

    fn small_json() -> impl proptest::strategy::Strategy<Value = Value> {
        use proptest::prelude::*;
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            "[ab/~]{0,2}".prop_map(Value::from)
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            let named =
                ("[abc]", inner.clone()).prop_map(|(name, value)| json!({"name": name, "value": value}));
            prop_oneof![
                proptest::collection::vec(prop_oneof![inner.clone(), named], 0..4).prop_map(Value::from),
                proptest::collection::hash_map("[ab/~]{1,2}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest::proptest! {
        #[test]
        fn the_patch_of_any_two_values_leads_from_one_to_the_other(before in small_json(), after in small_json()) {
            let patch = between(&before, &before, &after);
            let mut patched = before;
            json_patch::patch(&mut patched, &patch).unwrap();
            proptest::prop_assert_eq!(patched, after);
        }
    }
}
