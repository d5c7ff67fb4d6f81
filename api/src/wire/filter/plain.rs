//! Pure. Envoy's filters whose settings have no effect.

use super::codec::Codec;
use crate::model::filter::Filter;
use crate::wire::any::{pack, unpack};
use crate::wire::ignored::{METRIC_NAME, OfMessage, SPANS, field};
use crate::wire::refusal::nothing_left_but;
use crate::wire::xds::Any;
use envoy_types::pb::envoy::extensions::filters::http::grpc_stats::v3::FilterConfig as GrpcStats;
use envoy_types::pb::envoy::extensions::filters::http::grpc_stats::v3::filter_config::PerMethodStatSpecifier;
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::google::protobuf::BoolValue;

pub(super) const ROUTER: Codec<Filter> = Codec {
    message: "envoy.extensions.filters.http.router.v3.Router",
    read: |any| nothing_left_but(&unpack::<Router>(any)?, &ROUTER_IGNORED).map(|()| Filter::Router),
};

pub(super) const ROUTER_IGNORED: OfMessage = (
    "envoy.extensions.filters.http.router.v3.Router",
    &[
        field(1, "dynamic_stats", METRIC_NAME),
        field(2, "start_child_span", SPANS),
        field(7, "suppress_grpc_request_failure_code_stats", METRIC_NAME),
    ],
);

pub(super) const GRPC_STATS: Codec<Filter> = Codec {
    message: "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig",
    read: |any| nothing_left_but(&unpack::<GrpcStats>(any)?, &GRPC_STATS_IGNORED).map(|()| Filter::GrpcStats),
};

pub(super) const GRPC_STATS_IGNORED: OfMessage = (
    "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig",
    &[
        field(1, "emit_filter_state", "message counts are always reported"),
        field(2, "individual_method_stats_allowlist", METRIC_NAME),
        field(3, "stats_for_all_methods", METRIC_NAME),
        field(4, "enable_upstream_stats", METRIC_NAME),
        field(5, "replace_dots_in_grpc_service_name", METRIC_NAME),
    ],
);

pub(super) fn router() -> Any {
    pack(&Router::default())
}

pub(super) fn grpc_stats() -> Any {
    pack(&GrpcStats {
        emit_filter_state: true,
        per_method_stat_specifier: Some(PerMethodStatSpecifier::StatsForAllMethods(BoolValue {
            value: false,
        })),
        ..GrpcStats::default()
    })
}
