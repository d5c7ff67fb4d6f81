//! Reads the production code of every crate once for all tests: follows `mod` declarations from `lib.rs`, omits
//! `#[cfg(test)]` items, and keeps the code as tokens with their lines and as the shapes that rules are about.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::thread;

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::{Attribute, File, Item, ItemMod};

use crate::shape::{self, Declared, StructPattern, Use, WildArm};

/// The crates whose layout is checked.
pub(crate) const CRATES: &[&str] = &[
    "api",
    "kubernetes",
    "proxy",
    "pilot",
    "citadel",
    "injector",
    "cli",
    "samples/bookinfo",
    "samples/echo",
    "tests",
];

/// The crates as they are on disk.
pub(crate) static WORKSPACE: LazyLock<Vec<Crate>> = LazyLock::new(read_all);

/// A crate's modules, `lib.rs` first, a module before its children.
pub(crate) struct Crate {
    /// The folder's name.
    pub(crate) name: &'static str,
    /// All modules that are files.
    pub(crate) modules: Vec<Module>,
    /// The index of each module in `modules`.
    places: HashMap<Vec<String>, usize>,
}

/// A module with a file of its own.
pub(crate) struct Module {
    /// The path from the crate's root; empty for `lib.rs`.
    pub(crate) path: Vec<String>,
    /// The file's path relative to the workspace's root.
    pub(crate) file: String,
    /// The whole text, tests included.
    pub(crate) text: String,
    /// The modules that it declares, in order.
    pub(crate) children: Vec<Child>,
    /// What it imports by `use`.
    pub(crate) uses: Vec<Use>,
    /// The names of the items that it defines itself.
    pub(crate) defined: Vec<String>,
    /// Its production code without literals and comments.
    pub(crate) tokens: Vec<Token>,
    /// Matches that ignore all other cases with a wildcard.
    pub(crate) wild_arms: Vec<WildArm>,
    /// Patterns that destructure structs.
    pub(crate) patterns: Vec<StructPattern>,
    /// The structs and enums that it declares.
    pub(crate) declared: Vec<Declared>,
}

/// A declaration `mod name;`.
pub(crate) struct Child {
    /// The module's name.
    pub(crate) name: String,
    /// The number of blank lines that separate layers above it.
    pub(crate) layer: usize,
}

/// A token and its line. Punctuation is one character per token, except `::`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Token {
    /// The identifier or punctuation.
    pub(crate) text: String,
    /// The line, counted from one.
    pub(crate) line: usize,
}

impl Crate {
    /// Creates a crate from its modules.
    pub(crate) fn new(name: &'static str, modules: Vec<Module>) -> Self {
        let places = modules.iter().enumerate().map(|(at, module)| (module.path.clone(), at)).collect();
        Self { name, modules, places }
    }

    /// The module with exactly this path.
    pub(crate) fn module(&self, path: &[String]) -> Option<&Module> {
        self.places.get(path).map(|at| &self.modules[*at])
    }

    /// The innermost module that contains the item at `path`.
    pub(crate) fn home(&self, path: &[String]) -> &Module {
        let prefixes = (0..=path.len()).rev().map(|length| &path[..length]);
        prefixes.into_iter().find_map(|prefix| self.module(prefix)).expect("every path begins at the root")
    }
}

impl Module {
    /// Whether it declares the module `name`.
    pub(crate) fn has_child(&self, name: &str) -> bool {
        self.children.iter().any(|child| child.name == name)
    }

    /// The layer and index of the child `name` among this module's children.
    pub(crate) fn position(&self, name: &str) -> Option<(usize, usize)> {
        let at = self.children.iter().position(|child| child.name == name)?;
        Some((self.children[at].layer, at))
    }
}

fn read_all() -> Vec<Crate> {
    // Spans are bound to the thread that parsed them, so each thread reduces its crate to text.
    thread::scope(|scope| {
        let threads: Vec<_> = CRATES.iter().map(|name| scope.spawn(move || read_crate(name))).collect();
        threads.into_iter().map(|thread| thread.join().expect("the crate can be read")).collect()
    })
}

fn read_crate(name: &'static str) -> Crate {
    let mut modules = vec![];
    read_module(&root().join(name).join("src/lib.rs"), &[], &mut modules);
    Crate::new(name, modules)
}

