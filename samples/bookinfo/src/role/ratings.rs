//! The service `ratings`: the reviewers' stars, and stars that users post.
//!
//! Posted stars are only in memory; after a restart the original stars are back.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::{Method, Request, StatusCode};

use crate::book;
use crate::response::{self, HttpResponse};

/// The service `ratings`, with the posted stars of all books.
#[derive(Debug, Default)]
pub struct RatingsService {
    posted: Mutex<HashMap<u64, BTreeMap<String, i64>>>,
}

impl RatingsService {
    /// Handles one request.
    pub fn respond(&self, request: &Request<Bytes>) -> HttpResponse {
        let path = request.uri().path();
        if path == "/health" {
            return response::healthy("Ratings");
        }
        let Some(segment) = path.strip_prefix("/ratings/") else {
            return response::not_found();
        };
        let Ok(id) = segment.parse() else {
            return response::no_product_id();
        };
        match *request.method() {
            Method::GET => self.read(id),
            Method::POST => self.write(id, request.body()),
            _ => response::method_not_allowed("GET, POST"),
        }
    }

    fn read(&self, id: u64) -> HttpResponse {
        let posted = self.posted.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned();
        let ratings = match posted {
            Some(ratings) => book::Ratings { id, ratings },
            None => book::first_ratings(id),
        };
        response::json(StatusCode::OK, &ratings)
    }

    fn write(&self, id: u64, body: &[u8]) -> HttpResponse {
        let Some(ratings) = book::posted_ratings(body) else {
            return response::refusal(
                StatusCode::BAD_REQUEST,
                "please provide valid ratings JSON, as {\"Reviewer1\":5,\"Reviewer2\":0}",
            );
        };
        let mut posted = self.posted.lock().unwrap_or_else(PoisonError::into_inner);
        if posted.len() >= MOST_BOOKS && !posted.contains_key(&id) {
            return response::refusal(
                StatusCode::INSUFFICIENT_STORAGE,
                "too many books have ratings already",
            );
        }
        posted.insert(id, ratings.clone());
        response::json(StatusCode::OK, &book::Ratings { id, ratings })
    }
}

const MOST_BOOKS: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn send(service: &RatingsService, method: &str, path: &str, body: &'static str) -> (StatusCode, String) {
        let body = Bytes::from_static(body.as_bytes());
        let request = Request::builder().method(method).uri(path).body(body).expect("a request");
        let response = service.respond(&request);
        (response.status(), String::from_utf8_lossy(response.body()).into_owned())
    }

    #[test]
    fn posted_stars_replace_the_first_ones_of_that_book_only() {
        let service = RatingsService::default();
        let first = send(&service, "GET", "/ratings/0", "");
        assert_eq!(
            first,
            (StatusCode::OK, "{\"id\":0,\"ratings\":{\"Reviewer1\":5,\"Reviewer2\":4}}".into())
        );
        assert_eq!(send(&service, "POST", "/ratings/0", "{\"Reviewer1\":1}").0, 200);
        assert_eq!(send(&service, "GET", "/ratings/0", "").1, "{\"id\":0,\"ratings\":{\"Reviewer1\":1}}");
        assert!(send(&service, "GET", "/ratings/1", "").1.contains("\"Reviewer2\":4"));
    }

    #[test]
    fn invalid_requests_get_a_matching_status() {
        let service = RatingsService::default();
        let table = [
            ("POST", "/ratings/0", "{", 400),
            ("POST", "/ratings/0", "{\"Ann\":9}", 400),
            ("GET", "/ratings/x", "", 400),
            ("DELETE", "/ratings/0", "", 405),
            ("GET", "/stars", "", 404),
            ("GET", "/health", "", 200),
        ];
        for (method, path, body, status) in table {
            assert_eq!(send(&service, method, path, body).0, status, "{method} {path} {body}");
        }
    }

    #[test]
    fn memory_for_posted_stars_is_bounded() {
        let service = RatingsService::default();
        for id in 0..MOST_BOOKS {
            assert_eq!(send(&service, "POST", &format!("/ratings/{id}"), "{}").0, 200);
        }
        assert_eq!(send(&service, "POST", "/ratings/5000", "{}").0, 507);
        assert_eq!(send(&service, "POST", "/ratings/7", "{}").0, 200);
    }
}
