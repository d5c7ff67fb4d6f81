//! Finds which other modules a module uses: paths that begin with `crate`, `super`, `self`, a child or an imported name,
//! in `use` trees, in code and in the arguments of macros.

use crate::resolve::{Resolved, absolute, resolve};
use crate::source::{Crate, Module, Token};
use std::slice;

/// A use of another module of the same crate.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Clone)]
pub(crate) struct Import {
    /// The path of the module that is used.
    pub(crate) target: Vec<String>,
    /// The line on which it is named.
    pub(crate) line: usize,
}

/// The imports of `module` from its own crate; each target once, at its first occurrence. The target is the module that
/// defines what is used, not one that only re-exports it. To import a module alone uses nothing of it: paths through
/// it do.
pub(crate) fn imports(of: &Crate, module: &Module) -> Vec<Import> {
    let mut found: Vec<Import> = vec![];
    for Named { path, line, is_code } in named(module) {
        let target = match resolve(of, &path) {
            Resolved::Item(target) => target,
            // Code names no modules by themselves, so this is a function with the name of one.
            Resolved::Module if is_code => of.home(&path[..path.len().saturating_sub(1)]),
            Resolved::Module | Resolved::Foreign => continue,
        };
        if target.path != module.path && !found.iter().any(|import| import.target == target.path) {
            found.push(Import { target: target.path.clone(), line });
        }
    }
    found
}

/// A path that a module names.
struct Named {
    /// From the crate's root.
    path: Vec<String>,
    line: usize,
    /// It stands in code, not in a `use` declaration or a visibility.
    is_code: bool,
}

fn named(module: &Module) -> Vec<Named> {
    let tokens = &module.tokens;
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let mut found = vec![];
    let mut is_use = false;
    for (at, token) in tokens.iter().enumerate() {
        is_use = match token.text.as_str() {
            // `impl Trait + use<…>` is code.
            "use" => text(at + 1) != "<",
            ";" => false,
            _ => is_use,
        };
        if text(at + 1) != "::" || at > 0 && text(at - 1) == "::" {
            continue;
        }
        if let Some(base) = absolute(module, slice::from_ref(&token.text)) {
            let is_visibility = at > 1 && text(at - 1) == "in" && text(at - 2) == "(";
            let mut paths = vec![];
            tree(tokens, at + 2, &base, token.line, &mut paths);
            let is_code = !is_use && !is_visibility;
            found.extend(paths.into_iter().map(|(path, line)| Named { path, line, is_code }));
        }
    }
    found
}

/// Collects the ends of a `use` tree, or of a path in code, from the token `at` on. Returns the index after it.
fn tree(
    tokens: &[Token],
    at: usize,
    base: &[String],
    line: usize,
    found: &mut Vec<(Vec<String>, usize)>,
) -> usize {
    let Some(token) = tokens.get(at) else { return at };
    match token.text.as_str() {
        "{" => {
            let mut next = at + 1;
            while let Some(token) = tokens.get(next).filter(|token| token.text != "}") {
                next = match token.text.as_str() {
                    "," => next + 1,
                    // Skips the alias of the path just found.
                    "as" => next + 2,
                    _ => tree(tokens, next, base, line, found),
                };
            }
            next + 1
        }
        "self" => {
            found.push((base.to_vec(), line));
            at + 1
        }
        "super" => tree(tokens, at + 2, &base[..base.len().saturating_sub(1)], line, found),
        name if name.starts_with(|c: char| c.is_alphabetic() || c == '_') => {
            let path = [base, &[name.to_owned()]].concat();
            if tokens.get(at + 1).is_some_and(|next| next.text == "::") {
                return tree(tokens, at + 2, &path, line, found);
            }
            found.push((path, token.line));
            at + 1
        }
        "*" => {
            found.push(([base, &["*".to_owned()]].concat(), line));
            at + 1
        }
        // Type arguments (`::<T>`).
        _ => {
            found.push((base.to_vec(), line));
            at + 1
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::parsed;

    fn module(path: &[&str], text: &str) -> Module {
        parsed(text, path.iter().map(|name| (*name).to_owned()).collect(), "a.rs".to_owned())
    }

    fn found(text: &str) -> Vec<String> {
        let modules = vec![
            module(&[], "mod a; mod b; pub use b::z::*;"),
            module(&["a"], text),
            module(&["a", "x"], ""),
            module(&["a", "y"], ""),
            module(
                &["b"],
                "mod z; pub use z::Shown; use self::z::Two as Renamed; pub use std::fmt::Foreign; enum Choice {}",
            ),
            module(&["b", "z"], "pub struct Shown; pub struct Two; pub struct Everything;"),
        ];
        let of = Crate::new("one", modules);
        imports(&of, &of.modules[1])
            .iter()
            .map(|import| format!("{}:{}", import.target.join("::"), import.line))
            .collect()
    }

    #[test]
    fn an_import_is_found_wherever_it_is_written() {
        let table: &[(&str, &[&str])] = &[
            ("use crate::b::Thing;", &["b:1"]),
            ("use crate::{b::{self, z::{One, Two}}, a};", &["b::z:1"]),
            ("use crate::b::Shown;", &["b::z:1"]),
            ("use crate::b::Renamed;", &["b::z:1"]),
            ("use crate::Everything;", &["b::z:1"]),
            ("use crate::b::Foreign;", &[]),
            ("use crate::b::*;", &["b:1"]),
            ("fn f() { crate::b::Choice::One }", &["b:1"]),
            ("use crate::b;\nfn f() { b::z() }", &["b:2"]),
            ("pub(in crate::b) fn f() {}", &[]),
            ("use crate::b::z as other;", &[]),
            ("use crate::b::z as other;\nfn f() { other::go() }", &["b::z:2"]),
            ("use crate::{b::Thing as Other, b::z};\nfn f() -> z::Two {}", &["b:1", "b::z:2"]),
            ("use crate::b;\nfn f() { b::z::go() }", &["b::z:2"]),
            ("use crate::b;\npub(in crate::b) fn f() { b::Thing }", &["b:2"]),
            ("use crate::b::{self as other, Thing};\nfn f() { other::z::go() }", &["b:1", "b::z:2"]),
            ("use super::b::*;", &["b:1"]),
            ("mod x;\nuse x::Thing;", &["a::x:2"]),
            ("mod x;\nfn f() { x::go() }", &["a::x:2"]),
            ("mod x;\nfn f() { y::x::go() }", &[]),
            ("fn f() {\n  log!(\"crate::b::f\", crate::b::z::f())\n}", &["b::z:2"]),
            ("fn f() -> crate::b::Thing<u8> { crate::b::f::<u8>() }", &["b:1"]),
            ("/// Of `crate::b::Thing`.\n// crate::b::f()\nfn f() {}", &[]),
            ("#[cfg(test)]\nmod tests { use crate::b::f; }\nfn f() { crate::b::z::f() }", &["b::z:3"]),
            ("struct A;\nimpl A { #[cfg(test)] fn f() { crate::b::f() } }", &[]),
            ("#[cfg(not(test))]\nfn f() { crate::b::f() }", &["b:2"]),
        ];
        for (text, expected) in table {
            assert_eq!(found(text), *expected, "{text}");
        }
    }
}
