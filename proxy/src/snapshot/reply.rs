//! Pure. Rewrites the proxy's own responses as a listener's `local_reply_config` says: status, body, format, headers.

use crate::flow::flags::Flags;
use crate::flow::head::Head;
use crate::format::context::Context;
use crate::format::mutation::Mutations;
use crate::format::template::Template;
use crate::matcher::{HeaderCondition, InvalidConfig};
use api::format::defaults;
use api::model::access_log::{JsonFormat, LogFormat};
use api::model::listener::{self as model, Comparison};
use http::HeaderValue;
use serde_json::{Map, Value};

/// Changes to the proxy's own responses.
#[derive(Debug)]
pub struct Reply {
    mappers: Box<[Mapper]>,
    format: Option<Format>,
}

#[derive(Debug)]
struct Mapper {
    filter: Filter,
    status: Option<u16>,
    body: Option<Box<str>>,
    format: Option<Format>,
    headers: Mutations,
}

#[derive(Debug)]
enum Filter {
    Status(Comparison, u32),
    Flags(Option<Flags>),
    Header(Box<HeaderCondition>),
    And(Box<[Filter]>),
    Or(Box<[Filter]>),
}

#[derive(Debug)]
struct Format {
    body: Shape,
    /// Whether operators without a value leave nothing.
    omit_empty: bool,
    content_type: HeaderValue,
}

#[derive(Debug)]
enum Shape {
    Text(Template),
    Json(Node),
}

/// A value of a JSON body.
#[derive(Debug)]
enum Node {
    Text(Template),
    Constant(Value),
    Object(Box<[(Box<str>, Node)]>),
    List(Box<[Node]>),
}

/// The changes to one response.
#[derive(Debug)]
pub struct Changed<'a> {
    /// The status.
    pub status: u16,
    /// The body; `None`: unchanged.
    pub body: Option<Vec<u8>>,
    /// The content type; `None`: unchanged.
    pub content_type: Option<&'a HeaderValue>,
    /// Header changes to apply.
    pub headers: Option<&'a Mutations>,
}

impl Reply {
    /// Compiles the changes; `None`: there are none.
    pub fn compile(from: &model::LocalReply) -> Result<Option<Self>, InvalidConfig> {
        if *from == model::LocalReply::default() {
            return Ok(None);
        }
        let mappers = from.mappers.iter().map(mapper).collect::<Result<_, _>>()?;
        Ok(Some(Self { mappers, format: from.format.as_ref().map(format).transpose()? }))
    }

    /// The changes to a response; `context` holds its original status, flags and body.
    pub fn change<'a>(&'a self, head: &Head<'_>, context: &Context<'_>) -> Changed<'a> {
        let mapper = self.mappers.iter().find(|mapper| mapper.filter.matches(head, context));
        let status = mapper.and_then(|m| m.status).unwrap_or(context.code);
        let given = mapper.and_then(|m| m.body.as_deref()).map(str::as_bytes);
        let body = given.unwrap_or(context.body);
        let format = mapper.and_then(|m| m.format.as_ref()).or(self.format.as_ref());
        let made = format.map(|f| f.make(&Context { code: status, body, ..*context }));
        Changed {
            status,
            body: made.or_else(|| given.map(<[u8]>::to_vec)),
            content_type: format.map(|f| &f.content_type),
            headers: mapper.map(|m| &m.headers),
        }
    }
}

impl Filter {
    fn matches(&self, head: &Head<'_>, context: &Context<'_>) -> bool {
        match self {
            Self::Status(comparison, number) => {
                let code = u32::from(context.code);
                match comparison {
                    Comparison::Equal => code == *number,
                    Comparison::AtLeast => code >= *number,
                    Comparison::AtMost => code <= *number,
                    Comparison::Other => code != *number,
                }
            }
            Self::Flags(None) => !context.flags.is_empty(),
            Self::Flags(Some(flags)) => context.flags.overlaps(*flags),
            Self::Header(condition) => condition.matches(head),
            Self::And(all) => all.iter().all(|filter| filter.matches(head, context)),
            Self::Or(any) => any.iter().any(|filter| filter.matches(head, context)),
        }
    }
}

impl Format {
    fn make(&self, context: &Context<'_>) -> Vec<u8> {
        match &self.body {
            Shape::Text(template) => template.shown(context, self.omit_empty),
            Shape::Json(node) => {
                let value = node.value(context, self.omit_empty);
                let mut text = value.unwrap_or_else(|| Map::new().into()).to_string().into_bytes();
                text.push(b'\n');
                text
            }
        }
    }
}

