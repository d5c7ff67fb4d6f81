//! Pure. Parses the arguments of operators. Error texts continue a sentence after "which".

use super::operator::{Field, GrpcStatus, Host, Moment, Operator, Part, Point, Precision, ServerName, Which};
use super::place::Place;
use super::row::{Lookup, Read};
use super::time::Shape;
use serde::Deserialize;

/// A header, or two separated by a question mark.
pub(super) fn fields(argument: &str, pseudo: &[Field], make: fn(Field, Option<Field>) -> Operator) -> Read {
    let mut names = argument.split('?');
    let first = field(names.next().unwrap_or_default(), pseudo)?;
    let second = names.next().map(|name| field(name, pseudo)).transpose()?;
    match names.next() {
        Some(_) => Err("names more than two headers".into()),
        None => Ok(make(first, second)),
    }
}

fn field(name: &str, pseudo: &[Field]) -> Result<Field, String> {
    let name = name.to_ascii_lowercase();
    let field = match name.as_str() {
        ":method" => Field::Method,
        ":path" => Field::Path,
        ":authority" | "host" => Field::Authority,
        ":scheme" => Field::Scheme,
        ":status" => Field::Status,
        _ if is_token(&name) => return Ok(Field::Header(name)),
        _ => return Err(format!("names `{name}`, which is not a header name")),
    };
    match (pseudo.contains(&field), name.as_str()) {
        (true, _) => Ok(field),
        // In responses it is an ordinary header.
        (false, "host") => Ok(Field::Header(name)),
        (false, _) => Err(format!("names `{name}`, which is not there")),
    }
}

/// A token (RFC 9110, 5.6.2).
fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// `WQ` or `NQ`: with or without the query; then which path.
pub(super) fn path(argument: &str) -> Read {
    let (query, which) = argument.split_once(':').unwrap_or((argument, ""));
    let query = match query {
        "" | "WQ" => true,
        "NQ" => false,
        other => return Err(format!("takes WQ or NQ, not `{other}`")),
    };
    let which = match which {
        "" | "ORIG_OR_PATH" => Which::OriginalOrCurrent,
        "PATH" => Which::Current,
        "ORIG" => Which::Original,
        other => return Err(format!("takes ORIG, PATH or ORIG_OR_PATH, not `{other}`")),
    };
    Ok(Operator::Path { query, which })
}

pub(super) fn query(argument: &str) -> Read {
    match argument {
        "" | "ORIG" => Ok(Operator::Query { decoded: false }),
        "DECODED" => Ok(Operator::Query { decoded: true }),
        other => Err(format!("takes ORIG or DECODED, not `{other}`")),
    }
}

pub(super) fn server_name(argument: &str) -> Read {
    let (first, host) = argument.split_once(':').unwrap_or((argument, ""));
    let host = match host {
        "" | "ORIG_OR_HOST" => Host::OriginalOrCurrent,
        "HOST" => Host::Current,
        "ORIG" => Host::Original,
        other => return Err(format!("takes ORIG, HOST or ORIG_OR_HOST, not `{other}`")),
    };
    Ok(Operator::ServerName(match first {
        "" | "SNI_ONLY" => ServerName::Tls,
        "SNI_FIRST" => ServerName::TlsOr(host),
        "HOST_FIRST" => ServerName::Host(host),
        other => return Err(format!("takes SNI_ONLY, SNI_FIRST or HOST_FIRST, not `{other}`")),
    }))
}

pub(super) fn code_details(argument: &str) -> Read {
    match argument {
        "" => Ok(Operator::CodeDetails { spaces: false }),
        "ALLOW_WHITESPACES" => Ok(Operator::CodeDetails { spaces: true }),
        other => Err(format!("takes ALLOW_WHITESPACES, not `{other}`")),
    }
}

