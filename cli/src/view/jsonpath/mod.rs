//! Pure. Templates of JSONPath as kubectl takes them: text around `{…}`, with `range`, slices, unions, `..` and filters.
//! No library speaks this dialect: RFC 9535 has no text, no `range` and no missing `$`.

pub mod parse;

pub mod eval;

pub mod path;

#[cfg(test)]
mod tests;
