//! Pure. Deserializes a typed value from parsed YAML and reports the place of every error: a value of the wrong type
//! and, like `kubectl --validate=strict`, a field that the kind does not have.

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, Unexpected,
    VariantAccess, Visitor,
};
use serde_json::Value;
use std::cell::RefCell;
use std::fmt::Write;

/// A field that was not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The field, such as `spec.http[0].route`.
    pub path: String,
    /// The reason.
    pub reason: String,
    /// The advice to the user.
    pub next: String,
}

/// Reads a value. Errors are all unknown fields, or the first field of the wrong type.
pub fn read<T: DeserializeOwned>(value: &Value) -> Result<T, Vec<Fault>> {
    let notes = Notes::default();
    let result = T::deserialize(Deserializing { value, notes: &notes });
    notes.conclude(result)
}

/// The state while a value is read.
///
/// One deserializer does the work of the crates `serde_path_to_error` and `serde_ignored`. Stacking those compiles
/// each Kubernetes type through three layers, which is half of the code of this crate.
#[derive(Default)]
struct Notes<'a>(RefCell<Inner<'a>>);

#[derive(Default)]
struct Inner<'a> {
    /// The current place.
    path: Vec<Step<'a>>,
    /// The fields of the enclosing objects whose types are declared here, innermost last.
    objects: Vec<&'static [&'static str]>,
    unknown: Vec<Fault>,
    /// The innermost place of the error.
    failed: Option<String>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Field(&'a str),
    Item(usize),
}

impl<'a> Notes<'a> {
    fn enter(&self, step: Step<'a>) {
        self.0.borrow_mut().path.push(step);
    }

    fn leave(&self, failed: bool) {
        let inner = &mut *self.0.borrow_mut();
        if failed && inner.failed.is_none() {
            inner.failed = Some(shown(&inner.path));
        }
        inner.path.pop();
    }

    /// Enters an object that has these fields.
    fn open(&self, fields: &'static [&'static str]) {
        self.0.borrow_mut().objects.push(fields);
    }

    fn close(&self) {
        self.0.borrow_mut().objects.pop();
    }

    /// Records that the field at this place is unknown to its object.
    fn ignored(&self) {
        let inner = &mut *self.0.borrow_mut();
        let Some(Step::Field(name)) = inner.path.last() else { return };
        let known = inner.objects.last().copied().unwrap_or_default();
        let next = match closest(name, known.iter().copied()) {
            Some(name) => format!("did you mean `{name}`?"),
            None => "correct its name or remove it".into(),
        };
        let reason = format!("unknown field `{name}`");
        inner.unknown.push(Fault { path: shown(&inner.path), reason, next });
    }

    fn conclude<T>(self, result: Result<T, serde_json::Error>) -> Result<T, Vec<Fault>> {
        let Inner { unknown: mut faults, failed, .. } = self.0.into_inner();
        match result {
            Ok(typed) if faults.is_empty() => Ok(typed),
            Ok(_) => Err(faults),
            Err(error) => {
                faults.push(Fault {
                    path: failed.unwrap_or_default(),
                    reason: shortened(&error.to_string()),
                    next: "correct the value".into(),
                });
                Err(faults)
            }
        }
    }
}

/// The known name of which `name` is probably a misspelling.
pub(in crate::resource) fn closest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let lower = name.to_lowercase();
    let similarity = |known: &str| strsim::jaro_winkler(&lower, &known.to_lowercase());
    let alike = known.map(|known| (similarity(known), known)).filter(|(similarity, _)| *similarity > LIKELY);
    alike.max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, known)| known)
}

fn shown(path: &[Step<'_>]) -> String {
    let mut text = String::new();
    for step in path {
        // Writing to a string cannot fail.
        let _ = match step {
            Step::Item(index) => write!(text, "[{index}]"),
            Step::Field(name) if text.is_empty() => write!(text, "{name}"),
            Step::Field(name) => write!(text, ".{name}"),
        };
    }
    text
}

/// Shortens a message, which may quote the user's value: a long value or a secret must not be shown.
fn shortened(message: &str) -> String {
    let text: String = message.chars().take(300).collect();
    if text.len() == message.len() { text } else { format!("{text}…") }
}

/// A value. Lists are never accepted as objects, because an object's fields have names, not positions.
#[derive(Clone, Copy)]
struct Deserializing<'a, 'n> {
    value: &'a Value,
    notes: &'n Notes<'a>,
}

impl<'a> Deserializing<'a, '_> {
    /// Reads the value one step below.
    fn below<S: DeserializeSeed<'a>>(
        self,
        step: Step<'a>,
        value: &'a Value,
        seed: S,
    ) -> Result<S::Value, serde_json::Error> {
        self.notes.enter(step);
        let result = seed.deserialize(Deserializing { value, notes: self.notes });
        self.notes.leave(result.is_err());
        result
    }
}

