//! Pure. Advice for unsupported fields: what to write instead. One table, because a message that only says "not
//! supported" does not help its reader, and because advice must never weaken what the author meant to protect.

/// Returns the advice for a field, found by the end of its path.
pub(super) fn instead(path: &str) -> &'static str {
    let found = FIELDS.iter().find(|(field, _)| {
        path.strip_suffix(field).is_some_and(|before| before.is_empty() || before.ends_with('.'))
    });
    found.map_or("remove it", |(_, advice)| advice)
}

/// The advice by the end of the field's path; of two ends, the longer comes first.
const FIELDS: &[(&str, &str)] = &[
    // VirtualService
    ("statPrefix", "remove it; access logs show the `name` of the route"),
    ("exponentialDelay", "write `fixedDelay` with a percentage"),
    ("http2Error", "write `httpStatus`, or `grpcStatus` for gRPC"),
    ("retryRemoteLocalities", "remove it: a retry chooses among all endpoints"),
    ("sourceSubnet", "match clients by `sourceLabels` or `sourceNamespace`"),
    ("retryOn", "name other conditions: status codes can be written as numbers"),
    // DestinationRule
    ("workloadSelector", "put the rule into the clients' namespace, where it applies to all clients"),
    (
        "tunnel",
        "connect to the destination directly, or send its hosts through a gateway with a VirtualService",
    ),
    ("proxyProtocol", "have the server read the client's address from `x-forwarded-for`"),
    ("retryBudget", "limit retries with `connectionPool.http.maxRetries`"),
    (
        "localityLbSetting",
        "remove it: with outlierDetection or trafficDistribution, the nearest endpoints are used first",
    ),
    ("zoneAwareLbSetting", "remove it: endpoints of all zones are used equally"),
    ("warmup", "remove it, and let pods become ready only when they can serve their share"),
    ("warmupDurationSecs", "remove it, and let pods become ready only when they can serve their share"),
    ("httpCookie.attributes", "write `name`, `path` and `ttl`"),
    ("maxConnectionDuration", "close old connections at the server"),
    ("tcp.idleTimeout", "remove it: idle connections are closed after an hour"),
    ("maxConcurrentStreams", "limit requests with `http2MaxRequests`"),
    ("http2KeepAlive", "remove it: idle connections are pinged every 30 seconds"),
    ("consecutiveErrors", "write `consecutiveGatewayErrors` or `consecutive5xxErrors`"),
    ("splitExternalLocalOriginErrors", "remove it: failures to connect count as gateway errors"),
    ("consecutiveLocalOriginFailures", "remove it: failures to connect count as gateway errors"),
    // Gateway
    ("bind", "remove it; the Service in front of the gateway chooses the address"),
    ("defaultEndpoint", "route with a VirtualService"),
    ("targetPort", "write the port that the gateway's pod listens on in `number`"),
    ("credentialNames", "write the name of one Secret in `credentialName`"),
    (
        "caCertCredentialName",
        "put the CA certificates under `ca.crt` into the Secret that `credentialName` names",
    ),
    ("tlsCertificates", "put certificate and key into a Secret, and its name into `credentialName`"),
    ("verifyCertificateSpki", "name the clients that may connect in `subjectAltNames`, with mode MUTUAL"),
    ("verifyCertificateHash", "name the clients that may connect in `subjectAltNames`, with mode MUTUAL"),
    ("cipherSuites", "set `minProtocolVersion: TLSV1_3` to narrow the choice; weak suites are never offered"),
    ("ecdhCurves", "remove it: X25519, P-256 and P-384 are offered"),
    ("caCrl", "remove the CAs of revoked certificates from the trusted ones: revocation lists are not read"),
    ("insecureSkipVerify", "put the CA certificates that verify clients under `ca.crt` of the Secret"),
    ("tls.subjectAltNames", "use mode MUTUAL, which verifies them and the CA certificates under `ca.crt`"),
    // ServiceEntry
    ("resolution", "write DNS and the host's name, or NONE if clients know the addresses"),
    ("network", "give endpoints addresses that every client can reach"),
    // Sidecar
    ("ingress", "remove it: the ports that Services name for the workload are served"),
    ("inboundConnectionPool", "limit connections at the clients, with a DestinationRule's `connectionPool`"),
    ("port", "write hosts only: all of their ports are served"),
    ("captureMode", "remove it: traffic is captured"),
    ("egressProxy", "send unknown destinations through a gateway with a ServiceEntry and a VirtualService"),
    ("outboundTrafficPolicy.mode", "write ALLOW_ANY, or REGISTRY_ONLY with a ServiceEntry for each host"),
    // MeshConfig
    ("trustDomainAliases", "use one trust domain for all workloads"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_the_end_of_its_path() {
        assert!(instead("spec.trafficPolicy.connectionPool.tcp.idleTimeout").contains("an hour"));
        assert!(instead("spec.servers[0].bind").contains("Service"));
        assert_eq!(instead("spec.servers[0].unbind"), "remove it");
        assert_eq!(instead("spec.other"), "remove it");
    }

    #[test]
    fn advice_never_weakens_a_policy() {
        for (field, advice) in FIELDS.iter().filter(|(field, _)| PROTECTING.contains(field)) {
            assert!(!advice.starts_with("remove it"), "{field}: {advice}");
        }
    }

    const PROTECTING: [&str; 6] = [
        "verifyCertificateSpki",
        "verifyCertificateHash",
        "cipherSuites",
        "caCrl",
        "insecureSkipVerify",
        "sourceSubnet",
    ];
}
