//! Requests of unauthenticated clients, as bytes: accepted requests are within their budgets, small ones are never
//! refused, and a session handles them without panicking.

use crate::words;
use api::bounded::Bounded;
use api::bounded::budget::{Excess, check};
use api::certificate::IstioCertificateRequest;
use api::wire::xds::{DeltaDiscoveryRequest, DiscoveryRequest, Node, NodeInfo};
use api::xds::offer::Resources;
use api::xds::server::{Mode, Request, Session};
use prost::Message;

/// See the module. The first byte chooses: a request of either method of discovery, or for a certificate.
pub fn run(data: &[u8]) {
    let Some((choice, bytes)) = words::choice(data, 3) else { return };
    match choice {
        0 => discovery(
            Mode::Delta,
            decoded(bytes).map(|request: DeltaDiscoveryRequest| Request::Delta(request)),
        ),
        1 => discovery(Mode::Sotw, decoded(bytes).map(|request: DiscoveryRequest| Request::Sotw(request))),
        _ => drop(decoded::<IstioCertificateRequest>(bytes)),
    }
}

/// An accepted message that can be decoded.
fn decoded<M: Bounded>(bytes: &[u8]) -> Option<M> {
    let verdict = check(bytes, &M::BUDGET);
    let read = M::decode(bytes).ok();
    // Prost accepts an entry of a map with any wire type; the budget does not.
    let kept_out = verdict.as_ref().err().filter(|excess| !matches!(excess, Excess::Map(..)));
    assert!(
        kept_out.is_none() || read.is_none() || bytes.len() > SMALL,
        "{kept_out:?} of {} bytes",
        bytes.len()
    );
    read.filter(|_| verdict.is_ok())
}

fn discovery(mode: Mode, request: Option<Request>) {
    let Some(request) = request else { return };
    if let Some(node) = request.node() {
        assert!(node.encoded_len() <= NODE + SLACK, "a node of {} bytes", node.encoded_len());
        let metadata = node.metadata.as_ref().map_or(0, Message::encoded_len);
        assert!(metadata <= METADATA + SLACK, "metadata of {metadata} bytes");
        let info = NodeInfo::from(node);
        assert_eq!(NodeInfo::from(&Node::from(&info)).id, info.id);
    }
    let mut session = Session::new(mode);
    if session.check(&request).is_err() {
        return;
    }
    let most = request.weight();
    let nothing = Resources::new("1");
    drop(session.request(request, &nothing));
    assert!(session.weight() <= most, "{} bytes are held for {most}", session.weight());
}

/// All budgets are at least this large.
const SMALL: usize = 32;
const NODE: usize = 256 << 10;
const METADATA: usize = 64 << 10;
/// An encoded message may be longer than the decoded bytes, because of the lengths of its parts.
const SLACK: usize = 64 << 10;
