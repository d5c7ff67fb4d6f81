//! Reads the source of every crate and checks rules that no compiler checks: imports follow the order of `lib.rs`
//! and of each folder's `mod.rs`, files do not import each other in cycles, pure files stay pure, a match over the
//! model names every case, every file has a header, only `api::wire` names Envoy's types, documents refer to source
//! files that exist, and docs/limits.md states every limit.

mod cycle;
mod document;
mod import;
mod limit;
mod reader;
mod resolve;
mod shape;
mod source;

use std::collections::{BTreeMap, BTreeSet};

use crate::cycle::cycles;
use crate::document::{broken_links, broken_references, documents};
use crate::import::imports;
use crate::reader::unread;
use crate::source::{Crate, Module, Token, WORKSPACE, all_sources, read, root, rust_files, shown};

/// What a file headed `//! Pure.` may not name: such a file makes decisions, and leaves effects to others.
const IMPURE: &[&[&str]] = &[
    &["async"],
    &[".", "await"],
    &["tokio", "::"],
    &["hyper", "::"],
    &["tonic", "::"],
    &["socket2", "::"],
    &["Instant", "::", "now"],
    &["SystemTime", "::", "now"],
    &["OffsetDateTime", "::", "now_utc"],
    &["TcpStream"],
    &["TcpListener"],
    &["UdpSocket"],
    &["UnixStream"],
    &["std", "::", "fs"],
    &["std", "::", "env"],
    &["std", "::", "process"],
    &["fs", "::", "read"],
    &["fs", "::", "write"],
    &["env", "::", "var"],
    &["thread", "::", "sleep"],
    &["thread", "::", "spawn"],
    &["rand", "::", "rng"],
    &["rand", "::", "random"],
    &["SystemRandom"],
];

/// Files and folders whose imports still form a cycle or go up, with the reason.
const CIRCLES: &[(&str, &str)] = &[];

