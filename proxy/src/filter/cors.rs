//! Pure. Cross-origin resource sharing: decides which origins may read responses. Responds to the preflight that a browser
//! sends before some requests, and adds the `access-control-` headers to the response of all others.

use super::step::{FilterState, LocalResponse, RequestHeaders, RequestView, ResponseStep, Stat, Step};
use crate::matcher::{InvalidConfig, Text};
use api::model::filter::cors::CorsPolicy;
use api::model::matcher::Fraction;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

/// A compiled CORS policy.
#[derive(Debug)]
pub struct Cors {
    origins: Box<[Text]>,
    any_origin: bool,
    methods: Option<Allowlist>,
    headers: Option<Allowlist>,
    expose: Option<HeaderValue>,
    max_age: Option<HeaderValue>,
    credentials: bool,
    private_network: bool,
    forward_not_matching: bool,
    enabled: Option<Fraction>,
    shadow: Option<Fraction>,
}

/// The methods or headers that a page may use.
#[derive(Debug)]
enum Allowlist {
    /// All that the preflight names.
    Any,
    /// This list.
    Only(HeaderValue),
}

/// An origin that may read the response.
struct AllowedOrigin(HeaderValue);

impl Cors {
    /// Compiles a policy.
    pub fn compile(from: &CorsPolicy) -> Result<Self, InvalidConfig> {
        let value = |text: &str, field: &str| {
            let value = (!text.is_empty()).then(|| HeaderValue::from_str(text)).transpose();
            value.map_err(|_| InvalidConfig(format!("{field}: `{text}` is not a header value")))
        };
        let listed = |text: &str, field: &str| -> Result<Option<Allowlist>, InvalidConfig> {
            let value = value(text, field)?;
            Ok(value.map(|value| if value == "*" { Allowlist::Any } else { Allowlist::Only(value) }))
        };
        let origins = from.allow_origins.iter().map(Text::compile).collect::<Result<Box<[_]>, _>>()?;
        Ok(Self {
            any_origin: origins.iter().any(|origin| origin.matches(b"*")),
            origins,
            methods: listed(&from.allow_methods, "allow_methods")?,
            headers: listed(&from.allow_headers, "allow_headers")?,
            expose: value(&from.expose_headers, "expose_headers")?,
            max_age: value(&from.max_age, "max_age")?,
            credentials: from.allow_credentials.unwrap_or(false),
            private_network: from.allow_private_network_access.unwrap_or(false),
            forward_not_matching: from.forward_not_matching_preflights.unwrap_or(true),
            enabled: from.enabled,
            shadow: from.shadow,
        })
    }

    /// Responds to a preflight. For other requests, stores the origin if it may read the response.
    pub fn request(
        &self,
        request: &RequestView<'_>,
        headers: &mut RequestHeaders<'_>,
        state: &mut FilterState,
    ) -> Step {
        join_origins(headers);
        let Some(origin) = headers.get(ORIGIN).filter(|_| request.forwarded).filter(|o| !o.is_empty()) else {
            return Step::Next;
        };
        let enabled = self.enabled.is_none_or(|share| share.selects((request.random)()));
        if !enabled && !self.shadow.is_some_and(|share| share.selects((request.random)())) {
            return Step::Next;
        }
        let allowed = self.any_origin || self.origins.iter().any(|known| known.matches(origin.as_bytes()));
        (request.count)(Stat::Connection(if allowed { "cors.origin_valid" } else { "cors.origin_invalid" }));
        if !enabled {
            return Step::Next;
        }
        if allowed {
            state.put(AllowedOrigin(origin.clone()));
        }
        let method = headers.get(ACCESS_CONTROL_REQUEST_METHOD).filter(|method| !method.is_empty());
        match method.filter(|_| *request.method == Method::OPTIONS) {
            Some(method) if allowed || !self.forward_not_matching => {
                Step::Respond(Box::new(self.preflight(allowed.then_some(origin), method, headers)))
            }
            Some(_) | None => Step::Next,
        }
    }

    fn preflight(
        &self,
        origin: Option<&HeaderValue>,
        method: &HeaderValue,
        requested: &HeaderMap,
    ) -> LocalResponse {
        let mut headers = HeaderMap::new();
        let mut set = |name: HeaderName, value: Option<&HeaderValue>| {
            headers.extend(value.map(|value| (name, value.clone())));
        };
        let all = requested.get(ACCESS_CONTROL_REQUEST_HEADERS);
        let empty = HeaderValue::from_static("");
        set(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        set(ACCESS_CONTROL_ALLOW_CREDENTIALS, self.credentials.then_some(&TRUE));
        set(ACCESS_CONTROL_ALLOW_METHODS, self.methods.as_ref().map(|listed| listed.of(method)));
        set(
            ACCESS_CONTROL_ALLOW_HEADERS,
            self.headers.as_ref().map(|listed| listed.of(all.unwrap_or(&empty))),
        );
        set(ACCESS_CONTROL_MAX_AGE, self.max_age.as_ref());
        let private =
            self.private_network && requested.get(REQUEST_PRIVATE_NETWORK).is_some_and(|v| v == "true");
        set(ALLOW_PRIVATE_NETWORK, private.then_some(&TRUE));
        LocalResponse { status: StatusCode::OK, headers, details: "cors_response" }
    }

    /// Adds the headers that allow the origin to read the response.
    pub fn response(&self, headers: &mut HeaderMap, state: &mut FilterState) -> ResponseStep {
        let Some(AllowedOrigin(origin)) = state.take() else { return ResponseStep::Next };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if self.credentials {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
        }
        if let Some(expose) = &self.expose {
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
        }
        ResponseStep::Next
    }
}

/// Joins several `origin` headers into one, as Envoy does. No policy allows the joined value.
fn join_origins(headers: &mut RequestHeaders<'_>) {
    let mut all = headers.get_all(ORIGIN).iter();
    if all.next().is_none() || all.next().is_none() {
        return;
    }
    let all: Vec<&[u8]> = headers.get_all(ORIGIN).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&all.join(&b',')) {
        headers.insert(ORIGIN, joined);
    }
}

