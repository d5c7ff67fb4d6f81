//! Pure. Text in columns as `kubectl describe` aligns it. A cell is as wide as the widest cell of its column in the
//! block of adjacent lines that have this column.

/// Lines of cells.
#[derive(Debug, Clone, Default)]
pub struct Sheet {
    lines: Vec<Vec<String>>,
}

impl Sheet {
    /// Adds a line of text without columns.
    pub fn line(&mut self, indent: usize, text: &str) {
        self.lines.push(vec![format!("{}{text}", " ".repeat(indent))]);
    }

    /// Adds a label with its value. Further lines of the value are aligned below the first.
    pub fn field(&mut self, indent: usize, label: &str, value: &str) {
        let mut label = format!("{}{label}:", " ".repeat(indent));
        for line in value.lines() {
            self.lines.push(vec![std::mem::take(&mut label), line.to_string()]);
        }
        if !label.is_empty() {
            self.lines.push(vec![label, "<none>".to_string()]);
        }
    }

    /// Adds a row of a table.
    pub fn row<'a>(&mut self, indent: usize, cells: impl IntoIterator<Item = &'a str>) {
        let mut cells: Vec<String> = cells.into_iter().map(str::to_string).collect();
        if let Some(first) = cells.first_mut() {
            first.insert_str(0, &" ".repeat(indent));
        }
        self.lines.push(cells);
    }

    /// The complete text; every line ends with a line break.
    pub fn render(&self) -> String {
        let mut text = String::new();
        for (at, cells) in self.lines.iter().enumerate() {
            let mut line = String::new();
            for (column, cell) in cells.iter().enumerate() {
                line.push_str(cell);
                if column + 1 < cells.len() {
                    let gap = self.width(at, column) - cell.chars().count() + GAP;
                    line.push_str(&" ".repeat(gap));
                }
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    /// The width of a column at a line.
    fn width(&self, at: usize, column: usize) -> usize {
        let has = |line: &&Vec<String>| line.len() > column + 1;
        let above = self.lines[..at].iter().rev().take_while(has);
        let below = self.lines[at..].iter().take_while(has);
        above.chain(below).map(|line| line[column].chars().count()).max().unwrap_or_default()
    }
}

const GAP: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_neighbouring_cells() {
        let mut sheet = Sheet::default();
        sheet.field(0, "Name", "web");
        sheet.field(0, "Labels", "app=web\nversion=v1");
        sheet.field(0, "Annotations", "");
        sheet.line(0, "Conditions:");
        sheet.row(2, ["Type", "Status", "Reason"]);
        sheet.row(2, ["Available", "True", "Enough"]);
        let expected = "Name:         web\nLabels:       app=web\n              version=v1\nAnnotations:  <none>\n\
                        Conditions:\n  Type       Status  Reason\n  Available  True    Enough\n";
        assert_eq!(sheet.render(), expected);
    }
}
