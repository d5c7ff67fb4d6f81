//! Pure. Columns of `kubectl get`, and the format of their cells. Kubernetes' own kinds compute some columns; columns
//! of custom kinds are JSON paths, because a CRD supports nothing else.

use serde_json::Value;

/// A column of a kind's table. The object's name is always the first column and is not listed.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Its heading, in capitals.
    pub name: &'static str,
    /// Source of its cells.
    pub cell: Cell,
    /// Whether it is shown with `-o wide` only.
    pub wide: bool,
    /// Its description in the CRD.
    pub description: &'static str,
}

/// Source of a column's cells.
#[derive(Debug, Clone, Copy)]
pub enum Cell {
    /// The value at a JSON path, such as `.spec.hosts`.
    Path(&'static str),
    /// The time since the timestamp at a JSON path.
    Since(&'static str),
    /// A function of the object and of the time, in seconds since 1970.
    Computed(fn(&Value, i64) -> String),
}

/// The column with the age of the object.
pub const AGE: Column = Column {
    name: "AGE",
    cell: Cell::Since(".metadata.creationTimestamp"),
    wide: false,
    description: "When the object was created.",
};

impl Column {
    /// A column with the value at a path.
    pub const fn path(name: &'static str, path: &'static str, description: &'static str) -> Self {
        Self { name, cell: Cell::Path(path), wide: false, description }
    }

    /// A column with a computed cell.
    pub const fn computed(name: &'static str, cell: fn(&Value, i64) -> String) -> Self {
        Self { name, cell: Cell::Computed(cell), wide: false, description: "" }
    }

    /// The same column, shown with `-o wide` only.
    #[must_use]
    pub const fn wide(self) -> Self {
        Self { wide: true, ..self }
    }

    /// The cell of an object at the time `now`, in seconds since 1970.
    pub fn cell(&self, object: &Value, now: i64) -> String {
        match self.cell {
            Cell::Path(path) => printed(at(object, path)),
            Cell::Since(path) => match at(object, path).as_str().and_then(seconds) {
                Some(then) => duration(now - then),
                None => "<unknown>".into(),
            },
            Cell::Computed(cell) => cell(object, now),
        }
    }
}

/// The value at a JSON path of plain names; null if there is none.
pub fn at<'a>(object: &'a Value, path: &str) -> &'a Value {
    path.split('.').filter(|name| !name.is_empty()).fold(object, |value, name| &value[name])
}

/// The text at a path; empty if there is none.
pub fn text<'a>(object: &'a Value, path: &str) -> &'a str {
    at(object, path).as_str().unwrap_or_default()
}

/// The number at a path, or `default`.
pub fn number(object: &Value, path: &str, default: u64) -> u64 {
    at(object, path).as_u64().unwrap_or(default)
}

/// The items of the list at a path.
pub fn items<'a>(object: &'a Value, path: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    at(object, path).as_array().into_iter().flatten()
}

/// A text, or `otherwise` if it is empty.
pub fn or(text: &str, otherwise: &str) -> String {
    if text.is_empty() { otherwise.into() } else { text.into() }
}

/// Texts, separated by commas; `<none>` for an empty list.
pub fn listed<T: AsRef<str>>(texts: impl Iterator<Item = T>) -> String {
    let mut all = String::new();
    for text in texts.filter(|text| !text.as_ref().is_empty()) {
        if !all.is_empty() {
            all.push(',');
        }
        all.push_str(text.as_ref());
    }
    or(&all, "<none>")
}

/// Labels as `name=value,…`.
pub fn pairs(object: &Value, path: &str) -> String {
    let entries = at(object, path).as_object().into_iter().flatten();
    listed(entries.map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default())))
}

/// Parses a timestamp of Kubernetes into seconds since 1970.
pub fn seconds(text: &str) -> Option<i64> {
    let format = &time::format_description::well_known::Rfc3339;
    time::OffsetDateTime::parse(text, format).ok().map(time::OffsetDateTime::unix_timestamp)
}

/// Formats a duration as kubectl does: in two units if it is short, in one if it is long.
pub fn duration(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let (days, years) = (hours / 24, hours / 24 / 365);
    let two = |whole: i64, unit: &str, rest: i64, of: &str| match rest {
        0 => format!("{whole}{unit}"),
        rest => format!("{whole}{unit}{rest}{of}"),
    };
    match () {
        () if seconds < 120 => format!("{seconds}s"),
        () if minutes < 10 => two(minutes, "m", seconds % 60, "s"),
        () if hours < 3 => format!("{minutes}m"),
        () if hours < 8 => two(hours, "h", minutes % 60, "m"),
        () if hours < 48 => format!("{hours}h"),
        () if days < 8 => two(days, "d", hours % 24, "h"),
        () if years < 2 => format!("{days}d"),
        () if years < 8 => two(years, "y", days % 365, "d"),
        () => format!("{years}y"),
    }
}

fn printed(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn durations_are_formatted_as_in_kubectl() {
        let (minute, hour, day) = (60, 3600, 86_400);
        let table = [
            (-5, "0s"),
            (119, "119s"),
            (2 * minute, "2m"),
            (9 * minute + 59, "9m59s"),
            (10 * minute + 1, "10m"),
            (3 * hour - 1, "179m"),
            (3 * hour + minute, "3h1m"),
            (8 * hour + minute, "8h"),
            (2 * day, "2d"),
            (2 * day + hour, "2d1h"),
            (8 * day + hour, "8d"),
            (800 * day, "2y70d"),
            (3000 * day, "8y"),
        ];
        for (seconds, expected) in table {
            assert_eq!(duration(seconds), expected, "{seconds}");
        }
    }

    #[test]
    fn cells_are_values_lists_ages_or_nothing() {
        let object = json!({"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": {"hosts": ["a", "b"], "n": 3}});
        let cell = |path| Column::path("X", path, "").cell(&object, 0);
        assert_eq!((cell(".spec.hosts"), cell(".spec.n")), (r#"["a","b"]"#.to_owned(), "3".to_owned()));
        assert_eq!(cell(".spec.none.deeper"), "");
        assert_eq!(AGE.cell(&object, 1_767_225_690), "90s");
        assert_eq!(AGE.cell(&json!({}), 0), "<unknown>");
    }
}
