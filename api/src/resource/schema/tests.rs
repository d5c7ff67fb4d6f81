//! Every schema is structural by Kubernetes' rules, so that an API server accepts its CRD.

use super::*;
use crate::resource::kind::descriptors;

/// Kubernetes' rules for structural schemas that a schema breaks
/// (https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema).
fn broken(path: &str, schema: &Value, found: &mut Vec<String>) {
    const ALLOWED: &[&str] = &[
        "type",
        "description",
        "format",
        "enum",
        "minimum",
        "maximum",
        "properties",
        "additionalProperties",
        "items",
        PRESERVE,
    ];
    let Some(fields) = schema.as_object() else {
        found.push(format!("{path}: no object"));
        return;
    };
    found.extend(fields.keys().filter(|k| !ALLOWED.contains(&k.as_str())).map(|k| format!("{path}: {k}")));
    let kind = schema["type"].as_str();
    match kind {
        Some("object" | "array" | "string" | "integer" | "number" | "boolean") => {}
        None if schema[PRESERVE] == true => {}
        other => found.push(format!("{path}: type {other:?}")),
    }
    if schema.get("properties").is_some() && schema.get("additionalProperties").is_some() {
        found.push(format!("{path}: both properties and additionalProperties"));
    }
    if kind == Some("array") && schema.get("items").is_none() {
        found.push(format!("{path}: a list without items"));
    }
    if kind == Some("object") && schema.get("properties").or(schema.get("additionalProperties")).is_none() {
        found.push(format!("{path}: an object without fields"));
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        broken(&format!("{path}.{name}"), property, found);
    }
    for inner in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get(inner) {
            broken(&format!("{path}[]"), inner, found);
        }
    }
}

#[test]
fn every_schema_is_structural() {
    let mut schemas = 0;
    for kind in descriptors() {
        let Some(schema) = kind.schema else { continue };
        let mut found = vec![];
        broken(kind.kind, &without_marks(&schema()), &mut found);
        assert!(found.is_empty(), "{found:#?}");
        schemas += 1;
    }
    assert!(schemas >= 6, "{schemas}");
}

#[test]
fn violations_of_the_structural_rules_are_found() {
    for (schema, expected) in [
        (json!({"$ref": "#/a", "type": "string"}), "a: $ref"),
        (json!({"type": "array"}), "a: a list without items"),
        (json!({"properties": {}}), "a: type None"),
        (
            json!({"type": "object", "properties": {}, "additionalProperties": {"type": "string"}}),
            "a: both properties and additionalProperties",
        ),
    ] {
        let mut found = vec![];
        broken("a", &schema, &mut found);
        assert_eq!(found, [expected]);
    }
}

#[test]
fn fields_keep_types_bounds_values_and_marks() {
    #[derive(JsonSchema)]
    #[serde(rename_all = "camelCase")]
    #[allow(dead_code, reason = "only its shape matters")]
    struct Sample {
        /// How often.
        attempts: Option<u32>,
        /// A kind.
        #[schemars(extend("x-aliases" = ["old_mode"]))]
        mode: Option<Mode>,
        labels: std::collections::BTreeMap<String, String>,
        gone: crate::resource::unserved::Unserved,
        big: Option<u64>,
        inner: Option<Inner>,
    }
    #[derive(JsonSchema)]
    #[schemars(extend("x-refused-values" = ["OTHER"]))]
    #[allow(
        dead_code,
        clippy::upper_case_acronyms,
        reason = "only its shape matters, which is as users write it"
    )]
    enum Mode {
        /// One.
        ONE,
        /// Other.
        OTHER,
    }
    /// A message.
    #[derive(JsonSchema)]
    #[allow(dead_code, reason = "only its shape matters")]
    struct Inner {
        on: bool,
    }
    let schema = of::<Sample>();
    let field = |name: &str| &schema["properties"][name];
    assert_eq!(
        *field("attempts"),
        json!({"type": "integer", "minimum": 0, "maximum": u32::MAX, "description": "How often."})
    );
    assert_eq!(
        (&field("mode")["type"], &field("mode")["enum"]),
        (&json!("string"), &json!(["ONE", "OTHER"]))
    );
    assert_eq!(
        (&field("mode")[REFUSED_VALUES], &field("mode")["description"]),
        (&json!(["OTHER"]), &json!("A kind."))
    );
    assert_eq!(field("old_mode")["enum"], json!(["ONE", "OTHER"]));
    assert_eq!(field("labels")["additionalProperties"], json!({"type": "string"}));
    assert_eq!(*field("gone"), json!({PRESERVE: true, REFUSED: true}));
    assert_eq!(*field("big"), json!({"type": "integer", "format": "int64", "minimum": 0}));
    assert_eq!(
        (&field("inner")["properties"]["on"], &field("inner")[MESSAGE]),
        (&json!({"type": "boolean"}), &json!("Inner"))
    );
    assert!(without_marks(&schema)["properties"]["gone"].get(REFUSED).is_none());
}
