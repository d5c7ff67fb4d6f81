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
        let Some(end) = end(rest) else { return Some("has an operator without its second %".into()) };
        let operator = &rest[..end];
        rest = &rest[end + 1..];
        if !operator.is_empty() && !is_read(operator, within) {
            return Some(format!("has an operator that is not supported by this version: %{operator}%"));
        }
    }
    None
}

/// A `(` is closed before the operator ends: the format of a time holds percent signs.
fn end(rest: &str) -> Option<usize> {
    match (rest.find('('), rest.find('%')) {
        (Some(open), Some(percent)) if open < percent => {
            let close = open + rest[open..].find(')')?;
            Some(close + rest[close..].find('%')?)
        }
        (_, percent) => percent,
    }
}

fn is_read(operator: &str, within: Within) -> bool {
    let Some((name, argument)) = split(operator) else { return false };
    match (name, argument, within) {
        ("REQ", Some(headers), _) => fields(headers, &[":method", ":path", ":authority", ":scheme"], within),
        ("RESP", Some(headers), Within::Header) => fields(headers, &[], within),
        ("REQ_WITHOUT_QUERY" | "RESP", Some(headers), Within::Log) => fields(headers, &PSEUDO, within),
        ("TRAILER", Some(header), Within::Log) => token(header),
        ("START_TIME", format, _) => format.is_none_or(is_time_format),
        ("QUERY_PARAM", Some(name), _) => within == Within::Log || !name.is_empty(),
        ("HOSTNAME", None, _)
        | ("ENVIRONMENT", Some(_), _)
        | ("GRPC_STATUS", None | Some("" | "CAMEL_STRING" | "SNAKE_STRING" | "NUMBER"), Within::Log)
        | ("GRPC_STATUS_NUMBER", None, Within::Log)
        | (
            "METADATA" | "DYNAMIC_METADATA" | "FILTER_STATE" | "CLUSTER_METADATA" | "UPSTREAM_METADATA",
            Some(_),
            Within::Log,
        ) => true,
        ("PATH", argument, Within::Log) => is_path(argument.unwrap_or_default()),
        (name, None, Within::Log) => BOTH.contains(&name) || LOG.contains(&name) || is_address(name, true),
        (name, None, Within::Header) => {
            BOTH.contains(&name) || name == "LOCAL_REPLY_BODY" || is_address(name, false)
        }
        _ => false,
    }
}

/// Whose address, and how much of it.
fn is_address(name: &str, log: bool) -> bool {
    let sides = ["DOWNSTREAM_REMOTE_", "DOWNSTREAM_DIRECT_REMOTE_", "DOWNSTREAM_LOCAL_", "UPSTREAM_REMOTE_"];
    let local = if log { name.strip_prefix("UPSTREAM_LOCAL_") } else { None };
    let part = local.or_else(|| sides.iter().find_map(|side| name.strip_prefix(side)));
    matches!(part, Some("ADDRESS" | "ADDRESS_WITHOUT_PORT" | "PORT"))
}

/// The format of a time as `strftime` has it, with `%3f` for parts of a second.
fn is_time_format(format: &str) -> bool {
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        let letters = &rest[at + 1..];
        let digits = letters.len() - letters.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let Some(letter) = letters[digits..].chars().next() else { return false };
        let known = match letters[..digits].parse::<u32>() {
            Ok(width) => letter == 'f' && (1..=9).contains(&width),
            Err(_) => digits == 0 && TIME_LETTERS.contains(letter),
        };
        if !known {
            return false;
        }
        rest = &letters[digits + letter.len_utf8()..];
    }
    true
}

