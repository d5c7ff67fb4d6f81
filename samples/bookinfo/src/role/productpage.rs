//! The service `productpage`: the HTML page, sign-in, and the JSON API behind the page.
//!
//! The page has status 200 even if a part is missing; the part then shows a message. The JSON API returns the status of
//! the service that it called.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use serde_json::Value;

use crate::book::{self, PRODUCT, Reviews};
use crate::config::{Config, Peers};
use crate::forward;
use crate::page::{self, Missing, Product};
use crate::response::{self, HttpResponse};
use crate::session;
use crate::upstream::{CallError, RetryPolicy, Upstream};

/// The service `productpage` with its clients of the other services.
#[derive(Debug)]
pub struct Productpage {
    pod: String,
    version: String,
    details: Upstream,
    reviews: Upstream,
    ratings: Upstream,
}

impl Productpage {
    /// A service for `config`, with the timeouts of Istio's sample.
    pub fn of(config: &Config) -> Self {
        Self::with_retry_policy(config, Duration::from_secs(3))
    }

    /// A service that waits for each response at most for `timeout`.
    pub fn with_retry_policy(config: &Config, timeout: Duration) -> Self {
        let Peers { details, reviews, ratings } = &config.peers;
        let once = RetryPolicy { timeout, tries: 1 };
        Self {
            pod: config.pod.clone(),
            version: config.version.clone(),
            details: Upstream::to(details, once),
            reviews: Upstream::to(reviews, RetryPolicy { timeout, tries: 2 }),
            ratings: Upstream::to(ratings, once),
        }
    }

    /// Handles one request.
    pub async fn respond(&self, request: Request<Bytes>) -> HttpResponse {
        let path = request.uri().path();
        let post = request.method() == Method::POST;
        match path {
            "/login" if post => return login(request.body()),
            "/login" => return response::method_not_allowed("POST"),
            "/logout" => return response::see_other(PAGE, &session::sign_out_cookie()),
            _ => {}
        }
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return response::method_not_allowed("GET, HEAD");
        }
        match path {
            "/" | "/index.html" => response::html(page::welcome()),
            PAGE => self.page(request.headers()).await,
            "/health" => response::healthy("Product page"),
            "/static/bookinfo.svg" => response::svg(page::style::ICON),
            "/api/v1/products" => response::json(StatusCode::OK, &book::catalogue()),
            _ => match path.strip_prefix("/api/v1/products/") {
                Some(rest) => self.api(rest, request.headers()).await,
                None => response::not_found(),
            },
        }
    }

    async fn page(&self, headers: &HeaderMap) -> HttpResponse {
        let user = session::user(headers);
        let onward = forward::on_behalf_of(headers, user.as_deref());
        let details_path = format!("/details/{}", PRODUCT.id);
        let reviews_path = format!("/reviews/{}", PRODUCT.id);
        let (details, reviews) =
            tokio::join!(self.details.get(&details_path, &onward), self.reviews.get(&reviews_path, &onward),);
        response::html(page::product(&Product {
            user: user.as_deref(),
            product: &PRODUCT,
            details: part::<Value>("details", details),
            reviews: part::<Reviews>("reviews", reviews),
            served_by: &page::text::server("productpage", Some(&self.version), &self.pod),
        }))
    }

    /// Handles the JSON API. `rest` is the path after `/api/v1/products/`: `0`, `0/reviews` or `0/ratings`.
    async fn api(&self, rest: &str, headers: &HeaderMap) -> HttpResponse {
        let (segment, part) = rest.split_once('/').unwrap_or((rest, "details"));
        let Ok(id) = segment.parse::<u64>() else {
            return response::no_product_id();
        };
        let upstream = match part {
            "details" => &self.details,
            "reviews" => &self.reviews,
            "ratings" => &self.ratings,
            _ => return response::not_found(),
        };
        let user = session::user(headers);
        let onward = forward::on_behalf_of(headers, user.as_deref());
        match upstream.get(&format!("/{part}/{id}"), &onward).await {
            Ok(body) => response::passed_on(StatusCode::OK, body),
            Err(error) => {
                eprintln!("{part}: {}", error.chain());
                response::refusal(error.status(), &page::text::unavailable(part))
            }
        }
    }
}

fn login(form: &[u8]) -> HttpResponse {
    match session::from_form(form) {
        Some(user) => response::see_other(PAGE, &session::sign_in_cookie(&user)),
        None => response::see_other(PAGE, &session::sign_out_cookie()),
    }
}

/// Parses a part of the page from a service's response; [`Missing`] if the call or the parsing failed.
fn part<T: serde::de::DeserializeOwned>(name: &str, body: Result<Bytes, CallError>) -> Result<T, Missing> {
    let body = body.map_err(|error| {
        eprintln!("{name}: {}", error.chain());
        Missing
    })?;
    serde_json::from_slice(&body).map_err(|error| {
        eprintln!("{name}: response is not the expected JSON: {error}");
        Missing
    })
}

const PAGE: &str = "/productpage";
