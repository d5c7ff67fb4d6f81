//! Benchmarks TLS connections through `io::Tls` and through plain tokio-rustls: CPU time of both ends together for
//! a handshake with mutual TLS 1.3, for a small request on an open connection and for a body of 10 MiB, and the
//! memory of an idle open connection. docs/tls.md has the figures. Run it with `make bench-tls`.

#![allow(clippy::disallowed_methods, reason = "it measures")]

use api::process::tls::provider;
use proxy::io::{Prefixed, Tls};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::{PrivateKeyDer, ServerName};
use std::error::Error;
use std::fs;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// A library that adds TLS to a socket.
trait Library: Clone + Send + 'static {
    type Client: AsyncRead + AsyncWrite + Unpin + Send;
    type Server: AsyncRead + AsyncWrite + Unpin + Send;

    fn connect(&self, socket: TcpStream) -> impl Future<Output = io::Result<Self::Client>> + Send;
    fn accept(&self, socket: TcpStream) -> impl Future<Output = io::Result<Self::Server>> + Send;
}

#[derive(Clone)]
struct Configs {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

#[derive(Clone)]
struct Ours(Configs);

impl Library for Ours {
    type Client = Box<Tls>;
    type Server = Box<Tls>;

    async fn connect(&self, socket: TcpStream) -> io::Result<Box<Tls>> {
        Tls::connect(self.0.client.clone(), name(), Prefixed::new(socket)).await.map(Box::new)
    }

    async fn accept(&self, socket: TcpStream) -> io::Result<Box<Tls>> {
        Tls::accept(self.0.server.clone(), Prefixed::new(socket)).await.map(Box::new)
    }
}

#[derive(Clone)]
struct Tokio(Configs);

impl Library for Tokio {
    type Client = Box<client::TlsStream<TcpStream>>;
    type Server = Box<server::TlsStream<TcpStream>>;

    async fn connect(&self, socket: TcpStream) -> io::Result<Self::Client> {
        TlsConnector::from(self.0.client.clone()).connect(name(), socket).await.map(Box::new)
    }

    async fn accept(&self, socket: TcpStream) -> io::Result<Self::Server> {
        TlsAcceptor::from(self.0.server.clone()).accept(socket).await.map(Box::new)
    }
}

type Pick = fn(&mut Figures) -> &mut Vec<f64>;

/// CPU time in microseconds, and memory in KiB.
#[derive(Default)]
struct Figures {
    connection: Vec<f64>,
    small: Vec<f64>,
    large: Vec<f64>,
    idle: Vec<f64>,
}

const ROUNDS: usize = 5;
const CONNECTIONS: usize = 1_000;
const SMALL: usize = 20_000;
const LARGE: usize = 40;
const IDLE: usize = 2_000;

fn main() -> Result<()> {
    // cargo passes `--bench`; `cargo test --benches` does not, and then there is nothing to measure.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let configs = configs()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut ours, mut tokio) = (Figures::default(), Figures::default());
    for _ in 0..ROUNDS {
        runtime.block_on(round(Ours(configs.clone()), &mut ours))?;
        runtime.block_on(round(Tokio(configs.clone()), &mut tokio))?;
    }
    println!("{:<44}{:>12}{:>14}{:>8}", "", "io::Tls", "tokio-rustls", "share");
    let rows: [(&str, Pick); 4] = [
        ("new mTLS connection, both ends: CPU us", |figures| &mut figures.connection),
        ("1 KiB there and back, both ends: CPU us", |figures| &mut figures.small),
        ("10 MiB body, both ends: CPU us per MiB", |figures| &mut figures.large),
        ("open connection, idle, both ends: KiB", |figures| &mut figures.idle),
    ];
    for (title, of) in rows {
        let (a, b) = (median(of(&mut ours)), median(of(&mut tokio)));
        println!("{title:<44}{a:>12.1}{b:>14.1}{:>8.2}", b / a);
    }
    Ok(())
}

async fn round<L: Library>(library: L, figures: &mut Figures) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = tokio::spawn(serve(library.clone(), listener));

