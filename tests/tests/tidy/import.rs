//! Finds which other modules a module uses: paths that begin with `crate`, `super`, `self` or a child, in `use`
//! trees, in code and in the arguments of macros.

use crate::source::{Crate, Module, Token};

/// A use of another module of the same crate.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Clone)]
pub(crate) struct Import {
    /// The path of the module that is used.
    pub(crate) target: Vec<String>,
    /// The line on which it is named.
    pub(crate) line: usize,
}

/// The imports of `module` from its own crate; each target once, at its first occurrence.
pub(crate) fn imports(of: &Crate, module: &Module) -> Vec<Import> {
    let mut found: Vec<Import> = vec![];
    for (path, line) in paths(module) {
        let target = &of.home(&path).path;
        let is_other = target != &module.path && !target.is_empty();
        if is_other && !found.iter().any(|import| &import.target == target) {
            found.push(Import { target: target.clone(), line });
        }
    }
    found
}

/// The paths that a module names, resolved from the crate's root.
fn paths(module: &Module) -> Vec<(Vec<String>, usize)> {
    let tokens = &module.tokens;
    let mut found = vec![];
    for (at, token) in tokens.iter().enumerate() {
        let follows = tokens.get(at + 1).is_some_and(|next| next.text == "::");
        let continues = at > 0 && tokens[at - 1].text == "::";
        if !follows || continues {
            continue;
        }
        let parent = || module.path[..module.path.len().saturating_sub(1)].to_vec();
        let base = match token.text.as_str() {
            "crate" => vec![],
            "self" => module.path.clone(),
            "super" => parent(),
            name if module.children.iter().any(|child| child.name == name) => {
                [&module.path[..], &[name.to_owned()]].concat()
            }
            _ => continue,
        };
        tree(tokens, at + 2, &base, token.line, &mut found);
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
        "super" => tree(tokens, at + 2, &base[..base.len().saturating_sub(1)], line, found),
        name if name.starts_with(|c: char| c.is_alphabetic() || c == '_') => {
            let path = [base, &[name.to_owned()]].concat();
            if tokens.get(at + 1).is_some_and(|next| next.text == "::") {
                return tree(tokens, at + 2, &path, line, found);
            }
            found.push((path, token.line));
            at + 1
        }
        // A glob, or type arguments (`::<T>`).
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
            module(&[], "mod a; mod b;"),
            module(&["a"], text),
            module(&["a", "x"], ""),
            module(&["a", "y"], ""),
            module(&["b"], ""),
            module(&["b", "z"], ""),
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
            ("use crate::{b::{self, z::{One, Two}}, a};", &["b:1", "b::z:1"]),
            ("use crate::b::z as other;", &["b::z:1"]),
            ("use crate::{b::Thing as Other, b::z};", &["b:1", "b::z:1"]),
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
