//! Pure. The table of operators: one row for each name in Envoy's documentation.

use super::row::Row;
use super::{connection, request};

/// All operators, in the order of their kinds.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    request::ROWS.iter().chain(connection::ROWS)
}

/// The operator of a name.
pub fn row(name: &str) -> Option<&'static Row> {
    rows().find(|row| row.name == name)
}
