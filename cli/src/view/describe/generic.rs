//! Pure. Describes objects of any kind field by field, as kubectl shows kinds that it does not know; and Secrets and
//! ConfigMaps, whose values are free text.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::part::{head, labels, scalar};
use crate::manifest::object::text;
use crate::view::sheet::Sheet;

/// All fields of an object.
pub(super) fn object(sheet: &mut Sheet, object: &Value) {
    head(sheet, object);
    labels(sheet, 0, &object["metadata"]);
    sheet.field(0, "API Version", text(object, "/apiVersion"));
    sheet.field(0, "Kind", text(object, "/kind"));
    sheet.line(0, "Metadata:");
    for (field, label) in
        [("creationTimestamp", "Creation Timestamp"), ("generation", "Generation"), ("uid", "UID")]
    {
        if let Some(value) = object["metadata"].get(field) {
            sheet.field(2, label, &scalar(value));
        }
    }
    let rest = object.as_object().into_iter().flatten();
    for (name, value) in rest.filter(|(name, _)| !HEAD.contains(&name.as_str())) {
        show(sheet, 0, name, value);
    }
}

/// A Secret. It shows the lengths of the values, never the values.
pub(super) fn secret(sheet: &mut Sheet, object: &Value) {
    head(sheet, object);
    labels(sheet, 0, &object["metadata"]);
    sheet.line(0, "");
    sheet.field(0, "Type", if text(object, "/type").is_empty() { "Opaque" } else { text(object, "/type") });
    sheet.line(0, "");
    sheet.line(0, "Data");
    sheet.line(0, "====");
    let encoded = |text: &str| {
        let plain: String = text.split_whitespace().collect();
        STANDARD.decode(plain).map_or(0, |bytes| bytes.len())
    };
    let plain = object["stringData"].as_object().into_iter().flatten();
    let plain = plain.map(|(name, value)| (name, value.as_str().map_or(0, str::len)));
    let data = object["data"].as_object().into_iter().flatten();
    let data = data.map(|(name, value)| (name, value.as_str().map_or(0, encoded)));
    for (name, bytes) in data.chain(plain) {
        sheet.field(0, name, &format!("{bytes} bytes"));
    }
}

/// A ConfigMap with its values unchanged.
pub(super) fn config_map(sheet: &mut Sheet, object: &Value) {
    head(sheet, object);
    labels(sheet, 0, &object["metadata"]);
    sheet.line(0, "");
    sheet.line(0, "Data");
    sheet.line(0, "====");
    for (name, value) in object["data"].as_object().into_iter().flatten() {
        sheet.line(0, &format!("{name}:"));
        sheet.line(0, "----");
        for line in value.as_str().unwrap_or_default().lines() {
            sheet.line(0, line);
        }
        sheet.line(0, "");
    }
    sheet.line(0, "BinaryData");
    sheet.line(0, "====");
    for (name, value) in object["binaryData"].as_object().into_iter().flatten() {
        let bytes = value.as_str().and_then(|text| STANDARD.decode(text).ok()).map_or(0, |bytes| bytes.len());
        sheet.field(0, name, &format!("{bytes} bytes"));
    }
    sheet.line(0, "");
}

fn show(sheet: &mut Sheet, indent: usize, name: &str, value: &Value) {
    let label = titled(name);
    match value {
        Value::Object(map) => {
            sheet.line(indent, &format!("{label}:"));
            fields(sheet, indent + 2, map);
        }
        Value::Array(items) => {
            sheet.line(indent, &format!("{label}:"));
            for item in items {
                match item.as_object() {
                    Some(map) => fields(sheet, indent + 2, map),
                    None => sheet.line(indent + 2, &scalar(item)),
                }
            }
        }
        value => sheet.field(indent, &label, &scalar(value)),
    }
}

fn fields(sheet: &mut Sheet, indent: usize, map: &serde_json::Map<String, Value>) {
    for (name, value) in map {
        show(sheet, indent, name, value);
    }
}

/// The label of a field. A key that the user chose stays unchanged.
fn titled(name: &str) -> String {
    if name.contains(['/', '.', '-']) { name.to_string() } else { spaced(name) }
}

/// Splits a field name into words: `creationTimestamp` becomes `Creation Timestamp`. Abbreviations stay together.
fn spaced(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    let mut text = String::new();
    for (at, letter) in letters.iter().enumerate() {
        let begins = at > 0
            && letter.is_uppercase()
            && (letters[at - 1].is_lowercase()
                || letters.get(at + 1).is_some_and(|next| next.is_lowercase()));
        if begins {
            text.push(' ');
        }
        if at == 0 { text.extend(letter.to_uppercase()) } else { text.push(*letter) }
    }
    text
}

/// Fields that are shown at the top.
const HEAD: [&str; 3] = ["apiVersion", "kind", "metadata"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_fields_become_labels() {
        for (name, label) in [
            ("creationTimestamp", "Creation Timestamp"),
            ("hosts", "Hosts"),
            ("clusterIP", "Cluster IP"),
            ("httpGet", "Http Get"),
            ("caCRLs", "Ca CR Ls"),
        ] {
            assert_eq!(spaced(name), label);
        }
    }
}
