//! Extracts the code shapes that rules are about: test-only items, matches that ignore unnamed cases, and the
//! fields of types.

use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::visit_mut::{self, VisitMut};
use syn::{Expr, Fields, File, Item, Pat, Stmt, UseTree, Visibility};

use crate::source::is_test;

/// A match with a wildcard arm that does nothing: `match x { Kind::A => …, _ => {} }`.
pub(crate) struct WildArm {
    /// The line of the wildcard.
    pub(crate) line: usize,
    /// The types whose variants the other arms name, as written: `model::Kind`.
    pub(crate) types: Vec<Vec<String>>,
}

/// A pattern that destructures a struct or variant: `Type { field, other: .. }`.
pub(crate) struct StructPattern {
    /// The type's or variant's name.
    pub(crate) name: String,
    /// The fields that are bound.
    pub(crate) fields: Vec<String>,
}

/// A struct, or an enum whose variants' named fields count as its own.
pub(crate) struct Declared {
    /// The type's name.
    pub(crate) name: String,
    /// Whether it is an enum.
    pub(crate) is_enum: bool,
    /// Named fields that other crates can read.
    pub(crate) fields: Vec<Field>,
    /// The names of all types mentioned in it.
    pub(crate) mentions: Vec<String>,
}

/// A named field.
pub(crate) struct Field {
    /// The variant that has the field, in an enum.
    pub(crate) variant: Option<String>,
    /// Its name.
    pub(crate) name: String,
    /// The names of all types mentioned in the field's type.
    pub(crate) mentions: Vec<String>,
}

/// Removes everything that exists only for tests.
pub(crate) fn remove_tests(ast: &mut File) {
    struct Remover;
    impl VisitMut for Remover {
        fn visit_file_mut(&mut self, file: &mut File) {
            file.items.retain(|item| !is_test(item_attributes(item)));
            visit_mut::visit_file_mut(self, file);
        }
        fn visit_item_impl_mut(&mut self, item: &mut syn::ItemImpl) {
            item.items.retain(|item| match item {
                syn::ImplItem::Fn(function) => !is_test(&function.attrs),
                syn::ImplItem::Const(constant) => !is_test(&constant.attrs),
                _ => true,
            });
            visit_mut::visit_item_impl_mut(self, item);
        }
        fn visit_attributes_mut(&mut self, attributes: &mut Vec<syn::Attribute>) {
            attributes.retain(|attribute| !attribute.path().is_ident("doc"));
        }
        fn visit_item_mut(&mut self, item: &mut Item) {
            visit_mut::visit_item_mut(self, item);
        }
    }
    Remover.visit_file_mut(ast);
}

fn item_attributes(item: &Item) -> &[syn::Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// The matches in a file that end in `_ => {}`.
pub(crate) fn wild_arms(ast: &File) -> Vec<WildArm> {
    struct Finder(Vec<WildArm>);
    impl<'ast> Visit<'ast> for Finder {
        fn visit_expr_match(&mut self, matched: &'ast syn::ExprMatch) {
            let wild = matched.arms.iter().find(|arm| {
                matches!(arm.pat, Pat::Wild(_)) && arm.guard.is_none() && does_nothing(&arm.body)
            });
            if let Some(wild) = wild {
                let mut named = Named::default();
                matched.arms.iter().for_each(|arm| named.visit_pat(&arm.pat));
                self.0.push(WildArm { line: wild.pat.span().start().line, types: named.0 });
            }
            visit::visit_expr_match(self, matched);
        }
    }
    let mut finder = Finder(vec![]);
    finder.visit_file(ast);
    finder.0
}

fn does_nothing(body: &Expr) -> bool {
    match body {
        Expr::Block(block) => {
            block.block.stmts.iter().all(|stmt| matches!(stmt, Stmt::Expr(e, _) if does_nothing(e)))
        }
        Expr::Tuple(tuple) => tuple.elems.is_empty(),
        _ => false,
    }
}

/// Collects the types in the paths of patterns: `flow::Kind` from `flow::Kind::A { .. }`.
#[derive(Default)]
struct Named(Vec<Vec<String>>);

impl<'ast> Visit<'ast> for Named {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        let mut names: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        names.pop();
        if !names.is_empty() {
            self.0.push(names);
        }
    }
}

/// A name that a `use` declaration brings into scope.
pub(crate) struct Use {
    /// The path as written; ends in a star for a glob.
    pub(crate) path: Vec<String>,
    /// The name in this scope; a star for a glob.
    pub(crate) name: String,
    /// Whether other modules can reach the name through this one: it is not inside a function.
    pub(crate) is_item: bool,
}

/// The imports of a file.
pub(crate) fn uses(ast: &File) -> Vec<Use> {
    struct Finder(Vec<Use>);
    impl<'ast> Visit<'ast> for Finder {
        fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
            leaves(&item.tree, &[], &mut self.0);
        }
    }
    let mut finder = Finder(vec![]);
    ast.items.iter().filter(|item| matches!(item, Item::Use(_))).for_each(|item| finder.visit_item(item));
    finder.0.iter_mut().for_each(|used| used.is_item = true);
    ast.items.iter().filter(|item| !matches!(item, Item::Use(_))).for_each(|item| finder.visit_item(item));
    finder.0
}

