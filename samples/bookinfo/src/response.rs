//! Pure. Builds the responses of all services: JSON, HTML, redirects and errors.

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, LOCATION, SET_COOKIE};
use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;

/// A complete response. Responses are small enough that none is streamed.
pub type HttpResponse = Response<Bytes>;

/// `value` as JSON.
pub fn json(status: StatusCode, value: &impl Serialize) -> HttpResponse {
    let body = serde_json::to_vec(value).expect("values here have text keys, so they are always JSON");
    with_type(status, "application/json", body.into())
}

/// An error response: `{"error": reason}`.
pub fn refusal(status: StatusCode, reason: &str) -> HttpResponse {
    json(status, &serde_json::json!({ "error": reason }))
}

/// A JSON response with the unchanged body of another service.
pub fn passed_on(status: StatusCode, body: Bytes) -> HttpResponse {
    with_type(status, "application/json", body)
}

/// An HTML page.
pub fn html(page: String) -> HttpResponse {
    with_type(StatusCode::OK, "text/html; charset=utf-8", page.into())
}

/// An SVG image.
pub fn svg(picture: &'static str) -> HttpResponse {
    with_type(StatusCode::OK, "image/svg+xml", Bytes::from_static(picture.as_bytes()))
}

/// A redirect (303) to `place` that sets a cookie. The browser follows it with a GET.
pub fn see_other(place: &'static str, cookie: &str) -> HttpResponse {
    let mut response = with_type(StatusCode::SEE_OTHER, "text/plain", Bytes::new());
    response.headers_mut().insert(LOCATION, HeaderValue::from_static(place));
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    response
}

/// A 404 response: nothing is at this path.
pub fn not_found() -> HttpResponse {
    refusal(StatusCode::NOT_FOUND, "there is nothing at this path")
}

/// A 405 response: the path exists, but not for this method.
pub fn method_not_allowed(allowed: &'static str) -> HttpResponse {
    let mut response = refusal(StatusCode::METHOD_NOT_ALLOWED, "this method is not for this path");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

/// The response to a health check, `{"status": "NAME is healthy"}`, as in Istio's sample.
pub fn healthy(name: &str) -> HttpResponse {
    json(StatusCode::OK, &serde_json::json!({ "status": format!("{name} is healthy") }))
}

/// A 400 response: the path must end in a product number and does not.
pub fn no_product_id() -> HttpResponse {
    refusal(StatusCode::BAD_REQUEST, "please provide numeric product ID")
}

fn with_type(status: StatusCode, kind: &'static str, body: Bytes) -> HttpResponse {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_have_the_right_content_type() {
        let table = [
            (html(String::new()), 200, "text/html; charset=utf-8"),
            (no_product_id(), 400, "application/json"),
            (not_found(), 404, "application/json"),
            (method_not_allowed("GET"), 405, "application/json"),
            (see_other("/", "a=b"), 303, "text/plain"),
            (healthy("Ratings"), 200, "application/json"),
        ];
        for (response, status, kind) in table {
            assert_eq!(response.status(), status);
            assert_eq!(response.headers()[CONTENT_TYPE], kind);
        }
    }
}
