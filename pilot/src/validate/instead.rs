//! Pure. Advice for unsupported fields: what to write instead. One table, because a message that only says "not
//! supported" does not help its reader, and because advice must never weaken what the author meant to protect.

/// Returns the advice for a field, found by the end of its path.
pub(super) fn instead(path: &str) -> &'static str {
    let found = FIELDS.iter().find(|(field, _)| {
        path.strip_suffix(field).is_some_and(|before| before.is_empty() || before.ends_with('.'))
    });
    found.map_or("leave it out", |(_, advice)| advice)
}

/// The advice by the end of the field's path; of two ends, the longer comes first.
const FIELDS: &[(&str, &str)] = &[
    // VirtualService
    ("statPrefix", "leave it out; access logs show the `name` of the route"),
    ("exponentialDelay", "write `fixedDelay` with a percentage"),
    ("http2Error", "write `httpStatus`, or `grpcStatus` for gRPC"),
    ("retryRemoteLocalities", "leave it out: a retry chooses among all endpoints"),
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
    ("localityLbSetting", "leave it out: endpoints of all localities are used alike"),
    ("zoneAwareLbSetting", "leave it out: endpoints of all zones are used alike"),
    ("warmup", "leave it out, and have pods become ready when they can take their share"),
    ("warmupDurationSecs", "leave it out, and have pods become ready when they can take their share"),
    ("httpCookie.attributes", "write `name`, `path` and `ttl`"),
    ("maxConnectionDuration", "close old connections at the server"),
    ("tcp.idleTimeout", "leave it out: idle connections are closed after an hour"),
    ("maxConcurrentStreams", "limit requests with `http2MaxRequests`"),
    ("http2KeepAlive", "leave it out: idle connections are pinged every 30 seconds"),
    ("consecutiveErrors", "write `consecutiveGatewayErrors` or `consecutive5xxErrors`"),
    ("splitExternalLocalOriginErrors", "leave it out: failures to connect count as gateway errors"),
    ("consecutiveLocalOriginFailures", "leave it out: failures to connect count as gateway errors"),
    // Gateway
    ("bind", "leave it out; the Service in front of the gateway chooses the address"),
    ("defaultEndpoint", "route with a VirtualService"),
    ("targetPort", "write the port that the gateway's pod listens on in `number`"),
    ("credentialNames", "write the name of one Secret in `credentialName`"),
    ("caCertCredentialName", "put the roots under `ca.crt` into the Secret that `credentialName` names"),
    ("tlsCertificates", "put certificate and key into a Secret, and its name into `credentialName`"),
    ("verifyCertificateSpki", "name the clients that may connect in `subjectAltNames`, with mode MUTUAL"),
    ("verifyCertificateHash", "name the clients that may connect in `subjectAltNames`, with mode MUTUAL"),
    ("cipherSuites", "set `minProtocolVersion: TLSV1_3` to narrow the choice; weak suites are never offered"),
    ("ecdhCurves", "leave it out: X25519, P-256 and P-384 are offered"),
    (
        "caCrl",
        "take the roots of revoked certificates out of the verified ones: revocation lists are not read",
    ),
    ("insecureSkipVerify", "give the roots that clients are verified against under `ca.crt` of the Secret"),
    ("tls.subjectAltNames", "with mode MUTUAL they are verified, and so are the roots under `ca.crt`"),
    // ServiceEntry
    ("resolution", "write DNS and the host's name, or NONE if clients know the addresses"),
    ("network", "give endpoints addresses that every client can reach"),
    ("locality", "leave it out: endpoints of all localities are used alike"),
    // Sidecar
    ("ingress", "leave it out: the ports that Services name for the workload are served"),
    ("inboundConnectionPool", "limit connections at the clients, with a DestinationRule's `connectionPool`"),
    ("port", "name hosts alone: all of their ports are served"),
    ("captureMode", "leave it out: traffic is captured"),
    ("egressProxy", "send unknown destinations through a gateway with a ServiceEntry and a VirtualService"),
    ("outboundTrafficPolicy.mode", "write ALLOW_ANY, or REGISTRY_ONLY with a ServiceEntry for each host"),
    // MeshConfig
    ("trustDomainAliases", "give all workloads one trust domain"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_the_end_of_its_path() {
        assert!(instead("spec.trafficPolicy.connectionPool.tcp.idleTimeout").contains("an hour"));
        assert!(instead("spec.servers[0].bind").contains("Service"));
        assert_eq!(instead("spec.servers[0].unbind"), "leave it out");
        assert_eq!(instead("spec.other"), "leave it out");
    }

    #[test]
    fn advice_never_weakens_a_policy() {
        for (field, advice) in FIELDS.iter().filter(|(field, _)| PROTECTING.contains(field)) {
            assert!(!advice.starts_with("leave it out"), "{field}: {advice}");
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
