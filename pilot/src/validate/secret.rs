//! Pure. Extracts certificates, keys and roots from Secrets. Other Secrets do not affect the mesh.

use crate::catalog::kind::Item;
use crate::catalog::policy::TlsSecret;
use crate::check::finding::Findings;
use api::resource::object::Object;
use k8s_openapi::api::core::v1::Secret;
use std::sync::Arc;

pub(super) fn secret(f: &mut Findings, object: &Object, body: &Secret) -> Item {
    let mut pem = |names: [&str; 2]| names.into_iter().find_map(|name| text(f, body, name));
    let chain = pem(["tls.crt", "cert"]);
    let key = pem(["tls.key", "key"]);
    let roots = pem(["ca.crt", "cacert"]);
    if body.type_.as_deref() == Some("kubernetes.io/tls") {
        for (name, part) in [("tls.crt", &chain), ("tls.key", &key)] {
            if part.is_none() {
                f.missing(format!("data.{name}"));
            }
        }
    }
    if chain.is_none() && roots.is_none() {
        return Item::Other;
    }
    Item::Secret(Arc::new(TlsSecret {
        namespace: object.namespace().to_owned(),
        name: object.name().to_owned(),
        chain,
        key,
        roots,
    }))
}

/// Returns a PEM value. Other content under these names means another kind of Secret. The value never appears in a
/// message.
fn text(f: &mut Findings, body: &Secret, name: &str) -> Option<String> {
    let plain = body.string_data.as_ref().and_then(|data| data.get(name)).cloned();
    let encoded = body.data.as_ref().and_then(|data| data.get(name));
    let text = plain.or_else(|| encoded.and_then(|bytes| String::from_utf8(bytes.0.clone()).ok()))?;
    if text.contains("-----BEGIN ") {
        return Some(text);
    }
    if name.contains('.') {
        f.warn(format!("data.{name}"), "holds no PEM block, so no proxy can use it", "write PEM text");
    }
    None
}
