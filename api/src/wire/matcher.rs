//! Pure. String, header and query matchers, and changes to headers.

use super::refusal::{At, Refusal, each, nothing_left, refuse, required};
use super::scalar::{enumeration, truth};
use crate::model::matcher::{
    HeaderAction, HeaderMatch, HeaderMutations, HeaderTest, HeaderWrite, Pattern, QueryMatch, StringMatch,
};
use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::config::core::v3::{HeaderValue, HeaderValueOption};
use envoy_types::pb::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use envoy_types::pb::envoy::config::route::v3::query_parameter_matcher::QueryParameterMatchSpecifier;
use envoy_types::pb::envoy::config::route::v3::{HeaderMatcher, QueryParameterMatcher};
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_types::pb::envoy::r#type::matcher::v3::{PathMatcher, RegexMatcher, StringMatcher, path_matcher};
use envoy_types::pb::envoy::r#type::v3::Int64Range;

pub(super) fn string(wire: StringMatcher) -> Result<StringMatch, Refusal> {
    let pattern = match wire.match_pattern {
        Some(MatchPattern::Exact(text)) => Pattern::Exact(text),
        Some(MatchPattern::Prefix(text)) => Pattern::Prefix(text),
        Some(MatchPattern::Suffix(text)) => Pattern::Suffix(text),
        Some(MatchPattern::Contains(text)) => Pattern::Contains(text),
        Some(MatchPattern::SafeRegex(regex)) => Pattern::Regex(regex.regex),
        Some(MatchPattern::Custom(_)) => return Err(Refusal::unsupported("custom")),
        None => return refuse("has no pattern"),
    };
    Ok(StringMatch { pattern, ignore_case: wire.ignore_case })
}

pub(super) fn wire_string(model: &StringMatch) -> StringMatcher {
    let pattern = match &model.pattern {
        Pattern::Exact(text) => MatchPattern::Exact(text.clone()),
        Pattern::Prefix(text) => MatchPattern::Prefix(text.clone()),
        Pattern::Suffix(text) => MatchPattern::Suffix(text.clone()),
        Pattern::Contains(text) => MatchPattern::Contains(text.clone()),
        Pattern::Regex(text) => MatchPattern::SafeRegex(wire_regex(text)),
    };
    StringMatcher { ignore_case: model.ignore_case, match_pattern: Some(pattern) }
}

/// A regular expression. The engine is omitted because RE2 is the only one.
pub(super) fn wire_regex(text: &str) -> RegexMatcher {
    RegexMatcher { regex: text.to_owned(), engine_type: None }
}

pub(super) fn path(wire: PathMatcher) -> Result<StringMatch, Refusal> {
    match wire.rule {
        Some(path_matcher::Rule::Path(matcher)) => string(matcher).at("path"),
        None => required(None, "path"),
    }
}

pub(super) fn wire_path(model: &StringMatch) -> PathMatcher {
    PathMatcher { rule: Some(path_matcher::Rule::Path(wire_string(model))) }
}

#[allow(deprecated)]
pub(super) fn header(wire: HeaderMatcher) -> Result<HeaderMatch, Refusal> {
    let text = |pattern| Ok(HeaderTest::Text(StringMatch { pattern, ignore_case: false }));
    let test = match wire.header_match_specifier {
        None => Ok(HeaderTest::Present(true)),
        Some(HeaderMatchSpecifier::PresentMatch(present)) => Ok(HeaderTest::Present(present)),
        Some(HeaderMatchSpecifier::StringMatch(matcher)) => {
            string(matcher).map(HeaderTest::Text).at("string_match")
        }
        Some(HeaderMatchSpecifier::RangeMatch(range)) => Ok(HeaderTest::Range(range.start, range.end)),
        Some(HeaderMatchSpecifier::ExactMatch(value)) => text(Pattern::Exact(value)),
        Some(HeaderMatchSpecifier::PrefixMatch(value)) => text(Pattern::Prefix(value)),
        Some(HeaderMatchSpecifier::SuffixMatch(value)) => text(Pattern::Suffix(value)),
        Some(HeaderMatchSpecifier::ContainsMatch(value)) => text(Pattern::Contains(value)),
        Some(HeaderMatchSpecifier::SafeRegexMatch(regex)) => text(Pattern::Regex(regex.regex)),
    }?;
    if wire.name.is_empty() {
        return required(None, "name");
    }
    Ok(HeaderMatch {
        name: wire.name.to_ascii_lowercase(),
        test,
        invert: wire.invert_match,
        missing_as_empty: wire.treat_missing_header_as_empty,
    })
}

