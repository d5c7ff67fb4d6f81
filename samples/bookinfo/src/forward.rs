//! Pure. The request headers that a service copies to its own requests.
//!
//! A mesh can join the hops of a request into one trace and route by user only if applications forward these headers.
//! All services use this list.

use http::{HeaderMap, HeaderName, HeaderValue};

/// Header that names the signed-in user.
pub const END_USER: HeaderName = HeaderName::from_static("end-user");

/// The headers of `request` that are copied to the next request.
pub fn forwarded(request: &HeaderMap) -> HeaderMap {
    let mut onward = HeaderMap::new();
    for name in PASSED_ON {
        for value in request.get_all(*name) {
            onward.append(HeaderName::from_static(name), value.clone());
        }
    }
    onward
}

/// As [`forwarded`], but with the signed-in user in place of the one that the client sent.
pub fn on_behalf_of(request: &HeaderMap, user: Option<&str>) -> HeaderMap {
    let mut onward = forwarded(request);
    if let Some(value) = user.and_then(|user| HeaderValue::from_bytes(user.as_bytes()).ok()) {
        onward.insert(END_USER, value);
    }
    onward
}

const PASSED_ON: &[&str] = &[
    "end-user",
    "x-request-id",
    "x-ot-span-context",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-flags",
    "b3",
    "traceparent",
    "tracestate",
    "baggage",
    "grpc-trace-bin",
    "x-datadog-trace-id",
    "x-datadog-parent-id",
    "x-datadog-sampling-priority",
    "x-cloud-trace-context",
    "sw8",
    "user-agent",
    "cookie",
    "authorization",
    "jwt",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn tracing_and_user_headers_pass_and_connection_headers_stay() {
        let request = headers(&[
            ("traceparent", "00-1"),
            ("x-b3-traceid", "2"),
            ("x-datadog-trace-id", "3"),
            ("end-user", "jason"),
            ("connection", "close"),
            ("content-length", "9"),
            ("host", "productpage"),
        ]);
        let mut names: Vec<_> = forwarded(&request).keys().map(|name| name.as_str().to_owned()).collect();
        names.sort();
        assert_eq!(names, ["end-user", "traceparent", "x-b3-traceid", "x-datadog-trace-id"]);
    }

    #[test]
    fn every_value_of_a_repeated_header_passes() {
        let request = headers(&[("tracestate", "a=1"), ("tracestate", "b=2")]);
        assert_eq!(forwarded(&request).get_all("tracestate").iter().count(), 2);
    }

    #[test]
    fn the_signed_in_user_replaces_a_claimed_one() {
        let request = headers(&[("end-user", "mallory")]);
        assert_eq!(on_behalf_of(&request, Some("jason"))["end-user"], "jason");
        assert_eq!(on_behalf_of(&request, None)["end-user"], "mallory");
    }

    #[test]
    fn a_user_name_that_cannot_be_a_header_is_left_out() {
        assert!(on_behalf_of(&HeaderMap::new(), Some("a\nb")).is_empty());
    }
}
