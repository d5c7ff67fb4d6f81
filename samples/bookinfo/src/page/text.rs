//! Pure. Texts of the pages: the name of the server, messages for missing parts, and HTML escaping.

/// The name of a server: `service-version`, with the pod if it is known.
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

/// The message for a missing part (details, reviews, ratings).
pub fn unavailable(part: &str) -> String {
    format!("Sorry, product {part} are currently unavailable for this book.")
}

/// Escapes `text` for HTML text and attribute values.
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
