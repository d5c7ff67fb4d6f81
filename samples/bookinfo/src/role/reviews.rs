//! The service `reviews`: two reviews, with stars from `ratings` if the version shows stars.
//!
//! The timeouts are those of Istio's sample on purpose: with black stars (v2) the service waits up to 10 s for
//! `ratings`, which is longer than `productpage` waits for `reviews`. The delay exercise finds this bug.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};

use crate::book::{self, Ratings, Reviews, Stars};
use crate::config::Config;
use crate::forward;
use crate::response::{self, HttpResponse};
use crate::upstream::{RetryPolicy, Upstream};

/// One version of `reviews`.
#[derive(Debug)]
pub struct ReviewsService {
    version: String,
    pod: String,
    cluster: Option<String>,
    stars: Option<(String, Upstream)>,
}

impl ReviewsService {
    /// A service for `config`.
    pub fn of(config: &Config) -> Self {
        let stars = config.stars.clone().map(|color| {
            let upstream = Upstream::to(&config.peers.ratings, retry_policy(&color));
            (color, upstream)
        });
        Self {
            version: config.version.clone(),
            pod: config.pod.clone(),
            cluster: config.cluster.clone(),
            stars,
        }
    }

    /// Handles one request.
    pub async fn respond(&self, request: Request<Bytes>) -> HttpResponse {
        let path = request.uri().path();
        if path == "/health" {
            return response::healthy("Reviews");
        }
        let Some(segment) = path.strip_prefix("/reviews/") else {
            return response::not_found();
        };
        if request.method() != Method::GET {
            return response::method_not_allowed("GET");
        }
        match segment.parse() {
            Ok(id) => self.reviews(id, request.headers()).await,
            Err(_) => response::no_product_id(),
        }
    }

    async fn reviews(&self, id: u64, headers: &HeaderMap) -> HttpResponse {
        let reviews = match &self.stars {
            None => book::reviews(Stars::Hidden),
            Some((color, upstream)) => match ratings(upstream, id, headers).await {
                Some(Ratings { ratings, .. }) => book::reviews(Stars::Known { color, ratings: &ratings }),
                None => book::reviews(Stars::Unavailable),
            },
        };
        response::json(
            StatusCode::OK,
            &Reviews {
                id: id.to_string(),
                podname: self.pod.clone(),
                clustername: self.cluster.clone(),
                version: Some(self.version.clone()),
                reviews,
            },
        )
    }
}

async fn ratings(upstream: &Upstream, id: u64, headers: &HeaderMap) -> Option<Ratings> {
    match upstream.get(&format!("/ratings/{id}"), &forward::forwarded(headers)).await {
        Ok(body) => serde_json::from_slice(&body).inspect_err(|error| eprintln!("ratings: {error}")).ok(),
        Err(error) => {
            eprintln!("ratings: {}", error.chain());
            None
        }
    }
}

fn retry_policy(color: &str) -> RetryPolicy {
    let timeout = if color == "black" { Duration::from_secs(10) } else { Duration::from_millis(2500) };
    RetryPolicy { timeout, tries: 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_reviews_v2_waits_longer_than_the_page() {
        assert_eq!(retry_policy("black").timeout, Duration::from_secs(10));
        assert_eq!(retry_policy("red").timeout, Duration::from_millis(2500));
        assert_eq!(retry_policy("black").tries, 1);
    }
}