fn read_module(file: &Path, path: &[String], into: &mut Vec<Module>) {
    let text = read(file);
    let module = parsed(&text, path.to_vec(), shown(file));
    let names: Vec<String> = module.children.iter().map(|child| child.name.clone()).collect();
    into.push(module);
    let folder = file.parent().expect("a file lies in a folder");
    for name in names {
        let (flat, front) = (folder.join(format!("{name}.rs")), folder.join(&name).join("mod.rs"));
        let child = if flat.is_file() { flat } else { front };
        read_module(&child, &[path, &[name]].concat(), into);
    }
}

/// Parses a module from its text.
pub(crate) fn parsed(text: &str, path: Vec<String>, file: String) -> Module {
    let mut ast: File = syn::parse_file(text).unwrap_or_else(|error| panic!("{file}: {error}"));
    shape::remove_tests(&mut ast);
    let children = children(&ast, text);
    let mut tokens = vec![];
    flatten(quote::ToTokens::into_token_stream(&ast), &mut tokens);
    let uses = shape::uses(&ast);
    let defined = shape::defined(&ast);
    let wild_arms = shape::wild_arms(&ast);
    let patterns = shape::patterns(&ast);
    let declared = shape::declared(&ast);
    Module {
        path,
        file,
        text: text.to_owned(),
        children,
        uses,
        defined,
        tokens,
        wild_arms,
        patterns,
        declared,
    }
}

/// Whether an item exists only for tests.
pub(crate) fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let mut words = vec![];
        if attribute.path().is_ident("cfg")
            && let Ok(list) = attribute.meta.require_list()
        {
            flatten(list.tokens.clone(), &mut words);
        }
        // `not(test)` is the opposite.
        words.first().is_some_and(|word| word.text == "test" || word.text == "all" || word.text == "any")
            && words.iter().any(|word| word.text == "test")
    })
}

fn children(ast: &File, text: &str) -> Vec<Child> {
    let lines: Vec<&str> = text.lines().collect();
    let mut children: Vec<Child> = vec![];
    let (mut layer, mut last) = (0, None);
    for item in &ast.items {
        let Item::Mod(ItemMod { ident, content: None, .. }) = item else { continue };
        let line = ident.span().start().line;
        if last.is_some_and(|last: usize| {
            lines[last.min(line - 1)..line - 1].iter().any(|line| line.trim().is_empty())
        }) {
            layer += 1;
        }
        children.push(Child { name: ident.to_string(), layer });
        last = Some(line);
    }
    children
}

fn flatten(stream: TokenStream, into: &mut Vec<Token>) {
    for tree in stream {
        let line = tree.span().start().line;
        let mut push = |text: String, line| into.push(Token { text, line });
        match tree {
            TokenTree::Ident(ident) => push(ident.to_string(), line),
            TokenTree::Literal(_) => push("\"\"".to_owned(), line),
            TokenTree::Punct(punct) => {
                let mut text = punct.as_char().to_string();
                if text == ":" && into.last().is_some_and(|last| last.text == ":" && last.line == line) {
                    into.pop();
                    text.push(':');
                }
                into.push(Token { text, line });
            }
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                push(open.to_owned(), line);
                flatten(group.stream(), into);
                into.push(Token { text: close.to_owned(), line: group.span_close().start().line });
            }
        }
    }
}

/// Every source file of the crates, tests and samples.
pub(crate) fn all_sources() -> Vec<PathBuf> {
    let folders: Vec<PathBuf> =
        CRATES.iter().flat_map(|c| ["src", "tests", "examples"].map(|f| root().join(c).join(f))).collect();
    folders.iter().filter(|f| f.is_dir()).flat_map(|f| rust_files(f)).collect()
}

/// The Rust files below a folder, sorted.
pub(crate) fn rust_files(folder: &Path) -> Vec<PathBuf> {
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

/// The text of a file.
pub(crate) fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

/// A file's path relative to the workspace's root.
pub(crate) fn shown(file: &Path) -> String {
    file.strip_prefix(root()).unwrap_or(file).display().to_string()
}

/// The root folder of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace holds this crate").to_path_buf()
}
