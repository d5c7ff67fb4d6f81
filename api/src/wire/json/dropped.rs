//! Tests that no field of a message is dropped silently: for each possible field, some value changes the decoded
//! resource or is refused, or the field is in `ignored` with its reason.

use super::*;
use crate::model::Resource;
use crate::model::listener::Direction;
use crate::wire::any::type_name;
use crate::wire::xds::Any;
use crate::wire::{Target, decode, encode, filter, golden, ignored};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use prost::{Message, Name};
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage, Value,
};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A value, or the message that holds it, with one more field.
struct Mutant<T> {
    /// The field, as `package.Message.field`.
    field: String,
    /// Path at which the field was added.
    path: String,
    value: T,
}

impl<T> Mutant<T> {
    fn within<U>(self, step: &str, put: impl FnOnce(T) -> U) -> Mutant<U> {
        Mutant { field: self.field, path: format!("{step}.{}", self.path), value: put(self.value) }
    }
}

/// The effects of a field at all the paths where it was tried.
#[derive(Default)]
struct Effect {
    any: bool,
    /// A path at which it had no effect.
    path: String,
}

struct Mutation<'a> {
    pool: &'a DescriptorPool,
}

impl Mutation<'_> {
    /// Copies of the message, each with one of its missing fields added, and the same within the fields that it has.
    fn mutants(&self, message: &DynamicMessage, depth: usize) -> Vec<Mutant<DynamicMessage>> {
        let descriptor = message.descriptor();
        let fields = descriptor.fields().filter(|field| !is_ignored(field));
        fields.flat_map(|field| self.of_field(message, &field, depth)).collect()
    }

    fn of_field(
        &self,
        message: &DynamicMessage,
        field: &FieldDescriptor,
        depth: usize,
    ) -> Vec<Mutant<DynamicMessage>> {
        let put = |value: Value| {
            let mut message = message.clone();
            message.set_field(field, value);
            message
        };
        let inner = |value: &Value, depth| {
            let inner = self.within(value, depth).into_iter();
            inner.map(|mutant| mutant.within(field.name(), put)).collect::<Vec<_>>()
        };
        if message.has_field(field) {
            return inner(&message.get_field(field), depth);
        }
        let taken = |oneof: prost_reflect::OneofDescriptor| oneof.fields().any(|f| message.has_field(&f));
        // Another member of a oneof would replace the one that is set, which changes the decoded value anyway.
        if depth == 0 || field.containing_oneof().is_some_and(taken) {
            return vec![];
        }
        let name = format!("{}.{}", message.descriptor().full_name(), field.name());
        let mut found = vec![];
        for value in samples(field) {
            found.extend(inner(&value, depth - 1));
            if !is_empty(&value) {
                found.push(Mutant { field: name.clone(), path: field.name().to_owned(), value: put(value) });
            }
        }
        found
    }

    /// Copies of the value with one more field in one of its messages.
    fn within(&self, value: &Value, depth: usize) -> Vec<Mutant<Value>> {
        match value {
            Value::Message(message) => self.within_message(message, depth),
            Value::List(list) => {
                let of_item = |at: usize| {
                    let put = move |value| {
                        let mut list = list.clone();
                        list[at] = value;
                        Value::List(list)
                    };
                    let inner = self.within(&list[at], depth).into_iter();
                    inner.map(|mutant| mutant.within(&at.to_string(), put)).collect::<Vec<_>>()
                };
                (0..list.len()).flat_map(of_item).collect()
            }
            Value::Map(map) => {
                let of_entry = |(key, value): (&MapKey, &Value)| {
                    let put = |value| {
                        let mut map = map.clone();
                        map.insert(key.clone(), value);
                        Value::Map(map)
                    };
                    let inner = self.within(value, depth).into_iter();
                    inner.map(|mutant| mutant.within("value", put)).collect::<Vec<_>>()
                };
                map.iter().flat_map(of_entry).collect()
            }
            _ => vec![],
        }
    }

    fn within_message(&self, message: &DynamicMessage, depth: usize) -> Vec<Mutant<Value>> {
        if message.descriptor().full_name() == "google.protobuf.Any" {
            return self.within_any(message, depth);
        }
        if is_value(&message.descriptor()) {
            return vec![];
        }
        let mutants = self.mutants(message, depth).into_iter();
        let put = |Mutant { field, path, value }| Mutant { field, path, value: Value::Message(value) };
        mutants.map(put).collect()
    }

    fn within_any(&self, any: &DynamicMessage, depth: usize) -> Vec<Mutant<Value>> {
        let url = any.get_field_by_name("type_url").unwrap().as_str().unwrap_or_default().to_owned();
        let bytes = any.get_field_by_name("value").unwrap().as_bytes().cloned().unwrap_or_default();
        let Some(descriptor) = self.pool.get_message_by_name(type_name(&url)) else { return vec![] };
        if is_value(&descriptor) {
            return vec![];
        }
        let inner = DynamicMessage::decode(descriptor, bytes).unwrap();
        let put = |message: DynamicMessage| {
            let mut any = any.clone();
            any.set_field_by_name("value", Value::Bytes(message.encode_to_vec().into()));
            Value::Message(any)
        };
        self.mutants(&inner, depth).into_iter().map(|mutant| mutant.within("any", put)).collect()
    }
}

