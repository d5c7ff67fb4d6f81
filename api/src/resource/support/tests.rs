//! The documentation page and the descriptors agree.

use super::*;
use std::path::Path;

/// Compares each generated part of the page with its source; `OSTRIA_WRITE_DOCS=1` rewrites it.
#[test]
fn the_tables_of_the_compatibility_page_are_those_of_the_descriptors() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/compatibility.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let mut wanted = page.clone();
    for (name, table) in [("kinds", kinds()), ("refused", refused()), ("fields", fields())] {
        wanted = replaced(&wanted, name, &table);
    }
    if std::env::var_os("OSTRIA_WRITE_DOCS").is_some() {
        std::fs::write(&path, &wanted).unwrap();
    } else {
        assert!(page == wanted, "docs/compatibility.md is not what the descriptors say: run `make docs`");
    }
}

fn replaced(page: &str, name: &str, table: &str) -> String {
    let (open, close) =
        (format!("<!-- {name}: `make docs` writes this -->\n"), format!("<!-- end of {name} -->\n"));
    let (before, rest) = page.split_once(&open).unwrap_or_else(|| panic!("no mark of {name}"));
    let (_, after) = rest.split_once(&close).unwrap_or_else(|| panic!("no end of {name}"));
    format!("{before}{open}{table}{close}{after}")
}

#[test]
fn a_message_in_many_places_is_listed_once() {
    let rows = fields();
    let lists = |field: &str| rows.lines().filter(|line| line.contains(field)).count();
    assert_eq!((lists("`exact`"), lists("`sniHosts`")), (1, 1), "{rows}");
}
