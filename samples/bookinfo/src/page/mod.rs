//! Pure. Renders the pages as HTML.
//!
//! Every text from outside is escaped with `text::escape`, so that a name like `<script>` is shown and not executed.

use serde_json::Value;

use crate::book::{self, Reviews};
use crate::page::text::escape;

mod parts;

pub mod text;

pub mod style;

/// Content of the product page.
#[derive(Debug)]
pub struct Product<'a> {
    /// Name of the signed-in user.
    pub user: Option<&'a str>,
    /// The book.
    pub product: &'a book::Product,
    /// Details of the book, or [`Missing`].
    pub details: Result<Value, Missing>,
    /// Reviews of the book, or [`Missing`].
    pub reviews: Result<Reviews, Missing>,
    /// Name of the pod that renders the page.
    pub served_by: &'a str,
}

/// A part of the page whose service did not respond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing;

/// Renders the product page.
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

/// Renders the front page, with links to the product page.
pub fn welcome() -> String {
    let body = format!(
        "{header}<main><section class=\"hero\">{cover}<div><p class=\"kind\">A bookshop in four services</p>\
         <h1>Bookinfo</h1><p class=\"summary\">This page calls <b>details</b> and <b>reviews</b> for a book; \
         <b>reviews</b> calls <b>ratings</b> for stars. Three versions of <b>reviews</b> run side by side: \
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
