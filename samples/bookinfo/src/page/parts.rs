//! Pure. Parts of the product page: header, details, reviews, and the message for a missing part.

use serde_json::Value;

use crate::book::{Rating, Review, Reviews};
use crate::page::text::{escape, server, unavailable};

/// The top bar: name of the shop, and sign-in or sign-out.
pub(super) fn header(user: Option<&str>) -> String {
    let account = match user {
        Some(user) => format!(
            "<span class=\"user\">Signed in as <b>{}</b></span><a class=\"button quiet\" href=\"/logout\">Sign \
             out</a>",
            escape(user)
        ),
        None => "<form class=\"login\" method=\"post\" action=\"/login\">\
                 <label for=\"username\">Sign in as</label>\
                 <input id=\"username\" name=\"username\" placeholder=\"any name, such as jason\" \
                 maxlength=\"64\" autocomplete=\"username\" required>\
                 <button class=\"button\">Sign in</button></form>"
            .to_owned(),
    };
    format!("<header><a class=\"brand\" href=\"/productpage\">Bookinfo</a>{account}</header>")
}

/// The details of the book in a fixed order. Unknown fields are left out.
pub(super) fn details(details: &Value) -> String {
    let rows: String = FACTS
        .iter()
        .filter_map(|(key, label)| {
            let fact = match details.get(key)? {
                Value::String(text) => escape(text),
                Value::Number(number) => number.to_string(),
                _ => return None,
            };
            Some(format!("<dt>{label}</dt><dd>{fact}</dd>"))
        })
        .collect();
    format!("<section class=\"card\"><h2>Book details</h2><dl>{rows}</dl></section>")
}

/// The reviews, and the pod that served them.
pub(super) fn reviews(reviews: &Reviews) -> String {
    let served_by = server("reviews", reviews.version.as_deref(), &reviews.podname);
    let cluster = match reviews.clustername.as_deref() {
        Some(cluster) if !cluster.is_empty() && cluster != "null" => {
            format!(" on cluster {}", escape(cluster))
        }
        _ => String::new(),
    };
    let list: String = reviews.reviews.iter().map(review).collect();
    format!(
        "<section class=\"card wide\"><h2>Book reviews</h2>{list}\
         <p class=\"served\">Reviews served by: {}{cluster}</p></section>",
        escape(&served_by)
    )
}

/// A box with a message for a missing part.
pub(super) fn missing(heading: &str, part: &str) -> String {
    format!(
        "<section class=\"card error\" role=\"alert\"><h2>Error fetching product {part}!</h2>\
         <p class=\"heading\">{heading}</p><p>{}</p></section>",
        unavailable(part)
    )
}

fn review(review: &Review) -> String {
    format!(
        "<blockquote><p>{}</p>{}<cite>{}</cite></blockquote>",
        escape(&review.text),
        review.rating.as_ref().map(rating).unwrap_or_default(),
        escape(&review.reviewer)
    )
}

fn rating(rating: &Rating) -> String {
    match rating {
        Rating::Error { error } => format!("<p class=\"no-stars\">{}</p>", escape(error)),
        Rating::Stars { stars, color } => {
            let full = usize::try_from(*stars).unwrap_or(0).min(MOST_STARS);
            let color = if is_color(color) { color } else { "black" };
            format!(
                "<p class=\"stars\" style=\"color:{color}\" role=\"img\" aria-label=\"{full} of {MOST_STARS} \
                 {color} stars\">{}<span class=\"rest\">{}</span></p>",
                "\u{2605}".repeat(full),
                "\u{2606}".repeat(MOST_STARS - full),
            )
        }
    }
}

/// Whether the text is a plain CSS colour name. Only such a name may be put into a style.
fn is_color(text: &str) -> bool {
    !text.is_empty() && text.len() <= 24 && text.bytes().all(|byte| byte.is_ascii_alphabetic())
}

const MOST_STARS: usize = 5;

const FACTS: &[(&str, &str)] = &[
    ("author", "Author"),
    ("year", "First performed"),
    ("type", "Format"),
    ("pages", "Pages"),
    ("publisher", "Publisher"),
    ("language", "Language"),
    ("ISBN-10", "ISBN-10"),
    ("ISBN-13", "ISBN-13"),
];
