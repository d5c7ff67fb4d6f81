//! Pure. Operators about requests and responses, and about times.

use super::argument as read;
use super::operator::{Attempted, Counted, Field, Moment, Operator, Point, Precision};
use super::row::Allowed::{Everywhere, Log};
use super::row::AllowedTraffic::{Both, Http, Tcp};
use super::row::Argument::{None, Optional, Required};
use super::row::{Row, cut, nothing, of_others, plain, refused, with};

const REQUEST: &[Field] = &[Field::Method, Field::Path, Field::Authority, Field::Scheme];
const RESPONSE: &[Field] = &[Field::Status];

const UTC_ALONE: &str = "times are in UTC";
const ON_THE_WIRE: &str = "bytes are counted of bodies, not on the wire";
const NO_METADATA: &str = "there is no metadata of requests, clusters and endpoints";
const NO_STATE: &str = "there is no state of filters";
const NO_TRACES: &str = "there are no spans";
const NO_EXPRESSIONS: &str = "expressions are not supported";
const NO_EXTENSIONS: &str = "it is an extension of Envoy's";

pub(super) const ROWS: &[Row] = &[
    cut("REQ", Required("X?Y"), (Everywhere, Http), |a, _| read::fields(a, REQUEST, Operator::Request)),
    cut("REQUEST_HEADER", Required("X?Y"), (Everywhere, Http), |a, _| {
        read::fields(a, REQUEST, Operator::Request)
    }),
    cut("REQ_WITHOUT_QUERY", Required("X?Y"), (Everywhere, Http), |a, _| {
        read::fields(a, REQUEST, Operator::RequestWithoutQuery)
    }),
    cut("RESP", Required("X?Y"), (Everywhere, Http), |a, _| read::fields(a, RESPONSE, Operator::Response)),
    cut("RESPONSE_HEADER", Required("X?Y"), (Everywhere, Http), |a, _| {
        read::fields(a, RESPONSE, Operator::Response)
    }),
    cut("TRAILER", Required("X?Y"), (Log, Http), |a, _| read::fields(a, &[], Operator::Trailer)),
    cut("RESPONSE_TRAILER", Required("X?Y"), (Log, Http), |a, _| read::fields(a, &[], Operator::Trailer)),
    cut("PATH", Optional("NQ:ORIG_OR_PATH"), (Everywhere, Http), |a, _| read::path(a)),
    cut("QUERY_PARAM", Required("X"), (Everywhere, Http), |a, _| Ok(Operator::QueryParameter(a.to_owned()))),
    cut("QUERY_PARAMS", Optional("DECODED"), (Everywhere, Http), |a, _| read::query(a)),
    plain("PROTOCOL", Everywhere, Http, |_, _| Ok(Operator::Protocol)),
    plain("UPSTREAM_PROTOCOL", Log, Http, |_, _| Ok(Operator::UpstreamProtocol)),
    plain("STREAM_ID", Everywhere, Both, |_, _| Ok(Operator::StreamId)),
    plain("UNIQUE_ID", Log, Both, |_, _| Ok(Operator::UniqueId)),
    plain("RESPONSE_CODE", Everywhere, Http, |_, _| Ok(Operator::Code)),
    with("RESPONSE_CODE_DETAILS", Optional("ALLOW_WHITESPACES"), (Log, Http), |a, _| read::code_details(a)),
    plain("RESPONSE_FLAGS", Everywhere, Both, |_, _| Ok(Operator::Flags)),
    plain("RESPONSE_FLAGS_LONG", Log, Both, |_, _| Ok(Operator::FlagsLong)),
    plain("LOCAL_REPLY_BODY", Everywhere, Http, |_, _| Ok(Operator::Body)),
    with("GRPC_STATUS", Optional("SNAKE_STRING"), (Log, Http), |a, _| read::grpc_status(a)),
    plain("GRPC_STATUS_NUMBER", Log, Http, |_, _| read::grpc_status("NUMBER")),
    plain("ROUTE_NAME", Everywhere, Http, |_, _| Ok(Operator::Route)),
    nothing("VIRTUAL_CLUSTER_NAME", None, "there are no virtual clusters"),
    with("START_TIME", Optional("%s.%3f"), (Everywhere, Both), |a, _| read::time(a, Moment::Start)),
    refused("START_TIME_LOCAL", Optional("%s"), UTC_ALONE),
    with("EMIT_TIME", Optional("%s.%3f"), (Log, Both), |a, _| read::time(a, Moment::Emit)),
    refused("EMIT_TIME_LOCAL", Optional("%s"), UTC_ALONE),
    plain("DURATION", Log, Both, |_, _| Ok(Operator::Whole)),
    with("COMMON_DURATION", Required("DS_RX_BEG:DS_TX_END:us"), (Log, Both), |a, _| read::duration(a)),
    plain("REQUEST_DURATION", Log, Http, |_, _| Ok(milliseconds(Point::RequestBegins, Point::RequestEnds))),
    plain("REQUEST_TX_DURATION", Log, Http, |_, _| Ok(milliseconds(Point::RequestBegins, Point::SendEnds))),
    plain("RESPONSE_DURATION", Log, Http, |_, _| {
        Ok(milliseconds(Point::RequestBegins, Point::UpstreamResponseBegins))
    }),
    plain("RESPONSE_TX_DURATION", Log, Http, |_, _| {
        Ok(milliseconds(Point::UpstreamResponseBegins, Point::ResponseEnds))
    }),
    nothing("ROUNDTRIP_DURATION", None, "there is no QUIC"),
    plain("DOWNSTREAM_HANDSHAKE_DURATION", Log, Tcp, |_, _| Ok(Operator::Handshake)),
    plain("UPSTREAM_CONNECTION_POOL_READY_DURATION", Log, Both, |_, _| Ok(Operator::PoolReady)),
    plain("BYTES_RECEIVED", Log, Both, |_, _| Ok(Operator::Bytes(Counted::Received))),
    plain("BYTES_SENT", Log, Both, |_, _| Ok(Operator::Bytes(Counted::Sent))),
    plain("REQUEST_HEADERS_BYTES", Log, Http, |_, _| Ok(Operator::Bytes(Counted::RequestHeaders))),
    plain("RESPONSE_HEADERS_BYTES", Log, Http, |_, _| Ok(Operator::Bytes(Counted::ResponseHeaders))),
    plain("RESPONSE_TRAILERS_BYTES", Log, Http, |_, _| Ok(Operator::Bytes(Counted::ResponseTrailers))),
    plain("BYTES_RETRANSMITTED", Log, Both, |_, _| Ok(Operator::Zero)),
    plain("PACKETS_RETRANSMITTED", Log, Both, |_, _| Ok(Operator::Zero)),
    refused("UPSTREAM_WIRE_BYTES_SENT", None, ON_THE_WIRE),
    refused("UPSTREAM_WIRE_BYTES_RECEIVED", None, ON_THE_WIRE),
    refused("UPSTREAM_HEADER_BYTES_SENT", None, ON_THE_WIRE),
    refused("UPSTREAM_HEADER_BYTES_RECEIVED", None, ON_THE_WIRE),
    refused("UPSTREAM_DECOMPRESSED_HEADER_BYTES_SENT", None, ON_THE_WIRE),
    refused("UPSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED", None, ON_THE_WIRE),
    refused("DOWNSTREAM_WIRE_BYTES_SENT", None, ON_THE_WIRE),
    refused("DOWNSTREAM_WIRE_BYTES_RECEIVED", None, ON_THE_WIRE),
    refused("DOWNSTREAM_HEADER_BYTES_SENT", None, ON_THE_WIRE),
    refused("DOWNSTREAM_HEADER_BYTES_RECEIVED", None, ON_THE_WIRE),
    refused("DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_SENT", None, ON_THE_WIRE),
    refused("DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED", None, ON_THE_WIRE),
    plain("UPSTREAM_REQUEST_ATTEMPT_COUNT", Log, Both, |_, _| Ok(Operator::Attempts)),
    plain("UPSTREAM_HOSTS_ATTEMPTED", Log, Both, |_, _| {
        Ok(Operator::Attempted(Attempted::Hosts { port: true }))
    }),
    plain("UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT", Log, Both, |_, _| {
        Ok(Operator::Attempted(Attempted::Hosts { port: false }))
    }),
    plain("UPSTREAM_HOST_NAMES_ATTEMPTED", Log, Both, |_, _| {
        Ok(Operator::Attempted(Attempted::Names { port: true }))
    }),
    plain("UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT", Log, Both, |_, _| {
        Ok(Operator::Attempted(Attempted::Names { port: false }))
    }),
    plain("UPSTREAM_CONNECTION_IDS_ATTEMPTED", Log, Both, |_, _| {
        Ok(Operator::Attempted(Attempted::Connections))
    }),
    nothing("DYNAMIC_METADATA", Required("NAMESPACE:KEY"), NO_METADATA),
    nothing("CLUSTER_METADATA", Required("NAMESPACE:KEY"), NO_METADATA),
    nothing("UPSTREAM_METADATA", Required("NAMESPACE:KEY"), NO_METADATA),
    nothing("METADATA", Required("ROUTE:NAMESPACE:KEY"), NO_METADATA),
    nothing("FILTER_STATE", Required("KEY:PLAIN"), NO_STATE),
    nothing("UPSTREAM_FILTER_STATE", Required("KEY:PLAIN"), NO_STATE),
    nothing("CUSTOM_FLAGS", None, "no filter sets flags of its own"),
    nothing("TRACE_ID", None, NO_TRACES),
    nothing("SPAN_ID", None, NO_TRACES),
    of_others(
        "COALESCE",
        Required(
            "{\"operators\": [\"REQUESTED_SERVER_NAME\", {\"command\": \"REQ\", \"param\": \":authority\"}]}",
        ),
        (Everywhere, Both),
        read::first_of,
    ),
    refused("CEL", Required("response.code"), NO_EXPRESSIONS),
    refused("TYPED_CEL", Required("response.code"), NO_EXPRESSIONS),
    refused("FILE_CONTENT", Required("/etc/hostname"), NO_EXTENSIONS),
    refused("SECRET", Required("name"), NO_EXTENSIONS),
];

fn milliseconds(from: Point, to: Point) -> Operator {
    Operator::Duration(from, to, Precision::Milli)
}
