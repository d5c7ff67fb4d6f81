//! Forwards connections from the host's listeners to pods: listeners of the ingress gateway, and of host ports that
//! objects claim.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use api::process::serve::acceptor::{Acceptor, Slot};
use api::process::serve::connections::Limits;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::kubelet::service;
use crate::up::context::Context;
use crate::up::world::Directory;

/// Accepts connections until `end` is cancelled; open connections continue. `behind` returns the pods that get the
/// connections.
pub fn serve(
    context: &Arc<Context>,
    listener: std::net::TcpListener,
    behind: impl Fn(&Directory) -> Vec<(Ipv4Addr, u16)> + Send + Sync + 'static,
    end: CancellationToken,
) -> std::io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let context = Arc::clone(context);
    tokio::spawn(async move {
        let turn = Arc::new(AtomicUsize::new(0));
        let behind = Arc::new(behind);
        let acceptor = Acceptor::new(LIMITS);
        loop {
            let (stream, _, slot) = tokio::select! {
                accepted = acceptor.accept(&listener) => accepted,
                () = end.cancelled() => return,
            };
            let (context, turn, behind) = (Arc::clone(&context), Arc::clone(&turn), Arc::clone(&behind));
            tokio::spawn(async move {
                let endpoints = behind(&context.shared.directory());
                slot.run(pass(&endpoints, stream, &turn, &slot)).await;
            });
        }
    });
    Ok(())
}

/// The addresses behind a port of the gateway: of Istio's usual Service, or of any other Service that is reachable
/// from outside.
pub fn endpoints(directory: &Directory, port: u16) -> Vec<(Ipv4Addr, u16)> {
    let mut services: Vec<_> = directory
        .services
        .iter()
        .filter(|service| {
            service.spec.as_ref().and_then(|spec| spec.type_.as_deref()) == Some("LoadBalancer")
        })
        .collect();
    let usual = |name: Option<&str>, namespace: Option<&str>| {
        name == Some("istio-ingressgateway") && namespace == Some("istio-system")
    };
    services.sort_by_key(|service| {
        let metadata = &service.metadata;
        !usual(metadata.name.as_deref(), metadata.namespace.as_deref())
    });
    let ports = services.iter().flat_map(|service| {
        let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
        ports.filter(|known| known.port == i32::from(port)).map(move |known| (service, known))
    });
    ports
        .map(|(service, port)| service::endpoints(service, port, &directory.backends))
        .find(|found| !found.is_empty())
        .unwrap_or_default()
}

/// Whether a pod serves the gateway's HTTP port.
pub fn is_served(directory: &Directory) -> bool {
    !endpoints(directory, HTTP).is_empty()
}

/// The gateway's HTTP port in its Service.
const HTTP: u16 = 80;

async fn pass(endpoints: &[(Ipv4Addr, u16)], mut outside: TcpStream, turn: &AtomicUsize, slot: &Slot) {
    // Until one side has sent bytes, the connection may be closed to make room for others.
    let use_of_it = slot.begin();
    let first = turn.fetch_add(1, Ordering::Relaxed);
    for step in 0..endpoints.len() {
        let endpoint = endpoints[(first + step) % endpoints.len()];
        if let Ok(mut inside) = TcpStream::connect(endpoint).await {
            let _ = outside.set_nodelay(true);
            let _ = inside.set_nodelay(true);
            // Either side may send first. Errors show when bytes are copied.
            tokio::select! {
                _ = outside.readable() => {}
                _ = inside.readable() => {}
            }
            use_of_it.responded(0);
            // Either side may close the connection; that is not an error here.
            let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
            return;
        }
    }
}

/// Limits for connections from this machine. The gateway decides how long a silent connection may last; these limits
/// only close connections when there are too many.
const LIMITS: Limits = Limits { response: None, exchange: None, ..Limits::anonymous(10_000, 10_000) };