pub(super) fn grpc_status(argument: &str) -> Read {
    Ok(Operator::GrpcStatus(match argument {
        "" | "CAMEL_STRING" => GrpcStatus::Camel,
        "SNAKE_STRING" => GrpcStatus::Snake,
        "NUMBER" => GrpcStatus::Number,
        other => return Err(format!("takes CAMEL_STRING, SNAKE_STRING or NUMBER, not `{other}`")),
    }))
}

/// The format of a time.
pub(super) fn time(argument: &str, moment: Moment) -> Read {
    if argument.is_empty() {
        return Ok(Operator::Time(moment, None));
    }
    let shape = Shape::parse(argument).ok_or("has a format of time that is not known")?;
    Ok(Operator::Time(moment, Some(shape)))
}

/// Two points in time and a precision.
pub(super) fn duration(argument: &str) -> Read {
    let parts: Vec<&str> = argument.split(':').collect();
    let (from, to, precision) = match parts.as_slice() {
        [from, to] => (from, to, "ms"),
        [from, to, precision] => (from, to, *precision),
        _ => return Err("takes two points of time and a precision, with colons between".into()),
    };
    let precision = match precision {
        "ms" => Precision::Milli,
        "us" => Precision::Micro,
        "ns" => Precision::Nano,
        other => return Err(format!("takes ms, us or ns, not `{other}`")),
    };
    Ok(Operator::Duration(point(from)?, point(to)?, precision))
}

fn point(name: &str) -> Result<Point, String> {
    Ok(match name {
        "DS_RX_BEG" => Point::RequestBegins,
        "DS_RX_END" => Point::RequestEnds,
        "US_CX_BEG" => Point::ConnectBegins,
        "US_CX_END" => Point::ConnectEnds,
        "US_HS_END" => Point::Secured,
        "US_TX_BEG" => Point::SendBegins,
        "US_TX_END" => Point::SendEnds,
        "US_RX_BEG" => Point::UpstreamResponseBegins,
        "US_RX_BODY_BEG" => Point::UpstreamBodyBegins,
        "US_RX_END" => Point::UpstreamResponseEnds,
        "DS_TX_BEG" => Point::ResponseBegins,
        "DS_TX_END" => Point::ResponseEnds,
        "DS_CX_BEG" => Point::ConnectionBegins,
        "DS_CX_END" => Point::ConnectionEnds,
        // In Envoy, filters may set other points; no filter here does.
        other => return Err(format!("names `{other}`, which is not a point in time")),
    })
}

/// The length of a network prefix.
pub(super) fn network(argument: &str) -> Result<Part, String> {
    if argument.is_empty() {
        return Ok(Part::Ip);
    }
    let bits = argument.parse().ok().filter(|bits| *bits <= 128);
    bits.map(Part::Network).ok_or_else(|| format!("takes a number of bits up to 128, not `{argument}`"))
}

/// A JSON list of operators, of which the first with a value is used.
pub(super) fn first_of(argument: &str, place: Place, lookup: Lookup) -> Read {
    let list: Choices =
        serde_json::from_str(argument).map_err(|error| format!("takes {{\"operators\": [...]}}: {error}"))?;
    if list.operators.is_empty() {
        return Err("names no operator".into());
    }
    let each = list.operators.into_iter().map(|choice| {
        let Choice { command, param, max_length } = match choice {
            Named::Alone(command) => Choice { command, param: String::new(), max_length: None },
            Named::With(choice) => choice,
        };
        let row = lookup(&command).ok_or_else(|| format!("names `{command}`, which is not an operator"))?;
        let read =
            row.read(&command, &param, max_length, place, lookup).map_err(|error| error.to_string())?;
        Ok((read, max_length))
    });
    Ok(Operator::FirstOf(each.collect::<Result<_, String>>()?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Choices {
    operators: Vec<Named>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Named {
    Alone(String),
    With(Choice),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Choice {
    command: String,
    #[serde(default)]
    param: String,
    max_length: Option<usize>,
}
