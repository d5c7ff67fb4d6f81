//! Pure. Text with operators such as `%REQ(x)%`, parsed once: header values and bodies of the proxy's own responses.

use super::compile::value;
use super::context::Context;
use super::value::{Head, TextField, Value};
use crate::matcher::InvalidConfig;
use api::format::operator::Part;
use api::format::{self, Place};

/// Text with operators.
#[derive(Debug)]
pub struct Template(Box<[Piece]>);

#[derive(Debug)]
enum Piece {
    Literal(Box<str>),
    Value(Value),
}

impl Template {
    /// Parses a header value.
    pub fn compile(text: &str) -> Result<Self, InvalidConfig> {
        Self::of(text, Place::Header)
    }

    /// Parses a response body.
    pub fn reply(text: &str) -> Result<Self, InvalidConfig> {
        Self::of(text, Place::Reply)
    }

    fn of(text: &str, place: Place) -> Result<Self, InvalidConfig> {
        let parsed =
            format::parse(text, place).map_err(|error| InvalidConfig(format!("`{text}` {error}")))?;
        let mut pieces = vec![];
        let mut literal = String::new();
        for piece in parsed {
            match piece {
                format::Piece::Literal(more) => literal.push_str(&more),
                format::Piece::Operator(operator, longest) => {
                    match value(&operator, longest.unwrap_or(usize::MAX))? {
                        Value::Constant(more) => literal.push_str(&more),
                        value => {
                            if !literal.is_empty() {
                                pieces.push(Piece::Literal(std::mem::take(&mut literal).into()));
                            }
                            pieces.push(Piece::Value(value));
                        }
                    }
                }
            }
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal.into()));
        }
        Ok(Self(pieces.into()))
    }

    /// The text, if it has no operators.
    pub fn literal(&self) -> Option<&str> {
        match &*self.0 {
            [] => Some(""),
            [Piece::Literal(literal)] => Some(literal),
            _ => None,
        }
    }

    /// Whether it is a single operator with a numeric value.
    pub fn is_number(&self) -> bool {
        matches!(&*self.0, [Piece::Value(Value::Code | Value::Connection | Value::Address(_, Part::Port))])
    }

    /// Whether it is a single operator whose value may be missing.
    pub fn may_be_missing(&self) -> bool {
        matches!(&*self.0, [Piece::Value(value)] if !matches!(value, Value::Text(TextField::Body)))
    }

    /// Whether an operator refers to request headers.
    pub fn needs_request(&self) -> bool {
        self.reads(Head::Request)
    }

    /// Whether an operator refers to response headers.
    pub fn needs_response(&self) -> bool {
        self.reads(Head::Response)
    }

    fn reads(&self, head: Head) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Value(value) if value.reads(head)))
    }

    /// Substitutes the operators; those without a value leave nothing.
    pub fn make(&self, context: &Context<'_>) -> Vec<u8> {
        self.shown(context, true)
    }

    /// Substitutes the operators; those without a value leave a dash, unless `omit_empty`. Used for bodies.
    pub fn shown(&self, context: &Context<'_>, omit_empty: bool) -> Vec<u8> {
        let mut out = Vec::new();
        for piece in &self.0 {
            let before = out.len();
            piece.write(&mut out, context);
            if !omit_empty
                && out.len() == before
                && !matches!(piece, Piece::Value(Value::Text(TextField::Body)))
            {
                out.push(b'-');
            }
        }
        out
    }
}

impl Piece {
    fn write(&self, out: &mut Vec<u8>, context: &Context<'_>) {
        match self {
            Self::Literal(text) => out.extend_from_slice(text.as_bytes()),
            Self::Value(value) => value.write(out, context),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::tls::Session;
    use http::{HeaderMap, HeaderName, HeaderValue};

    #[test]
    fn operators_have_the_values_of_the_request() {
        let request =
            HeaderMap::from_iter([(HeaderName::from_static("x-a"), HeaderValue::from_static("source"))]);
        let local = "10.0.0.2:8080".parse().ok();
        let context = Context {
            method: "GET",
            target: "/p?q",
            authority: "h",
            local,
            code: 503,
            body: b"why",
            route: "r",
            ..Context::of(&request)
        };
        for (text, expected) in [
            ("plain", "plain"),
            ("%REQ(X-A)%", "source"),
            ("%REQ(x-b?x-a):3%", "sou"),
            ("%REQ(:METHOD)% %REQ(:path)% %REQ(:AUTHORITY)%", "GET /p?q h"),
            ("%RESPONSE_CODE%:%LOCAL_REPLY_BODY%", "503:why"),
            ("%DOWNSTREAM_LOCAL_PORT% %DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%", "8080 10.0.0.2"),
            ("%ROUTE_NAME%/%UPSTREAM_CLUSTER%", "r/"),
            ("100%%", "100%"),
            ("%RESP(x-a)%", ""),
        ] {
            let made = Template::compile(text).unwrap().make(&context);
            assert_eq!(String::from_utf8(made).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn operators_have_the_values_of_the_connection() {
        let request = HeaderMap::new();
        let session = Session { version: "TLSv1.3", cipher: "c", group: Some("X25519") };
        let context = Context {
            target: "/p?a=b%20c",
            authority: "host",
            direct_local: "127.0.0.1:15006".parse().ok(),
            upstream: "10.1.2.3:80".parse().ok(),
            connection: 7,
            chain: "chain",
            tls: Some(session),
            code: 200,
            ..Context::of(&request)
        };
        for (text, expected) in [
            ("%CONNECTION_ID% %FILTER_CHAIN_NAME% %DOWNSTREAM_TLS_GROUP%", "7 chain X25519"),
            (
                "%DOWNSTREAM_DIRECT_LOCAL_ADDRESS% %UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(8)%",
                "127.0.0.1:15006 10.0.0.0/8",
            ),
            ("%PATH(NQ)% %PATH(WQ:PATH):3% %QUERY_PARAMS% %QUERY_PARAMS(DECODED)%", "/p /p? a=b%20c a=b c"),
            ("%REQUESTED_SERVER_NAME(SNI_FIRST)%|%REQUESTED_SERVER_NAME%|", "host||"),
            ("%RESP(x?:status):2%", "20"),
            (
                "%COALESCE({\"operators\": [\"REQUESTED_SERVER_NAME\", {\"command\": \"REQ\", \"param\": \":authority\"}]}):2%",
                "ho",
            ),
        ] {
            let made = Template::compile(text).unwrap().make(&context);
            assert_eq!(String::from_utf8(made).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn all_operators_of_the_grammar_compile() {
        let request = HeaderMap::new();
        for row in format::rows() {
            let arguments = [
                "",
                "()",
                "(x)",
                "(x?:status)",
                "(:path?x)",
                "(NQ)",
                "(DECODED)",
                "(SNI_FIRST)",
                "(16)",
                "(%s)",
            ];
            let written = arguments.map(|argument| format!("%{}{argument}%", row.name));
            for text in written.into_iter().chain([row.example()]) {
                for place in [Place::Header, Place::Reply] {
                    let made = Template::of(&text, place);
                    assert_eq!(made.is_ok(), format::parse(&text, place).is_ok(), "{text}");
                    if let Ok(template) = made {
                        template.shown(&Context::of(&request), false);
                    }
                }
            }
        }
    }

    #[test]
    fn unknown_operators_are_refused() {
        for text in ["%NOPE%", "%REQ(a", "50%", "%REQ(a)x%", "%PROTOCOL(x)%", "%DOWNSTREAM_LOCAL_NAME%"] {
            assert!(Template::compile(text).is_err(), "{text}");
        }
    }
}