fn leaves(tree: &UseTree, base: &[String], into: &mut Vec<Use>) {
    let with = |name: &str| [base, &[name.to_owned()]].concat();
    let mut push = |path: Vec<String>, name: String| into.push(Use { path, name, is_item: false });
    match tree {
        UseTree::Path(path) => leaves(&path.tree, &with(&path.ident.to_string()), into),
        UseTree::Name(name) if name.ident == "self" => {
            push(base.to_vec(), base.last().cloned().unwrap_or_default());
        }
        UseTree::Name(name) => push(with(&name.ident.to_string()), name.ident.to_string()),
        UseTree::Rename(rename) if rename.ident == "self" => push(base.to_vec(), rename.rename.to_string()),
        UseTree::Rename(rename) => push(with(&rename.ident.to_string()), rename.rename.to_string()),
        UseTree::Glob(_) => push(with("*"), "*".to_owned()),
        UseTree::Group(group) => group.items.iter().for_each(|tree| leaves(tree, base, into)),
    }
}

/// The names of the items that a file defines itself.
pub(crate) fn defined(ast: &File) -> Vec<String> {
    let name = |item: &Item| {
        let ident = match item {
            Item::Const(item) => &item.ident,
            Item::Enum(item) => &item.ident,
            Item::Fn(item) => &item.sig.ident,
            Item::Macro(item) => item.ident.as_ref()?,
            Item::Mod(item) if item.content.is_some() => &item.ident,
            Item::Static(item) => &item.ident,
            Item::Struct(item) => &item.ident,
            Item::Trait(item) => &item.ident,
            Item::Type(item) => &item.ident,
            _ => return None,
        };
        Some(ident.to_string())
    };
    ast.items.iter().filter_map(name).collect()
}

/// The patterns in a file that destructure structs and variants.
pub(crate) fn patterns(ast: &File) -> Vec<StructPattern> {
    struct Finder(Vec<StructPattern>);
    impl<'ast> Visit<'ast> for Finder {
        fn visit_pat_struct(&mut self, pattern: &'ast syn::PatStruct) {
            let bound = pattern.fields.iter().filter(|field| !matches!(*field.pat, Pat::Wild(_)));
            let fields = bound.filter_map(|field| match &field.member {
                syn::Member::Named(name) => Some(name.to_string()),
                syn::Member::Unnamed(_) => None,
            });
            if let Some(last) = pattern.path.segments.last() {
                self.0.push(StructPattern { name: last.ident.to_string(), fields: fields.collect() });
            }
            visit::visit_pat_struct(self, pattern);
        }
    }
    let mut finder = Finder(vec![]);
    finder.visit_file(ast);
    finder.0
}

/// The structs and enums of a file.
pub(crate) fn declared(ast: &File) -> Vec<Declared> {
    let mut declared = vec![];
    for item in &ast.items {
        match item {
            Item::Struct(item) => {
                let fields = named(&item.fields, None, |field| matches!(field.vis, Visibility::Public(_)));
                let name = item.ident.to_string();
                declared.push(Declared { name, is_enum: false, fields, mentions: types(&item.fields) });
            }
            Item::Enum(item) => {
                let of = |variant: &syn::Variant| {
                    named(&variant.fields, Some(&variant.ident.to_string()), |_| true)
                };
                let fields = item.variants.iter().flat_map(of).collect();
                let mentions = item.variants.iter().flat_map(|variant| types(&variant.fields)).collect();
                declared.push(Declared { name: item.ident.to_string(), is_enum: true, fields, mentions });
            }
            _ => {}
        }
    }
    declared
}

fn named(fields: &Fields, variant: Option<&str>, seen: impl Fn(&syn::Field) -> bool) -> Vec<Field> {
    let of_field = |field: &syn::Field| {
        let name = field.ident.as_ref()?.to_string();
        Some(Field { variant: variant.map(str::to_owned), name, mentions: mentioned([field]) })
    };
    fields.iter().filter(|field| seen(field)).filter_map(of_field).collect()
}

fn types(fields: &Fields) -> Vec<String> {
    mentioned(fields)
}

fn mentioned<'a>(fields: impl IntoIterator<Item = &'a syn::Field>) -> Vec<String> {
    struct Mentioned(Vec<String>);
    impl<'ast> Visit<'ast> for Mentioned {
        fn visit_path_segment(&mut self, segment: &'ast syn::PathSegment) {
            self.0.push(segment.ident.to_string());
            visit::visit_path_segment(self, segment);
        }
    }
    let mut mentioned = Mentioned(vec![]);
    fields.into_iter().for_each(|field| mentioned.visit_type(&field.ty));
    mentioned.0
}
