//! Pure. Renders certificates in Envoy's format.

use crate::credentials::{SecretInfo, SecretKind};
use serde_json::{Value, json};
use std::time::SystemTime;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

pub(super) fn json(secrets: &[SecretInfo], now: SystemTime) -> Value {
    let certificates: Vec<Value> = secrets
        .iter()
        .map(|secret| {
            let details = vec![details(secret, now)];
            match secret.kind {
                SecretKind::Certificate => json!({"ca_cert": [], "cert_chain": details}),
                SecretKind::Roots => json!({"ca_cert": details, "cert_chain": []}),
            }
        })
        .collect();
    json!({"certificates": certificates})
}

fn details(secret: &SecretInfo, now: SystemTime) -> Value {
    let names: Vec<Value> =
        secret.subject_alt_names.iter().map(|(kind, name)| json!({*kind: name})).collect();
    let left = secret.not_after.duration_since(now).unwrap_or_default();
    json!({
        "path": format!("secret: {}", secret.name),
        "serial_number": secret.serial_number,
        "subject_alt_names": names,
        "days_until_expiration": (left.as_secs() / 86_400).to_string(),
        "valid_from": date(secret.not_before),
        "expiration_time": date(secret.not_after),
    })
}

pub(super) fn date(moment: SystemTime) -> String {
    OffsetDateTime::from(moment).format(&Rfc3339).unwrap_or_default()
}
