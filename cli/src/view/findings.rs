//! Pure. Findings as a table, with the next step below each line that needs one.

use std::fmt::Write;

use crate::check::finding::{Finding, Report};
use crate::view::table::Widths;

/// The table, and how many findings need something.
pub fn render(report: &Report) -> String {
    let row = |finding: &Finding| {
        vec![finding.level.word().to_owned(), finding.check.to_owned(), finding.message.replace('\n', " ")]
    };
    let rows: Vec<Vec<String>> = report.findings.iter().map(row).collect();
    let table = Widths::default().lines(Some(&["RESULT", "CHECK", "FINDING"]), &rows);
    let mut lines = table.lines();
    let mut text = lines.next().map(|head| format!("{head}\n")).unwrap_or_default();
    for (line, finding) in lines.zip(&report.findings) {
        text.push_str(line);
        text.push('\n');
        if let Some(next) = &finding.next {
            let _ = writeln!(text, "  next: {next}");
        }
    }
    text + &format!("{}\n", summary(report))
}

/// The last line.
pub fn summary(report: &Report) -> String {
    let count = |number: usize, one: &str| match number {
        0 => format!("no {one}s"),
        1 => format!("1 {one}"),
        _ => format!("{number} {one}s"),
    };
    format!("{}, {}", count(report.errors, "error"), count(report.warnings, "warning"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_step_stands_below_its_finding() {
        let report = Report::of(vec![
            Finding::ok("nodes", "1 node can run sidecars"),
            Finding::error("readiness", "ostria-pilot: 0 of 2 ready", "look"),
        ]);
        assert_eq!(
            render(&report),
            "RESULT   CHECK       FINDING\n\
             ok       nodes       1 node can run sidecars\n\
             error    readiness   ostria-pilot: 0 of 2 ready\n  next: look\n\
             1 error, no warnings\n"
        );
    }
}
