//! Pure. The parser of label selectors on a command line, such as `app in (a,b),tier!=db,!old`, with the API server's
//! grammar and error messages.

use std::str::FromStr;

use crate::resource::selector::requirement::{Operator, Requirement, RequirementError, Selector, check_key};

/// Why a text is not a label selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// Another token was expected.
    #[error("unable to parse requirement: found '{found}', expected: {expected}")]
    Requirement {
        /// The token in the text.
        found: String,
        /// The possible tokens.
        expected: &'static str,
    },
    /// Another token was expected between requirements.
    #[error("found '{found}', expected: {expected}")]
    Between {
        /// The token in the text.
        found: String,
        /// The possible tokens.
        expected: &'static str,
    },
    /// A key, an operator and its values do not fit together.
    #[error("unable to parse requirement: {0}")]
    Invalid(#[from] RequirementError),
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        Parser { tokens: scan(text), at: 0 }.selector()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Symbol(&'static str),
    /// A sequence of symbols that is not an operator.
    Odd(String),
    End,
}

impl Token {
    fn text(&self) -> String {
        match self {
            Self::Word(text) | Self::Odd(text) => text.clone(),
            Self::Symbol(text) => (*text).to_string(),
            Self::End => String::new(),
        }
    }
}

fn scan(text: &str) -> Vec<Token> {
    let is_symbol = |c: char| "=!(),<>".contains(c);
    let is_space = |c: char| " \t\r\n".contains(c);
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(is_space);
        let Some(first) = rest.chars().next() else {
            tokens.push(Token::End);
            return tokens;
        };
        let (token, length) = if is_symbol(first) {
            match SYMBOLS.into_iter().find(|symbol| rest.starts_with(symbol)) {
                Some(symbol) => (Token::Symbol(symbol), symbol.len()),
                None => (Token::Odd(first.into()), first.len_utf8()),
            }
        } else {
            let end = rest.find(|c| is_symbol(c) || is_space(c)).unwrap_or(rest.len());
            (Token::Word(rest[..end].into()), end)
        };
        tokens.push(token);
        rest = &rest[length..];
    }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn selector(mut self) -> Result<Selector, SelectorError> {
        let mut requirements = Vec::new();
        if *self.peek() == Token::End {
            return Ok(Selector::default());
        }
        loop {
            match self.peek() {
                Token::Word(_) | Token::Symbol("!") => requirements.push(self.requirement()?),
                other => {
                    let expected = if requirements.is_empty() {
                        "!, identifier, or 'end of string'"
                    } else {
                        "identifier after ','"
                    };
                    return Err(SelectorError::Between { found: other.text(), expected });
                }
            }
            match self.next() {
                Token::End => return Ok(Selector(requirements)),
                Token::Symbol(",") => {}
                other => {
                    let expected = "',' or 'end of string'";
                    return Err(SelectorError::Between { found: other.text(), expected });
                }
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        let negated = *self.peek() == Token::Symbol("!");
        if negated {
            self.next();
        }
        let key = match self.next() {
            Token::Word(key) => key,
            other => return Err(unexpected(&other, "identifier")),
        };
        check_key("key", &key)?;
        if matches!(self.peek(), Token::End | Token::Symbol(",")) {
            let operator = if negated { Operator::DoesNotExist } else { Operator::Exists };
            return Ok(Requirement::new("", &key, operator, Vec::new())?);
        }
        let operator = match self.next() {
            Token::Word(word) if word == "in" => Operator::In,
            Token::Word(word) if word == "notin" => Operator::NotIn,
            Token::Symbol("=" | "==") => Operator::Equals,
            Token::Symbol("!=") => Operator::NotEquals,
            Token::Symbol(">") => Operator::GreaterThan,
            Token::Symbol("<") => Operator::LessThan,
            other => return Err(unexpected(&other, "in, notin, =, ==, !=, gt, lt")),
        };
        let values = match operator {
            Operator::In | Operator::NotIn => self.values()?,
            _ => vec![self.exact_value()?],
        };
        Ok(Requirement::new("", &key, operator, values)?)
    }

    /// A list of values such as `(a,b)`. Nothing between two commas, or before or after a comma, is an empty value.
    fn values(&mut self) -> Result<Vec<String>, SelectorError> {
        match self.next() {
            Token::Symbol("(") => {}
            other => return Err(unexpected(&other, "'('")),
        }
        let mut values = Vec::new();
        loop {
            let value = match self.peek() {
                Token::Word(_) => self.next().text(),
                Token::Symbol("," | ")") => String::new(),
                other => return Err(unexpected(other, "',', ')' or identifier")),
            };
            if !values.contains(&value) {
                values.push(value);
            }
            match self.next() {
                Token::Symbol(")") => break,
                Token::Symbol(",") => {}
                other => return Err(unexpected(&other, "',' or ')'")),
            }
        }
        values.sort_unstable();
        Ok(values)
    }

    fn exact_value(&mut self) -> Result<String, SelectorError> {
        match self.peek() {
            Token::End | Token::Symbol(",") => Ok(String::new()),
            Token::Word(_) => Ok(self.next().text()),
            other => Err(unexpected(other, "identifier")),
        }
    }

    fn peek(&self) -> &Token {
        self.tokens.get(self.at).unwrap_or(&Token::End)
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.at += 1;
        token
    }
}

fn unexpected(found: &Token, expected: &'static str) -> SelectorError {
    SelectorError::Requirement { found: found.text(), expected }
}

/// Longer symbols come first.
const SYMBOLS: [&str; 9] = ["==", "!=", "=", "!", "(", ")", ",", "<", ">"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_parse_as_in_kubernetes() {
        let cases = [
            ("", ""),
            ("  ", ""),
            ("app=web", "app=web"),
            ("app==web", "app=web"),
            (" app = web , tier != db ", "app=web,tier!=db"),
            ("app", "app"),
            ("!app", "!app"),
            ("! app", "!app"),
            ("app in (b, a)", "app in (a,b)"),
            ("app in (a,,b)", "app in (,a,b)"),
            ("app in (,)", "app in ()"),
            ("app notin ()", "app notin ()"),
            ("app notin (in)", "app notin (in)"),
            ("in in (notin)", "in in (notin)"),
            ("app=", "app="),
            ("app=,tier", "app=,tier"),
            ("x>1,y<-2", "x>1,y<-2"),
            ("istio.io/rev=v1-2", "istio.io/rev=v1-2"),
        ];
        for (text, expected) in cases {
            // `<-2` fails because of its value, as in Kubernetes.
            match text.parse::<Selector>() {
                Ok(selector) => assert_eq!(selector.to_string(), expected, "{text}"),
                Err(error) => {
                    assert!(text.contains("-2") && error.to_string().contains("\"-2\""), "{text}: {error}");
                }
            }
        }
    }

    #[test]
    fn an_invalid_selector_is_refused_with_kubectls_message() {
        let cases = [
            ("app in", "unable to parse requirement: found '', expected: '('"),
            ("app in a", "unable to parse requirement: found 'a', expected: '('"),
            ("app in (a", "unable to parse requirement: found '', expected: ',' or ')'"),
            ("app in (a b)", "unable to parse requirement: found 'b', expected: ',' or ')'"),
            ("app in (a,=)", "unable to parse requirement: found '=', expected: ',', ')' or identifier"),
            ("app,", "found '', expected: identifier after ','"),
            (",app", "found ',', expected: !, identifier, or 'end of string'"),
            ("a,,b", "found ',', expected: identifier after ','"),
            ("app=a=b", "found '=', expected: ',' or 'end of string'"),
            ("app==", ""),
            ("app=(a)", "unable to parse requirement: found '(', expected: identifier"),
            ("app web", "unable to parse requirement: found 'web', expected: in, notin, =, ==, !=, gt, lt"),
            ("!", "unable to parse requirement: found '', expected: identifier"),
            ("!!app", "unable to parse requirement: found '!', expected: identifier"),
            (
                "app=a/b",
                "unable to parse requirement: values[0][app]: Invalid value: \"a/b\": a valid label must",
            ),
            ("-app", "unable to parse requirement: key: Invalid value: \"-app\": name part must consist"),
            ("x>y", "unable to parse requirement: values: for 'Gt', 'Lt' operators"),
        ];
        for (text, beginning) in cases {
            match text.parse::<Selector>() {
                Ok(_) => assert!(beginning.is_empty(), "{text} is read"),
                Err(error) => {
                    assert!(!beginning.is_empty() && error.to_string().starts_with(beginning), "{error}");
                }
            }
        }
    }

    #[test]
    fn a_missing_label_matches_notin_and_not_equal() {
        let labels = [("app", "a"), ("n", "7"), ("empty", "")];
        let value = |key: &str| labels.iter().find(|(known, _)| *known == key).map(|(_, value)| *value);
        let cases = [
            ("app in (a,b)", true),
            ("app notin (a,b)", false),
            ("app notin (c)", true),
            ("none notin (a)", true),
            ("none!=a", true),
            ("app!=a", false),
            ("app!=b", true),
            ("!app", false),
            ("!none", true),
            ("none", false),
            ("empty", true),
            ("empty=", true),
            ("none=", false),
            ("n>6", true),
            ("n>7", false),
            ("n<8,app", true),
            ("app>1", false),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<Selector>().unwrap().matches(value), expected, "{text}");
        }
    }
}
