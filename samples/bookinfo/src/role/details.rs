//! Pure. The service `details`: details of a book.

use bytes::Bytes;
use http::{Method, Request, StatusCode};

use crate::answer::{self, Answer};
use crate::book;

/// Handles one request.
pub fn answer(request: &Request<Bytes>) -> Answer {
    let path = request.uri().path();
    if path == "/health" {
        return answer::healthy("Details");
    }
    let Some(segment) = path.strip_prefix("/details/") else {
        return answer::not_found();
    };
    if request.method() != Method::GET {
        return answer::method_not_allowed("GET");
    }
    match segment.parse() {
        Ok(id) => answer::json(StatusCode::OK, &book::details(id)),
        Err(_) => answer::no_product_id(),
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
            assert_eq!(answer(&request).status(), status, "{method} {path}");
        }
    }
}
