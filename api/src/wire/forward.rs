//! Pure. Forwarding to clusters: cluster choice, timeouts, rewrites, mirroring, hashing.

use super::matcher::{mutations, wire_mutations, wire_regex};
use super::refusal::{At, Refusal, each, nothing_left, optional, refuse, required};
use super::retry;
use super::scalar::{
    duration, enumeration, limit, number, runtime_fraction, wire_duration, wire_limit, wire_number,
    wire_runtime_fraction,
};
use crate::model::matcher::Fraction;
use crate::model::route::{ClusterChoice, Forward, HashKey, HostRewrite, Mirror, WeightedCluster};
use envoy_types::pb::envoy::config::core::v3::RoutingPriority;
use envoy_types::pb::envoy::config::route::v3 as wire;
use envoy_types::pb::envoy::r#type::matcher::v3::RegexMatchAndSubstitute;
use envoy_types::pb::google::protobuf::BoolValue;
use std::mem::take;
use std::time::Duration;
use wire::route_action::hash_policy::{self, PolicySpecifier};
use wire::route_action::{
    ClusterNotFoundResponseCode, ClusterSpecifier, HashPolicy, HostRewriteSpecifier, RequestMirrorPolicy,
};
use wire::weighted_cluster::{ClusterWeight, cluster_weight};

pub(super) fn decode(mut wire: wire::RouteAction) -> Result<Forward, Refusal> {
    let clusters = clusters(wire.cluster_specifier.take())?;
    let host_rewrite = host_rewrite(wire.host_rewrite_specifier.take())?;
    let cluster_not_found = match enumeration(
        take(&mut wire.cluster_not_found_response_code),
        "cluster_not_found_response_code",
    )? {
        ClusterNotFoundResponseCode::ServiceUnavailable => 503,
        ClusterNotFoundResponseCode::NotFound => 404,
        ClusterNotFoundResponseCode::InternalServerError => 500,
    };
    if wire.priority == RoutingPriority::High as i32 {
        return refuse("HIGH is not supported").at("priority");
    }
    let found = Forward {
        clusters,
        timeout: limit(wire.timeout.take(), "timeout", TIMEOUT)?,
        max_grpc_timeout: grpc_timeout(&mut wire)?,
        idle_timeout: optional(wire.idle_timeout.take(), "idle_timeout", duration)?,
        retry: optional(wire.retry_policy.take(), "retry_policy", retry::decode)?,
        prefix_rewrite: Some(take(&mut wire.prefix_rewrite)).filter(|p| !p.is_empty()),
        regex_rewrite: optional(wire.regex_rewrite.take(), "regex_rewrite", regex_rewrite)?,
        host_rewrite,
        append_forwarded_host: take(&mut wire.append_x_forwarded_host),
        mirrors: each(take(&mut wire.request_mirror_policies), "request_mirror_policies", mirror)?,
        hash: each(take(&mut wire.hash_policy), "hash_policy", hash_key)?,
        cluster_not_found,
    };
    nothing_left(&wire)?;
    Ok(found)
}

#[allow(deprecated)]
pub(super) fn encode(model: &Forward) -> wire::RouteAction {
    let missing = match model.cluster_not_found {
        404 => ClusterNotFoundResponseCode::NotFound,
        500 => ClusterNotFoundResponseCode::InternalServerError,
        _ => ClusterNotFoundResponseCode::ServiceUnavailable,
    };
    wire::RouteAction {
        cluster_specifier: Some(wire_clusters(&model.clusters)),
        timeout: wire_limit(model.timeout, TIMEOUT),
        // The deprecated field, as in Istio: its replacement limits the life of streams, not the wait for a response.
        max_grpc_timeout: model.max_grpc_timeout.map(wire_duration),
        idle_timeout: model.idle_timeout.map(wire_duration),
        retry_policy: model.retry.as_ref().map(retry::encode),
        prefix_rewrite: model.prefix_rewrite.clone().unwrap_or_default(),
        regex_rewrite: model.regex_rewrite.as_ref().map(wire_regex_rewrite),
        host_rewrite_specifier: model.host_rewrite.as_ref().map(wire_host_rewrite),
        append_x_forwarded_host: model.append_forwarded_host,
        request_mirror_policies: model.mirrors.iter().map(wire_mirror).collect(),
        hash_policy: model.hash.iter().map(wire_hash_key).collect(),
        cluster_not_found_response_code: missing.into(),
        ..wire::RouteAction::default()
    }
}

