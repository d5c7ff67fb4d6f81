//! Pure. `ostria describe`: an object in kubectl's layout, followed by the verdicts of pilot and the proxies, the
//! related objects and the events.

mod generic;
mod service;
mod standing;
mod workload;
mod pod;

mod part;

use api::resource::column::{duration, seconds};
use serde_json::Value;

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
