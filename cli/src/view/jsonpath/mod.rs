//! Pure. JSONPath templates as kubectl accepts them: text around `{…}`, with `range`, slices, unions, `..` and filters.
//! No library implements this dialect: RFC 9535 has neither text nor `range`, and requires `$`.

pub mod parse;

pub mod eval;

pub mod path;

#[cfg(test)]
mod tests;
