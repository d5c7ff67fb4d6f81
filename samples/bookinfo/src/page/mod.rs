//! Pure. The pages, from values to HTML.
//!
//! Every text that comes from outside goes through `text::escape`, so a name like `<script>` is shown
//! and not run.

use serde_json::Value;

use crate::book::{self, Reviews};
use crate::page::text::escape;

mod parts;

pub mod text;

pub mod style;

/// What the product page shows.
#[derive(Debug)]
pub struct Product<'a> {
    /// Who is signed in.
    pub user: Option<&'a str>,
    /// The book.
    pub product: &'a book::Product,
    /// Facts about it, or that they are missing.
    pub details: Result<Value, Missing>,
    /// Its reviews, or that they are missing.
    pub reviews: Result<Reviews, Missing>,
    /// Name of the pod that made the page.
    pub served_by: &'a str,
}

/// A part that its service did not deliver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing;

/// The product page.
pub fn product(view: &Product<'_>) -> String {
    let title = escape(view.product.title);
    let details = match &view.details {
        Ok(details) => parts::details(details),
        Err(Missing) => parts::missing("Book details", "details"),
    };
    let reviews = match &view.reviews {
        Ok(reviews) => parts::reviews(reviews),
        Err(Missing) => parts::missing("Book reviews", "reviews"),
    };
    let body = format!(
        "{header}<main><section class=\"hero\">{cover}<div><p class=\"kind\">Play in five acts</p>\
         <h1>{title}</h1><p class=\"summary\">{summary}</p>\
         <a class=\"more\" href=\"{link}\" rel=\"noreferrer\">Read more on Wikipedia</a></div></section>\
         <div class=\"columns\">{details}{reviews}</div></main>\
         <footer>Page served by: {served_by}</footer>",
        header = parts::header(view.user),
        cover = style::COVER,
        summary = escape(view.product.summary),
        link = escape(view.product.link),
        served_by = escape(view.served_by),
    );
    document(&format!("{title} \u{b7} Bookinfo"), &body)
}

/// The front page: what this is and where to go.
pub fn welcome() -> String {
    let body = format!(
        "{header}<main><section class=\"hero\">{cover}<div><p class=\"kind\">A bookshop in four services</p>\
         <h1>Bookinfo</h1><p class=\"summary\">This page asks <b>details</b> and <b>reviews</b> about a book; \
         <b>reviews</b> asks <b>ratings</b> for stars. Three versions of <b>reviews</b> run side by side: \
         without stars, with black ones, with red ones.</p>\
         <a class=\"more\" href=\"/productpage\">Open the product page</a></div></section></main>",
        header = parts::header(None),
        cover = style::COVER,
    );
    document("Bookinfo", &body)
}

fn document(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <link rel=\"icon\" href=\"/static/bookinfo.svg\" type=\"image/svg+xml\">\
         <style>{css}</style></head>\n<body>{body}</body></html>\n",
        css = style::CSS,
    )
}

#[cfg(test)]
mod tests;
