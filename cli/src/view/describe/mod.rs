//! Pure. `ostria describe`: an object in kubectl's layout, followed by the verdicts of pilot and the proxies, the
//! related objects and the events.

mod generic;
mod service;
mod standing;
mod workload;
mod pod;

use api::resource::column::{duration, seconds};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

use crate::manifest::object::text;
use crate::view::sheet::Sheet;
use crate::wire::Description;

/// Renders one object. `now` is in seconds since 1970.
pub fn render(description: &Description, now: i64) -> String {
    let object = &description.object;
    let mut sheet = Sheet::default();
    let group = text(object, "/apiVersion").rsplit_once('/').map_or("", |(group, _)| group);
    match (group, text(object, "/kind")) {
        ("", "Pod") => pod::pod(&mut sheet, object),
        ("", "Service") => service::service(&mut sheet, description),
        ("", "Secret") => generic::secret(&mut sheet, object),
        ("", "ConfigMap") => generic::config_map(&mut sheet, object),
        ("apps", "Deployment" | "StatefulSet") | ("batch", "Job") => workload::workload(&mut sheet, object),
        _ => generic::object(&mut sheet, object),
    }
    standing::verdict(&mut sheet, description);
    standing::related(&mut sheet, description);
    events(&mut sheet, &description.events, now);
    sheet.render()
}

/// Name, namespace, labels and annotations.
fn head(sheet: &mut Sheet, object: &Value) {
    sheet.field(0, "Name", text(object, "/metadata/name"));
    if !text(object, "/metadata/namespace").is_empty() {
        sheet.field(0, "Namespace", text(object, "/metadata/namespace"));
    }
}

fn labels(sheet: &mut Sheet, indent: usize, metadata: &Value) {
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
fn selector(map: &Value) -> String {
    pairs(map, "=").replace('\n', ",")
}

/// A value that is neither a map nor a list.
fn scalar(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_string)
}

fn conditions(sheet: &mut Sheet, object: &Value, fields: &[(&str, &str)]) {
    let all = object.pointer("/status/conditions").and_then(Value::as_array);
    let Some(all) = all.filter(|all| !all.is_empty()) else { return };
    sheet.line(0, "Conditions:");
    sheet.row(2, fields.iter().map(|(head, _)| *head));
    for condition in all {
        sheet.row(2, fields.iter().map(|(_, field)| text(condition, field)));
    }
}

/// Converts a time from RFC 3339 to kubectl's format.
fn moment(written: &str) -> String {
    const FORMAT: &[BorrowedFormatItem<'_>] = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] +0000"
    );
    let parsed = OffsetDateTime::parse(written, &Rfc3339).ok();
    parsed
        .and_then(|time| time.to_offset(time::UtcOffset::UTC).format(FORMAT).ok())
        .unwrap_or_else(|| written.into())
}

/// The time since a moment in RFC 3339.
fn age(moment: &str, now: i64) -> String {
    seconds(moment).map_or_else(|| "<unknown>".into(), |then| duration(now - then))
}

fn events(sheet: &mut Sheet, events: &[Value], now: i64) {
    if events.is_empty() {
        sheet.field(0, "Events", "<none>");
        return;
    }
    sheet.line(0, "Events:");
    sheet.row(2, ["Type", "Reason", "Age", "From", "Message"]);
    sheet.row(2, ["----", "------", "----", "----", "-------"]);
    for event in events {
        let last = [text(event, "/lastTimestamp"), text(event, "/eventTime")];
        let last = last.into_iter().find(|time| !time.is_empty()).unwrap_or_default();
        let count = event["count"].as_u64().unwrap_or(1);
        let first = age(text(event, "/firstTimestamp"), now);
        let when =
            if count > 1 { format!("{} (x{count} over {first})", age(last, now)) } else { age(last, now) };
        let from = [text(event, "/source/component"), text(event, "/reportingComponent")];
        let from = from.into_iter().find(|from| !from.is_empty()).unwrap_or_default();
        sheet.row(
            2,
            [text(event, "/type"), text(event, "/reason"), &when, from, text(event, "/message").trim_end()],
        );
    }
}

#[cfg(test)]
mod tests;
