//! Pure. Compiles parsed operators to the values that they stand for.

use super::value::{Source, TextField, Value};
use crate::config::environment;
use crate::matcher::{InvalidConfig, header_name};
use api::format::operator::Session as About;
use api::format::operator::{CertificateOwner, Fact, Field, Host, Moment, Operator, ServerName, Side, Which};
use http::HeaderName;

/// Compiles an operator. `longest` is the most bytes of its value to write.
#[expect(clippy::too_many_lines, reason = "one line for each operator")]
pub(super) fn value(from: &Operator, longest: usize) -> Result<Value, InvalidConfig> {
    Ok(match from {
        Operator::Request(first, second) => request((first, second.as_ref()), true, longest)?,
        Operator::RequestWithoutQuery(first, second) => request((first, second.as_ref()), false, longest)?,
        Operator::Response(first, None) => response(first, longest)?,
        Operator::Response(first, Some(second)) => {
            Value::FirstOf([response(first, longest)?, response(second, longest)?].into(), longest)
        }
        Operator::Path { query, which } => {
            let original = Field::Header("x-envoy-original-path".into());
            match which {
                Which::Original => request((&original, None), *query, longest)?,
                Which::Current => request((&Field::Path, None), *query, longest)?,
                Which::OriginalOrCurrent => request((&original, Some(&Field::Path)), *query, longest)?,
            }
        }
        Operator::QueryParameter(name) => Value::Query(name.as_str().into(), longest),
        Operator::Query { decoded } => Value::QueryWhole { decoded: *decoded, longest },
        Operator::StreamId => request((&Field::Header("x-request-id".into()), None), true, longest)?,
        Operator::ServerName(name) => server_name(*name, longest)?,
        Operator::FirstOf(list) => {
            let each = list.iter().map(|(operator, longest)| value(operator, longest.unwrap_or(usize::MAX)));
            Value::FirstOf(each.collect::<Result<_, _>>()?, longest)
        }
        Operator::MachineName => Value::Constant(environment::host_name().into()),
        Operator::Environment(name) => Value::Constant(environment::value(name, Some(longest)).into()),
        Operator::Time(Moment::Start, shape) => Value::Start(shape.clone()),
        Operator::Address(end, part) => Value::Address(*end, *part),
        Operator::Protocol => Value::Text(TextField::Protocol),
        Operator::Route => Value::Text(TextField::Route),
        Operator::Cluster => Value::Text(TextField::Cluster),
        Operator::FilterChain => Value::Text(TextField::Chain),
        Operator::Certificate(CertificateOwner::Peer, Fact::Uris) => Value::Text(TextField::PeerUris),
        Operator::Certificate(CertificateOwner::Peer, Fact::Dns) => Value::Text(TextField::PeerDns),
        Operator::Certificate(CertificateOwner::Peer, Fact::Subject) => Value::Text(TextField::PeerSubject),
        Operator::Body => Value::Text(TextField::Body),
        Operator::ConnectionId => Value::Connection,
        Operator::Tls(Side::Downstream, what) => Value::Tls(*what),
        Operator::Code => Value::Code,
        Operator::Flags => Value::Flags,
        // The table of operators does not allow these here.
        Operator::Trailer(..)
        | Operator::UniqueId
        | Operator::Time(..)
        | Operator::Duration(..)
        | Operator::Whole
        | Operator::PoolReady
        | Operator::Handshake
        | Operator::UpstreamProtocol
        | Operator::CodeDetails { .. }
        | Operator::FlagsLong
        | Operator::TerminationDetails
        | Operator::TransportFailure
        | Operator::Bytes(_)
        | Operator::Zero
        | Operator::Attempts
        | Operator::Attempted(_)
        | Operator::HostName { .. }
        | Operator::UpstreamConnectionId
        | Operator::Certificate(..)
        | Operator::Tls(Side::Upstream, _)
        | Operator::GrpcStatus(_)
        | Operator::LogType
        | Operator::Nothing => return Err(InvalidConfig("an operator is for access logs alone".into())),
    })
}

fn request(
    (first, second): (&Field, Option<&Field>),
    query: bool,
    longest: usize,
) -> Result<Value, InvalidConfig> {
    let second = second.map(|field| source(field, query)).transpose()?;
    Ok(Value::Request(source(first, query)?, second, longest))
}

fn source(field: &Field, query: bool) -> Result<Source, InvalidConfig> {
    Ok(match field {
        Field::Method => Source::Method,
        Field::Path if query => Source::Path,
        Field::Path => Source::BarePath,
        Field::Authority => Source::Authority,
        // A forwarded request always carries this header.
        Field::Scheme => Source::Header(HeaderName::from_static("x-forwarded-proto")),
        Field::Status => return Err(InvalidConfig("a request has no status".into())),
        Field::Header(name) if query => Source::Header(header_name(name)?),
        Field::Header(name) => Source::Bare(header_name(name)?),
    })
}

fn response(field: &Field, longest: usize) -> Result<Value, InvalidConfig> {
    match field {
        Field::Status => Ok(Value::Status(longest)),
        Field::Header(name) => Ok(Value::Response(header_name(name)?, longest)),
        Field::Method | Field::Path | Field::Authority | Field::Scheme => {
            Err(InvalidConfig("a response has no such header".into()))
        }
    }
}

fn server_name(name: ServerName, longest: usize) -> Result<Value, InvalidConfig> {
    let (tls, host) = match name {
        ServerName::Tls => return Ok(Value::Tls(About::ServerName)),
        ServerName::TlsOr(host) => (Some(Value::Tls(About::ServerName)), host),
        ServerName::Host(host) => (None, host),
    };
    let original = Field::Header("x-envoy-original-host".into());
    let host = match host {
        Host::Original => request((&original, None), true, longest)?,
        Host::Current => request((&Field::Authority, None), true, longest)?,
        Host::OriginalOrCurrent => request((&original, Some(&Field::Authority)), true, longest)?,
    };
    Ok(Value::FirstOf(tls.into_iter().chain([host]).collect(), longest))
}
