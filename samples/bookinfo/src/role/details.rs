//! Pure. The service `details`: details of a book.

use bytes::Bytes;
use http::{Method, Request, StatusCode};

use crate::book;
use crate::response::{self, HttpResponse};

/// Handles one request.
pub fn respond(request: &Request<Bytes>) -> HttpResponse {
    let path = request.uri().path();
    if path == "/health" {
        return response::healthy("Details");
    }
    let Some(segment) = path.strip_prefix("/details/") else {
        return response::not_found();
    };
    if request.method() != Method::GET {
        return response::method_not_allowed("GET");
    }
    match segment.parse() {
        Ok(id) => response::json(StatusCode::OK, &book::details(id)),
        Err(_) => response::no_product_id(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_methods_get_their_status() {
        let table = [
            ("GET", "/health", 200),
            ("GET", "/details/0", 200),
            ("GET", "/details/x", 400),
            ("POST", "/details/0", 405),
            ("GET", "/", 404),
        ];
        for (method, path, status) in table {
            let request = Request::builder().method(method).uri(path).body(Bytes::new()).expect("a request");
            assert_eq!(respond(&request).status(), status, "{method} {path}");
        }
    }
}
