//! One stream to a server, in either form of the protocol: opens it and transports messages in both directions. The
//! caller, which knows only the delta form, reconnects and interprets the messages.

use super::server::Mode;
use super::sotw::Sotw;
use crate::wire::xds::{
    AggregatedDiscoveryServiceClient, DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest,
    DiscoveryResponse,
};
use tokio::sync::mpsc;
use tonic::body::Body;
use tonic::codegen::{Body as HttpBody, Bytes, StdError};
use tonic::metadata::MetadataMap;
use tonic::{Request, Status, Streaming};

/// An open stream.
#[derive(Debug)]
pub struct Stream(Inner);

#[derive(Debug)]
enum Inner {
    Delta(mpsc::UnboundedSender<DeltaDiscoveryRequest>, Streaming<DeltaDiscoveryResponse>),
    Sotw(mpsc::UnboundedSender<DiscoveryRequest>, Streaming<DiscoveryResponse>, Sotw),
}

impl Stream {
    /// Opens a stream over a channel with its first requests, because a server may send no response headers before it
    /// has read a request. `metadata` carries the credentials.
    pub async fn open<T>(
        channel: T,
        metadata: MetadataMap,
        first: Vec<DeltaDiscoveryRequest>,
        mode: Mode,
    ) -> Result<Self, Status>
    where
        T: tonic::client::GrpcService<Body>,
        T::Error: Into<StdError>,
        T::ResponseBody: HttpBody<Data = Bytes> + Send + 'static,
        <T::ResponseBody as HttpBody>::Error: Into<StdError> + Send,
    {
        let mut client =
            AggregatedDiscoveryServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE);
        match mode {
            Mode::Delta => {
                let (requests, request) = outgoing(metadata, first);
                let responses = client.delta_aggregated_resources(request).await?.into_inner();
                Ok(Self(Inner::Delta(requests, responses)))
            }
            Mode::Sotw => {
                let mut translation = Sotw::default();
                let first = first.into_iter().filter_map(|request| translation.request(request));
                let (requests, request) = outgoing(metadata, first);
                let responses = client.stream_aggregated_resources(request).await?.into_inner();
                Ok(Self(Inner::Sotw(requests, responses, translation)))
            }
        }
    }

    /// Sends a request. If the stream has ended, `next` reports it.
    pub fn send(&mut self, request: DeltaDiscoveryRequest) {
        match &mut self.0 {
            Inner::Delta(requests, _) => {
                let _ = requests.send(request);
            }
            Inner::Sotw(requests, _, translation) => {
                if let Some(request) = translation.request(request) {
                    let _ = requests.send(request);
                }
            }
        }
    }

    /// The next response; `None`: the server ended the stream.
    pub async fn next(&mut self) -> Result<Option<DeltaDiscoveryResponse>, Status> {
        match &mut self.0 {
            Inner::Delta(_, responses) => responses.message().await,
            Inner::Sotw(_, responses, translation) => loop {
                let Some(response) = responses.message().await? else { return Ok(None) };
                // A response of a type that was never requested needs no reply.
                if let Some(response) = translation.response(response) {
                    return Ok(Some(response));
                }
            },
        }
    }
}

/// A request that streams the messages sent to a channel, beginning with `first`.
fn outgoing<M: Send + 'static>(
    metadata: MetadataMap,
    first: impl IntoIterator<Item = M>,
) -> (mpsc::UnboundedSender<M>, Request<impl futures_util::Stream<Item = M> + Send + 'static>) {
    let (requests, mut receiver) = mpsc::unbounded_channel();
    for request in first {
        // The receiver is still in this function, so sending cannot fail.
        let _ = requests.send(request);
    }
    let stream = futures_util::stream::poll_fn(move |context| receiver.poll_recv(context));
    let mut request = Request::new(stream);
    *request.metadata_mut() = metadata;
    (requests, request)
}

/// Bytes of a message. The configuration of ten thousand services fits.
const MAX_MESSAGE: usize = 256 * 1024 * 1024;
