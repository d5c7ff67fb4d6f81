//! Pure. Tables as kubectl aligns them: columns three spaces apart, without rules.

/// Renders a table; every line ends with a line break.
pub fn render(head: &[&str], rows: &[Vec<String>]) -> String {
    Widths::default().lines(Some(head), rows)
}

/// The widths of a table's columns. They grow as rows are added.
#[derive(Debug, Clone, Default)]
pub struct Widths(Vec<usize>);

impl Widths {
    /// Renders further rows, with the column names before them if they are given.
    pub fn lines(&mut self, head: Option<&[&str]>, rows: &[Vec<String>]) -> String {
        let head: Option<Vec<String>> =
            head.map(|head| head.iter().map(|cell| (*cell).to_string()).collect());
        let lines: Vec<&Vec<String>> = head.iter().chain(rows).collect();
        for line in &lines {
            self.0.resize(self.0.len().max(line.len()), 0);
            for (width, cell) in self.0.iter_mut().zip(*line) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let text = |cells: &Vec<String>| {
            let cells: Vec<String> = cells
                .iter()
                .zip(&self.0)
                .map(|(cell, width)| format!("{cell:width$}", width = *width))
                .collect();
            format!("{}\n", cells.join("   ").trim_end())
        };
        lines.into_iter().map(text).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [vec!["reviews".into(), "1/1".into()], vec!["x".into(), "0/1".into()]];
        assert_eq!(render(&["NAME", "READY"], &rows), "NAME      READY\nreviews   1/1\nx         0/1\n");
    }

    #[test]
    fn later_rows_are_aligned_with_the_first() {
        let mut widths = Widths::default();
        widths.lines(Some(&["NAME", "READY"]), &[vec!["reviews".into(), "1/1".into()]]);
        assert_eq!(widths.lines(None, &[vec!["x".into(), "0/1".into()]]), "x         0/1\n");
    }
}
