//! Pure. The line of a field in a YAML text, for messages about that field. It parses the text again and stores
//! nothing, so it runs only when there is an error to report.

use granit_parser::{Event, Parser, Span};

/// The line, from 1, of the field at `path` in the first document of `text`.
///
/// A path is written as in messages: `spec.http[0].route`. For a missing field, the line is that of the nearest
/// enclosing field. `None` if not even the first part of the path exists.
pub(in crate::resource) fn line(text: &str, path: &str) -> Option<u32> {
    // The first part of a path has no leading dot; every other name has one.
    let dotted = if path.starts_with('[') { path.to_owned() } else { format!(".{path}") };
    let options = granit_parser::options! { emit_comments: false };
    let events = Parser::new_from_str_with_options(text, options).map_while(Result::ok);
    let mut walk = Walk { events, best: None };
    loop {
        match walk.events.next()?.0 {
            Event::StreamStart | Event::DocumentStart(..) => {}
            first => {
                walk.node(&first, Some(&dotted));
                return walk.best.map(|found| found.line);
            }
        }
    }
}

/// The place that was found.
#[derive(Clone, Copy)]
struct Found {
    line: u32,
    /// Length of the rest of the path: the best place has the shortest.
    left: usize,
}

struct Walk<I> {
    events: I,
    best: Option<Found>,
}

impl<'a, I: Iterator<Item = (Event<'a>, Span)>> Walk<I> {
    /// Walks through a node to its end. `rest` is the rest of the path if the path leads through the node.
    fn node(&mut self, first: &Event<'a>, rest: Option<&str>) {
        match first {
            Event::MappingStart(..) => self.mapping(rest),
            Event::SequenceStart(..) => self.sequence(rest),
            _ => {}
        }
    }

    fn mapping(&mut self, rest: Option<&str>) {
        while let Some((key, span)) = self.events.next() {
            if matches!(key, Event::MappingEnd) {
                return;
            }
            let below = match &key {
                Event::Scalar(name, ..) => rest.and_then(|rest| after_name(rest, name)),
                _ => None,
            };
            self.note(span, below);
            self.node(&key, None);
            let Some((value, _)) = self.events.next() else { return };
            self.node(&value, below);
        }
    }

    fn sequence(&mut self, rest: Option<&str>) {
        let mut index = 0;
        while let Some((item, span)) = self.events.next() {
            if matches!(item, Event::SequenceEnd) {
                return;
            }
            let below = rest.and_then(|rest| rest.strip_prefix(&format!("[{index}]")));
            self.note(span, below);
            self.node(&item, below);
            index += 1;
        }
    }

    fn note(&mut self, span: Span, below: Option<&str>) {
        let Some(left) = below.map(str::len) else { return };
        if self.best.is_none_or(|best| left < best.left) {
            self.best = Some(Found { line: span.start.line() as u32, left });
        }
    }
}

/// The rest of a path after a field's name. Names may contain dots, as annotations do, and are then written unchanged
/// or in brackets.
fn after_name<'p>(rest: &'p str, name: &str) -> Option<&'p str> {
    if let Some(rest) = rest.strip_prefix('[') {
        return rest.strip_prefix(name)?.strip_prefix(']');
    }
    let behind = rest.strip_prefix('.')?.strip_prefix(name)?;
    (behind.is_empty() || behind.starts_with(['.', '['])).then_some(behind)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTE: &str = "\
# a comment
apiVersion: v1
metadata:
  name: a
  annotations:
    prometheus.io/port: \"80\"
    a: b
    a.b: c
spec:
  hosts: [x,
    y]
  http:
  - name: first
    route: &r
    - destination: {host: a,
                    port: {number: 1}}
  - route: *r
    timeout: 3s
";

    #[test]
    fn a_field_has_the_line_of_its_name_and_an_item_that_of_its_first_line() {
        for (path, expected) in [
            ("apiVersion", Some(2)),
            ("metadata.name", Some(4)),
            ("metadata.annotations.prometheus.io/port", Some(6)),
            ("metadata.annotations[prometheus.io/port]", Some(6)),
            ("metadata.annotations.a", Some(7)),
            ("metadata.annotations.a.b", Some(8)),
            ("spec.hosts[0]", Some(10)),
            ("spec.hosts[1]", Some(11)),
            ("spec.http[0]", Some(13)),
            ("spec.http[0].route[0].destination.port.number", Some(16)),
            ("spec.http[1].timeout", Some(18)),
        ] {
            assert_eq!(line(ROUTE, path), expected, "{path}");
        }
    }

    #[test]
    fn a_missing_field_has_the_line_of_its_enclosing_field() {
        for (path, expected) in [
            ("metadata.namespace", Some(3)),
            ("spec.http[1].retries.attempts", Some(17)),
            ("spec.http[7].route", Some(12)),
            // The content of an alias is elsewhere in the text.
            ("spec.http[1].route[0].destination", Some(17)),
            ("status", None),
            ("", None),
        ] {
            assert_eq!(line(ROUTE, path), expected, "{path}");
        }
    }

    #[test]
    fn json_and_malformed_text_are_searched_as_far_as_they_parse() {
        let json = "{\"kind\": \"A\",\n \"spec\": {\n  \"ports\": [\n   {\"port\": 1},\n   {\"port\": 2}]}}";
        assert_eq!(line(json, "spec.ports[1].port"), Some(5));
        assert_eq!(line("a:\n  b: [\n", "a.b"), Some(2));
        assert_eq!(line("", "a"), None);
        assert_eq!(line("--- # first\n---\na: b\n", "a"), None, "another document");
    }
}
