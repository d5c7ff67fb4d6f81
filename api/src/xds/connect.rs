//! One delta stream to a server: opens it and transports messages in both directions. The caller reconnects and
//! interprets the messages.

use crate::wire::xds::{AggregatedDiscoveryServiceClient, DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use tokio::sync::mpsc;
use tonic::body::Body;
use tonic::codegen::{Body as HttpBody, Bytes, StdError};
use tonic::metadata::MetadataMap;
use tonic::{Request, Status, Streaming};

/// An open stream.
#[derive(Debug)]
pub struct Stream {
    requests: mpsc::UnboundedSender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
}

impl Stream {
    /// Opens a stream over a channel with its first requests, because a server may send no response headers before it
    /// has read a request. `metadata` carries the credentials.
    pub async fn open<T>(
        channel: T,
        metadata: MetadataMap,
        first: Vec<DeltaDiscoveryRequest>,
    ) -> Result<Self, Status>
    where
        T: tonic::client::GrpcService<Body>,
        T::Error: Into<StdError>,
        T::ResponseBody: HttpBody<Data = Bytes> + Send + 'static,
        <T::ResponseBody as HttpBody>::Error: Into<StdError> + Send,
    {
        let (requests, outgoing) = mpsc::unbounded_channel();
        for request in first {
            // The receiver is still in this function, so sending cannot fail.
            let _ = requests.send(request);
        }
        let outgoing = tokio_stream_of(outgoing);
        let mut request = Request::new(outgoing);
        *request.metadata_mut() = metadata;
        let mut client =
            AggregatedDiscoveryServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE);
        let responses = client.delta_aggregated_resources(request).await?.into_inner();
        Ok(Self { requests, responses })
    }

    /// Sends a request. If the stream has ended, `next` reports it.
    pub fn send(&self, request: DeltaDiscoveryRequest) {
        let _ = self.requests.send(request);
    }

    /// The next response; `None`: the server ended the stream.
    pub async fn next(&mut self) -> Result<Option<DeltaDiscoveryResponse>, Status> {
        self.responses.message().await
    }
}

fn tokio_stream_of(
    mut receiver: mpsc::UnboundedReceiver<DeltaDiscoveryRequest>,
) -> impl futures_util::Stream<Item = DeltaDiscoveryRequest> {
    futures_util::stream::poll_fn(move |context| receiver.poll_recv(context))
}

/// Bytes of a message. The configuration of ten thousand services fits.
const MAX_MESSAGE: usize = 256 * 1024 * 1024;
