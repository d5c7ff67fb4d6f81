//! Pure. Matchers made ready: names parsed, regular expressions compiled once, so that a request only compares.

use crate::flow::head::Head;
use api::model::matcher::{HeaderMatch, HeaderTest, Pattern, QueryMatch, StringMatch};
use http::HeaderName;
use regex::bytes::{Regex, RegexBuilder};
use std::error::Error;

/// Why a resource cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidConfig(pub String);

impl InvalidConfig {
    /// An error with the whole chain of its causes.
    pub fn chain(error: impl Error) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            text = format!("{text}: {inner}");
            cause = inner.source();
        }
        Self(text)
    }
}

/// A comparison of text.
#[derive(Debug)]
pub struct Text {
    test: Test,
    ignore_case: bool,
}

#[derive(Debug)]
enum Test {
    Exact(Box<[u8]>),
    Prefix(Box<[u8]>),
    Suffix(Box<[u8]>),
    Contains(Box<[u8]>),
    /// One of several texts.
    OneOf(Box<[Box<[u8]>]>),
    Regex(Regex),
}

impl Text {
    /// Makes a matcher ready.
    pub fn compile(from: &StringMatch) -> Result<Self, InvalidConfig> {
        let bytes = |text: &str| text.as_bytes().into();
        let test = match &from.pattern {
            Pattern::Exact(text) => Test::Exact(bytes(text)),
            Pattern::Prefix(text) => Test::Prefix(bytes(text)),
            Pattern::Suffix(text) => Test::Suffix(bytes(text)),
            Pattern::Contains(text) => Test::Contains(bytes(text)),
            Pattern::Regex(pattern) => match alternatives(pattern) {
                Some(texts) => Test::OneOf(texts),
                None => Test::Regex(whole(pattern)?),
            },
        };
        Ok(Self { test, ignore_case: from.ignore_case })
    }

    /// Whether it matches.
    pub fn matches(&self, value: &[u8]) -> bool {
        let same = |a: &[u8], b: &[u8]| if self.ignore_case { a.eq_ignore_ascii_case(b) } else { a == b };
        match &self.test {
            Test::Exact(text) => same(value, text),
            Test::Prefix(text) => value.len() >= text.len() && same(&value[..text.len()], text),
            Test::Suffix(text) => value.len() >= text.len() && same(&value[value.len() - text.len()..], text),
            Test::Contains(text) => text.is_empty() || value.windows(text.len()).any(|part| same(part, text)),
            Test::OneOf(texts) => texts.iter().any(|text| **text == *value),
            Test::Regex(regex) => regex.is_match(value),
        }
    }
}

/// The texts of an expression such as `GET|POST`, which are compared faster than searched.
fn alternatives(pattern: &str) -> Option<Box<[Box<[u8]>]>> {
    let literal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '/' | ':' | '|');
    pattern.chars().all(literal).then(|| pattern.split('|').map(|text| text.as_bytes().into()).collect())
}

/// A regular expression that has to match a whole text, as Envoy's do.
pub fn whole(pattern: &str) -> Result<Regex, InvalidConfig> {
    compile(&format!("^(?:{pattern})$"), pattern)
}

/// A regular expression that may match anywhere.
pub fn anywhere(pattern: &str) -> Result<Regex, InvalidConfig> {
    compile(pattern, pattern)
}

fn compile(text: &str, shown: &str) -> Result<Regex, InvalidConfig> {
    RegexBuilder::new(text)
        .size_limit(MAX_REGEX)
        .build()
        .map_err(|error| InvalidConfig(format!("regular expression `{shown}`: {error}")))
}

/// A header or pseudo header.
#[derive(Debug)]
pub enum Field {
    /// `:method`
    Method,
    /// `:path`, with its query.
    Path,
    /// `:authority`
    Authority,
    /// `:scheme`
    Scheme,
    /// A header.
    Header(HeaderName),
}

impl Field {
    /// Parses a name.
    pub fn parse(name: &str) -> Result<Self, InvalidConfig> {
        Ok(match name {
            ":method" => Self::Method,
            ":path" => Self::Path,
            ":authority" | "host" => Self::Authority,
            ":scheme" => Self::Scheme,
            other => Self::Header(header_name(other)?),
        })
    }