impl Node {
    /// The value; `None`: it is left out, as `omit_empty` requests. As in Envoy, a list without values stays.
    fn value(&self, context: &Context<'_>, omit_empty: bool) -> Option<Value> {
        match self {
            Self::Text(template) => {
                let value = alone(template, context).unwrap_or_else(|| {
                    String::from_utf8_lossy(&template.shown(context, omit_empty)).into_owned().into()
                });
                (!omit_empty || !value.is_null()).then_some(value)
            }
            Self::Constant(value) => (!omit_empty || !value.is_null()).then(|| value.clone()),
            Self::Object(fields) => {
                let field = |(key, node): &(Box<str>, Self)| {
                    node.value(context, omit_empty).map(|value| (key.to_string(), value))
                };
                let fields: Map<_, _> = fields.iter().filter_map(field).collect();
                (!omit_empty || !fields.is_empty()).then_some(Value::Object(fields))
            }
            Self::List(nodes) => {
                Some(nodes.iter().filter_map(|node| node.value(context, omit_empty)).collect())
            }
        }
    }
}

/// The JSON value of a template that is a single operator: numbers stay numbers, and a missing value is null, as in
/// logs.
fn alone(template: &Template, context: &Context<'_>) -> Option<Value> {
    if !template.may_be_missing() {
        return None;
    }
    let made = template.make(context);
    let text = String::from_utf8_lossy(&made);
    let number = template.is_number().then(|| text.parse::<u64>().ok()).flatten();
    Some(match number {
        Some(number) => number.into(),
        None if made.is_empty() => Value::Null,
        None => text.into_owned().into(),
    })
}

fn mapper(from: &model::ReplyMapper) -> Result<Mapper, InvalidConfig> {
    Ok(Mapper {
        filter: filter(&from.filter)?,
        status: from.status,
        body: from.body.as_deref().map(Into::into),
        format: from.format.as_ref().map(format).transpose()?,
        headers: Mutations::compile(&from.headers)?,
    })
}

fn filter(from: &model::ReplyFilter) -> Result<Filter, InvalidConfig> {
    let all = |list: &[model::ReplyFilter]| list.iter().map(filter).collect::<Result<_, _>>();
    Ok(match from {
        model::ReplyFilter::Status(comparison, number) => Filter::Status(*comparison, *number),
        model::ReplyFilter::Flags(names) if names.is_empty() => Filter::Flags(None),
        model::ReplyFilter::Flags(names) => {
            let of = |name: &String| {
                Flags::of_code(name)
                    .ok_or_else(|| InvalidConfig(format!("response flag `{name}` is not known")))
            };
            let flags = names.iter().map(of).collect::<Result<Vec<_>, _>>()?;
            Filter::Flags(Some(flags.into_iter().fold(Flags::NONE, |all, flag| all | flag)))
        }
        model::ReplyFilter::Header(header) => Filter::Header(Box::new(HeaderCondition::compile(header)?)),
        model::ReplyFilter::And(list) => Filter::And(all(list)?),
        model::ReplyFilter::Or(list) => Filter::Or(all(list)?),
    })
}

fn node(from: &JsonFormat) -> Result<Node, InvalidConfig> {
    Ok(match from {
        JsonFormat::Text(text) => Node::Text(Template::reply(text)?),
        JsonFormat::Constant(text) => Node::Constant(text.parse().unwrap_or_default()),
        JsonFormat::Object(fields) => object(fields)?,
        JsonFormat::List(list) => Node::List(list.iter().map(node).collect::<Result<_, _>>()?),
    })
}

fn object(fields: &[(String, JsonFormat)]) -> Result<Node, InvalidConfig> {
    let field = |(key, value): &(String, JsonFormat)| Ok((key.as_str().into(), node(value)?));
    Ok(Node::Object(fields.iter().map(field).collect::<Result<_, InvalidConfig>>()?))
}

