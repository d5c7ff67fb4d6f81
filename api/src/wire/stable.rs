//! Pure. Sorts the entries of encoded maps.
//!
//! Generated types keep maps in hash maps, whose order differs from value to value. The version of a resource is a
//! hash of its bytes, so equal resources must have equal bytes. Sorting entries changes no length, so it is done
//! in place.

use prost::encoding::{DecodeContext, decode_key, skip_field};
use std::ops::Range;

/// The positions of maps in a message.
#[derive(Debug)]
pub(super) struct Shape {
    /// Field numbers of maps.
    pub(super) maps: &'static [u32],
    /// Field numbers of messages (or of map entries) with maps inside.
    pub(super) inner: &'static [(u32, &'static Shape)],
}

/// Sorts the entries of every map in the shape. Bytes that are not a valid message stay unchanged.
pub(super) fn sort_maps(bytes: &mut [u8], shape: &Shape) {
    let Some(fields) = fields(bytes) else { return };
    for (tag, inner) in shape.inner {
        for field in fields.iter().filter(|f| f.tag == *tag) {
            sort_maps(&mut bytes[field.content.clone()], inner);
        }
    }
    for tag in shape.maps {
        sort_entries(bytes, &fields, *tag);
    }
}

struct Field {
    tag: u32,
    /// The field with its key and length.
    whole: Range<usize>,
    /// The content of a length-delimited field.
    content: Range<usize>,
}

/// Sorts the entries of one map. Encoders write them next to each other.
fn sort_entries(bytes: &mut [u8], fields: &[Field], tag: u32) {
    let entries: Vec<&Field> = fields.iter().filter(|f| f.tag == tag).collect();
    let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return };
    let mut sorted = entries.clone();
    sorted.sort_by(|a, b| bytes[a.content.clone()].cmp(&bytes[b.content.clone()]));
    let written: Vec<u8> = sorted.iter().flat_map(|f| bytes[f.whole.clone()].to_vec()).collect();
    let span = first.whole.start..last.whole.end;
    if written.len() == span.len() {
        bytes[span].copy_from_slice(&written);
    }
}

fn fields(bytes: &[u8]) -> Option<Vec<Field>> {
    let mut rest = bytes;
    let mut found = vec![];
    while !rest.is_empty() {
        let start = bytes.len() - rest.len();
        let (tag, kind) = decode_key(&mut rest).ok()?;
        let mut content = rest;
        skip_field(kind, tag, &mut rest, DecodeContext::default()).ok()?;
        let end = bytes.len() - rest.len();
        if kind == prost::encoding::WireType::LengthDelimited {
            prost::encoding::decode_varint(&mut content).ok()?;
        }
        found.push(Field { tag, whole: start..end, content: bytes.len() - content.len()..end });
    }
    Some(found)
}

/// `google.protobuf.Struct`
pub(super) static STRUCT: Shape = Shape { maps: &[1], inner: &[(1, &STRUCT_ENTRY)] };
static STRUCT_ENTRY: Shape = Shape { maps: &[], inner: &[(2, &VALUE)] };
static VALUE: Shape = Shape { maps: &[], inner: &[(5, &STRUCT), (6, &LIST)] };
static LIST: Shape = Shape { maps: &[], inner: &[(1, &VALUE)] };
/// `envoy.config.core.v3.Metadata`
static METADATA: Shape = Shape { maps: &[1], inner: &[(1, &METADATA_ENTRY)] };
static METADATA_ENTRY: Shape = Shape { maps: &[], inner: &[(2, &STRUCT)] };
/// `envoy.config.endpoint.v3.ClusterLoadAssignment`
pub(super) static ASSIGNMENT: Shape = Shape { maps: &[], inner: &[(2, &LOCALITY)] };
static LOCALITY: Shape = Shape { maps: &[], inner: &[(2, &ENDPOINT)] };
static ENDPOINT: Shape = Shape { maps: &[], inner: &[(3, &METADATA)] };
/// `envoy.config.cluster.v3.Cluster`
pub(super) static CLUSTER: Shape = Shape { maps: &[], inner: &[(25, &METADATA), (33, &ASSIGNMENT)] };
/// `RBAC` of the HTTP and the network filter
pub(super) static RBAC_FILTER: Shape = Shape { maps: &[], inner: &[(1, &RBAC), (2, &RBAC)] };
static RBAC: Shape = Shape { maps: &[2], inner: &[] };
/// `RBACPerRoute`
pub(super) static RBAC_ROUTE: Shape = Shape { maps: &[], inner: &[(2, &RBAC_FILTER)] };
/// `envoy.config.route.v3.RouteConfiguration`
pub(super) static ROUTES: Shape = Shape { maps: &[16], inner: &[(2, &VIRTUAL_HOST)] };
static VIRTUAL_HOST: Shape = Shape { maps: &[15], inner: &[(3, &ROUTE)] };
static ROUTE: Shape = Shape { maps: &[13], inner: &[] };
/// `HttpConnectionManager`
pub(super) static CONNECTION: Shape = Shape { maps: &[], inner: &[(4, &ROUTES), (38, &LOCAL_REPLY)] };
static LOCAL_REPLY: Shape = Shape { maps: &[], inner: &[(1, &REPLY_MAPPER), (2, &LOG_FORMAT)] };
static REPLY_MAPPER: Shape = Shape { maps: &[], inner: &[(4, &LOG_FORMAT)] };
/// `FileAccessLog` and, one field number lower, the stream loggers
pub(super) static FILE_LOG: Shape = Shape { maps: &[], inner: &[(5, &LOG_FORMAT)] };
pub(super) static STREAM_LOG: Shape = Shape { maps: &[], inner: &[(1, &LOG_FORMAT)] };
static LOG_FORMAT: Shape = Shape { maps: &[], inner: &[(2, &STRUCT)] };
/// `TypedStruct`
pub(super) static TYPED_STRUCT: Shape = Shape { maps: &[], inner: &[(2, &STRUCT)] };

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::value::to_struct;
    use prost::Message;
    use serde_json::json;

    #[test]
    fn equal_structs_become_equal_bytes() {
        let object = json!({"z": 1, "a": {"y": [{"c": 1, "b": 2, "a": 3}], "x": ""}, "mm": "two"});
        let encoded = || {
            let mut bytes = to_struct(object.as_object().unwrap()).encode_to_vec();
            sort_maps(&mut bytes, &STRUCT);
            bytes
        };
        let first = encoded();
        for _ in 0..50 {
            assert_eq!(encoded(), first);
        }
        let decoded = envoy_types::pb::google::protobuf::Struct::decode(first.as_slice()).unwrap();
        assert_eq!(serde_json::Value::Object(crate::wire::value::from_struct(&decoded)), object);
    }

    #[test]
    fn malformed_messages_stay_unchanged() {
        let mut bytes = *b"\xff\xff\xff\x01nonsense";
        sort_maps(&mut bytes, &STRUCT);
        assert_eq!(&bytes, b"\xff\xff\xff\x01nonsense");
    }
}
