//! Pure. Controls with which a client changes the server's response: delay, failure, size, chunks.
//!
//! A control is a query parameter (`?delay=250ms`) or a header (`x-echo-delay: 250ms`, which also works for gRPC). The
//! header wins. Unknown parameters are ignored.

use std::fmt::Display;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::quantity;

/// The controls of one request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Controls {
    /// Delay before the response.
    pub delay: Duration,
    /// HTTP status or gRPC code.
    pub status: Option<u16>,
    /// Share of requests that fail.
    pub fail: f64,
    /// Status of the failing requests.
    pub fail_status: Option<u16>,
    /// End the response with trailers.
    pub trailers: bool,
    /// Send this many bytes instead of JSON.
    pub size: Option<u64>,
    /// Send the body in pieces of this many bytes, without a content length.
    pub chunk: Option<usize>,
    /// Close the connection after the response.
    pub close: bool,
    /// Close the connection without a response.
    pub abort: bool,
    /// Include the request body in the JSON.
    pub body: bool,
    /// Stream the request body back as it arrives.
    pub stream: bool,
    /// WebSocket: first send a message with what the server received.
    pub hello: bool,
    /// Headers to add to the response.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// A control has an invalid value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("control {name}: {value:?} {reason}")]
pub struct BadControl {
    name: String,
    value: String,
    reason: String,
}

impl Controls {
    /// Parses the controls in a request's query and headers.
    pub fn of(query: Option<&str>, headers: &HeaderMap) -> Result<Self, BadControl> {
        let mut controls = Self::default();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            controls.set(&name, &value)?;
        }
        for (name, value) in headers {
            if let Some(name) = name.as_str().strip_prefix("x-echo-") {
                controls.set(&name.replace('-', "_"), &String::from_utf8_lossy(value.as_bytes()))?;
            }
        }
        Ok(controls)
    }

    /// The HTTP status of the response. `dice` is a random number from 0 to 1, excluding 1.
    pub fn http_status(&self, dice: f64) -> Result<StatusCode, BadControl> {
        let code = self.code(dice, 200, 503);
        StatusCode::from_u16(code)
            .ok()
            .filter(|status| (200..600).contains(&status.as_u16()))
            .ok_or_else(|| bad("status", &code, &"is not an HTTP status from 200 to 599"))
    }

    /// The gRPC code of the response. `dice` is as for HTTP.
    pub fn grpc_code(&self, dice: f64) -> Result<i32, BadControl> {
        let code = self.code(dice, 0, 14);
        if code <= 16 {
            Ok(i32::from(code))
        } else {
            Err(bad("status", &code, &"is not a gRPC code from 0 to 16"))
        }
    }

    fn code(&self, dice: f64, good: u16, failed: u16) -> u16 {
        if dice < self.fail { self.fail_status.unwrap_or(failed) } else { self.status.unwrap_or(good) }
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), BadControl> {
        let quantity = |error: quantity::BadQuantity| bad(name, &value, &error);
        match name {
            "delay" => self.delay = quantity::duration(value).map_err(quantity)?,
            "status" => self.status = Some(number(name, value, 0, 599)?),
            "fail" => self.fail = quantity::share(value).map_err(quantity)?,
            "fail_status" => self.fail_status = Some(number(name, value, 0, 599)?),
            "trailers" => self.trailers = quantity::flag(value).map_err(quantity)?,
            "size" => self.size = Some(number(name, value, 0, LONGEST_BODY)?),
            "chunk" => self.chunk = Some(number(name, value, 1, LONGEST_CHUNK)?),
            "close" => self.close = quantity::flag(value).map_err(quantity)?,
            "abort" => self.abort = quantity::flag(value).map_err(quantity)?,
            "body" => self.body = quantity::flag(value).map_err(quantity)?,
            "stream" => self.stream = quantity::flag(value).map_err(quantity)?,
            "hello" => self.hello = quantity::flag(value).map_err(quantity)?,
            "headers" => self.headers.push(header(value)?),
            _ => {}
        }
        Ok(())
    }
}

