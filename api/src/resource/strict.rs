//! Pure. Reads a typed value out of parsed YAML and says of everything it does not take where it stands: a value of
//! the wrong type, and, as `kubectl --validate=strict` does, a field that the kind does not have.

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, Deserializer, Error, IntoDeserializer, Unexpected, Visitor};
use serde_ignored::Path;
use serde_json::Value;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Write;

/// A field that was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The field, such as `spec.http[0].route`.
    pub path: String,
    /// Why.
    pub reason: String,
    /// What to do about it.
    pub next: String,
}

/// Reads a value, or tells every field that is not known, or the first that has the wrong type.
pub fn read<T: DeserializeOwned>(value: &Value) -> Result<T, Vec<Fault>> {
    let mut unknown = vec![];
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(Held { value, names: None }, &mut track);
    let result = serde_ignored::deserialize(tracked, |path| unknown.push(Unknown::new(value, &path)));
    let names = if unknown.is_empty() { Names::default() } else { names::<T>(value) };
    let mut faults: Vec<Fault> = unknown.into_iter().map(|unknown| unknown.fault(&names)).collect();
    match result {
        Ok(typed) if faults.is_empty() => Ok(typed),
        Ok(_) => Err(faults),
        Err(error) => {
            let path = track.path().to_string();
            faults.push(Fault {
                path: if path == "." { String::new() } else { path },
                reason: shortened(&error.to_string()),
                next: "correct the value".into(),
            });
            Err(faults)
        }
    }
}

/// A field that its object does not have.
struct Unknown<'v> {
    path: String,
    name: String,
    object: Option<&'v Value>,
}

impl<'v> Unknown<'v> {
    fn new(root: &'v Value, path: &Path<'_>) -> Self {
        let (object, name) = match path {
            Path::Map { parent, key } => (found(root, parent), key.clone()),
            other => (None, shown(other)),
        };
        Self { path: shown(path), name, object }
    }

    fn fault(self, names: &Names) -> Fault {
        let of_object = self.object.and_then(|object| names.get(&std::ptr::from_ref(object)));
        let next = match of_object.and_then(|known| closest(&self.name, known.iter().copied())) {
            Some(name) => format!("did you mean `{name}`?"),
            None => "correct its name or remove it".into(),
        };
        Fault { path: self.path, reason: format!("unknown field `{}`", self.name), next }
    }
}

/// The name that somebody probably meant who wrote `name`.
pub(in crate::resource) fn closest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let lower = name.to_lowercase();
    let likeness = |known: &str| strsim::jaro_winkler(&lower, &known.to_lowercase());
    let alike = known.map(|known| (likeness(known), known)).filter(|(likeness, _)| *likeness > LIKELY);
    alike.max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, known)| known)
}

/// The names of the fields of objects within a value, by the objects' addresses.
type Names = HashMap<*const Value, &'static [&'static str]>;

/// Asks the type which fields each object has: reads the value once more, and keeps nothing else of it.
fn names<T: DeserializeOwned>(value: &Value) -> Names {
    let names = RefCell::default();
    let _ = T::deserialize(Held { value, names: Some(&names) });
    names.into_inner()
}

fn found<'v>(root: &'v Value, path: &Path<'_>) -> Option<&'v Value> {
    match path {
        Path::Root => Some(root),
        Path::Seq { parent, index } => found(root, parent)?.get(index),
        Path::Map { parent, key } => found(root, parent)?.get(key),
        Path::Some { parent } | Path::NewtypeStruct { parent } | Path::NewtypeVariant { parent } => {
            found(root, parent)
        }
    }
}

fn shown(path: &Path<'_>) -> String {
    match path {
        Path::Root => String::new(),
        Path::Seq { parent, index } => format!("{}[{index}]", shown(parent)),
        Path::Map { parent, key } => {
            let mut text = shown(parent);
            if !text.is_empty() {
                text.push('.');
            }
            let _ = write!(text, "{key}");
            text
        }
        Path::Some { parent } | Path::NewtypeStruct { parent } | Path::NewtypeVariant { parent } => {
            shown(parent)
        }
    }
}

/// A message may repeat the user's value: a long one, or a secret's, does not belong in it.
fn shortened(message: &str) -> String {
    let text: String = message.chars().take(300).collect();
    if text.len() == message.len() { text } else { format!("{text}…") }
}

/// A value of which lists are never taken for objects: the fields of an object have names, not places.
#[derive(Clone, Copy)]
struct Held<'a> {
    value: &'a Value,
    /// Where the names of its objects' fields are noted, if anybody asks.
    names: Option<&'a RefCell<Names>>,
}

impl<'a> Held<'a> {
    fn with(self, value: &'a Value) -> Self {
        Self { value, ..self }
    }
}

impl<'a> IntoDeserializer<'a, serde_json::Error> for Held<'a> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Held<'de> {
    type Error = serde_json::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        match self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(flag) => visitor.visit_bool(*flag),
            Value::Number(number) => number.deserialize_any(visitor),
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Array(items) => {
                visitor.visit_seq(SeqDeserializer::new(items.iter().map(move |item| self.with(item))))
            }
            Value::Object(fields) => {
                let fields = fields.iter().map(move |(name, value)| (name.as_str(), self.with(value)));
                visitor.visit_map(MapDeserializer::new(fields))
            }
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        if let Some(names) = self.names {
            names.borrow_mut().insert(std::ptr::from_ref(self.value), fields);
        }
        match self.value {
            Value::Array(_) => Err(Error::invalid_type(Unexpected::Seq, &"an object")),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        if self.value.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.value.deserialize_enum(name, variants, visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        visitor.visit_newtype_struct(self)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier ignored_any
    }
}

/// How alike two names are, from 0 to 1, if one is a misspelling of the other.
const LIKELY: f64 = 0.85;
