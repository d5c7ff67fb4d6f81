//! Pure. Parses `exportTo`: which namespaces see an object.

use crate::catalog::visibility::ExportTo;
use crate::check::finding::Findings;
use crate::check::value;
use std::collections::BTreeSet;

/// Parses `exportTo` of a service: `~` hides it from every namespace.
pub(super) fn export_to(f: &mut Findings, path: &str, names: &[String], own: &str) -> ExportTo {
    match names {
        [one] if one == "~" => ExportTo::NoNamespace,
        _ => rule_export_to(f, path, names, own),
    }
}

/// Parses `exportTo` of a VirtualService or DestinationRule, where `~` is refused: some namespace must see it.
pub(super) fn rule_export_to(f: &mut Findings, path: &str, names: &[String], own: &str) -> ExportTo {
    match names {
        [] => return ExportTo::Unset,
        [one] if one == "*" => return ExportTo::All,
        [one] if one == "~" => {
            f.error(
                format!("{path}[0]"),
                "`~` would hide the object from every namespace",
                "write `.`, or delete it",
            );
            return ExportTo::NoNamespace;
        }
        _ => {}
    }
    let mut namespaces = BTreeSet::new();
    for (i, name) in names.iter().enumerate() {
        let path = format!("{path}[{i}]");
        let name = match name.as_str() {
            "*" | "~" => {
                f.error(path, format!("`{name}` cannot be combined with other entries"), "keep one of them");
                continue;
            }
            "." => own,
            name if value::namespace(f, &path, name) => name,
            name => {
                f.error(
                    path,
                    format!("`{name}` is not a valid namespace"),
                    "write `.`, `*`, `~` or a namespace",
                );
                continue;
            }
        };
        if !namespaces.insert(name.to_owned()) {
            f.error(path, format!("namespace `{name}` is a duplicate"), "keep one of the two");
        }
    }
    ExportTo::Namespaces(namespaces)
}
