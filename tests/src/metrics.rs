//! Parses Prometheus's text format as far as tests need it: series by name and labels.

use std::collections::BTreeMap;

/// One series: a line of a metrics page.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// The metric's name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

/// A metrics page.
#[derive(Debug, Clone, Default)]
pub struct Metrics(Vec<Series>);

impl Metrics {
    /// Parses a page; fails the test at a line that is not in Prometheus's format.
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
        Self(lines.map(|line| series(line).unwrap_or_else(|| panic!("not a metric: {line}"))).collect())
    }

    /// The series of this name that have all these labels.
    pub fn matching<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = &'a Series> {
        self.0.iter().filter(move |series| {
            series.name == name
                && labels.iter().all(|(key, value)| series.labels.get(*key).is_some_and(|own| own == value))
        })
    }

    /// The sum of the matching series, for counters.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        self.matching(name, labels).map(|series| series.value).sum::<f64>().round() as u64
    }

    /// The series of this name, one per line, for failure messages.
    pub fn shown(&self, name: &str) -> String {
        let own = self.0.iter().filter(|series| series.name == name);
        own.map(|series| format!("{:?} {}", series.labels, series.value)).collect::<Vec<_>>().join("\n")
    }
}

fn series(line: &str) -> Option<Series> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while !rest.starts_with('}') {
            let (key, after) = rest.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            labels.insert(key.trim().to_owned(), value);
            rest = after.trim_start_matches(',').trim_start();
        }
        rest = &rest[1..];
    }
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Series { name: name.to_owned(), labels, value })
}

/// Parses a label's value up to its closing quote. Returns the value and the rest.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_summed_over_unselected_labels() {
        let page =
            "# TYPE a counter\na{x=\"1\",y=\"a\\\"b,}\"} 2\na{x=\"1\",y=\"c\"} 3 1700\na{x=\"2\"} 5\nb 7\n";
        let metrics = Metrics::parse(page);
        assert_eq!(metrics.sum("a", &[("x", "1")]), 5);
        assert_eq!(metrics.sum("a", &[("y", "a\"b,}")]), 2);
        assert_eq!(metrics.sum("b", &[]), 7);
        assert_eq!(metrics.sum("c", &[]), 0);
    }

    #[test]
    #[should_panic(expected = "not a metric: a{x=")]
    fn a_page_that_is_not_metrics_ends_the_test() {
        Metrics::parse("a{x=\"1} 2");
    }
}
