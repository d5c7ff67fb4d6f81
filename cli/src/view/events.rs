//! Pure. `ostria events`: events of objects, the latest last.

use api::resource::column::{duration, seconds};
use serde_json::Value;

use crate::manifest::object::text;
use crate::view::table::Widths;

/// Rows of events, sorted by their last occurrence.
pub fn render(widths: &mut Widths, events: &[Value], namespaces: bool, heads: bool, now: i64) -> String {
    let mut events: Vec<&Value> = events.iter().collect();
    events.sort_by_key(|event| text(event, "/lastTimestamp"));
    let head = ["NAMESPACE", "LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"];
    let skipped = usize::from(!namespaces);
    let rows: Vec<Vec<String>> =
        events.into_iter().map(|event| row(event, now).into_iter().skip(skipped).collect()).collect();
    widths.lines(heads.then_some(&head[skipped..]), &rows)
}

fn row(event: &Value, now: i64) -> Vec<String> {
    let last = age(text(event, "/lastTimestamp"), now);
    let seen = match event["count"].as_u64() {
        Some(count @ 2..) => format!("{last} (x{count} over {})", age(text(event, "/firstTimestamp"), now)),
        _ => last,
    };
    let kind = text(event, "/involvedObject/kind");
    let object = format!("{kind}/{}", text(event, "/involvedObject/name"));
    let namespace = text(event, "/involvedObject/namespace").to_string();
    vec![
        namespace,
        seen,
        text(event, "/type").into(),
        text(event, "/reason").into(),
        object,
        text(event, "/message").replace('\n', " "),
    ]
}

/// How much time has passed since a moment.
fn age(moment: &str, now: i64) -> String {
    seconds(moment).map_or_else(|| "<unknown>".into(), |moment| duration(now - moment))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn events_are_listed_as_kubectl_lists_them() {
        let event = |name: &str, last: &str, count: u64| {
            json!({"type": "Warning", "reason": "BackOff", "message": "again", "count": count,
                "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": last,
                "involvedObject": {"kind": "Pod", "name": name, "namespace": "shop"}})
        };
        let events = [event("b", "2026-01-01T00:01:20Z", 1), event("a", "2026-01-01T00:01:00Z", 3)];
        let text = render(&mut Widths::default(), &events, false, true, 1_767_225_690);
        assert_eq!(
            text,
            "LAST SEEN           TYPE      REASON    OBJECT   MESSAGE\n\
             30s (x3 over 90s)   Warning   BackOff   Pod/a    again\n\
             10s                 Warning   BackOff   Pod/b    again\n"
        );
    }
}
