//! Pure. The table of certificates. Dumps and this table contain no private keys.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use x509_parser::pem::Pem;

use crate::view::proxy::dump::{resources, text};
use crate::view::table;

/// One row for each certificate. `now` is in seconds since 1970.
pub fn render(dump: &Value, now: i64) -> String {
    let lists = [
        ("dynamic_active_secrets", "ACTIVE"),
        ("static_secrets", "ACTIVE"),
        ("dynamic_warming_secrets", "WARMING"),
    ];
    let rows: Vec<Vec<String>> = lists
        .iter()
        .flat_map(|(list, status)| {
            resources(dump, &[list], &[]).into_iter().map(move |entry| row(entry, status, now))
        })
        .collect();
    table::render(
        &["RESOURCE NAME", "TYPE", "STATUS", "VALID CERT", "SERIAL NUMBER", "NOT AFTER", "NOT BEFORE"],
        &rows,
    )
}

fn row(entry: &Value, status: &str, now: i64) -> Vec<String> {
    let secret = &entry["secret"];
    let chain = &secret["tls_certificate"]["certificate_chain"];
    let (kind, source) = if chain.is_null() {
        ("CA", &secret["validation_context"]["trusted_ca"])
    } else {
        ("Cert Chain", chain)
    };
    let name = if text(entry, "name").is_empty() { text(secret, "name") } else { text(entry, "name") };
    let mut row = vec![name.to_string(), kind.to_string(), status.to_string()];
    row.extend(facts(&pem(source), now).unwrap_or_else(|| ["false", "", "", ""].map(str::to_string)));
    row
}

fn pem(source: &Value) -> Vec<u8> {
    let encoded = text(source, "inline_bytes");
    if encoded.is_empty() {
        text(source, "inline_string").into()
    } else {
        STANDARD.decode(encoded).unwrap_or_default()
    }
}

/// Validity, serial number, and end and start of the first certificate's lifetime.
fn facts(pem: &[u8], now: i64) -> Option<[String; 4]> {
    let first = Pem::iter_from_buffer(pem).next()?.ok()?;
    let certificate = first.parse_x509().ok()?;
    let validity = certificate.validity();
    let (start, end) = (validity.not_before, validity.not_after);
    let format = &time::format_description::well_known::Rfc3339;
    let written = |moment: time::OffsetDateTime| moment.format(format).unwrap_or_default();
    let valid = (start.timestamp()..=end.timestamp()).contains(&now);
    Some([
        valid.to_string(),
        certificate.raw_serial_as_string().replace(':', ""),
        written(end.to_datetime()),
        written(start.to_datetime()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ROOT: &str = include_str!("testdata/root.pem");

    #[test]
    fn a_certificate_shows_its_serial_number_and_validity() {
        let entry = json!({"name": "ROOTCA", "secret": {"validation_context": {"trusted_ca": {"inline_bytes": STANDARD.encode(ROOT)}}}});
        let dump = json!({"configs": [{"dynamic_active_secrets": [entry]}]});
        let text = render(&dump, 1_800_000_000);
        assert!(text.lines().nth(1).unwrap().starts_with("ROOTCA          CA     ACTIVE   true"), "{text}");
    }

    #[test]
    fn malformed_certificates_are_not_valid() {
        let entry = json!({"name": "default", "secret": {"tls_certificate": {"certificate_chain": {"inline_string": "x"}}}});
        let text = render(&json!({"configs": [{"dynamic_active_secrets": [entry]}]}), 0);
        assert!(text.contains("Cert Chain   ACTIVE   false"), "{text}");
    }
}
