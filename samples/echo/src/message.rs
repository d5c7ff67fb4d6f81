//! Pure. The gRPC messages and methods of `echo.proto`, and of the standard health service.
//!
//! Written by hand: five fields do not justify a code generator in the build.

/// A message of the client.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct EchoRequest {
    /// Text to echo.
    #[prost(string, tag = "1")]
    pub message: String,
    /// Number of responses, for `Repeat`.
    #[prost(uint32, tag = "2")]
    pub count: u32,
}

/// A message of the server.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct EchoResponse {
    /// The text.
    #[prost(string, tag = "1")]
    pub message: String,
    /// Index of this response in its stream, from 0.
    #[prost(uint32, tag = "2")]
    pub index: u32,
    /// Name of the pod that sends the response.
    #[prost(string, tag = "3")]
    pub pod: String,
    /// Version that sends the response.
    #[prost(string, tag = "4")]
    pub version: String,
    /// What the server received, as JSON; only in the first response.
    #[prost(string, tag = "5")]
    pub seen: String,
}

/// `grpc.health.v1.HealthCheckRequest`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct HealthCheckRequest {
    /// Name of the service to check; empty for the server as a whole.
    #[prost(string, tag = "1")]
    pub service: String,
}

/// `grpc.health.v1.HealthCheckResponse`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct HealthCheckResponse {
    /// 1 is serving, 2 is not serving.
    #[prost(int32, tag = "1")]
    pub status: i32,
}

/// Name of the service.
pub const SERVICE: &str = "ostria.echo.v1.Echo";
/// Unary: one message, one response.
pub const ECHO: &str = "/ostria.echo.v1.Echo/Echo";
/// Client streaming: many messages, one response.
pub const COLLECT: &str = "/ostria.echo.v1.Echo/Collect";
/// Server streaming: one message, many responses.
pub const REPEAT: &str = "/ostria.echo.v1.Echo/Repeat";
/// Bidirectional streaming: many messages, many responses.
pub const CHAT: &str = "/ostria.echo.v1.Echo/Chat";
/// The standard health check.
pub const HEALTH_CHECK: &str = "/grpc.health.v1.Health/Check";
/// `HealthCheckResponse.status` of a serving server.
pub const SERVING: i32 = 1;
/// `HealthCheckResponse.status` of a server that shuts down.
pub const NOT_SERVING: i32 = 2;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use prost::Message;

    use super::*;

    const PROTO: &str = include_str!("../echo.proto");

    /// Field numbers, with names and types, of `message` in the .proto file.
    fn fields(message: &str) -> BTreeMap<u32, (String, String)> {
        let (_, body) = PROTO.split_once(&format!("message {message} {{")).expect("the message is there");
        let (body, _) = body.split_once('}').expect("a message ends");
        body.lines()
            .map(str::trim)
            .filter(|line| line.ends_with(';') && !line.starts_with("//"))
            .map(|line| {
                let words: Vec<&str> = line.trim_end_matches(';').split_whitespace().collect();
                let number = words[3].parse().expect("a field number");
                (number, (words[0].to_owned(), words[1].to_owned()))
            })
            .collect()
    }

    /// Field numbers and wire types of an encoded message of short values, in their order.
    fn tags(encoded: &[u8]) -> Vec<(u32, &'static str)> {
        let mut tags = Vec::new();
        let mut rest = encoded;
        while let [tag, value, tail @ ..] = rest {
            let text = tag & 7 == 2;
            tags.push((u32::from(tag >> 3), if text { "string" } else { "uint32" }));
            rest = if text { &tail[usize::from(*value)..] } else { tail };
        }
        tags
    }

    #[test]
    fn messages_are_encoded_as_the_proto_file_says() {
        let request = EchoRequest { message: "m".into(), count: 1 };
        let response = EchoResponse {
            message: "m".into(),
            index: 1,
            pod: "p".into(),
            version: "v".into(),
            seen: "s".into(),
        };
        for (name, encoded) in
            [("EchoRequest", request.encode_to_vec()), ("EchoResponse", response.encode_to_vec())]
        {
            let declared = fields(name);
            let written = tags(&encoded);
            let expected: Vec<_> =
                declared.iter().map(|(number, (kind, _))| (*number, kind.as_str())).collect();
            assert_eq!(written, expected, "{name}");
        }
        let debug = format!("{response:?}");
        for (_, name) in fields("EchoResponse").values() {
            assert!(debug.contains(&format!("{name}: ")), "{name} is not in {debug}");
        }
    }

    #[test]
    fn methods_match_the_proto_file() {
        assert!(PROTO.contains("package ostria.echo.v1;") && PROTO.contains("service Echo {"));
        for (path, line) in [
            (ECHO, "rpc Echo(EchoRequest) returns (EchoResponse);"),
            (COLLECT, "rpc Collect(stream EchoRequest) returns (EchoResponse);"),
            (REPEAT, "rpc Repeat(EchoRequest) returns (stream EchoResponse);"),
            (CHAT, "rpc Chat(stream EchoRequest) returns (stream EchoResponse);"),
        ] {
            let name = path.strip_prefix(&format!("/{SERVICE}/")).expect("the service's own method");
            assert!(PROTO.contains(line) && line.contains(name), "{path}");
        }
    }
}