    /// Whether a request has it.
    fn is_there(&self, head: &Head<'_>) -> bool {
        match self {
            Self::Header(name) => head.headers.contains_key(name),
            _ => true,
        }
    }

    /// The value of a pseudo header.
    fn text<'a>(&self, head: &Head<'a>) -> &'a str {
        match self {
            Self::Method => head.method.as_str(),
            Self::Path => head.target,
            Self::Authority => head.authority,
            Self::Scheme => head.scheme,
            Self::Header(_) => "",
        }
    }
}

/// Parses the name of a header.
pub fn header_name(name: &str) -> Result<HeaderName, InvalidConfig> {
    name.parse().map_err(|_| InvalidConfig(format!("`{name}` is not a header name")))
}

/// A condition on a header.
#[derive(Debug)]
pub struct HeaderCondition {
    field: Field,
    test: ValueTest,
    invert: bool,
    missing_as_empty: bool,
}

#[derive(Debug)]
enum ValueTest {
    Present(bool),
    Text(Text),
    Range(i64, i64),
}

impl HeaderCondition {
    /// Makes a condition ready.
    pub fn compile(from: &HeaderMatch) -> Result<Self, InvalidConfig> {
        let test = match &from.test {
            HeaderTest::Present(present) => ValueTest::Present(*present),
            HeaderTest::Text(text) => ValueTest::Text(Text::compile(text)?),
            HeaderTest::Range(start, end) => ValueTest::Range(*start, *end),
        };
        Ok(Self {
            field: Field::parse(&from.name)?,
            test,
            invert: from.invert,
            missing_as_empty: from.missing_as_empty,
        })
    }

    /// Whether a request meets it: one value of a header that is there more than once is enough.
    pub fn matches(&self, head: &Head<'_>) -> bool {
        if let ValueTest::Present(present) = &self.test {
            return (self.field.is_there(head) == *present) != self.invert;
        }
        let matches = match &self.field {
            Field::Header(name) if head.headers.contains_key(name) => {
                head.headers.get_all(name).iter().any(|value| self.holds(value.as_bytes()))
            }
            Field::Header(_) if self.missing_as_empty => self.holds(b""),
            // Envoy: a value matcher never holds for a missing header, inverted or not.
            Field::Header(_) => return false,
            pseudo => self.holds(pseudo.text(head).as_bytes()),
        };
        matches != self.invert
    }

    fn holds(&self, value: &[u8]) -> bool {
        match &self.test {
            ValueTest::Present(_) => true,
            ValueTest::Text(text) => text.matches(value),
            ValueTest::Range(start, end) => std::str::from_utf8(value)
                .ok()
                .and_then(|text| text.parse::<i64>().ok())
                .is_some_and(|number| (*start..*end).contains(&number)),
        }
    }
}

/// A condition on a query parameter.
#[derive(Debug)]
pub struct QueryCondition {
    name: Box<str>,
    value: Option<Text>,
    absent: bool,
}

impl QueryCondition {
    /// Makes a condition ready.
    pub fn compile(from: &QueryMatch) -> Result<Self, InvalidConfig> {
        let value = from.value.as_ref().map(Text::compile).transpose()?;
        Ok(Self { name: from.name.as_str().into(), value, absent: from.absent })
    }

    /// Whether a query meets it: the first parameter of that name counts.
    pub fn matches(&self, query: &str) -> bool {
        let parameters = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let found = parameters.into_iter().find(|(name, _)| *name == &*self.name);
        if self.absent {
            return found.is_none();
        }
        found.is_some_and(|(_, value)| self.value.as_ref().is_none_or(|text| text.matches(value.as_bytes())))
    }
}