impl Allowlist {
    fn of<'a>(&'a self, requested: &'a HeaderValue) -> &'a HeaderValue {
        match self {
            Self::Any => requested,
            Self::Only(listed) => listed,
        }
    }
}

const TRUE: HeaderValue = HeaderValue::from_static("true");
const REQUEST_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::step::tests::with_request;
    use api::model::matcher::StringMatch;
    use std::cell::RefCell;

    /// Runs a preflight or a request from an origin. Returns the `access-control-` headers of its response, and the
    /// counters that were incremented.
    fn evaluate(
        policy: &CorsPolicy,
        method: &Method,
        origin: &'static str,
        forwarded: bool,
    ) -> (String, Vec<String>) {
        let cors = Cors::compile(policy).unwrap();
        let counted = RefCell::new(vec![]);
        let count = |stat: Stat<'_>| match stat {
            Stat::Connection(name) | Stat::Cluster(_, name) => counted.borrow_mut().push(name.to_owned()),
        };
        let mut headers = HeaderMap::new();
        headers.insert(ORIGIN, HeaderValue::from_static(origin));
        headers.insert(ACCESS_CONTROL_REQUEST_METHOD, HeaderValue::from_static("PUT"));
        let mut state = FilterState::default();
        let step = with_request(|view| {
            let view = RequestView { method, forwarded, count: &count, ..view };
            cors.request(&view, &mut RequestHeaders::new(&mut headers), &mut state)
        });
        let headers = match step {
            Step::Respond(response) => response.headers,
            _ => {
                let mut headers = HeaderMap::new();
                cors.response(&mut headers, &mut state);
                headers
            }
        };
        let shown = |(name, value): (&HeaderName, &HeaderValue)| {
            let name = name.as_str().trim_start_matches("access-control-");
            format!("{name}={}", value.to_str().unwrap())
        };
        let all: Vec<String> = headers.iter().map(shown).collect();
        (all.join(" "), counted.into_inner())
    }

    #[test]
    fn origins_methods_and_shares_decide() {
        let half = |numerator| Some(Fraction { numerator, denominator: 100 });
        let a = CorsPolicy {
            allow_origins: vec![StringMatch::exact("http://a")],
            allow_methods: "*".into(),
            expose_headers: "x".into(),
            allow_credentials: Some(true),
            ..CorsPolicy::default()
        };
        let ignore = CorsPolicy { forward_not_matching_preflights: Some(false), ..a.clone() };
        let off = CorsPolicy { enabled: half(50), ..a.clone() };
        let shadow = CorsPolicy { enabled: half(50), shadow: half(51), ..a.clone() };
        let (get, options) = (Method::GET, Method::OPTIONS);
        let simple = "allow-origin=http://a allow-credentials=true expose-headers=x";
        let preflight = "allow-origin=http://a allow-credentials=true allow-methods=PUT";
        let (valid, invalid) = ("cors.origin_valid", "cors.origin_invalid");
        for (policy, method, origin, forwarded, expected, counted) in [
            (&a, &get, "http://a", true, simple, &[valid][..]),
            (&a, &options, "http://a", true, preflight, &[valid]),
            (&a, &get, "http://b", true, "", &[invalid]),
            (&a, &options, "http://b", true, "", &[invalid]),
            (&ignore, &options, "http://b", true, "allow-credentials=true allow-methods=PUT", &[invalid]),
            (&a, &get, "", true, "", &[]),
            (&a, &options, "http://a", false, "", &[]),
            (&off, &options, "http://a", true, "", &[]),
            (&shadow, &options, "http://a", true, "", &[valid]),
            (&shadow, &get, "http://b", true, "", &[invalid]),
        ] {
            let found = evaluate(policy, method, origin, forwarded);
            assert_eq!(found, (expected.to_owned(), counted.iter().map(ToString::to_string).collect()));
        }
    }

    #[test]
    fn unset_fields_come_from_the_wider_level() {
        let wider = CorsPolicy {
            allow_origins: vec![StringMatch::exact("http://wide")],
            allow_methods: "GET".into(),
            allow_credentials: Some(true),
            enabled: Some(Fraction { numerator: 0, denominator: 100 }),
            ..CorsPolicy::default()
        };
        let own = CorsPolicy { allow_methods: "PUT".into(), ..CorsPolicy::default() };
        let expected = CorsPolicy { allow_methods: "PUT".into(), enabled: None, ..wider.clone() };
        assert_eq!(own.over(&wider), expected);
    }
}