#[test]
fn imports_go_down_the_order_of_lib_rs_and_mod_rs() {
    let mut wrong = vec![];
    for of in WORKSPACE.iter() {
        for module in &of.modules {
            for import in imports(of, module) {
                let excepted = CIRCLES.iter().any(|(file, _)| module.file.starts_with(file));
                if let Some(reason) = goes_up(of, &module.path, &import.target).filter(|_| !excepted) {
                    wrong.push(format!("{}:{}: {reason}", module.file, import.line));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "imports that do not go down:\n{}", wrong.join("\n"));
}

/// Why the module at `path` may not use the one at `target`. A folder's `mod.rs` and the modules below it are not
/// compared: either may use the other.
fn goes_up(of: &Crate, path: &[String], target: &[String]) -> Option<String> {
    let common = path.iter().zip(target).take_while(|(one, other)| one == other).count();
    let (own, other) = (path.get(common)?, target.get(common)?);
    let parent = of.module(&path[..common])?;
    let ((own_layer, own_place), (layer, place)) = (parent.position(own)?, parent.position(other)?);
    // Within a folder, blank lines only group modules; modules in the same layer of `lib.rs` may not use each other.
    let is_below = if common == 0 { layer > own_layer } else { place > own_place };
    let front = &parent.file;
    (!is_below).then(|| format!("`{own}` uses `{other}`, which does not stand below it in {front}"))
}

#[test]
fn files_do_not_import_each_other_in_circles() {
    let mut wrong = vec![];
    for of in WORKSPACE.iter() {
        let targets = |module: &Module| {
            imports(of, module).into_iter().map(|import| of.home(&import.target).file.as_str()).collect()
        };
        let edges: BTreeMap<&str, Vec<&str>> =
            of.modules.iter().map(|module| (module.file.as_str(), targets(module))).collect();
        for circle in cycles(&edges) {
            if !CIRCLES.iter().any(|(file, _)| circle.iter().any(|other| other.starts_with(file))) {
                let uses = circle.iter().map(|file| {
                    let inside: Vec<&str> =
                        edges[file].iter().copied().filter(|other| circle.contains(other)).collect();
                    format!("  {file} uses {}", inside.join(", "))
                });
                wrong.push(uses.collect::<Vec<_>>().join("\n"));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "files that import each other; move what they share below them:\n{}",
        wrong.join("\nand\n")
    );
}

#[test]
fn every_file_is_a_module() {
    for of in WORKSPACE.iter() {
        // Test files are declared by modules that exist only for tests.
        let files: Vec<String> =
            rust_files(&root().join(of.name).join("src")).iter().map(|file| shown(file)).collect();
        for file in files {
            let is_test = file.ends_with("tests.rs") || file.contains("/tests/");
            let is_known = of.modules.iter().any(|module| module.file == file);
            let declared_for_tests = || {
                let name = file.trim_end_matches("/mod.rs").trim_end_matches(".rs");
                let name = name.rsplit('/').next().unwrap_or(name);
                of.modules.iter().any(|module| module.text.contains(&format!("#[cfg(test)]\nmod {name};")))
            };
            assert!(
                is_test
                    || is_known
                    || file.ends_with("/src/main.rs")
                    || file.contains("/src/bin/")
                    || declared_for_tests()
                    || TEST_FOLDERS.iter().any(|folder| file.starts_with(folder)),
                "{file} belongs to no module"
            );
        }
    }
}

/// Folders of a module that exists only for tests.
const TEST_FOLDERS: &[&str] = &["api/src/wire/strategy/"];

#[test]
fn pure_files_name_no_async_socket_or_clock() {
    let mut wrong = vec![];
    for module in WORKSPACE.iter().flat_map(|of| &of.modules) {
        if !module.text.starts_with("//! Pure.") {
            continue;
        }
        for words in IMPURE {
            let named = module.tokens.windows(words.len()).find(|tokens| names(tokens, words));
            wrong.extend(
                named.map(|tokens| format!("{}:{}: {}", module.file, tokens[0].line, words.concat())),
            );
        }
    }
    assert!(wrong.is_empty(), "pure files that are not:\n{}", wrong.join("\n"));
}

fn names(tokens: &[Token], words: &[&str]) -> bool {
    tokens.iter().map(|token| token.text.as_str()).eq(words.iter().copied())
}

#[test]
fn a_match_over_the_model_names_every_case_that_it_ignores() {
    let model: BTreeSet<&str> = WORKSPACE
        .iter()
        .filter(|of| of.name == "api")
        .flat_map(|of| &of.modules)
        .filter(|module| module.path.first().is_some_and(|top| top == "model"))
        .flat_map(|module| &module.declared)
        .filter(|declared| declared.is_enum)
        .map(|declared| declared.name.as_str())
        .collect();
    let mut wrong = vec![];
    for module in WORKSPACE.iter().flat_map(|of| &of.modules) {
        for arm in &module.wild_arms {
            if let Some(path) = arm.types.iter().find(|path| is_of_the_model(module, path, &model)) {
                wrong.push(format!(
                    "{}:{}: `_ => {{}}` over `{}` would drop a case that is added later; name the cases",
                    module.file,
                    arm.line,
                    path.join("::")
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "cases that are ignored without a name:\n{}", wrong.join("\n"));
}

/// Whether a path, as written in a module, is an enum of the model: other types may have the same name.
fn is_of_the_model(module: &Module, path: &[String], model: &BTreeSet<&str>) -> bool {
    let (Some(name), Some(first)) = (path.last(), path.first()) else { return false };
    let is_model = |path: &[String]| path.iter().any(|part| part == "model");
    let imported = module.uses.iter().find(|used| used.name == *first);
    let glob = || module.uses.iter().any(|used| used.name == "*" && is_model(&used.path));
    model.contains(name.as_str())
        && (is_model(path)
            || imported.map_or_else(glob, |used| is_model(&used.path))
            || is_model(&module.path))
}

#[test]
fn the_proxy_reads_each_field_of_the_model() {
    let unread = unread(&modules("api", "model"), &modules("proxy", ""));
    let next = "act on it, refuse it in api::wire, or list it in api/src/wire/ignored.rs with the reason";
    hold(unread, NOT_READ_BY_THE_PROXY, &format!("decoded, and not acted on by the proxy; {next}"));
}

#[test]
fn pilot_reads_each_field_of_the_kinds_that_users_write() {
    let written = modules("api", "resource").into_iter().filter(|module| {
        let path: Vec<&str> = module.path.iter().map(String::as_str).collect();
        let is_kind = matches!(path[..], ["resource", "kind", kind, ..] if kind != "refused");
        is_kind || matches!(path[..], ["resource", "mesh_config", ..])
    });
    let unread = unread(&written.collect::<Vec<_>>(), &modules("pilot", ""));
    let next = "act on it, refuse it or warn of it in pilot::validate";
    hold(unread, NOT_READ_BY_PILOT, &format!("parsed, and not acted on by pilot; {next}"));
}

fn modules(name: &str, top: &str) -> Vec<&'static Module> {
    let of = WORKSPACE.iter().filter(|of| of.name == name).flat_map(|of| &of.modules);
    of.filter(|module| top.is_empty() || module.path.first().is_some_and(|first| first == top)).collect()
}

fn hold(unread: Vec<String>, allowed: &[(&str, &str)], message: &str) {
    let unread: BTreeSet<String> = unread.into_iter().collect();
    let allowed: BTreeSet<String> = allowed.iter().map(|(field, _)| (*field).to_owned()).collect();
    let wrong: Vec<&String> = unread.difference(&allowed).collect();
    assert!(wrong.is_empty(), "{message}: {wrong:#?}");
    let stale: Vec<&String> = allowed.difference(&unread).collect();
    assert!(stale.is_empty(), "read, and still among the exceptions: {stale:#?}");
}

/// Fields of the model that the proxy does not read, with the reason.
const NOT_READ_BY_THE_PROXY: &[(&str, &str)] = &[
    ("Cluster.origin", "names the DestinationRule in dumps, which show the whole model"),
    ("Route.origin", "names the VirtualService in dumps"),
];

/// Fields of user-facing objects that pilot does not read, with the reason.
const NOT_READ_BY_PILOT: &[(&str, &str)] = &[
    ("NamespaceRequirement.key", "NamespaceSelector::parse, which pilot and citadel call, reads it"),
    ("NamespaceRequirement.operator", "NamespaceSelector::parse reads it"),
    ("NamespaceRequirement.values", "NamespaceSelector::parse reads it"),
];

#[test]
fn every_file_begins_with_its_purpose() {
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
        .filter(|f| read(f).lines().any(|l| !l.trim_start().starts_with("//") && l.contains("envoy_types")))
        .filter(|f| !f.ends_with("tests/tests/tidy/main.rs") && !f.ends_with("api/examples/sidecars.rs"))
        .map(|f| shown(f))
        .collect();
    assert!(wrong.is_empty(), "generated types outside api::wire:\n{}", wrong.join("\n"));
}

/// Only `io::tls` may use rustls' interface for driving a connection manually, which its next version removes.
#[test]
fn only_one_type_of_the_proxy_drives_rustls() {
    let driver = ["io".to_owned(), "tls".to_owned()];
    let words = ["unbuffered", "Unbuffered", "CommonState", "ConnectionCommon"];
    let drives = |module: &&Module| {
        module.tokens.iter().any(|token| words.iter().any(|word| token.text.contains(word)))
    };
    let others = modules("proxy", "").into_iter().filter(|module| !module.path.starts_with(&driver));
    let wrong: Vec<&str> = others.filter(drives).map(|module| module.file.as_str()).collect();
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
fn documents_refer_to_source_files_that_exist() {
    let sources = document::sources();
    let broken: Vec<String> =
        documents().iter().flat_map(|document| broken_references(document, &sources)).collect();
    assert!(broken.is_empty(), "files that documents name and that do not exist:\n{}", broken.join("\n"));
}

#[test]
fn links_of_documents_lead_to_a_file_or_heading() {
    let broken: Vec<String> = documents().iter().flat_map(|document| broken_links(document)).collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn folders_open_on_mod_rs() {
    for file in all_sources() {
        let folder = file.with_extension("");
        assert!(!folder.is_dir(), "{} stands beside a folder of its name: use mod.rs", shown(&file));
    }
}
