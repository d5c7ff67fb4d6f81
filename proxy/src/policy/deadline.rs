//! Pure. The timeout of a request, from the route's limit, the client's `grpc-timeout`, and the header of a client
//! inside the mesh.

use http::HeaderMap;
use std::time::Duration;

/// The timeout for the whole response; `None`: no timeout.
pub fn limit(
    route: Option<Duration>,
    max_grpc: Option<Duration>,
    headers: &HeaderMap,
    grpc: bool,
    internal: bool,
) -> Option<Duration> {
    let mut limit = route.filter(|limit| !limit.is_zero());
    if let (true, Some(max)) = (grpc, max_grpc)
        && let Some(asked) = headers.get("grpc-timeout").and_then(|v| grpc_timeout(v.as_bytes()))
    {
        // A `grpc-timeout` of zero means no timeout.
        limit = Some(if max.is_zero() { asked } else { asked.min(max) }).filter(|limit| !limit.is_zero());
    }
    let asked = headers.get("x-envoy-upstream-rq-timeout-ms").filter(|_| internal);
    if let Some(asked) = asked.and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok()) {
        limit = Some(Duration::from_millis(asked)).filter(|limit| !limit.is_zero());
    }
    limit
}

/// Parses a `grpc-timeout`: up to eight digits and a unit.
pub fn grpc_timeout(text: &[u8]) -> Option<Duration> {
    let (unit, digits) = text.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(number * 3600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_timeouts_are_read() {
        for (text, expected) in [
            ("1S", Some(Duration::from_secs(1))),
            ("2H", Some(Duration::from_secs(7200))),
            ("100m", Some(Duration::from_millis(100))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("999999999n", None),
            ("1", None),
            ("S", None),
            ("1x", None),
            ("-1S", None),
        ] {
            assert_eq!(grpc_timeout(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn the_limit_is_the_routes_unless_the_caller_may_change_it() {
        let s = Duration::from_secs;
        let grpc = ("grpc-timeout", "3S");
        let internal_header = ("x-envoy-upstream-rq-timeout-ms", "4000");
        let cases = [
            (Some(s(15)), Some(s(0)), None, false, false, Some(s(15))),
            (Some(s(0)), Some(s(0)), None, false, false, None),
            (None, Some(s(0)), Some(grpc), true, false, Some(s(3))),
            (None, Some(s(0)), Some(grpc), false, false, None),
            (Some(s(1)), Some(s(2)), Some(grpc), true, false, Some(s(2))),
            (Some(s(1)), None, Some(grpc), true, false, Some(s(1))),
            (Some(s(1)), None, Some(internal_header), false, true, Some(s(4))),
            (Some(s(1)), None, Some(internal_header), false, false, Some(s(1))),
        ];
        for (route, max, header, is_grpc, internal, expected) in cases {
            let mut headers = HeaderMap::new();
            if let Some((name, value)) = header {
                headers.insert(name, http::HeaderValue::from_static(value));
            }
            assert_eq!(limit(route, max, &headers, is_grpc, internal), expected, "{route:?} {header:?}");
        }
    }
}
