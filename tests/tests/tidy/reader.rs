//! Finds which fields of the model the proxy reads. Only names are available here, not types, so a possible read
//! counts: `.field` or a pattern with the field, in a file that names the type, or one of the types through which
//! it is reached. A field whose name no other type has counts wherever it is read.

use std::collections::{BTreeMap, BTreeSet};

use crate::shape::{Declared, Field};
use crate::source::{Module, Token};

/// The fields of `model` that no module of `readers` reads, as `Type.field` or `Type::Variant.field`.
pub(crate) fn unread(model: &[&Module], readers: &[&Module]) -> Vec<String> {
    let types: Vec<&Declared> = model.iter().flat_map(|module| &module.declared).collect();
    let own: Vec<&Declared> = readers.iter().flat_map(|module| &module.declared).collect();
    let all: Vec<&Declared> = types.iter().chain(&own).copied().collect();
    let mut owners: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for declared in &all {
        for field in &declared.fields {
            owners.entry(&field.name).or_default().insert(&declared.name);
        }
    }
    let mut unread = vec![];
    for declared in types {
        let ways = ways(&declared.name, &all);
        // A value of the type `Unserved` is refused when it is parsed.
        for field in declared.fields.iter().filter(|f| !f.mentions.iter().any(|m| m == "Unserved")) {
            let is_unique = owners[field.name.as_str()].len() == 1;
            let is_used_here = model.iter().any(|module| reads_its_own(module, declared, field));
            let is_read = is_used_here
                || readers.iter().any(|module| {
                    matches(module, declared, field)
                        || (is_unique || names_any(module, &ways)) && accesses(module, &field.name)
                });
            if !is_read {
                unread.push(shown(declared, field));
            }
        }
    }
    unread
}

/// The type itself, and all types that contain it, at any depth.
fn ways<'a>(name: &'a str, all: &[&'a Declared]) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::from([name]);
    loop {
        let before = found.len();
        let holds = |declared: &&&Declared| declared.mentions.iter().any(|m| found.contains(m.as_str()));
        let more: Vec<&str> = all.iter().filter(holds).map(|declared| declared.name.as_str()).collect();
        found.extend(more);
        if found.len() == before {
            return found;
        }
    }
}

fn names_any(module: &Module, types: &BTreeSet<&str>) -> bool {
    module.tokens.iter().any(|token| types.contains(token.text.as_str()))
}

/// Whether a method of the type uses the field.
fn reads_its_own(module: &Module, declared: &Declared, field: &Field) -> bool {
    let is_own =
        |tokens: &[Token]| tokens[0].text == "self" && tokens[1].text == "." && tokens[2].text == field.name;
    module.declared.iter().any(|other| other.name == declared.name) && module.tokens.windows(3).any(is_own)
}

/// Whether `.field` occurs other than as a method call.
fn accesses(module: &Module, field: &str) -> bool {
    let is_call = |next: Option<&str>| next.is_some_and(|next| next == "(" || next == "::");
    module.tokens.iter().enumerate().skip(1).any(|(at, token)| {
        token.text == field
            && module.tokens[at - 1].text == "."
            && !is_call(module.tokens.get(at + 1).map(|next| next.text.as_str()))
    })
}

/// Whether `Type { field, .. }` occurs as a pattern.
fn matches(module: &Module, declared: &Declared, field: &Field) -> bool {
    let name = field.variant.as_ref().unwrap_or(&declared.name);
    module.patterns.iter().any(|pattern| pattern.name == *name && pattern.fields.contains(&field.name))
}

fn shown(declared: &Declared, field: &Field) -> String {
    let variant = field.variant.as_ref().map(|variant| format!("::{variant}")).unwrap_or_default();
    format!("{}{variant}.{}", declared.name, field.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::parsed;

    fn found(model: &str, readers: &[&str]) -> Vec<String> {
        let module = |text: &&str| parsed(text, vec![], "a.rs".to_owned());
        let readers: Vec<Module> = readers.iter().map(module).collect();
        unread(&[&module(&model)], &readers.iter().collect::<Vec<_>>())
    }

    #[test]
    fn a_field_that_is_only_written_or_named_like_a_method_is_unread() {
        let model = "pub struct A { pub name: u8, pub other: B, own: u8 } pub enum B { C { port: u8 }, D }";
        let table: &[(&str, &[&str])] = &[
            ("", &["A.name", "A.other", "B::C.port"]),
            ("fn f(a: &A) { g(a.name, a.other) }", &["B::C.port"]),
            ("fn f(a: &A) { a.name(); A { name: 1, other: B::D } }", &["A.name", "A.other", "B::C.port"]),
            ("fn f(a: &A) { let A { name, other } = a; }", &["B::C.port"]),
            ("fn f(b: &B) { if let B::C { port } = b {} }", &["A.name", "A.other"]),
            ("fn f(a: &A) { tracing::info!(a.name) }", &["A.other", "B::C.port"]),
            ("#[cfg(test)] mod tests { fn f(a: &A) { a.name } }", &["A.name", "A.other", "B::C.port"]),
        ];
        for (reader, expected) in table {
            assert_eq!(found(model, &[reader]), *expected, "{reader}");
        }
    }

    #[test]
    fn a_name_that_others_have_too_counts_where_the_type_is_reached() {
        let model = "pub struct A { pub name: u8 } pub struct Z { pub name: u8 }";
        assert_eq!(found(model, &["fn f(a: &A) { a.name }"]), ["Z.name"]);
        let through = "struct Holder { inner: Z } fn f(x: &Holder) { x.inner.name }";
        assert_eq!(found(model, &[through]), ["A.name"]);
    }
}
