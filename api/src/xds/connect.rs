//! One delta stream to a server: opens it, and carries messages both ways. Reconnecting, and what the messages mean,
//! is for the caller to decide.

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
    /// Opens a stream over a channel. The first requests are given here, because a server may answer with nothing at
    /// all before it has read one. `metadata` carries the credentials.
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
            // The receiver is held right here, so that sending cannot fail.
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

    /// Sends a request. A stream that has ended says so at `next`.
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

/// A mesh of ten thousand services fits; what is larger is no configuration.
const MAX_MESSAGE: usize = 256 * 1024 * 1024;
