//! Brings the host's listeners to the ingress gateway's pods.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use api::process::serve::crowd::Limits;
use api::process::serve::door::{Door, Seat};
use tokio::net::{TcpListener, TcpStream};

use crate::kubelet::service;
use crate::up::context::Context;
use crate::up::world::Directory;

/// Accepts until the runtime ends.
pub fn serve(context: &Arc<Context>, port: u16, listener: std::net::TcpListener) -> std::io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let context = Arc::clone(context);
    tokio::spawn(async move {
        let turn = Arc::new(AtomicUsize::new(0));
        let door = Door::new(LIMITS);
        loop {
            let (stream, _, seat) = door.accept(&listener).await;
            let (context, turn) = (Arc::clone(&context), Arc::clone(&turn));
            tokio::spawn(async move { seat.run(pass(&context, port, stream, &turn, &seat)).await });
        }
    });
    Ok(())
}

/// The addresses behind the gateway's port: Istio's usual service first, else any that wants to be reached
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

async fn pass(context: &Context, port: u16, mut outside: TcpStream, turn: &AtomicUsize, seat: &Seat) {
    // Until one side has spoken the connection makes room for others.
    let use_of_it = seat.begin();
    let endpoints = endpoints(&context.shared.directory(), port);
    let first = turn.fetch_add(1, Ordering::Relaxed);
    for step in 0..endpoints.len() {
        let endpoint = endpoints[(first + step) % endpoints.len()];
        if let Ok(mut inside) = TcpStream::connect(endpoint).await {
            let _ = outside.set_nodelay(true);
            let _ = inside.set_nodelay(true);
            // Which side speaks first is its affair; errors show when bytes are passed.
            tokio::select! {
                _ = outside.readable() => {}
                _ = inside.readable() => {}
            }
            use_of_it.answered(0);
            // Either side may end the connection as it likes.
            let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
            return;
        }
    }
}

/// Connections of users on this machine. How long a silent one may last is for the gateway to say; here it only makes
/// room when there are too many.
const LIMITS: Limits = Limits { response: None, exchange: None, ..Limits::anonymous(10_000, 10_000) };
