//! Finds references from documents to files and headings that do not exist, such as to a file that was renamed.

use crate::source::{read, root, shown};
use std::path::{Path, PathBuf};

/// The documents: those at the top, and all below `docs` and `samples`.
pub(crate) fn documents() -> Vec<PathBuf> {
    let mut found = files(&root(), &["md"], 1);
    found.extend(files(&root().join("docs"), &["md"], 4));
    found.extend(files(&root().join("samples"), &["md"], 4));
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

/// Links of a document to files of the repository that do not exist, and to headings that a document does not have.
pub(crate) fn broken_links(document: &Path) -> Vec<String> {
    let mut broken = vec![];
    for (number, line) in prose(&read(document)) {
        for link in links(line).filter(|link| !link.contains("://")) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let folder = document.parent().expect("a document is in a folder");
            let target = if file.is_empty() { document.to_owned() } else { folder.join(file) };
            let is_there = target.exists()
                && (heading.is_empty() || headings(&read(&target)).iter().any(|own| own == heading));
            if !is_there {
                broken.push(format!("{}:{number}: {link}", shown(document)));
            }
        }
    }
    broken
}

/// The lines outside of code blocks, with their numbers.
fn prose(text: &str) -> Vec<(usize, &str)> {
    let mut is_code = false;
    let mut found = vec![];
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if !is_code {
            found.push((index + 1, line));
        }
    }
    found
}

/// The targets of the links in a line.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

/// The anchors of a document's headings, as GitHub makes them.
fn headings(text: &str) -> Vec<String> {
    let titles = prose(text)
        .into_iter()
        .filter(|(_, line)| line.starts_with('#'))
        .map(|(_, line)| line.trim_start_matches('#').trim_start());
    let anchor = |title: &str| {
        let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
    };
    titles.map(anchor).collect()
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

#[test]
fn links_and_headings_are_found() {
    let found: Vec<&str> = links("a [b](c.md#d) and ![e](f.png), (g) [h]").collect();
    assert_eq!(found, ["c.md#d", "f.png"]);
    let text = "# The `ostria up` command\n```sh\n# no heading\n```\n## Istio's\n";
    assert_eq!(headings(text), ["the-ostria-up-command", "istios"]);
}
