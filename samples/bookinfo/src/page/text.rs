//! Pure. Texts of the pages: who answered, what is missing, and any text made safe for HTML.

/// How to name the one who answered: always as `service-version`, and the pod where it is known.
pub fn server(service: &str, version: Option<&str>, pod: &str) -> String {
    let Some(version) = version else {
        return if pod.is_empty() { service.to_owned() } else { pod.to_owned() };
    };
    let name = format!("{service}-{version}");
    if pod.is_empty() || pod == name {
        return name;
    }
    let named = pod.strip_prefix(&name).is_some_and(|rest| rest.starts_with('-'));
    if named { pod.to_owned() } else { format!("{name} ({pod})") }
}

/// What to tell people when `part` (details, reviews, ratings) is missing.
pub fn unavailable(part: &str) -> String {
    format!("Sorry, product {part} are currently unavailable for this book.")
}

/// `text` as HTML text or attribute value.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(letter),
        }
    }
    escaped
}