impl<'de> Deserializer<'de> for Deserializing<'de, '_> {
    type Error = serde_json::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        match self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(flag) => visitor.visit_bool(*flag),
            Value::Number(number) => number.deserialize_any(visitor),
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Array(items) => visitor.visit_seq(Items { rest: items.iter().enumerate(), parent: self }),
            Value::Object(fields) => {
                visitor.visit_map(Fields { rest: fields.iter(), value: None, parent: self })
            }
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        if self.value.is_array() {
            return Err(Error::invalid_type(Unexpected::Seq, &"an object"));
        }
        self.notes.open(fields);
        let result = self.deserialize_any(visitor);
        self.notes.close();
        result
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        if self.value.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        let mut fields = self.value.as_object().into_iter().flatten();
        let variant = match (self.value, fields.next(), fields.next()) {
            (Value::String(name), ..) => Variant { name, content: None, parent: self },
            (_, Some((name, content)), None) => Variant { name, content: Some(content), parent: self },
            (Value::Object(_), ..) => {
                return Err(Error::invalid_value(Unexpected::Map, &"an object with a single field"));
            }
            (value, ..) => return Err(Error::invalid_type(kind(value), &"a string or an object")),
        };
        visitor.visit_enum(variant)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        visitor.visit_newtype_struct(self)
    }

    /// The value is skipped because its field is unknown.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        self.notes.ignored();
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier
    }
}

/// The fields of an object.
struct Fields<'a, 'n> {
    rest: serde_json::map::Iter<'a>,
    /// The field whose name was read.
    value: Option<(&'a str, &'a Value)>,
    parent: Deserializing<'a, 'n>,
}