fn is_ignored(field: &FieldDescriptor) -> bool {
    let message = field.parent_message();
    let name = format!("{}.{}", message.package_name(), message.name());
    let all = ignored::IGNORED.iter().chain(filter::IGNORED.iter().copied());
    all.filter(|(of, _)| *of == name).any(|(_, fields)| fields.iter().any(|i| i.tag == field.number()))
}

/// Whether a message stands for a single value.
fn is_value(descriptor: &MessageDescriptor) -> bool {
    descriptor.package_name() == "google.protobuf" || descriptor.name() == "TypedStruct"
}

/// Whether a message has no field set. An empty message has no effect; its fields may have one.
fn is_empty(value: &Value) -> bool {
    let of = |value: &Value| {
        value.as_message().is_some_and(|m| !is_value(&m.descriptor()) && m.fields().next().is_none())
    };
    of(value) || value.as_list().is_some_and(|list| list.iter().all(of))
}

/// Values of a field, of which at least one is not the default.
fn samples(field: &FieldDescriptor) -> Vec<Value> {
    if field.is_map() {
        let kind = field.kind();
        let entry = kind.as_message().unwrap();
        let key = match entry.map_entry_key_field().kind() {
            Kind::String => MapKey::String("x".into()),
            Kind::Int64 => MapKey::I64(7),
            other => panic!("a map whose keys are {other:?}"),
        };
        let value = samples(&entry.map_entry_value_field());
        return value.into_iter().map(|value| Value::Map(HashMap::from([(key.clone(), value)]))).collect();
    }
    let single: Vec<Value> = match field.kind() {
        Kind::Bool => vec![Value::Bool(true)],
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => vec![Value::I32(1), Value::I32(7)],
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => vec![Value::I64(1), Value::I64(7)],
        Kind::Uint32 | Kind::Fixed32 => vec![Value::U32(1), Value::U32(7)],
        Kind::Uint64 | Kind::Fixed64 => vec![Value::U64(1), Value::U64(7)],
        Kind::Float => vec![Value::F32(0.5)],
        Kind::Double => vec![Value::F64(0.5)],
        Kind::String => vec![Value::String("x".into())],
        Kind::Bytes => vec![Value::Bytes("x".into())],
        Kind::Enum(kind) => kind
            .values()
            .map(|v| Value::EnumNumber(v.number()))
            .filter(|v| v != &Value::EnumNumber(0))
            .collect(),
        Kind::Message(descriptor) => messages(&descriptor),
    };
    if field.is_list() { single.into_iter().map(|value| Value::List(vec![value])).collect() } else { single }
}

fn messages(descriptor: &MessageDescriptor) -> Vec<Value> {
    let with = |name: &str, value: Value| {
        let mut message = DynamicMessage::new(descriptor.clone());
        message.set_field_by_name(name, value);
        Value::Message(message)
    };
    match descriptor.full_name() {
        "google.protobuf.Duration" => vec![with("seconds", Value::I64(7))],
        "google.protobuf.BoolValue" => {
            vec![with("value", Value::Bool(true)), with("value", Value::Bool(false))]
        }
        "google.protobuf.Any" => vec![with("type_url", Value::String("type.googleapis.com/x.Y".into()))],
        "google.protobuf.Struct" => vec![Value::Message(DynamicMessage::new(descriptor.clone()))],
        name if name.starts_with("google.protobuf.") => {
            descriptor.get_field_by_name("value").map_or_else(Vec::new, |field| {
                samples(&field).into_iter().map(|value| with("value", value)).collect()
            })
        }
        _ => vec![Value::Message(DynamicMessage::new(descriptor.clone()))],
    }
}