fn header(value: &str) -> Result<(HeaderName, HeaderValue), BadControl> {
    let wrong = || bad("headers", &value, &"is not a header; write it as name:value");
    let (name, text) = value.split_once(':').ok_or_else(wrong)?;
    let name = HeaderName::try_from(name.trim()).map_err(|_| wrong())?;
    let text = HeaderValue::try_from(text.trim()).map_err(|_| wrong())?;
    // These headers frame the message. Another value would break the connection for later requests.
    if [http::header::CONTENT_LENGTH, http::header::TRANSFER_ENCODING].contains(&name) {
        return Err(bad("headers", &value, &"frames the response and cannot be set"));
    }
    Ok((name, text))
}

fn number<T>(name: &str, value: &str, least: T, most: T) -> Result<T, BadControl>
where
    T: std::str::FromStr + PartialOrd + Display + Copy,
{
    match value.parse() {
        Ok(number) if number >= least && number <= most => Ok(number),
        _ => Err(bad(name, &value, &format!("is not a whole number from {least} to {most}"))),
    }
}

fn bad(name: &str, value: &dyn Display, reason: &dyn Display) -> BadControl {
    BadControl { name: name.to_owned(), value: value.to_string(), reason: reason.to_string() }
}

const LONGEST_BODY: u64 = 1 << 30;
const LONGEST_CHUNK: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn controls(query: &str) -> Result<Controls, BadControl> {
        Controls::of(Some(query), &HeaderMap::new())
    }

    #[test]
    fn a_query_sets_only_the_controls_that_it_names() {
        let wanted = Controls {
            delay: Duration::from_millis(250),
            fail: 0.1,
            fail_status: Some(500),
            trailers: true,
            size: Some(10),
            headers: vec![(HeaderName::from_static("x-a"), HeaderValue::from_static("b c"))],
            ..Controls::default()
        };
        let query = "delay=250ms&fail=10%25&fail_status=500&trailers=1&size=10&headers=x-a:b+c&id=7";
        assert_eq!(controls(query), Ok(wanted));
        assert_eq!(Controls::of(None, &HeaderMap::new()), Ok(Controls::default()));
    }

    #[test]
    fn a_header_wins_over_the_query() {
        let headers: HeaderMap =
            [(HeaderName::from_static("x-echo-fail-status"), HeaderValue::from_static("504"))]
                .into_iter()
                .collect();
        let controls = Controls::of(Some("fail_status=500&fail=1"), &headers).expect("good controls");
        assert_eq!(controls.http_status(0.5), Ok(StatusCode::GATEWAY_TIMEOUT));
    }

    #[test]
    fn a_random_number_decides_which_requests_fail() {
        let controls = controls("fail=25%25").expect("good controls");
        for (dice, http, grpc) in [(0.0, 503, 14), (0.249, 503, 14), (0.25, 200, 0), (0.99, 200, 0)] {
            assert_eq!(controls.http_status(dice).map(|status| status.as_u16()), Ok(http));
            assert_eq!(controls.grpc_code(dice), Ok(grpc));
        }
        assert_eq!(Controls::default().http_status(0.0), Ok(StatusCode::OK), "nothing fails unasked");
    }

    #[test]
    fn invalid_settings_are_refused_by_name() {
        for query in [
            "delay=soon",
            "status=600",
            "status=x",
            "fail=200%25",
            "size=-1",
            "chunk=0",
            "close=maybe",
            "headers=novalue",
            "headers=a%20b:c",
            "headers=content-length:9",
        ] {
            let name = query.split('=').next().expect("a name");
            let error = controls(query).expect_err(query).to_string();
            assert!(error.contains(name), "{error}");
        }
        assert!(controls("status=101").expect("a number").http_status(0.5).is_err());
        assert!(controls("status=17").expect("a number").grpc_code(0.5).is_err());
    }
}
