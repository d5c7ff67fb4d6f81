//! Pure. Config sources: where a resource that another resource names is fetched from.
//!
//! Everything comes over the aggregated stream except the workload's own certificate and trust anchors: those are
//! served locally, and Istio's agent offers them as the static cluster `sds-grpc`.

use super::refusal::{At, Refusal, each, nothing_left, required};
use crate::name::{WORKLOAD_CERTIFICATE, WORKLOAD_ROOTS};
use envoy_types::pb::envoy::config::core::v3::api_config_source::ApiType;
use envoy_types::pb::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
use envoy_types::pb::envoy::config::core::v3::grpc_service::{EnvoyGrpc, TargetSpecifier};
use envoy_types::pb::envoy::config::core::v3::{
    AggregatedConfigSource, ApiConfigSource, ApiVersion, ConfigSource, GrpcService,
};
use envoy_types::pb::google::protobuf::Duration;
use std::mem::take;

/// Refuses a source that is neither the aggregated stream nor a gRPC service.
#[allow(deprecated)]
pub(super) fn check(source: Option<&ConfigSource>) -> Result<(), Refusal> {
    match source.and_then(|s| s.config_source_specifier.as_ref()) {
        None | Some(ConfigSourceSpecifier::Ads(_) | ConfigSourceSpecifier::Self_(_)) => Ok(()),
        Some(ConfigSourceSpecifier::ApiConfigSource(api)) => {
            let mut api = api.clone();
            (api.api_type, api.transport_api_version) = (0, 0);
            each(take(&mut api.grpc_services), "grpc_services", cluster)?;
            nothing_left(&api)
        }
        Some(ConfigSourceSpecifier::Path(_)) => Err(Refusal::unsupported("path")),
        Some(ConfigSourceSpecifier::PathConfigSource(_)) => Err(Refusal::unsupported("path_config_source")),
    }
}

/// The cluster of a gRPC service.
pub(super) fn cluster(mut service: GrpcService) -> Result<String, Refusal> {
    let target = service.target_specifier.take();
    nothing_left(&service)?;
    let Some(TargetSpecifier::EnvoyGrpc(mut target)) = target else { return required(None, "envoy_grpc") };
    let name = take(&mut target.cluster_name);
    nothing_left(&target).at("envoy_grpc")?;
    Ok(name)
}

/// The aggregated stream.
pub(super) fn ads() -> ConfigSource {
    source(ConfigSourceSpecifier::Ads(AggregatedConfigSource {}))
}

/// The source of the secret with this name.
pub(super) fn of_secret(name: &str) -> ConfigSource {
    match name {
        WORKLOAD_CERTIFICATE | WORKLOAD_ROOTS => {
            source(ConfigSourceSpecifier::ApiConfigSource(node_service()))
        }
        _ => ads(),
    }
}

fn source(specifier: ConfigSourceSpecifier) -> ConfigSource {
    ConfigSource {
        resource_api_version: ApiVersion::V3.into(),
        // Zero: wait without a limit, rather than start without the secret.
        initial_fetch_timeout: Some(Duration { seconds: 0, nanos: 0 }),
        config_source_specifier: Some(specifier),
        ..ConfigSource::default()
    }
}

fn node_service() -> ApiConfigSource {
    let target = EnvoyGrpc { cluster_name: NODE_CLUSTER.into(), ..EnvoyGrpc::default() };
    let service =
        GrpcService { target_specifier: Some(TargetSpecifier::EnvoyGrpc(target)), ..GrpcService::default() };
    ApiConfigSource {
        api_type: ApiType::Grpc.into(),
        transport_api_version: ApiVersion::V3.into(),
        grpc_services: vec![service],
        set_node_on_first_message_only: true,
        ..ApiConfigSource::default()
    }
}

const NODE_CLUSTER: &str = "sds-grpc";
