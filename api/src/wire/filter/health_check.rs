//! Pure. Settings of the health check filter.

use super::codec::Codec;
use crate::model::filter::Filter;
use crate::model::filter::health_check::HealthCheck;
use crate::wire::any::{pack, unpack};
use crate::wire::matcher::{header, wire_header};
use crate::wire::refusal::{Refusal, each, nothing_left, required};
use crate::wire::xds::Any;
use envoy_types::pb::envoy::extensions::filters::http::health_check::v3::HealthCheck as Wire;
use envoy_types::pb::google::protobuf::BoolValue;
#[cfg(test)]
use proptest::prelude::*;
use std::mem::take;

pub(super) const FILTER: Codec<Filter> = Codec {
    message: "envoy.extensions.filters.http.health_check.v3.HealthCheck",
    read: |any| unpack(any).and_then(decode).map(Filter::HealthCheck),
};

/// Refuses `cache_time` and `cluster_min_healthy_percentages`: the response does not depend on earlier responses or on
/// clusters.
fn decode(mut wire: Wire) -> Result<HealthCheck, Refusal> {
    let pass_through = required(wire.pass_through_mode.take(), "pass_through_mode")?.value;
    let headers = each(take(&mut wire.headers), "headers", header)?;
    nothing_left(&wire)?;
    Ok(HealthCheck { headers, pass_through })
}

pub(super) fn encode(model: &HealthCheck) -> Any {
    pack(&Wire {
        pass_through_mode: Some(BoolValue { value: model.pass_through }),
        headers: model.headers.iter().map(wire_header).collect(),
        ..Wire::default()
    })
}

#[cfg(test)]
pub(super) fn arbitrary() -> BoxedStrategy<HealthCheck> {
    use crate::wire::strategy::basic::header_match;
    (proptest::collection::vec(header_match(), 0..3), any::<bool>())
        .prop_map(|(headers, pass_through)| HealthCheck { headers, pass_through })
        .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use envoy_types::pb::envoy::r#type::v3::Percent;
    use envoy_types::pb::google::protobuf::Duration;

    #[test]
    fn what_depends_on_clusters_or_earlier_responses_is_refused() {
        let given = Wire { pass_through_mode: Some(BoolValue { value: false }), ..Wire::default() };
        let healthy = [("c".to_owned(), Percent { value: 50.0 })].into();
        for (wire, path) in [
            (Wire::default(), "pass_through_mode"),
            (Wire { cache_time: Some(Duration { seconds: 1, nanos: 0 }), ..given.clone() }, "cache_time"),
            (
                Wire { cluster_min_healthy_percentages: healthy, ..given.clone() },
                "cluster_min_healthy_percentages",
            ),
        ] {
            assert_eq!(decode(wire).unwrap_err().path(), path);
        }
        assert_eq!(decode(given), Ok(HealthCheck::default()));
    }
}
