//! Tests of the rendered pages, as tables from values to text.

use serde_json::json;

use super::*;
use crate::book::{PRODUCT, Stars};
use crate::page::text::server;

fn reviews(version: &str, pod: &str, stars: Stars<'_>) -> Reviews {
    Reviews {
        id: "0".into(),
        podname: pod.into(),
        version: Some(version.into()),
        reviews: book::reviews(stars),
        ..Reviews::default()
    }
}

fn shown(user: Option<&str>, details: Result<Value, Missing>, reviews: Result<Reviews, Missing>) -> String {
    product(&Product { user, product: &PRODUCT, details, reviews, served_by: "productpage-v1" })
}

#[test]
fn the_page_shows_the_book_and_who_reviewed_it() {
    let page = shown(None, Ok(book::details(0)), Ok(reviews("v1", "reviews-v1-abc", Stars::Hidden)));
    for text in [
        "<h1>The Comedy of Errors</h1>",
        "<dt>Author</dt><dd>William Shakespeare</dd>",
        "<dt>Pages</dt><dd>200</dd>",
        "<cite>Reviewer1</cite>",
        "Reviews served by: reviews-v1-abc<",
        "action=\"/login\"",
        "Page served by: productpage-v1",
    ] {
        assert!(page.contains(text), "{text} is not in {page}");
    }
    assert!(!page.contains('\u{2605}'));
}

#[test]
fn stars_have_the_colour_and_number_that_reviews_sent() {
    let ratings = book::first_ratings(0).ratings;
    for color in ["black", "red"] {
        let stars = Stars::Known { color, ratings: &ratings };
        let page = shown(None, Err(Missing), Ok(reviews("v2", "p", stars)));
        assert_eq!(page.matches('\u{2605}').count(), 9, "5 and 4 full stars");
        assert_eq!(page.matches(&format!("style=\"color:{color}\"")).count(), 2);
    }
}

#[test]
fn ratings_out_of_range_are_limited_and_never_reach_the_style() {
    let table = [(9, "red", 5, "color:red"), (-3, "red", 0, "color:red"), (2, "red;x:y", 2, "color:black")];
    for (stars, color, full, style) in table {
        let rating = json!({"stars": stars, "color": color});
        let odd: Reviews = serde_json::from_value(
            json!({"podname": "p", "reviews": [{"reviewer": "r", "text": "t", "rating": rating}]}),
        )
        .expect("the shape reviews has");
        let page = shown(None, Err(Missing), Ok(odd));
        assert_eq!(page.matches('\u{2605}').count(), full);
        assert!(page.contains(style), "{page}");
    }
}

#[test]
fn missing_parts_have_a_friendly_message() {
    let page = shown(None, Err(Missing), Err(Missing));
    assert!(page.contains("Error fetching product details!"));
    assert!(page.contains("Error fetching product reviews!"));
    assert!(page.contains("Sorry, product reviews are currently unavailable for this book."));
    assert!(!page.contains("Reviews served by"));

    let unrated = shown(None, Err(Missing), Ok(reviews("v2", "p", Stars::Unavailable)));
    assert_eq!(unrated.matches(book::RATINGS_UNAVAILABLE).count(), 2);
}

#[test]
fn text_from_outside_is_shown_and_never_run() {
    let evil = "<script>alert('x')</script>\"&";
    let safe = "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&quot;&amp;";
    let details = json!({"author": evil});
    let mut reviews_with_markup = reviews(evil, evil, Stars::Hidden);
    reviews_with_markup.clustername = Some(evil.into());
    reviews_with_markup.reviews[0].text = evil.into();
    reviews_with_markup.reviews[0].reviewer = evil.into();
    let page = product(&Product {
        user: Some(evil),
        product: &PRODUCT,
        details: Ok(details),
        reviews: Ok(reviews_with_markup),
        served_by: evil,
    });
    assert!(!page.contains("<script"));
    assert_eq!(page.matches(safe).count(), 8);
}

#[test]
fn only_a_signed_in_user_can_sign_out() {
    let page = shown(Some("jason"), Err(Missing), Err(Missing));
    assert!(page.contains("Signed in as <b>jason</b>") && page.contains("href=\"/logout\""));
    assert!(!page.contains("action=\"/login\""));
    assert!(!shown(None, Err(Missing), Err(Missing)).contains("/logout"));
}

#[test]
fn a_server_is_always_named_by_its_version() {
    let table = [
        (Some("v2"), "reviews-v2-6f-x", "reviews-v2-6f-x"),
        (Some("v2"), "reviews-v2", "reviews-v2"),
        (Some("v2"), "laptop", "reviews-v2 (laptop)"),
        (Some("v2"), "reviews-v20-1", "reviews-v2 (reviews-v20-1)"),
        (Some("v2"), "", "reviews-v2"),
        (None, "reviews-v9-1", "reviews-v9-1"),
        (None, "", "reviews"),
    ];
    for (version, pod, name) in table {
        assert_eq!(server("reviews", version, pod), name);
    }
}

#[test]
fn the_front_page_leads_to_the_product_page() {
    assert!(welcome().contains("href=\"/productpage\">Open the product page</a>"));
}

/// Names of the elements that are still open at the end of the page. Panics at a closing tag without its opening tag.
fn left_open(page: &str) -> Vec<&str> {
    let mut open = Vec::new();
    for tag in page.split('<').skip(1).filter_map(|rest| rest.split('>').next()) {
        let name = tag.split_whitespace().next().unwrap_or_default().trim_end_matches('/');
        if let Some(closed) = name.strip_prefix('/') {
            assert_eq!(open.pop(), Some(closed), "in {page}");
        } else if !tag.ends_with('/') && !["!doctype", "meta", "link", "input"].contains(&name) {
            open.push(name);
        }
    }
    open
}

#[test]
fn every_element_closes_in_order() {
    let ratings = book::first_ratings(0).ratings;
    let stars = Stars::Known { color: "red", ratings: &ratings };
    let whole = shown(None, Ok(book::details(0)), Ok(reviews("v3", "p", stars)));
    let broken = shown(Some("jason"), Err(Missing), Err(Missing));
    for page in [whole, broken, welcome(), style::ICON.to_owned()] {
        assert_eq!(left_open(&page), Vec::<&str>::new());
    }
}
