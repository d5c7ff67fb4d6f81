//! Pure. gRPC-Web, which has no settings.

use super::codec::Codec;
use crate::model::filter::Filter;
use crate::wire::any::{pack, unpack};
use crate::wire::refusal::nothing_left;
use crate::wire::xds::Any;
use envoy_types::pb::envoy::extensions::filters::http::grpc_web::v3::GrpcWeb;

pub(super) const FILTER: Codec<Filter> = Codec {
    message: "envoy.extensions.filters.http.grpc_web.v3.GrpcWeb",
    read: |any| nothing_left(&unpack::<GrpcWeb>(any)?).map(|()| Filter::GrpcWeb),
};

pub(super) fn encode() -> Any {
    pack(&GrpcWeb {})
}