/// Memory that one compiled expression may take.
const MAX_REGEX: usize = 2 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, HeaderValue, Method};

    fn text(pattern: Pattern, ignore_case: bool) -> Text {
        Text::compile(&StringMatch { pattern, ignore_case }).unwrap()
    }

    #[test]
    fn patterns_match_texts() {
        let cases = [
            (Pattern::Exact("ab".into()), false, "ab", true),
            (Pattern::Exact("ab".into()), false, "AB", false),
            (Pattern::Exact("ab".into()), true, "AB", true),
            (Pattern::Prefix("ab".into()), false, "abc", true),
            (Pattern::Prefix("ab".into()), false, "a", false),
            (Pattern::Suffix("bc".into()), true, "aBC", true),
            (Pattern::Contains("b".into()), false, "abc", true),
            (Pattern::Contains(String::new()), false, "", true),
            (Pattern::Regex("a.c".into()), false, "abc", true),
            (Pattern::Regex("a.c".into()), false, "abcd", false),
            (Pattern::Regex("a|b".into()), false, "bx", false),
            (Pattern::Regex("a|bc".into()), false, "bc", true),
            (Pattern::Regex("a|bc".into()), false, "BC", false),
            (Pattern::Regex("a|".into()), false, "", true),
        ];
        for (pattern, ignore_case, value, expected) in cases {
            let shown = format!("{pattern:?} {value}");
            assert_eq!(text(pattern, ignore_case).matches(value.as_bytes()), expected, "{shown}");
        }
    }

    #[test]
    fn a_broken_expression_is_named() {
        let broken = StringMatch { pattern: Pattern::Regex("(".into()), ignore_case: false };
        assert!(Text::compile(&broken).unwrap_err().to_string().contains("`(`"));
    }

    fn meets(test: HeaderTest, invert: bool, missing_as_empty: bool, value: Option<&'static str>) -> bool {
        let mut headers = HeaderMap::new();
        if let Some(value) = value {
            headers.insert("x", HeaderValue::from_static(value));
        }
        let head =
            Head { method: &Method::GET, authority: "h", target: "/", scheme: "http", headers: &headers };
        let condition = HeaderMatch { name: "x".into(), test, invert, missing_as_empty };
        HeaderCondition::compile(&condition).unwrap().matches(&head)
    }

    #[test]
    fn header_conditions_follow_envoy() {
        let exact = || HeaderTest::Text(StringMatch::exact("a"));
        let cases = [
            (exact(), false, false, Some("a"), true),
            (exact(), true, false, Some("a"), false),
            (exact(), true, false, Some("b"), true),
            (exact(), true, false, None, false),
            (exact(), true, true, None, true),
            (HeaderTest::Present(true), false, false, Some(""), true),
            (HeaderTest::Present(true), false, false, None, false),
            (HeaderTest::Present(false), false, false, None, true),
            (HeaderTest::Present(true), true, false, None, true),
            (HeaderTest::Range(1, 3), false, false, Some("2"), true),
            (HeaderTest::Range(1, 3), false, false, Some("3"), false),
            (HeaderTest::Range(1, 3), false, false, Some("two"), false),
        ];
        for (test, invert, empty, value, expected) in cases {
            let shown = format!("{test:?} invert={invert} empty={empty} {value:?}");
            assert_eq!(meets(test, invert, empty, value), expected, "{shown}");
        }
    }

    #[test]
    fn one_value_of_a_repeated_header_is_enough() {
        let mut headers = HeaderMap::new();
        headers.append("x", HeaderValue::from_static("a"));
        headers.append("x", HeaderValue::from_static("b"));
        let head =
            Head { method: &Method::GET, authority: "h", target: "/", scheme: "http", headers: &headers };
        for (text, invert, expected) in [
            ("a", false, true),
            ("b", false, true),
            ("a,b", false, false),
            ("b", true, false),
            ("c", true, true),
        ] {
            let test = HeaderTest::Text(StringMatch::exact(text));
            let from = HeaderMatch { name: "x".into(), test, invert, missing_as_empty: false };
            let found = HeaderCondition::compile(&from).unwrap().matches(&head);
            assert_eq!(found, expected, "{text} invert={invert}");
        }
    }

    #[test]
    fn the_first_query_parameter_of_a_name_counts() {
        let condition = |value: Option<&str>| {
            let value = value.map(StringMatch::exact);
            QueryCondition::compile(&QueryMatch { name: "a".into(), value, absent: false }).unwrap()
        };
        for (value, query, expected) in [
            (Some("1"), "a=1", true),
            (Some("1"), "b=2&a=1&a=2", true),
            (Some("2"), "a=1&a=2", false),
            (None, "a", true),
            (None, "ab=1", false),
            (None, "", false),
        ] {
            assert_eq!(condition(value).matches(query), expected, "{value:?} {query}");
        }
    }
}
