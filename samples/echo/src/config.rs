//! The command line of server and client, parsed once.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use http::{HeaderName, HeaderValue, Method};

use crate::quantity;
use crate::target::Target;

/// Command line of `echo`.
#[derive(Debug, Parser)]
#[command(name = "echo", about = "Echo server and client to try and test a service mesh with")]
pub struct CommandLine {
    /// Server or client.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server, which returns what it received
    #[command(disable_version_flag = true)]
    Server(ServerOptions),
    /// Call a server, count its responses and print a report as JSON
    Client(ClientOptions),
}

/// Settings of the server. Without port flags the server opens all default ports; with a port flag, only the given
/// ports. Port 0 means any free port; the first lines of output name the open ports.
#[derive(Clone, Debug, Args)]
pub struct ServerOptions {
    /// Address to listen on
    #[arg(long, default_value = "0.0.0.0")]
    pub address: IpAddr,
    /// Ports for HTTP/1.1, HTTP/2 without TLS, gRPC and WebSocket [usual: 8080]
    #[arg(long, value_delimiter = ',', value_name = "PORT")]
    pub http: Vec<u16>,
    /// Ports for the same protocols over TLS [usual: 8443]
    #[arg(long, value_delimiter = ',', value_name = "PORT")]
    pub https: Vec<u16>,
    /// Ports for gRPC [usual: 7070]
    #[arg(long, value_delimiter = ',', value_name = "PORT")]
    pub grpc: Vec<u16>,
    /// Ports for TCP where the client sends first [usual: 9000]
    #[arg(long, value_delimiter = ',', value_name = "PORT")]
    pub tcp: Vec<u16>,
    /// Ports for TCP where the server sends first [usual: 9001]
    #[arg(long, value_delimiter = ',', value_name = "PORT")]
    pub tcp_server_first: Vec<u16>,
    /// Certificate chain for HTTPS (PEM); without it, a self-signed certificate is generated
    #[arg(long, requires = "key", value_name = "FILE")]
    pub cert: Option<PathBuf>,
    /// Private key of the certificate (PEM)
    #[arg(long, requires = "cert", value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Names in the self-signed certificate
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "localhost,127.0.0.1,echo-server",
        value_name = "NAME"
    )]
    pub tls_name: Vec<String>,
    /// Request client certificates and verify them against these roots (PEM); clients may send none
    #[arg(long, value_name = "FILE")]
    pub client_ca: Option<PathBuf>,
    /// Version to report in responses
    #[arg(long, env = "VERSION", default_value = "v1")]
    pub version: String,
    /// Pod name to report in responses
    #[arg(long, env = "POD_NAME")]
    pub pod_name: Option<String>,
    /// Machine name to report in responses
    #[arg(long, env = "HOSTNAME", default_value = "")]
    pub hostname: String,
    /// Service account to report in responses
    #[arg(long, env = "SERVICE_ACCOUNT")]
    pub service_account: Option<String>,
    /// How long to keep accepting after SIGTERM, until clients know that this pod leaves
    #[arg(long, value_parser = quantity::duration, default_value = "1s")]
    pub shutdown_delay: Duration,
    /// How long running calls may take after that
    #[arg(long, value_parser = quantity::duration, default_value = "5s")]
    pub drain: Duration,
}

