//! Pure. Parts that the descriptions of several kinds share.

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

use crate::manifest::object::text;
use crate::view::sheet::Sheet;

/// Name, namespace, labels and annotations.
pub(super) fn head(sheet: &mut Sheet, object: &Value) {
    sheet.field(0, "Name", text(object, "/metadata/name"));
    if !text(object, "/metadata/namespace").is_empty() {
        sheet.field(0, "Namespace", text(object, "/metadata/namespace"));
    }
}

pub(super) fn labels(sheet: &mut Sheet, indent: usize, metadata: &Value) {
    sheet.field(indent, "Labels", &pairs(&metadata["labels"], "="));
    sheet.field(indent, "Annotations", &pairs(&metadata["annotations"], ": "));
}

/// A map, one line for each entry.
fn pairs(map: &Value, between: &str) -> String {
    let entries = map.as_object().into_iter().flatten();
    let lines = entries.map(|(name, value)| format!("{name}{between}{}", scalar(value)));
    lines.collect::<Vec<_>>().join("\n")
}

/// A selector on one line.
pub(super) fn selector(map: &Value) -> String {
    pairs(map, "=").replace('\n', ",")
}

/// A value that is neither a map nor a list.
pub(super) fn scalar(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_string)
}

pub(super) fn conditions(sheet: &mut Sheet, object: &Value, fields: &[(&str, &str)]) {
    let all = object.pointer("/status/conditions").and_then(Value::as_array);
    let Some(all) = all.filter(|all| !all.is_empty()) else { return };
    sheet.line(0, "Conditions:");
    sheet.row(2, fields.iter().map(|(head, _)| *head));
    for condition in all {
        sheet.row(2, fields.iter().map(|(_, field)| text(condition, field)));
    }
}

/// Converts a time from RFC 3339 to kubectl's format.
pub(super) fn moment(written: &str) -> String {
    const FORMAT: &[BorrowedFormatItem<'_>] = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] +0000"
    );
    let parsed = OffsetDateTime::parse(written, &Rfc3339).ok();
    parsed
        .and_then(|time| time.to_offset(time::UtcOffset::UTC).format(FORMAT).ok())
        .unwrap_or_else(|| written.into())
}