fn format(from: &model::ReplyFormat) -> Result<Format, InvalidConfig> {
    let (body, usual) = match &from.format {
        LogFormat::DefaultText => (Shape::Text(Template::reply(defaults::TEXT)?), "text/plain"),
        LogFormat::Text(text) => (Shape::Text(Template::reply(text)?), "text/plain"),
        LogFormat::Json(fields) => (Shape::Json(object(fields)?), "application/json"),
    };
    let content_type = if from.content_type.is_empty() { usual } else { &from.content_type };
    let content_type = HeaderValue::from_str(content_type)
        .map_err(|_| InvalidConfig(format!("content_type: `{content_type}` is not a header value")))?;
    Ok(Format { body, omit_empty: from.omit_empty, content_type })
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::model::listener::{LocalReply, ReplyFilter, ReplyFormat, ReplyMapper};
    use http::{HeaderMap, Method};

    fn mapper(filter: ReplyFilter) -> ReplyMapper {
        ReplyMapper {
            filter,
            status: None,
            body: None,
            format: None,
            headers: api::model::matcher::HeaderMutations::default(),
        }
    }

    fn changed(reply: &LocalReply, code: u16, flags: Flags) -> (u16, Option<String>, Option<String>) {
        let headers = HeaderMap::new();
        let head =
            Head { method: &Method::GET, authority: "h", target: "/p", scheme: "http", headers: &headers };
        let context = Context { code, flags, body: b"why", target: "/p", ..Context::of(&headers) };
        let reply = Reply::compile(reply).unwrap().unwrap();
        let found = reply.change(&head, &context);
        let body = found.body.map(|body| String::from_utf8(body).unwrap());
        (found.status, body, found.content_type.map(|v| v.to_str().unwrap().to_owned()))
    }

    #[test]
    fn the_first_matching_mapper_changes_a_response() {
        let gone = ReplyMapper {
            status: Some(410),
            body: Some("gone".into()),
            ..mapper(ReplyFilter::Status(Comparison::Equal, 404))
        };
        let text = |text: &str| JsonFormat::Text(text.to_owned());
        let object = vec![
            ("code".to_owned(), text("%RESPONSE_CODE%")),
            ("list".to_owned(), JsonFormat::List(vec![text("a%REQ(x)%"), text("%REQ(x)%")])),
            ("none".to_owned(), text("%REQ(x)%")),
            ("text".to_owned(), text("%LOCAL_REPLY_BODY%")),
        ];
        let format = LogFormat::Json(object);
        let json = ReplyFormat { format, omit_empty: false, content_type: String::new() };
        let failed = ReplyMapper { format: Some(json), ..mapper(ReplyFilter::Flags(vec!["UF".into()])) };
        let text = LogFormat::Text("%REQ(:PATH)%: %LOCAL_REPLY_BODY%".into());
        let format = Some(ReplyFormat { format: text, omit_empty: false, content_type: "text/html".into() });
        let reply = LocalReply { mappers: vec![gone, failed], format };
        for (code, flags, status, body, kind) in [
            (404, Flags::NR, 410, "/p: gone", "text/html"),
            (
                503,
                Flags::UF | Flags::URX,
                503,
                "{\"code\":503,\"list\":[\"a-\",null],\"none\":null,\"text\":\"why\"}\n",
                "application/json",
            ),
            (503, Flags::UH, 503, "/p: why", "text/html"),
        ] {
            let found = changed(&reply, code, flags);
            assert_eq!(found, (status, Some(body.to_owned()), Some(kind.to_owned())), "{code} {flags}");
        }
    }

    #[test]
    fn absent_values_are_null_or_left_out() {
        let text = |text: &str| JsonFormat::Text(text.to_owned());
        let field = |name: &str, value: JsonFormat| (name.to_owned(), value);
        let none = || text("%REQ(x)%");
        let all = vec![
            field("code", text("%RESPONSE_CODE%")),
            field("deep", JsonFormat::Object(vec![field("none", none())])),
            field("five", JsonFormat::Constant("5".into())),
            field("list", JsonFormat::List(vec![none(), text("a")])),
            field("lists", JsonFormat::List(vec![none()])),
            field("none", none()),
            field("null", JsonFormat::Constant("null".into())),
            field("part", text("a %REQ(x)% b")),
        ];
        let nothing =
            || vec![field("deep", JsonFormat::Object(vec![field("none", none())])), field("none", none())];
        for (fields, omit_empty, expected) in [
            (
                all.clone(),
                false,
                r#"{"code":503,"deep":{"none":null},"five":5,"list":[null,"a"],"lists":[null],"none":null,"null":null,"part":"a - b"}"#,
            ),
            (all, true, r#"{"code":503,"five":5,"list":["a"],"lists":[],"part":"a  b"}"#),
            (nothing(), false, r#"{"deep":{"none":null},"none":null}"#),
            (nothing(), true, "{}"),
        ] {
            let format =
                ReplyFormat { format: LogFormat::Json(fields), omit_empty, content_type: String::new() };
            let reply = LocalReply { mappers: vec![], format: Some(format) };
            let (_, body, _) = changed(&reply, 503, Flags::NONE);
            assert_eq!(body.unwrap(), format!("{expected}\n"), "{omit_empty}");
        }
    }

    #[test]
    fn without_mappers_there_is_no_local_reply_configuration() {
        assert!(Reply::compile(&LocalReply::default()).unwrap().is_none());
    }
}