/// Settings of the client.
#[derive(Clone, Debug, Args)]
pub struct ClientOptions {
    /// URL to call, with the scheme http, https, grpc, grpcs, ws, wss, tcp, tls (TCP over TLS), or tcp+first (TCP where
    /// the server sends first)
    pub url: Target,
    /// Number of requests [default: 1, or no limit with --duration]
    #[arg(short = 'n', long, value_name = "COUNT")]
    pub count: Option<u64>,
    /// Number of concurrent requests, each on a connection of its own
    #[arg(short = 'c', long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub concurrency: u16,
    /// Requests per second; without it, as fast as responses arrive
    #[arg(long, value_parser = rate)]
    pub rate: Option<f64>,
    /// How long to start requests
    #[arg(long, value_parser = quantity::duration)]
    pub duration: Option<Duration>,
    /// Header (gRPC: metadata) to send, as name:value; may be repeated
    #[arg(short = 'H', long = "header", value_parser = header, value_name = "NAME:VALUE")]
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// HTTP method [default: GET, or POST with a body]
    #[arg(short = 'X', long = "request")]
    pub method: Option<Method>,
    /// Body or message to send
    #[arg(short = 'd', long = "data")]
    pub data: Option<String>,
    /// Use HTTP/2; without TLS as h2c with prior knowledge
    #[arg(long)]
    pub http2: bool,
    /// Open a connection for each request
    #[arg(long)]
    pub new_connection: bool,
    /// Timeout of a request
    #[arg(long, value_parser = quantity::duration, default_value = "15s")]
    pub timeout: Duration,
    /// Connect to this host and port instead of the URL's
    #[arg(long, value_parser = host_port, value_name = "HOST:PORT")]
    pub connect: Option<(String, u16)>,
    /// Accept any certificate
    #[arg(long)]
    pub insecure: bool,
    /// Root certificates to verify the server with (PEM)
    #[arg(long, value_name = "FILE", default_value = "/etc/ssl/certs/ca-certificates.crt")]
    pub ca: PathBuf,
    /// Server name to send (SNI) and verify, instead of the URL's host
    #[arg(long, value_name = "NAME")]
    pub server_name: Option<String>,
    /// Client certificate chain (PEM)
    #[arg(long, requires = "key", value_name = "FILE")]
    pub cert: Option<PathBuf>,
    /// Private key of the client certificate (PEM)
    #[arg(long, requires = "cert", value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Messages in each request: gRPC (bidirectional stream, or as --grpc says), WebSocket, TCP
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub stream: Option<u32>,
    /// gRPC method [default: echo, or chat with --stream]
    #[arg(long, value_enum, value_name = "METHOD")]
    pub grpc: Option<GrpcMethod>,
    /// Text that a response must contain to count as successful; may be repeated
    #[arg(long, value_name = "TEXT")]
    pub expect: Vec<String>,
    /// Text that a successful response must not contain; may be repeated
    #[arg(long, value_name = "TEXT")]
    pub expect_not: Vec<String>,
    /// Include the first response in the report
    #[arg(long)]
    pub show: bool,
    /// Exit with 0 even if requests failed
    #[arg(long)]
    pub allow_failures: bool,
}

/// gRPC methods of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum GrpcMethod {
    /// Unary: one message, one response.
    Echo,
    /// Client streaming: many messages, one response.
    Collect,
    /// Server streaming: one message, many responses.
    Repeat,
    /// Bidirectional streaming: many messages, many responses.
    Chat,
    /// The standard health check.
    Health,
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("is not a header; write it as name:value")?;
    let name = HeaderName::try_from(name.trim()).map_err(|error| error.to_string())?;
    let value = HeaderValue::try_from(value.trim()).map_err(|error| error.to_string())?;
    Ok((name, value))
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 =
        text.trim_end_matches("/s").parse().map_err(|_| "is not a number of requests per second")?;
    let sensible = (0.001..=1_000_000.0).contains(&rate);
    if sensible { Ok(rate) } else { Err("is not from 0.001 to 1000000 requests per second".to_owned()) }
}

fn host_port(text: &str) -> Result<(String, u16), String> {
    let (host, port) = text.rsplit_once(':').ok_or("is not a host and a port; write it as host:port")?;
    let port = port.parse().map_err(|_| "has no port from 0 to 65535".to_owned())?;
    Ok((host.trim_start_matches('[').trim_end_matches(']').to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(arguments: &[&str]) -> Result<ClientOptions, clap::Error> {
        let parsed = CommandLine::try_parse_from([&["echo", "client"], arguments].concat())?;
        match parsed.command {
            Command::Client(options) => Ok(options),
            Command::Server(_) => unreachable!("the command is a client"),
        }
    }

    #[test]
    fn a_client_line_becomes_parsed_values() {
        let options = client(&[
            "http://echo:8080/",
            "-n",
            "5",
            "-c",
            "2",
            "--rate",
            "10/s",
            "--duration",
            "2s",
            "-H",
            "a: b:c",
            "-X",
            "PUT",
            "--connect",
            "[::1]:80",
        ])
        .expect("good flags");
        assert_eq!((options.count, options.concurrency, options.rate), (Some(5), 2, Some(10.0)));
        assert_eq!(options.duration, Some(Duration::from_secs(2)));
        assert_eq!(options.headers[0].1, "b:c");
        assert_eq!(options.connect, Some(("::1".to_owned(), 80)));
        assert_eq!(options.method, Some(Method::PUT));
    }

    #[test]
    fn an_invalid_client_command_line_reports_the_mistake() {
        let table: &[(&[&str], &str)] = &[
            (&["echo"], "is not a URL"),
            (&["ftp://echo"], "scheme"),
            (&["http://echo", "-c", "0"], "1..=4096"),
            (&["http://echo", "--rate", "0"], "requests per second"),
            (&["http://echo", "--timeout", "soon"], "250ms"),
            (&["http://echo", "-H", "novalue"], "name:value"),
            (&["http://echo", "--cert", "a.pem"], "--key"),
            (&["http://echo", "--connect", "echo"], "host:port"),
        ];
        for (arguments, text) in table {
            let error = client(arguments).expect_err(text).to_string();
            assert!(error.contains(text), "{error}");
        }
    }
}
