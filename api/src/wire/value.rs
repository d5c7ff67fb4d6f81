//! Pure. Converts protobuf's `Struct` and `Value`, the form of node and endpoint metadata, to JSON values and back.

use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{ListValue, Struct, Value};
use serde_json::{Map, Number};

/// A JSON object as a `Struct`.
pub(super) fn to_struct(object: &Map<String, serde_json::Value>) -> Struct {
    Struct { fields: object.iter().map(|(k, v)| (k.clone(), to_value(v))).collect() }
}

/// A `Struct` as a JSON object.
pub(super) fn from_struct(object: &Struct) -> Map<String, serde_json::Value> {
    object.fields.iter().map(|(k, v)| (k.clone(), from_value(v))).collect()
}

fn to_value(value: &serde_json::Value) -> Value {
    let kind = match value {
        serde_json::Value::Null => Kind::NullValue(0),
        serde_json::Value::Bool(b) => Kind::BoolValue(*b),
        serde_json::Value::Number(n) => Kind::NumberValue(n.as_f64().unwrap_or_default()),
        serde_json::Value::String(s) => Kind::StringValue(s.clone()),
        serde_json::Value::Array(list) => {
            Kind::ListValue(ListValue { values: list.iter().map(to_value).collect() })
        }
        serde_json::Value::Object(object) => Kind::StructValue(to_struct(object)),
    };
    Value { kind: Some(kind) }
}

fn from_value(value: &Value) -> serde_json::Value {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => serde_json::Value::Null,
        Some(Kind::BoolValue(b)) => serde_json::Value::Bool(*b),
        Some(Kind::NumberValue(n)) => number(*n),
        Some(Kind::StringValue(s)) => serde_json::Value::String(s.clone()),
        Some(Kind::ListValue(list)) => serde_json::Value::Array(list.values.iter().map(from_value).collect()),
        Some(Kind::StructValue(object)) => serde_json::Value::Object(from_struct(object)),
    }
}

/// A number as JSON. `Struct` has only doubles; whole numbers become integers, as users write them. JSON has no NaN.
fn number(n: f64) -> serde_json::Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if n.fract() == 0.0 && n.abs() <= EXACT {
        return serde_json::Value::Number((n as i64).into());
    }
    Number::from_f64(n).map_or(serde_json::Value::Null, serde_json::Value::Number)
}
