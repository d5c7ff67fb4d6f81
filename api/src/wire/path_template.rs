//! Pure. Envoy's path templates (`envoy.path.match.uri_template`), read as regular expressions over the path: `*` is one
//! segment, `**` any number of them, `{name}` and `{name=pattern}` a variable, whose value nothing uses here.

use super::any::typed;
use super::refusal::{At, Refusal, required};
use super::xds::Any;
use crate::model::matcher::{Pattern, StringMatch};
use prost::{Message, Name};

/// The condition of a template.
pub(super) fn decode(config: Option<Any>) -> Result<StringMatch, Refusal> {
    let template: Template = typed(&required(config, "typed_config")?)?;
    let pattern = regex(&template.path_template).map_err(Refusal::new).at("path_template");
    let pattern = Pattern::Regex(pattern.at("typed_config")?);
    Ok(StringMatch { pattern, ignore_case: false })
}

#[derive(Clone, PartialEq, Message)]
struct Template {
    #[prost(string, tag = "1")]
    path_template: String,
}

impl Name for Template {
    const NAME: &'static str = "UriTemplateMatchConfig";
    const PACKAGE: &'static str = "envoy.extensions.path.match.uri_template.v3";

    fn type_url() -> String {
        format!("type.googleapis.com/{}", Self::full_name())
    }
}

/// The regular expression of a template, over a path without its query.
fn regex(template: &str) -> Result<String, String> {
    if !template.starts_with('/') {
        return Err("does not begin with a slash".to_owned());
    }
    let (mut out, mut rest, mut ended) = (String::new(), template, false);
    while let Some(next) = rest.chars().next() {
        let operator = ["**", "*"].into_iter().find(|operator| rest.starts_with(operator));
        if let Some(operator) = operator {
            if std::mem::replace(&mut ended, operator == "**") {
                return Err("has an operator after **".to_owned());
            }
            out += if operator == "**" { SEGMENTS } else { SEGMENT };
            rest = &rest[operator.len()..];
        } else if next == '{' {
            let (variable, after) = rest[1..].split_once('}').ok_or("has a brace that is not closed")?;
            let pattern = variable.split_once('=').map_or("*", |(_, pattern)| pattern);
            // The variable stands for its pattern, which has no variables.
            let inner = regex(&format!("/{pattern}"))?;
            out += inner.strip_prefix('/').unwrap_or_default();
            ended |= pattern.contains("**");
            rest = after;
        } else if next == '}' {
            return Err("has a brace that was not opened".to_owned());
        } else {
            if SPECIAL.contains(next) {
                out.push('\\');
            }
            out.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    Ok(out)
}

/// The characters of a path segment, as Envoy has them.
const SEGMENT: &str = "[a-zA-Z0-9\\-._~%!$&'()+,;:@=]+";
const SEGMENTS: &str = "[a-zA-Z0-9\\-._~%!$&'()+,;:@=/]*";
const SPECIAL: &str = "$()+.[]^|?\\";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_become_regular_expressions() {
        for (template, expected) in [
            ("/a/*/b", format!("/a/{SEGMENT}/b")),
            ("/a/**", format!("/a/{SEGMENTS}")),
            ("/a/*/**.mpd", format!("/a/{SEGMENT}/{SEGMENTS}\\.mpd")),
            ("/{one}/x+y", format!("/{SEGMENT}/x\\+y")),
            ("/{all=a/*/**}", format!("/a/{SEGMENT}/{SEGMENTS}")),
        ] {
            assert_eq!(regex(template), Ok(expected), "{template}");
        }
        for template in ["", "a", "/**/*", "/{a", "/a}", "/{a=**}/*"] {
            assert!(regex(template).is_err(), "{template}");
        }
    }
}