fn clusters(wire: Option<ClusterSpecifier>) -> Result<ClusterChoice, Refusal> {
    match wire {
        Some(ClusterSpecifier::Cluster(name)) => Ok(ClusterChoice::Single(name)),
        Some(ClusterSpecifier::ClusterHeader(name)) => Ok(ClusterChoice::Header(name)),
        Some(ClusterSpecifier::WeightedClusters(mut weighted)) => {
            let clusters =
                each(take(&mut weighted.clusters), "clusters", weighted_cluster).at("weighted_clusters")?;
            if weighted.random_value_specifier.take().is_some() {
                return Err(Refusal::unsupported("random_value_specifier")).at("weighted_clusters");
            }
            nothing_left(&weighted).at("weighted_clusters")?;
            Ok(ClusterChoice::Weighted(clusters))
        }
        Some(ClusterSpecifier::ClusterSpecifierPlugin(_)) => {
            Err(Refusal::unsupported("cluster_specifier_plugin"))
        }
        Some(ClusterSpecifier::InlineClusterSpecifierPlugin(_)) => {
            Err(Refusal::unsupported("inline_cluster_specifier_plugin"))
        }
        None => required(None, "cluster"),
    }
}

fn wire_clusters(model: &ClusterChoice) -> ClusterSpecifier {
    match model {
        ClusterChoice::Single(name) => ClusterSpecifier::Cluster(name.clone()),
        ClusterChoice::Header(name) => ClusterSpecifier::ClusterHeader(name.clone()),
        ClusterChoice::Weighted(clusters) => ClusterSpecifier::WeightedClusters(wire::WeightedCluster {
            clusters: clusters.iter().map(wire_weighted_cluster).collect(),
            ..wire::WeightedCluster::default()
        }),
    }
}

fn weighted_cluster(mut wire: ClusterWeight) -> Result<WeightedCluster, Refusal> {
    let (add, remove) = (take(&mut wire.request_headers_to_add), take(&mut wire.request_headers_to_remove));
    let request_headers = mutations(add, remove, "request_headers_to_add")?;
    let (add, remove) = (take(&mut wire.response_headers_to_add), take(&mut wire.response_headers_to_remove));
    let response_headers = mutations(add, remove, "response_headers_to_add")?;
    let found = WeightedCluster {
        name: take(&mut wire.name),
        weight: number(wire.weight.take(), 0),
        request_headers,
        response_headers,
        host_rewrite: wire
            .host_rewrite_specifier
            .take()
            .map(|cluster_weight::HostRewriteSpecifier::HostRewriteLiteral(host)| host),
    };
    nothing_left(&wire)?;
    Ok(found)
}

fn wire_weighted_cluster(model: &WeightedCluster) -> ClusterWeight {
    let (request_headers_to_add, request_headers_to_remove) = wire_mutations(&model.request_headers);
    let (response_headers_to_add, response_headers_to_remove) = wire_mutations(&model.response_headers);
    ClusterWeight {
        name: model.name.clone(),
        weight: Some(wire_number(model.weight)),
        request_headers_to_add,
        request_headers_to_remove,
        response_headers_to_add,
        response_headers_to_remove,
        host_rewrite_specifier: model
            .host_rewrite
            .clone()
            .map(cluster_weight::HostRewriteSpecifier::HostRewriteLiteral),
        ..ClusterWeight::default()
    }
}

/// The longest `grpc-timeout`, from the deprecated field or its replacement.
#[allow(deprecated)]
fn grpc_timeout(wire: &mut wire::RouteAction) -> Result<Option<Duration>, Refusal> {
    let old = optional(wire.max_grpc_timeout.take(), "max_grpc_timeout", duration)?;
    let Some(mut limits) = wire.max_stream_duration.take() else { return Ok(old) };
    let present = optional(limits.grpc_timeout_header_max.take(), "grpc_timeout_header_max", duration)
        .at("max_stream_duration")?;
    // Zero lifts the limit, and there is none.
    if limits.max_stream_duration.is_some_and(|d| d.seconds == 0 && d.nanos == 0) {
        limits.max_stream_duration = None;
    }
    nothing_left(&limits).at("max_stream_duration")?;
    Ok(present.or(old))
}

pub(super) fn regex_rewrite(wire: RegexMatchAndSubstitute) -> Result<(String, String), Refusal> {
    Ok((required(wire.pattern, "pattern")?.regex, wire.substitution))
}

pub(super) fn wire_regex_rewrite((pattern, text): &(String, String)) -> RegexMatchAndSubstitute {
    RegexMatchAndSubstitute { pattern: Some(wire_regex(pattern)), substitution: text.clone() }
}

