//! Pure. Compiled header changes: parsed names, values and operators. The values of operators are arguments, so
//! applying changes is a function of plain values.

use super::context::Context;
use super::template::Template;
use crate::matcher::{InvalidConfig, header_name};
use api::model::matcher::{HeaderAction, HeaderMutations};
use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue};

/// Changes to the headers of a message.
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
    Made(Template),
}

impl Mutations {
    /// Compiles header changes.
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

    /// Whether there are no changes.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.write.is_empty()
    }

    /// Whether a value refers to the request, so that its headers have to be kept for changes to the response.
    pub fn needs_request(&self) -> bool {
        self.write.iter().any(|w| w.value.needs_request())
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

    /// Applies changes to a response whose headers operators may refer to.
    pub fn apply_to_response(&self, headers: &mut HeaderMap, context: &Context<'_>) {
        if self.write.iter().any(|w| w.value.needs_response()) {
            let before = headers.clone();
            self.apply(headers, &Context { response: Some(&before), ..*context });
        } else {
            self.apply(headers, context);
        }
    }

    /// Applies changes to a request whose headers operators may refer to.
    pub fn apply_to_request(&self, headers: &mut HeaderMap, context: &Context<'_>) {
        if self.needs_request() {
            let before = headers.clone();
            let authority = before.get(HOST).and_then(|h| h.to_str().ok()).unwrap_or(context.authority);
            self.apply(headers, &Context { request: &before, authority, ..*context });
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
        let template = Template::compile(text)?;
        match template.literal() {
            Some(literal) => HeaderValue::from_bytes(literal.as_bytes())
                .map(Self::Fixed)
                .map_err(|_| InvalidConfig(format!("`{literal}` is not a header value"))),
            None => Ok(Self::Made(template)),
        }
    }

    fn needs_request(&self) -> bool {
        matches!(self, Self::Made(template) if template.needs_request())
    }

    fn needs_response(&self) -> bool {
        matches!(self, Self::Made(template) if template.needs_response())
    }

    /// The header's value; `None`: nothing is written, as when a lone `%REQ(x)%` finds no header.
    fn make(&self, context: &Context<'_>) -> Option<HeaderValue> {
        match self {
            Self::Fixed(value) => Some(value.clone()),
            Self::Made(template) => {
                let made = template.make(context);
                if made.is_empty() { None } else { HeaderValue::from_bytes(&made).ok() }
            }
        }
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
        let context = Context { remote, protocol: "HTTP/1.1", ..Context::of(&request) };
        Mutations::compile(mutations).unwrap().apply(&mut map, &context);
        map.iter().map(|(n, v)| (n.to_string(), v.to_str().unwrap().to_owned())).collect()
    }

    #[test]
    fn each_append_action_handles_existing_headers() {
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
