//! The xDS service: aggregated discovery, in its delta and state-of-the-world variants. One task per stream holds the
//! session of one proxy; the decisions are in `api::xds` and `node`.

mod stream;
mod replica;
mod discovery;
pub mod connections;
pub mod node;

pub mod quota;

pub use discovery::Discovery;

use api::process::serve::{CloseAt, Peer};
use api::xds::accept::{self, Discover, Requests, ResponseStream};
use api::xds::server::Mode;
use stream::Session;
use tokio::sync::mpsc;
use tonic::Status;

impl Discovery {
    /// Returns the service as a router for `api::process::serve`.
    pub fn router(self) -> axum::Router {
        let questions = replica::router(self.clone());
        tonic::service::Routes::new(accept::server(self, MAX_REQUEST)).into_axum_router().merge(questions)
    }
}

impl Discover for Discovery {
    fn serve(
        &self,
        mode: Mode,
        caller: &http::Extensions,
        requests: Requests,
    ) -> Result<ResponseStream, Status> {
        let peer = caller.get::<Peer>().cloned();
        let parting = caller.get::<CloseAt>().copied();
        if self.identities && peer.as_ref().and_then(|p| p.identity.as_ref()).is_none() {
            self.metrics.denied.inc();
            return Err(Status::unauthenticated("this port needs a client certificate of the mesh"));
        }
        let (send, responses) = mpsc::channel(QUEUE);
        let session = Session::new(mode, peer, self.clone(), send).until(parting);
        tokio::spawn(Box::new(session).run(requests));
        Ok(responses)
    }
}

/// The number of responses that may wait for a slow proxy before its session waits.
const QUEUE: usize = 4;
/// Maximum size of a request. Large enough for subscriptions to tens of thousands of names, and for the resource
/// versions that a reconnecting proxy sends.
const MAX_REQUEST: usize = 4 << 20;

#[cfg(test)]
mod tests;
