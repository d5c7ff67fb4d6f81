//! Pure. References to Gateways.

use crate::catalog::route::GatewayRef;
use crate::check::finding::Findings;
use crate::check::value;

/// Parses `gateways` of the object or of a match: `mesh`, `name` or `namespace/name`, or the deprecated
/// `name.namespace`.
pub(super) fn gateways(f: &mut Findings, path: &str, names: &[String], own: &str) -> Vec<GatewayRef> {
    let mut gateways = vec![];
    for (i, text) in names.iter().enumerate() {
        let path = format!("{path}[{i}]");
        let parsed = match text.split_once('/') {
            None if text == "mesh" => Some(GatewayRef::Mesh),
            None if text.contains('.') => old_gateway(f, &path, text),
            None => value::is_domain(text).then(|| named(own, text)),
            Some((namespace, name)) if value::is_label(namespace) && value::is_label(name) => {
                Some(named(namespace, name))
            }
            Some(_) => None,
        };
        if let Some(gateway) = parsed {
            gateways.push(gateway);
        } else {
            let reason = format!("`{text}` is not a valid gateway name");
            f.error(path, reason, "write `mesh`, name or namespace/name");
        }
    }
    gateways
}

fn named(namespace: &str, name: &str) -> GatewayRef {
    GatewayRef::Named { namespace: namespace.to_owned(), name: name.to_owned() }
}

/// Parses the deprecated `name.namespace`, optionally followed by a domain.
fn old_gateway(f: &mut Findings, path: &str, text: &str) -> Option<GatewayRef> {
    let mut parts = text.split('.');
    let (name, namespace) = (parts.next()?, parts.next()?);
    if !value::is_domain(text) {
        return None;
    }
    f.warn(path, format!("`{text}` is an old form"), &format!("write {namespace}/{name}"));
    Some(named(namespace, name))
}
