//! Finds references from documents to source files that do not exist, such as to a file that was renamed.

use crate::source::{read, root, shown};
use std::path::{Path, PathBuf};

/// Documents that refer to source files: those at the top, and all below `docs`.
pub(crate) fn documents() -> Vec<PathBuf> {
    let mut found = files(&root(), &["md"], 1);
    found.extend(files(&root().join("docs"), &["md"], 4));
    found.retain(|file| !file.ends_with("CHANGELOG.md"));
    found
}

/// References of a document to `.rs` files that no file of the workspace ends with. A reference may leave out folders
/// at its beginning. `NAME` stands for a name that the reader chooses.
pub(crate) fn broken_references(document: &Path, sources: &[String]) -> Vec<String> {
    let text = read(document);
    let mut broken = vec![];
    for (number, line) in text.lines().enumerate() {
        for name in references(line) {
            let end = format!("/{name}");
            if !name.contains("NAME") && !sources.iter().any(|file| file == name || file.ends_with(&end)) {
                broken.push(format!("{}:{}: {name}", shown(document), number + 1));
            }
        }
    }
    broken
}

/// The names of Rust files in code spans of a line.
fn references(line: &str) -> impl Iterator<Item = &str> {
    let code = line.split('`').skip(1).step_by(2);
    code.filter(|span| {
        Path::new(span).extension().is_some_and(|end| end == "rs") && !span.contains([' ', '*'])
    })
}

/// All Rust files of the repository, relative to its root.
pub(crate) fn sources() -> Vec<String> {
    files(&root(), &["rs"], 12).iter().map(|file| shown(file)).collect()
}

fn files(folder: &Path, extensions: &[&str], depth: usize) -> Vec<PathBuf> {
    let Some(depth) = depth.checked_sub(1) else { return vec![] };
    let mut found = vec![];
    for entry in std::fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("the folder can be read").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                found.extend(files(&path, extensions, depth));
            }
        } else if extensions.iter().any(|wanted| path.extension().is_some_and(|own| own == *wanted)) {
            found.push(path);
        }
    }
    found
}

#[test]
fn references_are_code_spans_that_name_a_rust_file() {
    let found: Vec<&str> = references("see `io/turn.rs`, `a b.rs`, lib.rs and `x.yaml` or `y.rs`").collect();
    assert_eq!(found, ["io/turn.rs", "y.rs"]);
}
