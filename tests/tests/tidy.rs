//! Reads the source of every crate and holds the rules that no compiler checks: imports go down the order of
//! `lib.rs`, pure files stay pure, every file says what it is for, and only `api::wire` names Envoy's types.

use std::fs;
use std::path::{Path, PathBuf};

const CRATES: &[&str] = &["api", "proxy", "pilot", "citadel", "injector", "cli"];

/// Words that a file headed `//! Pure.` may not use: it decides, others do.
const IMPURE: &[&str] = &[
    "async fn",
    "async move",
    ".await",
    "tokio::",
    "hyper::",
    "tonic::",
    "Instant::now",
    "SystemTime::now",
    "std::net::TcpStream",
    "std::net::UdpSocket",
    "std::fs::",
    "std::env::",
    "thread::sleep",
    "rand::rng()",
];

#[test]
fn imports_go_down_the_order_of_lib_rs() {
    let mut wrong = vec![];
    for name in CRATES {
        let source = root().join(name).join("src");
        let layers = layers(&read(&source.join("lib.rs")));
        for file in rust_files(&source) {
            // A test may look at everything that its module is made of and made for.
            let mut parts = file.strip_prefix(&source).expect("it lies there").components();
            if file.ends_with("tests.rs") || parts.any(|part| part.as_os_str() == "tests") {
                continue;
            }
            let Some(module) = top_module(&source, &file) else { continue };
            let Some(own) = layers.iter().position(|layer| layer.contains(&module)) else { continue };
            for used in crate_imports(&production(&read(&file))) {
                let Some(other) = layers.iter().position(|layer| layer.contains(&used)) else { continue };
                if used != module && other <= own {
                    wrong.push(format!("{}: `{module}` may not use `{used}`", shown(&file)));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "imports that do not go down:\n{}", wrong.join("\n"));
}

#[test]
fn every_module_stands_in_lib_rs() {
    for name in CRATES {
        let source = root().join(name).join("src");
        let declared: Vec<String> = layers(&read(&source.join("lib.rs"))).into_iter().flatten().collect();
        for file in rust_files(&source) {
            if let Some(module) = top_module(&source, &file) {
                assert!(declared.contains(&module), "{} belongs to no module of lib.rs", shown(&file));
            }
        }
    }
}

#[test]
fn pure_files_name_no_async_socket_or_clock() {
    let mut wrong = vec![];
    for file in all_sources() {
        let text = read(&file);
        if !text.starts_with("//! Pure.") {
            continue;
        }
        let code = without_comments(&production(&text));
        wrong.extend(
            IMPURE.iter().filter(|w| code.contains(**w)).map(|word| format!("{}: {word}", shown(&file))),
        );
    }
    assert!(wrong.is_empty(), "pure files that are not:\n{}", wrong.join("\n"));
}

#[test]
fn every_file_opens_with_what_it_is_for() {
    let bare: Vec<String> =
        all_sources().iter().filter(|f| !read(f).starts_with("//!")).map(|f| shown(f)).collect();
    assert!(bare.is_empty(), "files without a module doc:\n{}", bare.join("\n"));
}

#[test]
fn only_the_codec_names_envoys_generated_types() {
    let codec = root().join("api/src/wire");
    let wrong: Vec<String> = all_sources()
        .iter()
        .filter(|f| !f.starts_with(&codec))
        .filter(|f| without_comments(&read(f)).contains("envoy_types"))
        .filter(|f| !f.ends_with("tests/tests/tidy.rs"))
        .map(|f| shown(f))
        .collect();
    assert!(wrong.is_empty(), "generated types outside api::wire:\n{}", wrong.join("\n"));
}

/// What rustls offers to drive a connection by hand, which its next version has not.
#[test]
fn only_one_type_of_the_proxy_drives_rustls() {
    let driver = root().join("proxy/src/io/tls");
    let wrong: Vec<String> = rust_files(&root().join("proxy/src"))
        .iter()
        .filter(|file| !file.starts_with(&driver))
        .filter(|file| {
            let code = without_comments(&read(file));
            ["unbuffered", "Unbuffered", "CommonState", "ConnectionCommon"].iter().any(|n| code.contains(n))
        })
        .map(|file| shown(file))
        .collect();
    assert!(wrong.is_empty(), "rustls is driven outside of io::tls:\n{}", wrong.join("\n"));
}

#[test]
fn no_binary_crate_depends_on_another() {
    for name in ["proxy", "pilot", "citadel", "injector", "cli"] {
        let manifest = read(&root().join(name).join("Cargo.toml"));
        let dependencies = manifest.split("[dependencies]").nth(1).unwrap_or_default();
        let dependencies = dependencies.split("\n[").next().unwrap_or_default();
        for other in ["proxy", "pilot", "citadel", "injector", "cli"] {
            assert!(
                !dependencies
                    .lines()
                    .any(|l| l.starts_with(&format!("{other}.")) || l.starts_with(&format!("{other} "))),
                "{name} depends on {other}"
            );
        }
    }
}

#[test]
fn folders_open_on_mod_rs() {
    for file in all_sources() {
        let folder = file.with_extension("");
        assert!(!folder.is_dir(), "{} stands beside a folder of its name: use mod.rs", shown(&file));
    }
}

/// The layers of a `lib.rs`: module names between blank lines.
fn layers(text: &str) -> Vec<Vec<String>> {
    let mut layers = vec![vec![]];
    for line in text.lines() {
        let line = line.split("//").next().unwrap_or_default().trim();
        if line.is_empty() {
            layers.push(vec![]);
        } else if let Some(name) = module_name(line) {
            layers.last_mut().expect("there is always a layer").push(name);
        }
    }
    layers.retain(|layer| !layer.is_empty());
    layers
}

fn module_name(line: &str) -> Option<String> {
    let rest = line.strip_prefix("pub mod ").or_else(|| line.strip_prefix("pub(crate) mod "));
    rest.or_else(|| line.strip_prefix("mod "))?.strip_suffix(';').map(str::to_owned)
}

/// The module of `lib.rs` that a file belongs to; `None` for `lib.rs` and `main.rs`.
fn top_module(source: &Path, file: &Path) -> Option<String> {
    let first = file.strip_prefix(source).ok()?.components().next()?;
    let name = Path::new(first.as_os_str()).file_stem()?.to_str()?.to_owned();
    (name != "lib" && name != "main").then_some(name)
}

/// Top modules named by `crate::…` paths, lists of `use crate::{…}` included.
fn crate_imports(text: &str) -> Vec<String> {
    let code = without_comments(text);
    let mut found = vec![];
    for (at, _) in code.match_indices("crate::") {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(list) => found.extend(list_heads(list)),
            None => found.extend(identifier(rest)),
        }
    }
    found
}

fn list_heads(list: &str) -> Vec<String> {
    let mut heads = vec![];
    let (mut depth, mut head_expected) = (1, true);
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => head_expected = true,
            c if head_expected && (c.is_alphabetic() || c == '_') => {
                heads.extend(identifier(&list[at..]));
                head_expected = false;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    heads
}

fn identifier(text: &str) -> Option<String> {
    let word: String = text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!word.is_empty()).then_some(word)
}

/// The text before the file's test module.
fn production(text: &str) -> String {
    let end = text.find("#[cfg(test)]\nmod ").unwrap_or(text.len());
    text[..end].to_owned()
}

fn without_comments(text: &str) -> String {
    text.lines().map(|l| l.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

fn all_sources() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> =
        CRATES.iter().flat_map(|c| ["src", "tests", "examples"].map(|f| root().join(c).join(f))).collect();
    folders.extend(
        ["samples/bookinfo/src", "samples/echo/src", "samples/echo/tests", "tests/src", "tests/tests"]
            .map(|f| root().join(f)),
    );
    folders.iter().filter(|f| f.is_dir()).flat_map(|f| rust_files(f)).collect()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = vec![];
    for entry in fs::read_dir(folder).expect("the folder is there").map(|e| e.expect("it can be read").path())
    {
        if entry.is_dir() {
            files.extend(rust_files(&entry));
        } else if entry.extension().is_some_and(|e| e == "rs") {
            files.push(entry);
        }
    }
    files.sort();
    files
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

fn shown(file: &Path) -> String {
    file.strip_prefix(root()).unwrap_or(file).display().to_string()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace holds this crate").to_path_buf()
}
