//! Pure. Matchers made ready: names parsed, regular expressions compiled once, so that a request only compares.

use super::InvalidConfig;
use crate::flow::head::Head;
use api::model::matcher::{HeaderMatch, HeaderTest, Pattern, QueryMatch, StringMatch};
use http::HeaderName;
use regex::bytes::{Regex, RegexBuilder};
use std::borrow::Cow;

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
            Pattern::Regex(pattern) => Test::Regex(whole(pattern)?),
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
            Test::Regex(regex) => regex.is_match(value),
        }
    }
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

    /// The value in a request; several values of one header are joined by commas.
    pub fn value<'a>(&self, head: &Head<'a>) -> Option<Cow<'a, [u8]>> {
        Some(match self {
            Self::Method => head.method.as_str().as_bytes().into(),
            Self::Path => head.target.as_bytes().into(),
            Self::Authority => head.authority.as_bytes().into(),
            Self::Scheme => head.scheme.as_bytes().into(),
            Self::Header(name) => {
                let mut values = head.headers.get_all(name).iter();
                let first = values.next()?.as_bytes();
                let mut joined = Cow::Borrowed(first);
                for more in values {
                    let joined = joined.to_mut();
                    joined.push(b',');
                    joined.extend_from_slice(more.as_bytes());
                }
                joined
            }
        })
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

    /// Whether a request meets it.
    pub fn matches(&self, head: &Head<'_>) -> bool {
        let value = self.field.value(head);
        let value = match (&self.test, value) {
            (ValueTest::Present(present), value) => {
                return (value.is_some() == *present) != self.invert;
            }
            (_, Some(value)) => value,
            (_, None) if self.missing_as_empty => Cow::Borrowed(&b""[..]),
            // Envoy: a value matcher never holds for a missing header, inverted or not.
            (_, None) => return false,
        };
        let matches = match &self.test {
            ValueTest::Present(_) => true,
            ValueTest::Text(text) => text.matches(&value),
            ValueTest::Range(start, end) => std::str::from_utf8(&value)
                .ok()
                .and_then(|text| text.parse::<i64>().ok())
                .is_some_and(|number| (*start..*end).contains(&number)),
        };
        matches != self.invert
    }
}

/// A condition on a query parameter.
#[derive(Debug)]
pub struct QueryCondition {
    name: Box<str>,
    value: Option<Text>,
}

impl QueryCondition {
    /// Makes a condition ready.
    pub fn compile(from: &QueryMatch) -> Result<Self, InvalidConfig> {
        let value = from.value.as_ref().map(Text::compile).transpose()?;
        Ok(Self { name: from.name.as_str().into(), value })
    }

    /// Whether a query meets it: the first parameter of that name counts.
    pub fn matches(&self, query: &str) -> bool {
        let parameters = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let found = parameters.into_iter().find(|(name, _)| *name == &*self.name);
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
    fn text_is_compared_as_its_pattern_says() {
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
    fn values_of_a_repeated_header_are_joined() {
        let mut headers = HeaderMap::new();
        headers.append("x", HeaderValue::from_static("a"));
        headers.append("x", HeaderValue::from_static("b"));
        let head =
            Head { method: &Method::GET, authority: "h", target: "/", scheme: "http", headers: &headers };
        assert_eq!(Field::parse("x").unwrap().value(&head).unwrap(), &b"a,b"[..]);
    }

    #[test]
    fn the_first_query_parameter_of_a_name_counts() {
        let condition = |value: Option<&str>| {
            let value = value.map(StringMatch::exact);
            QueryCondition::compile(&QueryMatch { name: "a".into(), value }).unwrap()
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