    let began = cpu()?;
    for _ in 0..CONNECTIONS {
        exchange(&mut connect(&library, address).await?, 1, &mut [0; 1]).await?;
    }
    figures.connection.push((cpu()? - began) / CONNECTIONS as f64);

    let mut stream = connect(&library, address).await?;
    let began = cpu()?;
    for _ in 0..SMALL {
        exchange(&mut stream, 1024, &mut [0; 1024]).await?;
    }
    figures.small.push((cpu()? - began) / SMALL as f64);

    let mut body = vec![0; 64 * 1024];
    let began = cpu()?;
    for _ in 0..LARGE {
        exchange(&mut stream, 10 << 20, &mut body).await?;
    }
    figures.large.push((cpu()? - began) / (LARGE * 10) as f64);

    let before = resident()?;
    let mut open = vec![];
    for _ in 0..IDLE {
        let mut stream = connect(&library, address).await?;
        exchange(&mut stream, 1024, &mut [0; 1024]).await?;
        open.push(stream);
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    figures.idle.push((resident()? - before) / IDLE as f64);
    drop((open, stream));
    server.abort();
    Ok(())
}

async fn connect<L: Library>(library: &L, address: SocketAddr) -> Result<L::Client> {
    let socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    Ok(library.connect(socket).await?)
}

/// Requests this many bytes and reads them.
async fn exchange(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    count: usize,
    buffer: &mut [u8],
) -> Result<()> {
    stream.write_all(&u32::try_from(count)?.to_be_bytes()).await?;
    stream.flush().await?;
    let mut left = count;
    while left > 0 {
        let room = buffer.len().min(left);
        match stream.read(&mut buffer[..room]).await? {
            0 => return Err("the server ended".into()),
            read => left -= read,
        }
    }
    Ok(())
}

/// Sends as many bytes as each request asks for, in pieces of the size that a proxy copies.
async fn serve<L: Library>(library: L, listener: TcpListener) {
    while let Ok((socket, _)) = listener.accept().await {
        let library = library.clone();
        tokio::spawn(async move {
            socket.set_nodelay(true)?;
            let mut stream = library.accept(socket).await?;
            let piece = vec![7; 64 * 1024];
            while let Ok(asked) = stream.read_u32().await {
                let mut left = asked as usize;
                while left > 0 {
                    let step = piece.len().min(left);
                    stream.write_all(&piece[..step]).await?;
                    left -= step;
                }
                stream.flush().await?;
            }
            io::Result::Ok(())
        });
    }
}

/// Client and server certificates of one authority, without resumption.
fn configs() -> Result<Configs> {
    let mut root = CertificateParams::new(vec![])?;
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate()?;
    let mut roots = RootCertStore::empty();
    roots.add(root.self_signed(&key)?.der().clone())?;
    let (roots, issuer) = (Arc::new(roots), Issuer::new(root, key));
    let own = || -> Result<_> {
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(vec!["localhost".to_owned()])?.signed_by(&key, &issuer)?;
        Ok((vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der())?))
    };
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider()).build()?;
    let (chain, key) = own()?;
    let mut server = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    server.send_tls13_tickets = 0;
    let (chain, key) = own()?;
    let mut client = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)?;
    client.resumption = rustls::client::Resumption::disabled();
    Ok(Configs { client: Arc::new(client), server: Arc::new(server) })
}

fn name() -> ServerName<'static> {
    ServerName::try_from("localhost").expect("it is a name")
}

/// CPU time of this thread, in which both ends run, in microseconds, as counted by the scheduler.
fn cpu() -> Result<f64> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    let spent: f64 = text.split_whitespace().next().ok_or("the kernel counts no CPU time")?.parse()?;
    Ok(spent / 1_000.0)
}

/// Resident memory in KiB.
fn resident() -> Result<f64> {
    let text = fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find(|line| line.starts_with("VmRSS:")).ok_or("the kernel reports no memory")?;
    Ok(line.split_whitespace().nth(1).ok_or("the kernel reports no memory")?.parse()?)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
