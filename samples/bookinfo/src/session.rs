//! Pure. Sign-in: parses the login form, and parses and writes the session cookie.
//!
//! Anyone may sign in as anyone, without a password. So the cookie is not signed: it proves no more than the form
//! would.

use http::HeaderMap;
use http::header::COOKIE;

/// The user name in a request's session cookie, if it is valid.
pub fn user(headers: &HeaderMap) -> Option<String> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == COOKIE_NAME)
        .and_then(|(_, value)| usable(&decode(value)?))
}

/// The user name in a posted login form, if it is valid.
pub fn from_form(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    text.split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(name, _)| *name == "username")
        .and_then(|(_, value)| usable(&decode(&value.replace('+', " "))?))
}

/// The `Set-Cookie` value that signs `user` in.
pub fn sign_in_cookie(user: &str) -> String {
    format!("{COOKIE_NAME}={}; Path=/; HttpOnly; SameSite=Lax", encode(user))
}

/// The `Set-Cookie` value that signs the user out.
pub fn sign_out_cookie() -> String {
    format!("{COOKIE_NAME}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0")
}

/// A valid name: no control characters and not too long, so that it fits into a header and a page.
fn usable(name: &str) -> Option<String> {
    let name = name.trim();
    let fits = !name.is_empty() && name.chars().count() <= LONGEST_NAME;
    (fits && !name.chars().any(char::is_control)).then(|| name.to_owned())
}

fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            encoded.push(char::from(HEX[usize::from(byte >> 4)]));
            encoded.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
    encoded
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first != b'%' {
            bytes.push(first);
            rest = tail;
            continue;
        }
        let (digits, after) = tail.split_at_checked(2)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

const COOKIE_NAME: &str = "session";
const LONGEST_NAME: usize = 64;
const HEX: &[u8; 16] = b"0123456789ABCDEF";

#[cfg(test)]
mod tests {
    use super::*;

    fn cookies(value: &str) -> HeaderMap {
        [(COOKIE, value.parse().expect("a header value"))].into_iter().collect()
    }

    #[test]
    fn a_login_form_names_the_user() {
        let table: &[(&str, Option<&str>)] = &[
            ("username=jason&passwd=x", Some("jason")),
            ("passwd=x&username=Jane+Doe", Some("Jane Doe")),
            ("username=%3Cb%3E", Some("<b>")),
            ("username=Zo%C3%AB", Some("Zo\u{eb}")),
            ("username=", None),
            ("username=%20", None),
            ("username=a%0Ab", None),
            ("username=%ZZ", None),
            ("username=%+1", None),
            ("username=%4", None),
            ("username=%FF", None),
            ("user=jason", None),
            ("", None),
        ];
        for (body, user) in table {
            assert_eq!(from_form(body.as_bytes()).as_deref(), *user, "{body}");
        }
        assert_eq!(from_form(format!("username={}", "x".repeat(65)).as_bytes()), None);
    }

    #[test]
    fn a_cookie_contains_the_name_of_the_signed_in_user() {
        for name in ["jason", "Jane Doe", "<script>alert('x');</script>", "Zo\u{eb}", "a=b; c"] {
            let cookie = sign_in_cookie(name);
            let sent = cookie.split(';').next().expect("the pair comes first");
            assert_eq!(user(&cookies(&format!("theme=dark; {sent}"))).as_deref(), Some(name));
        }
    }

    #[test]
    fn a_signed_out_or_foreign_cookie_has_no_user() {
        for value in ["session=", "other=jason", "session", "session=%0d%0a"] {
            assert_eq!(user(&cookies(value)), None, "{value}");
        }
        assert!(sign_out_cookie().contains("Max-Age=0"));
    }
}