/// `WQ` or `NQ`: with or without the query; then which path.
fn is_path(argument: &str) -> bool {
    let (query, which) = argument.split_once(':').unwrap_or((argument, ""));
    matches!(query, "" | "WQ" | "NQ") && matches!(which, "" | "PATH" | "ORIG" | "ORIG_OR_PATH")
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
fn fields(text: &str, pseudo: &[&str], within: Within) -> bool {
    let status = within == Within::Log;
    let read = |name: &str| {
        let lower = name.to_ascii_lowercase();
        token(name) || pseudo.contains(&lower.as_str()) || (status && PSEUDO.contains(&lower.as_str()))
    };
    text.split('?').count() <= 2 && text.split('?').all(read)
}

/// RFC 9110's token.
fn token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

const PSEUDO: [&str; 5] = [":method", ":path", ":authority", ":status", ":scheme"];
const TIME_LETTERS: &str = "YymbhBdejaAHIpMSsfzZ%FTRD";
const BOTH: [&str; 14] = [
    "PROTOCOL",
    "ROUTE_NAME",
    "UPSTREAM_CLUSTER",
    "UPSTREAM_CLUSTER_RAW",
    "REQUESTED_SERVER_NAME",
    "DOWNSTREAM_PEER_URI_SAN",
    "DOWNSTREAM_PEER_DNS_SAN",
    "DOWNSTREAM_PEER_SUBJECT",
    "DOWNSTREAM_TLS_VERSION",
    "DOWNSTREAM_TLS_CIPHER",
    "RESPONSE_CODE",
    "RESPONSE_FLAGS",
    "UPSTREAM_HOST",
    "STREAM_ID",
];
const LOG: [&str; 14] = [
    "RESPONSE_CODE_DETAILS",
    "RESPONSE_FLAGS_LONG",
    "CONNECTION_TERMINATION_DETAILS",
    "UPSTREAM_TRANSPORT_FAILURE_REASON",
    "UPSTREAM_PROTOCOL",
    "UPSTREAM_REQUEST_ATTEMPT_COUNT",
    "BYTES_RECEIVED",
    "BYTES_SENT",
    "DURATION",
    "RESPONSE_DURATION",
    "RESPONSE_TX_DURATION",
    "QUERY_PARAMS",
    "ACCESS_LOG_TYPE",
    "TRACE_ID",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_that_no_proxy_reads_are_found() {
        for (text, within, good) in [
            ("plain, 100%%", Within::Header, true),
            ("%PROTOCOL% %REQ(x?:path):10%", Within::Header, true),
            ("%HOSTNAME% %ENVIRONMENT(HOME)% %ENVIRONMENT(HOME):3%", Within::Header, true),
            ("%QUERY_PARAM(q):5% %STREAM_ID% %LOCAL_REPLY_BODY%", Within::Header, true),
            ("%START_TIME% %START_TIME(%s.%3f)%", Within::Header, true),
            ("%DOWNSTREAM_TLS_VERSION% %DOWNSTREAM_PEER_DNS_SAN%", Within::Header, true),
            ("%UPSTREAM_REMOTE_PORT% %DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%", Within::Header, true),
            ("%START_TIME(%s)% %RESP(a)% %TRAILER(grpc-status)%", Within::Log, true),
            ("%START_TIME(%Y-%m-%dT%H:%M:%S%z %s)%", Within::Log, true),
            ("%PATH(NQ:ORIG)% %QUERY_PARAMS% %UPSTREAM_LOCAL_PORT%", Within::Log, true),
            ("50%", Within::Header, false),
            ("%PROT%", Within::Header, false),
            ("%REQ(:status)%", Within::Header, false),
            ("%RESP(:path)%", Within::Header, false),
            ("%BYTES_SENT%", Within::Header, false),
            ("%UPSTREAM_LOCAL_ADDRESS%", Within::Header, false),
            ("%DOWNSTREAM_LOCAL_NAME%", Within::Header, false),
            ("%HOSTNAME(x)%", Within::Header, false),
            ("%ENVIRONMENT%", Within::Header, false),
            ("%START_TIME(%Q)%", Within::Header, false),
            ("%START_TIME(%12f)%", Within::Header, false),
            ("%START_TIME(%", Within::Header, false),
            ("%REQ(x)%tunnel%", Within::Log, false),
            ("%REQ(a b)%", Within::Log, false),
            ("%REQ(a):b%", Within::Log, false),
            ("%PATH(X)%", Within::Log, false),
            ("%CONNECTION_ID%", Within::Log, false),
        ] {
            assert_eq!(mistake(text, within).is_none(), good, "{text} {within:?}");
        }
    }
}