pub(super) fn wire_header(model: &HeaderMatch) -> HeaderMatcher {
    let test = match &model.test {
        HeaderTest::Present(present) => HeaderMatchSpecifier::PresentMatch(*present),
        HeaderTest::Text(matcher) => HeaderMatchSpecifier::StringMatch(wire_string(matcher)),
        HeaderTest::Range(start, end) => {
            HeaderMatchSpecifier::RangeMatch(Int64Range { start: *start, end: *end })
        }
    };
    HeaderMatcher {
        name: model.name.clone(),
        invert_match: model.invert,
        treat_missing_header_as_empty: model.missing_as_empty,
        header_match_specifier: Some(test),
    }
}

pub(super) fn query(wire: QueryParameterMatcher) -> Result<QueryMatch, Refusal> {
    let (value, absent) = match wire.query_parameter_match_specifier {
        None => (None, false),
        Some(QueryParameterMatchSpecifier::PresentMatch(present)) => (None, !present),
        Some(QueryParameterMatchSpecifier::StringMatch(matcher)) => {
            (Some(string(matcher).at("string_match")?), false)
        }
    };
    Ok(QueryMatch { name: wire.name, value, absent })
}

pub(super) fn wire_query(model: &QueryMatch) -> QueryParameterMatcher {
    let test = match &model.value {
        None => QueryParameterMatchSpecifier::PresentMatch(!model.absent),
        Some(matcher) => QueryParameterMatchSpecifier::StringMatch(wire_string(matcher)),
    };
    QueryParameterMatcher { name: model.name.clone(), query_parameter_match_specifier: Some(test) }
}

/// Decodes changes to headers; `fields` are the names of the lists in the message, for refusals.
pub(super) fn mutations(
    add: Vec<HeaderValueOption>,
    remove: Vec<String>,
    field: &str,
) -> Result<HeaderMutations, Refusal> {
    let write = each(add, field, header_write)?.into_iter().flatten().collect();
    Ok(HeaderMutations { remove, write })
}

/// Encodes changes to headers: the headers to add and the names to remove.
pub(super) fn wire_mutations(model: &HeaderMutations) -> (Vec<HeaderValueOption>, Vec<String>) {
    (model.write.iter().map(wire_header_write).collect(), model.remove.clone())
}

/// Decodes a header; `None` for an empty value without `keep_empty_value`, which Envoy does not write.
fn header_write(mut wire: HeaderValueOption) -> Result<Option<HeaderWrite>, Refusal> {
    let header = required(wire.header.take(), "header")?;
    let value = if header.value.is_empty() {
        String::from_utf8(header.raw_value)
            .or_else(|_| refuse("is not UTF-8").at("raw_value").at("header"))?
    } else {
        header.value
    };
    if value.is_empty() && !wire.keep_empty_value {
        return Ok(None);
    }
    Ok(Some(HeaderWrite { name: header.key.to_ascii_lowercase(), value, action: action(&mut wire)? }))
}

#[allow(deprecated)]
fn action(wire: &mut HeaderValueOption) -> Result<HeaderAction, Refusal> {
    wire.keep_empty_value = false;
    let action = match enumeration(std::mem::take(&mut wire.append_action), "append_action")? {
        HeaderAppendAction::AppendIfExistsOrAdd if !truth(wire.append.take(), true) => HeaderAction::Set,
        HeaderAppendAction::AppendIfExistsOrAdd => HeaderAction::Append,
        HeaderAppendAction::AddIfAbsent => HeaderAction::AddIfAbsent,
        HeaderAppendAction::OverwriteIfExistsOrAdd => HeaderAction::Set,
        HeaderAppendAction::OverwriteIfExists => HeaderAction::SetIfPresent,
    };
    nothing_left(wire)?;
    Ok(action)
}

fn wire_header_write(model: &HeaderWrite) -> HeaderValueOption {
    let action = match model.action {
        HeaderAction::Append => HeaderAppendAction::AppendIfExistsOrAdd,
        HeaderAction::Set => HeaderAppendAction::OverwriteIfExistsOrAdd,
        HeaderAction::AddIfAbsent => HeaderAppendAction::AddIfAbsent,
        HeaderAction::SetIfPresent => HeaderAppendAction::OverwriteIfExists,
    };
    HeaderValueOption {
        header: Some(HeaderValue { key: model.name.clone(), value: model.value.clone(), raw_value: vec![] }),
        append_action: action.into(),
        keep_empty_value: model.value.is_empty(),
        ..HeaderValueOption::default()
    }
}
