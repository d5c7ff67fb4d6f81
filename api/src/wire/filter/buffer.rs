//! Pure. Settings of the buffer filter, for the filter and for routes.

use super::codec::Codec;
use crate::model::filter::buffer::Buffer;
use crate::model::filter::{Filter, Setting};
use crate::wire::any::{pack, unpack};
use crate::wire::refusal::{At, Refusal, nothing_left, refuse, required};
use crate::wire::scalar::wire_number;
use crate::wire::xds::Any;
use envoy_types::pb::envoy::extensions::filters::http::buffer::v3::buffer_per_route::Override;
use envoy_types::pb::envoy::extensions::filters::http::buffer::v3::{Buffer as Wire, BufferPerRoute};
#[cfg(test)]
use proptest::prelude::*;

pub(super) const FILTER: Codec<Filter> = Codec {
    message: "envoy.extensions.filters.http.buffer.v3.Buffer",
    read: |any| unpack(any).and_then(decode).map(Filter::Buffer),
};

pub(super) const SETTING: Codec<Setting> = Codec {
    message: "envoy.extensions.filters.http.buffer.v3.BufferPerRoute",
    read: |any| unpack(any).and_then(decode_setting),
};

fn decode(mut wire: Wire) -> Result<Buffer, Refusal> {
    let max_request_bytes = required(wire.max_request_bytes.take(), "max_request_bytes")?.value;
    if max_request_bytes == 0 {
        return refuse("must be greater than 0").at("max_request_bytes");
    }
    nothing_left(&wire)?;
    Ok(Buffer { max_request_bytes })
}

fn decode_setting(mut wire: BufferPerRoute) -> Result<Setting, Refusal> {
    let setting = match wire.r#override.take() {
        Some(Override::Disabled(true)) => Setting::Off,
        Some(Override::Disabled(false)) => return refuse("must be true").at("disabled"),
        Some(Override::Buffer(buffer)) => Setting::Buffer(decode(buffer).at("buffer")?),
        None => return refuse("has neither `disabled` nor `buffer`"),
    };
    nothing_left(&wire)?;
    Ok(setting)
}

pub(super) fn encode(model: Buffer) -> Any {
    pack(&wire(model))
}

pub(super) fn encode_setting(model: Buffer) -> Any {
    pack(&BufferPerRoute { r#override: Some(Override::Buffer(wire(model))) })
}

fn wire(model: Buffer) -> Wire {
    Wire { max_request_bytes: Some(wire_number(model.max_request_bytes)) }
}

#[cfg(test)]
pub(super) fn arbitrary() -> BoxedStrategy<Buffer> {
    (1..=u32::MAX).prop_map(|max_request_bytes| Buffer { max_request_bytes }).boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_has_a_limit_of_its_own_or_none() {
        let of = |max| Wire { max_request_bytes: max };
        let refused = |path: &str, reason: &str| Err((path.to_owned(), reason.to_owned()));
        for (setting, expected) in [
            (Some(Override::Disabled(true)), Ok(Setting::Off)),
            (Some(Override::Disabled(false)), refused("disabled", "must be true")),
            (
                Some(Override::Buffer(of(Some(wire_number(7))))),
                Ok(Setting::Buffer(Buffer { max_request_bytes: 7 })),
            ),
            (
                Some(Override::Buffer(of(Some(wire_number(0))))),
                refused("buffer.max_request_bytes", "must be greater than 0"),
            ),
            (Some(Override::Buffer(of(None))), refused("buffer.max_request_bytes", "is missing")),
            (None, refused("", "has neither `disabled` nor `buffer`")),
        ] {
            let found = decode_setting(BufferPerRoute { r#override: setting });
            assert_eq!(found.map_err(|r| (r.path(), r.reason)), expected, "{setting:?}");
        }
    }
}