/// Records for each field of a message whether any value of it changes what `read` makes of it; `None`: it is refused.
fn try_all<T: PartialEq>(
    schema: &Schema,
    any: &Any,
    read: impl Fn(&Any) -> Option<T>,
    effects: &mut BTreeMap<String, Effect>,
) {
    let base = read(any);
    assert!(base.is_some(), "{} is refused", any.type_url);
    let descriptor = schema.message(type_name(&any.type_url));
    let message = DynamicMessage::decode(descriptor, any.value.as_slice()).unwrap();
    for mutant in (Mutation { pool: &schema.pool }).mutants(&message, 2) {
        let effect = effects.entry(mutant.field).or_default();
        if !effect.any {
            let changed = Any { type_url: any.type_url.clone(), value: mutant.value.encode_to_vec() };
            effect.any = read(&changed) != base;
            effect.path = mutant.path;
        }
    }
}

/// Records the effects of the fields of every filter, and of its settings in routes: those in the tables of filters.
fn try_filters(schema: &Schema, effects: &mut BTreeMap<String, Effect>) {
    let mut runner = TestRunner::deterministic();
    let (filters, settings) = (filter::arbitrary(), filter::arbitrary_settings());
    for _ in 0..SAMPLES {
        let filter = filters.new_tree(&mut runner).unwrap().current();
        let wire = filter::encode(&filter, Direction::Inbound, Target { istio_extensions: true }).unwrap();
        let url = format!("type.googleapis.com/{}", HttpFilter::full_name());
        let any = Any { type_url: url, value: wire.encode_to_vec() };
        let read = |any: &Any| filter::decode(HttpFilter::decode(&any.value[..]).unwrap()).ok();
        try_all(schema, &any, read, effects);
        for (name, any) in filter::wire_settings(&settings.new_tree(&mut runner).unwrap().current()) {
            let read = |any: &Any| filter::settings(HashMap::from([(name.clone(), any.clone())])).ok();
            try_all(schema, &any, read, effects);
        }
    }
}

/// Enough for several of each filter; they are always the same.
const SAMPLES: usize = 150;

#[test]
fn a_field_without_effect_is_refused_or_stands_in_the_list_of_ignored_ones() {
    let schema = Schema::load();
    let from_yaml = |kind: &str, text: &str| {
        let value: serde_json::Value = serde_saphyr::from_str(text).unwrap();
        let message = DynamicMessage::deserialize(schema.message(kind), value).unwrap();
        Any { type_url: format!("type.googleapis.com/{kind}"), value: message.encode_to_vec() }
    };
    let mut bases = vec![
        from_yaml("envoy.config.listener.v3.Listener", include_str!("istio_listener.yaml")),
        from_yaml("envoy.config.cluster.v3.Cluster", include_str!("istio_cluster.yaml")),
        from_yaml("envoy.config.cluster.v3.Cluster", NAMES),
    ];
    let models: Vec<Resource> = golden::resources();
    bases.extend(models.iter().map(|model| encode(model, &Target { istio_extensions: true })));
    let mut effects = BTreeMap::new();
    for any in &bases {
        try_all(&schema, any, |any| decode(any).ok(), &mut effects);
    }
    try_filters(&schema, &mut effects);
    assert!(effects.len() > 400, "only {} fields were tried", effects.len());
    effects.retain(|_, effect: &mut Effect| !effect.any);
    let harmless: BTreeSet<&str> = HARMLESS.iter().map(|(field, _)| *field).collect();
    let stale: Vec<&&str> = harmless.iter().filter(|field| !effects.contains_key(**field)).collect();
    effects.retain(|field, _| !harmless.contains(field.as_str()));
    let wrong: Vec<String> =
        effects.iter().map(|(field, effect)| format!("{field}, as in {}", effect.path)).collect();
    assert!(wrong.is_empty(), "set, and neither heeded nor refused:\n{}", wrong.join("\n"));
    assert!(stale.is_empty(), "listed here, and not dropped: {stale:#?}");
}

const NAMES: &str = "
name: names
type: STRICT_DNS
typed_dns_resolver_config:
  name: cares
  typed_config:
    \"@type\": type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig
";

/// Fields that may be dropped where they were tried, with the reason.
const HARMLESS: &[(&str, &str)] = &[
    (
        "envoy.config.route.v3.RouteAction.max_grpc_timeout",
        "max_stream_duration.grpc_timeout_header_max, its name of today, stands beside it and wins",
    ),
    ("envoy.config.route.v3.FilterConfig.config", "tried beside `disabled`, as in Envoy"),
    ("envoy.config.route.v3.FilterConfig.is_optional", "tried beside `disabled`, as in Envoy"),
];
