//! Connections to ports of pods through the API server. They begin inside the pod's network namespace, so they reach
//! servers that listen only there, such as the proxy's admin interface.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::client::cluster::Cluster;
use crate::exchange::{RequestError, exchange};
use crate::failure::Failure;

/// A port of a pod.
#[derive(Debug, Clone)]
pub struct Port {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// Number of the port.
    pub number: u16,
}

/// Why a request to a pod failed.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// The API server refuses the connection.
    #[error("{0}")]
    Server(Failure),
    /// The pod cannot be connected to; the text is the kubelet's.
    #[error("{0}")]
    Pod(String),
    /// The connection was opened, and the request failed.
    #[error(transparent)]
    Request(#[from] RequestError),
}

impl Port {
    /// The failure of a request to this port.
    pub fn failure(&self, error: ForwardError) -> Failure {
        match error {
            ForwardError::Server(failure) => failure,
            error => {
                let Self { namespace, pod, number } = self;
                Failure::blocked(
                    format!("port {number} of pod {pod} in namespace {namespace}: {error}"),
                    format!("look at the pod with `kubectl -n {namespace} describe pod {pod}`"),
                )
            }
        }
    }
}

/// An open connection, and the kubelet's message if it ends because of an error.
pub struct Forwarded {
    /// The bytes from and to the pod.
    pub stream: DuplexStream,
    trouble: oneshot::Receiver<String>,
}

impl Forwarded {
    /// The kubelet's message about a connection that ended; `None` if it sent none.
    async fn trouble(trouble: oneshot::Receiver<String>) -> Option<String> {
        // The text is sent before the connection ends, but on another channel.
        timeout(AFTER_END, trouble).await.ok()?.ok().map(|text| shortened(&text))
    }
}

/// Connects to a port of a pod.
pub async fn connect(cluster: &Cluster, port: &Port) -> Result<Forwarded, Failure> {
    let pods: Api<Pod> = Api::namespaced(cluster.client().clone(), &port.namespace);
    let mut forwarder =
        pods.portforward(&port.pod, &[port.number]).await.map_err(|error| cluster.failure(&error))?;
    let missing =
        || Failure::blocked("the API server opened no connection to the pod", "run the command again");
    let stream = forwarder.take_stream(port.number).ok_or_else(missing)?;
    let error = forwarder.take_error(port.number).ok_or_else(missing)?;
    let (sender, trouble) = oneshot::channel();
    // The tasks end with the connection.
    tokio::spawn(async move {
        if let Some(text) = error.await {
            // Fails if the receiver is gone: the connection was used to its end.
            let _ = sender.send(text);
        }
    });
    Ok(Forwarded { stream, trouble })
}

/// Sends an HTTP request to a port of a pod, and returns the body of the response.
pub async fn request(
    cluster: &Cluster,
    port: &Port,
    method: Method,
    path: &str,
    body: Vec<u8>,
) -> Result<Bytes, ForwardError> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", format!("localhost:{}", port.number))
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| ForwardError::Pod(format!("the path {path} is malformed: {error}")))?;
    let Forwarded { stream, trouble } = connect(cluster, port).await.map_err(ForwardError::Server)?;
    match exchange(LIMIT, async { Ok(stream) }, request).await {
        Err(error @ RequestError::Http(_)) => match Forwarded::trouble(trouble).await {
            Some(text) => Err(ForwardError::Pod(text)),
            None => Err(error.into()),
        },
        result => Ok(result?),
    }
}

/// Copies the bytes of an accepted connection to a port of a pod and back, until the pod ends it. The protocol cannot pass
/// on that the user's side has finished sending, so such a connection ends when the pod is silent for a while.
pub async fn pass(cluster: &Cluster, own: TcpStream, port: &Port) -> Result<(), Failure> {
    let Forwarded { stream, trouble } = connect(cluster, port).await?;
    let (mut from_user, mut to_user) = own.into_split();
    let (mut from_pod, mut to_pod) = tokio::io::split(stream);
    let mut sent = pin!(tokio::io::copy(&mut from_user, &mut to_pod));
    let (mut sends, mut buffer) = (true, vec![0; 32 << 10]);
    loop {
        tokio::select! {
            read = from_pod.read(&mut buffer) => match read {
                Ok(length @ 1..) if to_user.write_all(&buffer[..length]).await.is_ok() => {}
                _ => break,
            },
            _ = &mut sent, if sends => sends = false,
            () = tokio::time::sleep(SILENCE), if !sends => break,
        }
    }
    match Forwarded::trouble(trouble).await {
        Some(text) => Err(port.failure(ForwardError::Pod(text))),
        None => Ok(()),
    }
}

/// The end of the kubelet's text, which names the sandbox and the pod's id before the reason.
fn shortened(text: &str) -> String {
    let text = text.trim();
    text.split_once("inside namespace ")
        .map_or(text, |(_, rest)| rest.split_once(": ").map_or(rest, |(_, why)| why))
        .into()
}

/// Maximum time of a request, which may be for the dump of a large mesh over a slow line.
const LIMIT: Duration = Duration::from_secs(30);
const AFTER_END: Duration = Duration::from_millis(300);
/// How long a pod may be silent after the user's side has sent everything.
const SILENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_what_remains_of_the_kubelets_words() {
        let text = "error forwarding port 15000 to pod 3f, uid : failed to execute portforward in network namespace \
                    \"/var/run/netns/cni-1\": failed to connect to localhost:15000 inside namespace \"3f\", IPv4: dial tcp4 \
                    127.0.0.1:15000: connect: connection refused IPv6 dial tcp6: x\n";
        assert!(shortened(text).starts_with("dial tcp4 127.0.0.1:15000: connect: connection refused"));
        assert_eq!(shortened("pod not found\n"), "pod not found");
    }
}
