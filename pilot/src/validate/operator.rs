//! Pure. Operators such as `%REQ(x)%` in texts that users write. Kept to what the proxy reads: it refuses a whole
//! listener, or a whole table of routes, for one operator that it does not know. The fuzz target `resource` holds the
//! two together.

/// Where a text stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Within {
    /// A format of an access log.
    Log,
    /// The value of a header.
    Header,
}

/// What is wrong with the operators of a text; `None`: nothing.
pub(super) fn mistake(text: &str, within: Within) -> Option<String> {
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        rest = &rest[at + 1..];
        let Some(end) = end(rest, within) else { return Some("has an operator without its second %".into()) };
        let operator = &rest[..end];
        rest = &rest[end + 1..];
        if !operator.is_empty() && !is_read(operator, within) {
            return Some(format!("has an operator that is not served: %{operator}%"));
        }
    }
    None
}

/// In logs a `(` is closed before the operator ends: the format of a time holds percent signs.
fn end(rest: &str, within: Within) -> Option<usize> {
    match (rest.find('('), rest.find('%')) {
        (Some(open), Some(percent)) if open < percent && within == Within::Log => {
            let close = open + rest[open..].find(')')?;
            Some(close + rest[close..].find('%')?)
        }
        (_, percent) => percent,
    }
}

fn is_read(operator: &str, within: Within) -> bool {
    let Some((name, argument)) = split(operator) else { return false };
    match (name, argument, within) {
        ("REQ", Some(headers), Within::Header) => fields(headers, &PSEUDO[..3]),
        ("RESP", Some(headers), Within::Header) => fields(headers, &[]),
        ("REQ" | "REQ_WITHOUT_QUERY" | "RESP", Some(headers), Within::Log) => fields(headers, &PSEUDO),
        ("TRAILER", Some(header), Within::Log) => token(header),
        ("START_TIME", argument, Within::Log) => matches!(argument, None | Some("%s")),
        ("GRPC_STATUS" | "GRPC_STATUS_NUMBER", _, Within::Log)
        | (
            "METADATA" | "DYNAMIC_METADATA" | "FILTER_STATE" | "CLUSTER_METADATA" | "ENVIRONMENT",
            Some(_),
            Within::Log,
        ) => true,
        (name, None, Within::Log) => BOTH.contains(&name) || LOG.contains(&name),
        (name, None, Within::Header) => BOTH.contains(&name) || HEADER.contains(&name),
        _ => false,
    }
}

/// Name, argument, and after a colon a length, which says nothing here.
fn split(operator: &str) -> Option<(&str, Option<&str>)> {
    let Some((name, rest)) = operator.split_once('(') else { return Some((operator, None)) };
    let (argument, rest) = rest.rsplit_once(')')?;
    let length = rest.strip_prefix(':').map(str::parse::<usize>);
    let whole = length.map_or(rest.is_empty(), |length| length.is_ok());
    whole.then_some((name, Some(argument)))
}

/// A header, or two with a question mark between.
fn fields(text: &str, pseudo: &[&str]) -> bool {
    let read = |name: &str| token(name) || pseudo.contains(&name.to_ascii_lowercase().as_str());
    text.split('?').count() <= 2 && text.split('?').all(read)
}

/// RFC 9110's token.
fn token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

const PSEUDO: [&str; 4] = [":method", ":path", ":authority", ":status"];
const BOTH: [&str; 13] = [
    "PROTOCOL",
    "ROUTE_NAME",
    "UPSTREAM_CLUSTER",
    "UPSTREAM_CLUSTER_RAW",
    "REQUESTED_SERVER_NAME",
    "DOWNSTREAM_PEER_URI_SAN",
    "RESPONSE_CODE",
    "RESPONSE_FLAGS",
    "UPSTREAM_HOST",
    "DOWNSTREAM_REMOTE_ADDRESS",
    "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
    "DOWNSTREAM_LOCAL_ADDRESS",
    "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
];
const HEADER: [&str; 8] = [
    "DOWNSTREAM_LOCAL_PORT",
    "DOWNSTREAM_REMOTE_PORT",
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS",
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT",
    "DOWNSTREAM_DIRECT_REMOTE_PORT",
    "UPSTREAM_REMOTE_ADDRESS",
    "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
    "UPSTREAM_REMOTE_PORT",
];
const LOG: [&str; 22] = [
    "RESPONSE_CODE_DETAILS",
    "CONNECTION_TERMINATION_DETAILS",
    "UPSTREAM_TRANSPORT_FAILURE_REASON",
    "BYTES_RECEIVED",
    "BYTES_SENT",
    "DURATION",
    "UPSTREAM_REMOTE_ADDRESS",
    "UPSTREAM_LOCAL_ADDRESS",
    "DOWNSTREAM_LOCAL_PORT",
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS",
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT",
    "UPSTREAM_REQUEST_ATTEMPT_COUNT",
    "HOSTNAME",
    "REQUEST_DURATION",
    "RESPONSE_DURATION",
    "RESPONSE_TX_DURATION",
    "TRACE_ID",
    "CONNECTION_ID",
    "DOWNSTREAM_TLS_VERSION",
    "DOWNSTREAM_TLS_CIPHER",
    "DOWNSTREAM_PEER_SUBJECT",
    "START_TIME",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_that_no_proxy_reads_are_found() {
        for (text, within, good) in [
            ("plain, 100%%", Within::Header, true),
            ("%PROTOCOL% %REQ(x?:path):10%", Within::Header, true),
            ("%START_TIME(%s)% %RESP(a)% %TRAILER(grpc-status)%", Within::Log, true),
            ("50%", Within::Header, false),
            ("%PROT%", Within::Header, false),
            ("%REQ(:status)%", Within::Header, false),
            ("%RESP(:path)%", Within::Header, false),
            ("%START_TIME%", Within::Header, false),
            ("%REQ(x)%tunnel%", Within::Log, false),
            ("%REQ(a b)%", Within::Log, false),
            ("%REQ(a):b%", Within::Log, false),
            ("%START_TIME(%Y)%", Within::Log, false),
        ] {
            assert_eq!(mistake(text, within).is_none(), good, "{text} {within:?}");
        }
    }
}
