//! Pure. Fields of Kubernetes objects that affect traffic but that the mesh does not act on. Kubernetes accepts them,
//! so they are warnings: users must not believe that they are in force. Fields not listed here are either acted on or
//! do not concern the mesh.

use crate::check::finding::Findings;
use api::resource::object::Object;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1::EndpointSlice;

/// Checks a Service.
pub(super) fn service(f: &mut Findings, body: &core::Service) {
    let Some(spec) = &body.spec else { return };
    if spec.session_affinity.as_deref() == Some("ClientIP") {
        let next = "write a DestinationRule with consistentHash.useSourceIp";
        f.warn(
            "spec.sessionAffinity",
            "does not apply to clients with a sidecar, which balance requests themselves",
            next,
        );
    }
    if spec.internal_traffic_policy.as_deref() == Some("Local") {
        f.warn(
            "spec.internalTrafficPolicy",
            "has no effect: sidecars use the endpoints of all nodes",
            "remove it",
        );
    }
    if spec.external_ips.as_ref().is_some_and(|all| !all.is_empty()) {
        let next = "name them in a ServiceEntry for clients in the mesh";
        f.warn("spec.externalIPs", "do not lead to this service for clients in the mesh", next);
    }
    if spec.load_balancer_source_ranges.as_ref().is_some_and(|all| !all.is_empty()) {
        f.warn(
            "spec.loadBalancerSourceRanges",
            "is not enforced by the mesh",
            "configure it at the load balancer",
        );
    }
    for (i, port) in spec.ports.iter().flatten().enumerate() {
        if port.protocol.as_deref().is_some_and(|p| p.eq_ignore_ascii_case("SCTP")) {
            f.warn(format!("spec.ports[{i}].protocol"), "SCTP is not captured: it bypasses the mesh", "");
        }
    }
}

/// Checks an EndpointSlice.
pub(super) fn slice(f: &mut Findings, object: &Object, body: &EndpointSlice) {
    const SERVICE: &str = "kubernetes.io/service-name";
    if object.labels.get(SERVICE).is_none_or(String::is_empty) {
        let next = format!("label it with {SERVICE}: the Service's name");
        f.warn(
            format!("metadata.labels[{SERVICE}]"),
            "is missing: these endpoints belong to no Service",
            &next,
        );
    }
    if body.address_type == "FQDN" {
        let next = "write a ServiceEntry with resolution DNS";
        f.warn("addressType", "FQDN is not resolved: these endpoints have no effect", next);
    }
}