fn host_rewrite(wire: Option<HostRewriteSpecifier>) -> Result<Option<HostRewrite>, Refusal> {
    Ok(match wire {
        None => None,
        Some(HostRewriteSpecifier::HostRewriteLiteral(host)) => Some(HostRewrite::Literal(host)),
        Some(HostRewriteSpecifier::AutoHostRewrite(flag)) => flag.value.then_some(HostRewrite::Endpoint),
        Some(HostRewriteSpecifier::HostRewriteHeader(name)) => {
            Some(HostRewrite::Header(name.to_ascii_lowercase()))
        }
        Some(HostRewriteSpecifier::HostRewritePathRegex(regex)) => {
            let (pattern, text) = regex_rewrite(regex).at("host_rewrite_path_regex")?;
            Some(HostRewrite::Path(pattern, text))
        }
        Some(_) => return Err(Refusal::unsupported("host_rewrite")),
    })
}

fn wire_host_rewrite(model: &HostRewrite) -> HostRewriteSpecifier {
    match model {
        HostRewrite::Literal(host) => HostRewriteSpecifier::HostRewriteLiteral(host.clone()),
        HostRewrite::Endpoint => HostRewriteSpecifier::AutoHostRewrite(BoolValue { value: true }),
        HostRewrite::Header(name) => HostRewriteSpecifier::HostRewriteHeader(name.clone()),
        HostRewrite::Path(pattern, text) => {
            HostRewriteSpecifier::HostRewritePathRegex(wire_regex_rewrite(&(pattern.clone(), text.clone())))
        }
    }
}

fn mirror(mut wire: RequestMirrorPolicy) -> Result<Mirror, Refusal> {
    let found = Mirror {
        cluster: take(&mut wire.cluster),
        fraction: optional(wire.runtime_fraction.take(), "runtime_fraction", runtime_fraction)?
            .unwrap_or(ALL),
        keep_host: take(&mut wire.disable_shadow_host_suffix_append),
    };
    nothing_left(&wire)?;
    Ok(found)
}

fn wire_mirror(model: &Mirror) -> RequestMirrorPolicy {
    RequestMirrorPolicy {
        cluster: model.cluster.clone(),
        runtime_fraction: Some(wire_runtime_fraction(model.fraction)),
        disable_shadow_host_suffix_append: model.keep_host,
        ..RequestMirrorPolicy::default()
    }
}

fn hash_key(wire: HashPolicy) -> Result<HashKey, Refusal> {
    if wire.terminal {
        return Err(Refusal::unsupported("terminal"));
    }
    match wire.policy_specifier {
        Some(PolicySpecifier::Header(header)) if header.regex_rewrite.is_some() => {
            Err(Refusal::unsupported("regex_rewrite")).at("header")
        }
        Some(PolicySpecifier::Header(header)) => Ok(HashKey::Header(header.header_name.to_ascii_lowercase())),
        Some(PolicySpecifier::Cookie(mut cookie)) => {
            let ttl = optional(cookie.ttl.take(), "ttl", duration).at("cookie")?;
            let (name, path) = (take(&mut cookie.name), take(&mut cookie.path));
            nothing_left(&cookie).at("cookie")?;
            Ok(HashKey::Cookie { name, path, ttl })
        }
        Some(PolicySpecifier::ConnectionProperties(properties)) if properties.source_ip => {
            Ok(HashKey::SourceIp)
        }
        Some(PolicySpecifier::ConnectionProperties(_)) => {
            refuse("only source_ip is supported").at("connection_properties")
        }
        Some(PolicySpecifier::QueryParameter(parameter)) => Ok(HashKey::Query(parameter.name)),
        Some(PolicySpecifier::FilterState(_)) => Err(Refusal::unsupported("filter_state")),
        None => refuse("has no policy"),
    }
}

fn wire_hash_key(model: &HashKey) -> HashPolicy {
    let policy = match model {
        HashKey::Header(name) => PolicySpecifier::Header(hash_policy::Header {
            header_name: name.clone(),
            ..hash_policy::Header::default()
        }),
        HashKey::Cookie { name, path, ttl } => PolicySpecifier::Cookie(hash_policy::Cookie {
            name: name.clone(),
            path: path.clone(),
            ttl: ttl.map(wire_duration),
            ..hash_policy::Cookie::default()
        }),
        HashKey::SourceIp => {
            PolicySpecifier::ConnectionProperties(hash_policy::ConnectionProperties { source_ip: true })
        }
        HashKey::Query(name) => {
            PolicySpecifier::QueryParameter(hash_policy::QueryParameter { name: name.clone() })
        }
    };
    HashPolicy { terminal: false, policy_specifier: Some(policy) }
}

/// Timeout of a route that sets none.
const TIMEOUT: Option<Duration> = Some(Duration::from_secs(15));
const ALL: Fraction = Fraction { numerator: 100, denominator: 100 };
