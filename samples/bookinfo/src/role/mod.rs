//! The four services. A process runs one of them.
//!
//! A role takes a complete request and returns a complete response, so that tests need no sockets.

use bytes::Bytes;
use http::Request;

use crate::config::{Config, Role};
use crate::response::HttpResponse;

pub mod details;
pub mod productpage;
pub mod ratings;
pub mod reviews;

/// The service that this process runs.
#[derive(Debug)]
pub enum Service {
    /// The HTML page and the JSON API.
    Productpage(Box<productpage::Productpage>),
    /// Details of a book.
    Details,
    /// Reviews of a book.
    Reviews(Box<reviews::ReviewsService>),
    /// The reviewers' ratings.
    Ratings(ratings::RatingsService),
}

impl Service {
    /// The service that `config` selects.
    pub fn of(config: &Config) -> Self {
        match config.role {
            Role::Productpage => Self::Productpage(Box::new(productpage::Productpage::of(config))),
            Role::Details => Self::Details,
            Role::Reviews => Self::Reviews(Box::new(reviews::ReviewsService::of(config))),
            Role::Ratings => Self::Ratings(ratings::RatingsService::default()),
        }
    }

    /// Handles one request.
    pub async fn respond(&self, request: Request<Bytes>) -> HttpResponse {
        match self {
            Self::Productpage(service) => service.respond(request).await,
            Self::Details => details::respond(&request),
            Self::Reviews(service) => service.respond(request).await,
            Self::Ratings(service) => service.respond(&request),
        }
    }
}