impl<'de> MapAccess<'de> for Fields<'de, '_> {
    type Error = serde_json::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Self::Error> {
        self.value = self.rest.next().map(|(name, value)| (name.as_str(), value));
        self.value.map(|(name, _)| seed.deserialize(BorrowedStrDeserializer::new(name))).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Self::Error> {
        let (name, value) = self.value.ok_or_else(|| Error::custom("a value is read before its name"))?;
        self.parent.below(Step::Field(name), value, seed)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}

/// The items of a list.
struct Items<'a, 'n> {
    rest: std::iter::Enumerate<std::slice::Iter<'a, Value>>,
    parent: Deserializing<'a, 'n>,
}

impl<'de> SeqAccess<'de> for Items<'de, '_> {
    type Error = serde_json::Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Self::Error> {
        let next = self.rest.next();
        next.map(|(index, value)| self.parent.below(Step::Item(index), value, seed)).transpose()
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}

/// An enumeration's variant: a name, or an object whose one field names it.
struct Variant<'a, 'n> {
    name: &'a str,
    content: Option<&'a Value>,
    parent: Deserializing<'a, 'n>,
}

impl<'de> EnumAccess<'de> for Variant<'de, '_> {
    type Error = serde_json::Error;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Self::Error> {
        seed.deserialize(BorrowedStrDeserializer::new(self.name)).map(|value| (value, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'de, '_> {
    type Error = serde_json::Error;

    fn unit_variant(self) -> Result<(), Self::Error> {
        match self.content {
            None | Some(Value::Null) => Ok(()),
            Some(content) => Err(Error::invalid_type(kind(content), &"nothing")),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Self::Error> {
        let name = Step::Field(self.name);
        self.parent.below(name, self.content.unwrap_or(&Value::Null), seed)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Self::Error> {
        self.newtype_variant_seed(Visited(visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        let notes = self.parent.notes;
        notes.open(fields);
        let result = self.newtype_variant_seed(Visited(visitor));
        notes.close();
        result
    }
}

/// A visitor that acts as a seed.
struct Visited<V>(V);

impl<'de, V: Visitor<'de>> DeserializeSeed<'de> for Visited<V> {
    type Value = V::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        deserializer.deserialize_any(self.0)
    }
}

fn kind(value: &Value) -> Unexpected<'_> {
    match value {
        Value::Null => Unexpected::Unit,
        Value::Bool(flag) => Unexpected::Bool(*flag),
        Value::Number(_) => Unexpected::Other("number"),
        Value::String(text) => Unexpected::Str(text),
        Value::Array(_) => Unexpected::Seq,
        Value::Object(_) => Unexpected::Map,
    }
}

/// The similarity of two names, from 0 to 1, if one can be a misspelling of the other.
const LIKELY: f64 = 0.85;

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use serde_json::json;
    use std::collections::BTreeMap;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Outer {
        inner: Vec<Inner>,
        named: BTreeMap<String, Inner>,
        form: Option<Form>,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Inner {
        number: u16,
        text: Option<String>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    enum Form {
        None,
        One(Inner),
        Many { items: Vec<Inner> },
    }

    fn faults(value: &Value) -> Vec<(String, String)> {
        read::<Outer>(value).unwrap_err().into_iter().map(|fault| (fault.path, fault.reason)).collect()
    }

    fn paths(value: &Value) -> Vec<String> {
        faults(value).into_iter().map(|(path, _)| path).collect()
    }

    #[test]
    fn a_value_without_unknown_fields_is_accepted() {
        let inner = |number| Inner { number, text: None };
        let value =
            json!({"inner": [{"number": 1}], "named": {"a": {"number": 2, "text": null}}, "form": "None"});
        let read = read::<Outer>(&value).unwrap();
        assert_eq!(read.inner, [inner(1)]);
        assert_eq!(read.named["a"], inner(2));
        assert_eq!(read.form, Some(Form::None));
    }

    #[test]
    fn each_form_of_an_enum_is_accepted() {
        let form = |value: Value| read::<Outer>(&json!({"form": value})).unwrap().form.unwrap();
        assert_eq!(form(json!({"None": null})), Form::None);
        assert_eq!(form(json!({"One": {"number": 3}})), Form::One(Inner { number: 3, text: None }));
        assert_eq!(form(json!({"Many": {"items": [{}]}})), Form::Many { items: vec![Inner::default()] });
    }

    #[test]
    fn every_unknown_field_is_reported_with_its_path() {
        let value = json!({
            "x": {"y": 1}, "inner": [{}, {"numbre": 1}], "named": {"a": {"z": []}},
            "form": {"Many": {"items": [{"q": 1}], "r": 2}},
        });
        let all = ["form.Many.items[0].q", "form.Many.r", "inner[1].numbre", "named.a.z", "x"];
        assert_eq!(paths(&value), all);
        assert_eq!(faults(&value)[4].1, "unknown field `x`");
    }

    #[test]
    fn a_suggested_name_is_a_field_of_the_same_object() {
        let next = |value: Value| read::<Outer>(&value).unwrap_err().remove(0).next;
        assert_eq!(next(json!({"inner": [{"numbre": 1}]})), "did you mean `number`?");
        assert_eq!(next(json!({"form": {"Many": {"itmes": []}}})), "did you mean `items`?");
        assert_eq!(next(json!({"inner": [{"number": 1}], "inmer": 1})), "did you mean `inner`?");
        assert_eq!(next(json!({"number": 1})), "correct its name or remove it");
    }

    #[test]
    fn the_first_wrong_type_is_reported_with_its_path_after_unknown_fields() {
        let table = [
            (json!({"inner": [{"number": 1}, {"number": "2"}]}), "inner[1].number"),
            (json!({"inner": [{"number": 70_000}]}), "inner[0].number"),
            (json!({"inner": {}}), "inner"),
            (json!({"inner": [[1]]}), "inner[0]"),
            (json!({"named": {"a": null}}), "named.a"),
            (json!({"form": "Nothing"}), "form"),
            (json!({"form": "One"}), "form.One"),
            (json!({"form": 1}), "form"),
            (json!({"form": {"None": null, "One": {}}}), "form"),
            (json!({"form": {"One": {"number": -1}}}), "form.One.number"),
            (json!([]), ""),
            (json!(null), ""),
        ];
        for (value, path) in table {
            assert_eq!(paths(&value), [path], "{value}");
        }
        assert_eq!(paths(&json!({"a": 1, "inner": 2})), ["a", "inner"]);
    }

    #[test]
    fn a_long_value_is_not_repeated_in_full() {
        let (_, reason) = faults(&json!({"inner": "x".repeat(1_000)})).remove(0);
        assert!(reason.chars().count() <= 301 && reason.ends_with('…'), "{reason}");
    }
}
