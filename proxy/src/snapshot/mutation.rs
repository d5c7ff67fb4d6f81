//! Pure. Changes to headers, made ready: names and values parsed, and the few access log operators that header
//! values may carry. What an operator needs is passed in, so a change is a function of plain values.

use super::InvalidConfig;
use super::matcher::header_name;
use api::model::matcher::{HeaderAction, HeaderMutations};
use http::{HeaderMap, HeaderName, HeaderValue};
use std::net::SocketAddr;

/// Changes to a set of headers.
#[derive(Debug, Default)]
pub struct Mutations {
    remove: Box<[HeaderName]>,
    write: Box<[Write]>,
}

#[derive(Debug)]
struct Write {
    name: HeaderName,
    value: Value,
    action: HeaderAction,
}

#[derive(Debug)]
enum Value {
    Fixed(HeaderValue),
    Made(Box<[Piece]>),
}

#[derive(Debug)]
enum Piece {
    Literal(Box<str>),
    Request(HeaderName),
    RemoteAddress,
    RemoteIp,
    LocalAddress,
    Protocol,
}

/// What operators in header values may refer to.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The request's headers, before changes.
    pub request: &'a HeaderMap,
    /// The client.
    pub remote: Option<SocketAddr>,
    /// Our address.
    pub local: Option<SocketAddr>,
    /// `HTTP/1.1` or `HTTP/2`.
    pub protocol: &'a str,
}

impl Mutations {
    /// Makes changes ready.
    pub fn compile(from: &HeaderMutations) -> Result<Self, InvalidConfig> {
        let remove = from.remove.iter().map(|name| header_name(name)).collect::<Result<_, _>>()?;
        let write = from
            .write
            .iter()
            .map(|w| {
                Ok(Write { name: header_name(&w.name)?, value: Value::compile(&w.value)?, action: w.action })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { remove, write })
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.write.is_empty()
    }

    /// Whether a value refers to the request, so that its headers have to be kept for changes to the response.
    pub fn needs_request(&self) -> bool {
        self.write.iter().any(|w| matches!(&w.value, Value::Made(pieces) if pieces.iter().any(|p| matches!(p, Piece::Request(_)))))
    }

    /// Applies the changes: removals first.
    pub fn apply(&self, headers: &mut HeaderMap, context: &Context<'_>) {
        for name in &self.remove {
            headers.remove(name);
        }
        for write in &self.write {
            if let Some(value) = write.value.make(context) {
                put(headers, write, value);
            }
        }
    }

    /// Applies changes to the very headers that operators refer to.
    pub fn apply_to_request(&self, headers: &mut HeaderMap, context: &Context<'_>) {
        if self.needs_request() {
            let before = headers.clone();
            self.apply(headers, &Context { request: &before, ..*context });
        } else {
            self.apply(headers, context);
        }
    }
}

fn put(headers: &mut HeaderMap, write: &Write, value: HeaderValue) {
    match write.action {
        HeaderAction::Append => {
            headers.append(&write.name, value);
        }
        HeaderAction::Set => {
            headers.insert(&write.name, value);
        }
        HeaderAction::AddIfAbsent => {
            headers.entry(&write.name).or_insert(value);
        }
        HeaderAction::SetIfPresent => {
            if headers.contains_key(&write.name) {
                headers.insert(&write.name, value);
            }
        }
    }
}

impl Value {
    fn compile(text: &str) -> Result<Self, InvalidConfig> {
        let pieces = pieces(text)?;
        if let [] | [Piece::Literal(_)] = &pieces[..] {
            let literal = match pieces.first() {
                Some(Piece::Literal(literal)) => literal,
                _ => "",
            };
            let value = HeaderValue::from_str(literal)
                .map_err(|_| InvalidConfig(format!("`{literal}` is not a header value")))?;
            return Ok(Self::Fixed(value));
        }
        Ok(Self::Made(pieces.into()))
    }

    /// `None` when nothing is left to write, as when `%REQ(x)%` alone finds no header.
    fn make(&self, context: &Context<'_>) -> Option<HeaderValue> {
        let pieces = match self {
            Self::Fixed(value) => return Some(value.clone()),
            Self::Made(pieces) => pieces,
        };
        let mut out = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Literal(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Request(name) => {
                    if let Some(value) = context.request.get(name) {
                        out.extend_from_slice(value.as_bytes());
                    }
                }
                Piece::RemoteAddress => {
                    out.extend(context.remote.map(|a| a.to_string()).unwrap_or_default().bytes());
                }
                Piece::RemoteIp => {
                    out.extend(context.remote.map(|a| a.ip().to_string()).unwrap_or_default().bytes());
                }
                Piece::LocalAddress => {
                    out.extend(context.local.map(|a| a.to_string()).unwrap_or_default().bytes());
                }
                Piece::Protocol => out.extend_from_slice(context.protocol.as_bytes()),
            }
        }
        if out.is_empty() { None } else { HeaderValue::from_bytes(&out).ok() }
    }
}

