//! Performs the application's probes in the kubelet's place, because the kubelet has no certificate of the mesh.

use super::fetch;
use crate::config::{Action, HttpProbe, Prober};
use bytes::{Bytes, BytesMut};
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::net::{IpAddr, SocketAddr};

/// Performs a probe. Returns the status for the kubelet, and the reason.
pub(super) async fn perform(prober: &Prober, pod: IpAddr) -> (StatusCode, String) {
    let work = async {
        match &prober.action {
            Action::Http(probe) => page(probe, pod).await,
            Action::Tcp(host, port) => {
                let address = resolve(host.as_deref(), *port, pod).await?;
                fetch::connect(address).await.map(|_| StatusCode::OK)
            }
            Action::Grpc(port, service) => grpc(SocketAddr::new(pod, *port), service).await,
        }
    };
    match tokio::time::timeout(prober.timeout, work).await {
        Ok(Ok(status)) => (status, String::new()),
        Ok(Err(reason)) => (StatusCode::INTERNAL_SERVER_ERROR, reason),
        Err(_) => {
            (StatusCode::INTERNAL_SERVER_ERROR, format!("no response within {} s", prober.timeout.as_secs()))
        }
    }
}

async fn resolve(host: Option<&str>, port: u16, pod: IpAddr) -> Result<SocketAddr, String> {
    let Some(host) = host.filter(|host| !host.is_empty() && *host != "localhost") else {
        return Ok(SocketAddr::new(pod, port));
    };
    let mut found =
        tokio::net::lookup_host((host, port)).await.map_err(|error| format!("{host}: {error}"))?;
    found.next().ok_or_else(|| format!("{host} has no address"))
}

/// Returns the status of the application's response: the kubelet judges it as if it had sent the request itself.
async fn page(probe: &HttpProbe, pod: IpAddr) -> Result<StatusCode, String> {
    let address = resolve(probe.host.as_deref(), probe.port, pod).await?;
    let request = page_request(probe, address)?;
    Ok(fetch::send(address, probe.tls, request, MAX_BODY).await?.status)
}

fn page_request(probe: &HttpProbe, address: SocketAddr) -> Result<Request<Empty<Bytes>>, String> {
    let mut request = Request::get(&probe.path);
    let given = |name: &str| probe.headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
    if !given("host") {
        request = request.header(header::HOST, address.to_string());
    }
    if !given("user-agent") {
        request = request.header(header::USER_AGENT, "kube-probe/ostria");
    }
    for (name, value) in &probe.headers {
        request = request.header(name, value);
    }
    // Each probe uses a connection of its own.
    request.header(header::CONNECTION, "close").body(Empty::new()).map_err(|error| error.to_string())
}

/// Calls `grpc.health.v1.Health/Check`: field 1 of the request is the service, field 1 of the response is the status.
async fn grpc(address: SocketAddr, service: &str) -> Result<StatusCode, String> {
    let stream = fetch::connect(address).await?;
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| error.to_string())?;
    let connection = tokio::spawn(connection);
    let request = Request::post(format!("http://{address}/grpc.health.v1.Health/Check"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .body(Full::new(health_request(service)))
        .map_err(|error| error.to_string())?;
    let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
    let in_head = grpc_status(response.headers());
    let body = response.into_body().collect().await.map_err(|error| error.to_string())?;
    let status = in_head.or_else(|| body.trailers().and_then(grpc_status));
    connection.abort();
    if status.as_deref() != Some("0") {
        return Err(format!("gRPC status {}", status.as_deref().unwrap_or("missing")));
    }
    if is_serving(&body.to_bytes()) {
        Ok(StatusCode::OK)
    } else {
        Err("the service is not serving".to_owned())
    }
}

fn grpc_status(headers: &http::HeaderMap) -> Option<String> {
    headers.get("grpc-status")?.to_str().ok().map(str::to_owned)
}

fn health_request(service: &str) -> Bytes {
    let message = prost::Message::encode_to_vec(&HealthRequest { service: service.to_owned() });
    let mut frame = BytesMut::with_capacity(5 + message.len());
    frame.extend_from_slice(&[0]);
    frame.extend_from_slice(&(message.len() as u32).to_be_bytes());
    frame.extend_from_slice(&message);
    frame.freeze()
}

fn is_serving(frame: &[u8]) -> bool {
    let message = frame.get(5..).unwrap_or_default();
    <HealthResponse as prost::Message>::decode(message).is_ok_and(|response| response.status == SERVING)
}

#[derive(Clone, PartialEq, prost::Message)]
struct HealthRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct HealthResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

const SERVING: i32 = 1;
const MAX_BODY: usize = 64 * 1024;
