//! Pure. The table of operators, with one row for each name in Envoy's documentation.

use super::row::Row;
use super::{connection, request};

/// All operators, grouped by topic.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    request::ROWS.iter().chain(connection::ROWS)
}

/// Finds the operator with a name.
pub fn row(name: &str) -> Option<&'static Row> {
    rows().find(|row| row.name == name)
}
