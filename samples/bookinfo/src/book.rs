//! Pure. The book, its details, reviews and ratings, and the JSON that the services exchange.
//!
//! Field names are those of Istio's sample, because users' scripts and dashboards depend on them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A book in the catalogue.
#[derive(Clone, Copy, Debug)]
pub struct Product {
    /// Number in the catalogue.
    pub id: u64,
    /// Title.
    pub title: &'static str,
    /// Summary in plain text.
    pub summary: &'static str,
    /// URL of more information.
    pub link: &'static str,
}

/// The only book of the shop.
pub const PRODUCT: Product = Product {
    id: 0,
    title: "The Comedy of Errors",
    summary: "Two pairs of twins, parted as babies by a shipwreck, end up in the same city on the same day \
              without knowing it. Masters beat the wrong servants, wives lock out the wrong husbands, a gold \
              chain goes to the wrong man, and by supper half of Ephesus believes the other half is mad. One \
              of Shakespeare's first plays, his shortest, and the one with the most slapstick.",
    link: "https://en.wikipedia.org/wiki/The_Comedy_of_Errors",
};

/// The response to `/api/v1/products`.
pub fn catalogue() -> Value {
    let html = format!("<a href=\"{}\">Wikipedia</a>: {}", PRODUCT.link, PRODUCT.summary);
    json!([{ "id": PRODUCT.id, "title": PRODUCT.title, "descriptionHtml": html }])
}

/// The response of `details` for book `id`.
pub fn details(id: u64) -> Value {
    json!({
        "id": id,
        "author": "William Shakespeare",
        "year": 1595,
        "type": "paperback",
        "pages": 200,
        "publisher": "PublisherA",
        "language": "English",
        "ISBN-10": "1234567890",
        "ISBN-13": "123-1234567890",
    })
}

/// The response of `reviews`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reviews {
    /// Number of the book, as text.
    pub id: String,
    /// Pod that served the response.
    pub podname: String,
    /// Cluster that served the response.
    pub clustername: Option<String>,
    /// Version that served the response, such as `v2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The reviews.
    pub reviews: Vec<Review>,
}

/// One review.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Review {
    /// Name of the reviewer.
    pub reviewer: String,
    /// Text of the review.
    pub text: String,
    /// Rating, if this version shows ratings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rating: Option<Rating>,
}

/// Rating of one review, or the reason why it is missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Rating {
    /// The reviewer's stars.
    Stars {
        /// Number of stars, up to five.
        stars: i64,
        /// Their colour.
        color: String,
    },
    /// The service `ratings` did not respond.
    Error {
        /// Message for the reader.
        error: String,
    },
}

/// The response of `ratings`: the stars of each reviewer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ratings {
    /// Number of the book.
    pub id: u64,
    /// Stars of each reviewer.
    pub ratings: BTreeMap<String, i64>,
}

/// The response of `ratings` for book `id` before other ratings are posted.
pub fn first_ratings(id: u64) -> Ratings {
    Ratings { id, ratings: [("Reviewer1".to_owned(), 5), ("Reviewer2".to_owned(), 4)].into() }
}

/// The stars in a posted body. Each must be a whole number from 0 to 5.
pub fn posted_ratings(body: &[u8]) -> Option<BTreeMap<String, i64>> {
    let ratings: BTreeMap<String, i64> = serde_json::from_slice(body).ok()?;
    ratings.values().all(|stars| (0..=5).contains(stars)).then_some(ratings)
}

/// The stars that a version of `reviews` can show.
#[derive(Clone, Copy, Debug)]
pub enum Stars<'a> {
    /// This version shows no stars.
    Hidden,
    /// The service `ratings` did not respond.
    Unavailable,
    /// The service `ratings` responded.
    Known {
        /// Colour of the stars.
        color: &'a str,
        /// Stars of each reviewer.
        ratings: &'a BTreeMap<String, i64>,
    },
}

/// The two reviews, with the stars that are available.
pub fn reviews(stars: Stars<'_>) -> Vec<Review> {
    REVIEWS
        .iter()
        .map(|(reviewer, text)| Review {
            reviewer: (*reviewer).to_owned(),
            text: (*text).to_owned(),
            rating: rating(stars, reviewer),
        })
        .collect()
}

/// The rating of a reviewer. A reviewer without stars gets none, as in a version that shows no stars.
fn rating(stars: Stars<'_>, reviewer: &str) -> Option<Rating> {
    match stars {
        Stars::Hidden => None,
        Stars::Unavailable => Some(Rating::Error { error: RATINGS_UNAVAILABLE.to_owned() }),
        Stars::Known { color, ratings } => {
            ratings.get(reviewer).map(|&stars| Rating::Stars { stars, color: color.to_owned() })
        }
    }
}

/// Message in place of stars when `ratings` did not respond.
pub const RATINGS_UNAVAILABLE: &str = "Ratings service is currently unavailable";

const REVIEWS: [(&str, &str); 2] = [
    (
        "Reviewer1",
        "Three hundred mistaken identities and I laughed at every one. Read it aloud with friends, swap the \
         parts half-way through, and see whether anybody notices.",
    ),
    (
        "Reviewer2",
        "Quick, silly and better built than it pretends to be. The later comedies are deeper, but none of \
         them wastes less time getting to the next door slammed in the wrong face.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reviews_include_the_known_ratings() {
        let ratings = BTreeMap::from([("Reviewer1".to_owned(), 3)]);
        let known = serde_json::to_value(reviews(Stars::Known { color: "red", ratings: &ratings }))
            .expect("reviews are JSON");
        assert_eq!(known[0]["rating"], json!({"stars": 3, "color": "red"}));
        assert_eq!(known[1].get("rating"), None);

        let missing = serde_json::to_value(reviews(Stars::Unavailable)).expect("reviews are JSON");
        assert_eq!(missing[1]["rating"], json!({"error": RATINGS_UNAVAILABLE}));

        assert!(reviews(Stars::Hidden).iter().all(|review| review.rating.is_none()));
    }

    #[test]
    fn reviews_read_back_as_written() {
        let ratings = first_ratings(0).ratings;
        for stars in [Stars::Hidden, Stars::Unavailable, Stars::Known { color: "black", ratings: &ratings }] {
            let written = Reviews {
                id: "0".into(),
                podname: "reviews-v2-x".into(),
                version: Some("v2".into()),
                reviews: reviews(stars),
                ..Reviews::default()
            };
            let text = serde_json::to_vec(&written).expect("reviews are JSON");
            assert_eq!(serde_json::from_slice::<Reviews>(&text).expect("own JSON"), written);
        }
    }

    #[test]
    fn posted_stars_must_be_whole_and_at_most_five() {
        let table = [
            ("{\"Ann\":5}", true),
            ("{}", true),
            ("{\"Ann\":6}", false),
            ("{\"Ann\":1.5}", false),
            ("[]", false),
        ];
        for (body, accepted) in table {
            assert_eq!(posted_ratings(body.as_bytes()).is_some(), accepted, "{body}");
        }
    }
}
