//! Pure. Limits the size of a protobuf message by its parts, measured in its encoded bytes. Exists because a message
//! of a few MiB can take a hundred times as much memory when it is decoded (an empty value of a `Struct` takes 2 bytes
//! encoded and 72 in memory), before any code of ours can check it.

use prost::DecodeError;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

/// Limits of a message; all its occurrences in its parent count together.
#[derive(Debug)]
pub struct Budget {
    /// The most bytes.
    pub bytes: usize,
    /// The most fields of the message itself; each element of a repeated field counts.
    pub fields: usize,
    /// Fields that are messages with budgets of their own.
    pub inner: &'static [Inner],
    /// Numbers of the fields that are maps. Prost accepts any wire type in the key of a map's entry, so other wire
    /// types are refused: prost and this check would otherwise see different messages.
    pub maps: &'static [u32],
}

/// A field with a budget of its own.
#[derive(Debug)]
pub struct Inner {
    /// The field's number.
    pub tag: u32,
    /// Its name, for errors.
    pub name: &'static str,
    /// Its limits.
    pub budget: Budget,
}

/// Why a message is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Excess {
    /// Too many bytes.
    #[error("{name} has more than {limit} bytes")]
    Bytes {
        /// The message or field.
        name: &'static str,
        /// The limit.
        limit: usize,
    },
    /// Too many fields.
    #[error("{name} has more than {limit} fields and elements")]
    Fields {
        /// The message or field.
        name: &'static str,
        /// The limit.
        limit: usize,
    },
    /// The message ends within a field.
    #[error("the message ends within {0}")]
    Truncated(&'static str),
    /// An entry of a map has a wire type other than length-delimited.
    #[error("field {0} of {1} is a map, but has the wrong wire type")]
    Map(u32, &'static str),
    /// The bytes are not valid protobuf.
    #[error("{0}")]
    Malformed(#[from] DecodeError),
}

/// Checks that a message is within its budget.
pub fn check(message: &[u8], budget: &Budget) -> Result<(), Excess> {
    walk(message, budget, "the message", &mut Spent::default())
}

/// The size of all occurrences of a message so far, and of its fields with budgets, in the order of `Budget::inner`.
/// Protobuf merges all occurrences into one message.
#[derive(Debug, Default)]
struct Spent {
    bytes: usize,
    fields: usize,
    inner: Vec<Spent>,
}

fn walk(mut bytes: &[u8], budget: &Budget, name: &'static str, spent: &mut Spent) -> Result<(), Excess> {
    spent.bytes += bytes.len();
    if spent.bytes > budget.bytes {
        return Err(Excess::Bytes { name, limit: budget.bytes });
    }
    spent.inner.resize_with(budget.inner.len(), Spent::default);
    while !bytes.is_empty() {
        spent.fields += 1;
        if spent.fields > budget.fields {
            return Err(Excess::Fields { name, limit: budget.fields });
        }
        let (tag, kind) = decode_key(&mut bytes)?;
        if budget.maps.contains(&tag) && kind != WireType::LengthDelimited {
            return Err(Excess::Map(tag, name));
        }
        let inner = budget.inner.iter().zip(&mut spent.inner).find(|(inner, _)| inner.tag == tag);
        match inner {
            Some((inner, spent)) if kind == WireType::LengthDelimited => {
                let length = usize::try_from(decode_varint(&mut bytes)?).unwrap_or(usize::MAX);
                let Some((field, rest)) = bytes.split_at_checked(length) else {
                    return Err(Excess::Truncated(inner.name));
                };
                bytes = rest;
                walk(field, &inner.budget, inner.name, spent)?;
            }
            _ => skip_field(kind, tag, &mut bytes, DecodeContext::default())?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use prost::Message;
    use prost_types::{ListValue, Struct, Value};

    const BUDGET: Budget = Budget {
        bytes: 1000,
        fields: 20,
        inner: &[Inner {
            tag: 4,
            name: "metadata",
            budget: Budget { bytes: 100, fields: 3, inner: &[], maps: &[] },
        }],
        maps: &[5],
    };

    /// A field of bytes: its number, its length.
    fn field(tag: u8, length: u8) -> Vec<u8> {
        let mut bytes = vec![tag << 3 | 2, length];
        bytes.extend(std::iter::repeat_n(0, usize::from(length)));
        bytes
    }

    #[test]
    fn bytes_and_fields_are_counted_by_parts() {
        let empty = [0x0a, 0].repeat(3);
        let metadata = |inside: &[u8]| [&[0x22, u8::try_from(inside.len()).unwrap()], inside].concat();
        let cases: &[(&str, Vec<u8>, Option<&str>)] = &[
            ("nothing", vec![], None),
            ("as many fields as may be", [0x08, 1].repeat(20), None),
            ("one more", [0x08, 1].repeat(21), Some("the message has more than 20 fields and elements")),
            (
                "too long",
                [field(1, 120), vec![]].concat().repeat(9),
                Some("the message has more than 1000 bytes"),
            ),
            ("as many inside as may be", metadata(&empty), None),
            (
                "one more inside",
                metadata(&[0x0a, 0].repeat(4)),
                Some("metadata has more than 3 fields and elements"),
            ),
            ("too long inside", metadata(&field(1, 99)), Some("metadata has more than 100 bytes")),
            (
                "in two parts that are one message",
                metadata(&empty).repeat(2),
                Some("metadata has more than 3 fields and elements"),
            ),
            ("another field of the same kind", field(3, 101), None),
            ("a number where a message is expected", vec![0x20, 1], None),
            ("a map as a message", field(5, 4), None),
            (
                "a map as a fixed number",
                vec![0x2d, 0, 0, 0, 0],
                Some("field 5 of the message is a map, but has the wrong wire type"),
            ),
            ("longer than there is", vec![0x22, 9, 0], Some("the message ends within metadata")),
        ];
        for (name, bytes, expected) in cases {
            let verdict = check(bytes, &BUDGET).err().map(|excess| excess.to_string());
            assert_eq!(verdict.as_deref(), *expected, "{name}");
        }
        for malformed in [&[0x0a, 5][..], &[0xff], &[0], &[0x0f], &[0x0b]] {
            assert!(matches!(check(malformed, &BUDGET), Err(Excess::Malformed(_))), "{malformed:?}");
        }
    }

    #[test]
    fn parts_of_one_message_are_counted_together_at_any_depth() {
        const DEEP: Budget = Budget {
            bytes: 1000,
            fields: 20,
            inner: &[Inner { tag: 1, name: "the node", budget: BUDGET }],
            maps: &[],
        };
        let metadata = [&[0x22, 6][..], &[0x0a, 0].repeat(3)].concat();
        let node = |inside: &[u8]| [&[0x0a, u8::try_from(inside.len()).unwrap()], inside].concat();
        assert_eq!(check(&node(&metadata), &DEEP), Ok(()));
        let twice = node(&metadata).repeat(2);
        assert_eq!(check(&twice, &DEEP), Err(Excess::Fields { name: "metadata", limit: 3 }));
    }

    proptest! {
        #[test]
        fn messages_that_prost_decodes_are_measured_and_no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            const ANY: usize = usize::MAX;
            const INSIDE: Budget = Budget { bytes: ANY, fields: ANY, inner: &[], maps: &[] };
            const WIDE: Budget = Budget {
                bytes: ANY,
                fields: ANY,
                inner: &[Inner { tag: 1, name: "fields", budget: INSIDE }],
                maps: &[1],
            };
            let _ = check(&bytes, &BUDGET);
            if Struct::decode(&bytes[..]).is_ok() {
                prop_assert!(matches!(check(&bytes, &WIDE), Ok(()) | Err(Excess::Map(..))));
            }
        }
    }

    #[test]
    fn a_struct_of_empty_values_is_refused_before_it_is_decoded() {
        let nothing = Value {
            kind: Some(prost_types::value::Kind::ListValue(ListValue {
                values: vec![Value { kind: None }; 40],
            })),
        };
        let metadata = Struct { fields: [("x".to_owned(), nothing)].into() }.encode_to_vec();
        let limit = Budget { bytes: 64, fields: 20, inner: &[], maps: &[] };
        assert_eq!(check(&metadata, &limit), Err(Excess::Bytes { name: "the message", limit: 64 }));
    }
}