fn pieces(text: &str) -> Result<Vec<Piece>, InvalidConfig> {
    let mut out = vec![];
    let mut literal = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        literal.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let end = rest
            .find('%')
            .ok_or_else(|| InvalidConfig(format!("header value `{text}` has an operator without end")))?;
        let operator = &rest[..end];
        rest = &rest[end + 1..];
        if operator.is_empty() {
            literal.push('%');
            continue;
        }
        if !literal.is_empty() {
            out.push(Piece::Literal(std::mem::take(&mut literal).into()));
        }
        out.push(piece(operator)?);
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        out.push(Piece::Literal(literal.into()));
    }
    Ok(out)
}

fn piece(operator: &str) -> Result<Piece, InvalidConfig> {
    if let Some(name) = operator.strip_prefix("REQ(").and_then(|rest| rest.strip_suffix(')')) {
        return Ok(Piece::Request(header_name(&name.to_ascii_lowercase())?));
    }
    match operator {
        "DOWNSTREAM_REMOTE_ADDRESS" => Ok(Piece::RemoteAddress),
        "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT" => Ok(Piece::RemoteIp),
        "DOWNSTREAM_LOCAL_ADDRESS" => Ok(Piece::LocalAddress),
        "PROTOCOL" => Ok(Piece::Protocol),
        other => Err(InvalidConfig(format!("operator %{other}% is not supported in header values"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::model::matcher::HeaderWrite;

    fn write(name: &str, value: &str, action: HeaderAction) -> HeaderWrite {
        HeaderWrite { name: name.into(), value: value.into(), action }
    }

    fn applied(
        mutations: &HeaderMutations,
        headers: &[(&'static str, &'static str)],
    ) -> Vec<(String, String)> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        let request = map.clone();
        let remote = "10.0.0.1:99".parse().ok();
        let context = Context { request: &request, remote, local: None, protocol: "HTTP/1.1" };
        Mutations::compile(mutations).unwrap().apply(&mut map, &context);
        map.iter().map(|(n, v)| (n.to_string(), v.to_str().unwrap().to_owned())).collect()
    }

    #[test]
    fn each_action_treats_an_existing_header_as_it_says() {
        let cases = [
            (HeaderAction::Append, vec!["1", "2"], vec!["2"]),
            (HeaderAction::Set, vec!["2"], vec!["2"]),
            (HeaderAction::AddIfAbsent, vec!["1"], vec!["2"]),
            (HeaderAction::SetIfPresent, vec!["2"], vec![]),
        ];
        for (action, present, absent) in cases {
            let change = || HeaderMutations { remove: vec![], write: vec![write("a", "2", action)] };
            let values = |all: Vec<(String, String)>| all.into_iter().map(|(_, v)| v).collect::<Vec<_>>();
            assert_eq!(values(applied(&change(), &[("a", "1")])), present, "{action:?}");
            assert_eq!(values(applied(&change(), &[])), absent, "{action:?}");
        }
    }

    #[test]
    fn removal_comes_before_writing() {
        let change =
            HeaderMutations { remove: vec!["a".into()], write: vec![write("a", "2", HeaderAction::Append)] };
        assert_eq!(applied(&change, &[("a", "1")]), [("a".to_owned(), "2".to_owned())]);
    }

    #[test]
    fn operators_are_expanded() {
        let made = |value: &str| {
            let change =
                HeaderMutations { remove: vec![], write: vec![write("b", value, HeaderAction::Set)] };
            applied(&change, &[("a", "1")]).into_iter().find(|(n, _)| n == "b").map(|(_, v)| v)
        };
        assert_eq!(made("x-%REQ(A)%-y").unwrap(), "x-1-y");
        assert_eq!(made("%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%").unwrap(), "10.0.0.1");
        assert_eq!(made("100%%").unwrap(), "100%");
        assert_eq!(made("%REQ(missing)%"), None);
    }

    #[test]
    fn unknown_operators_are_refused() {
        for value in ["%NOPE%", "%REQ(a", "50%"] {
            let change =
                HeaderMutations { remove: vec![], write: vec![write("a", value, HeaderAction::Set)] };
            assert!(Mutations::compile(&change).is_err(), "{value}");
        }
    }
}
