//! Brings the host's listeners to the ingress gateway's pods.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use crate::kubelet::service;
use crate::up::context::Context;
use crate::up::world::World;

/// Accepts until the runtime ends.
pub fn serve(context: &Arc<Context>, port: u16, listener: std::net::TcpListener) -> std::io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let context = Arc::clone(context);
    tokio::spawn(async move {
        let turn = Arc::new(AtomicUsize::new(0));
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    tokio::spawn(pass(Arc::clone(&context), port, stream, Arc::clone(&turn)));
                }
                // Out of file descriptors: connections must end before one can begin.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    });
    Ok(())
}

/// The addresses behind the gateway's port: Istio's usual service first, else any that wants to be reached
/// from outside.
pub fn endpoints(world: &World, port: u16) -> Vec<(Ipv4Addr, u16)> {
    let backends = world.backends();
    let mut services: Vec<_> = world
        .services()
        .into_iter()
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
        .map(|(service, port)| service::endpoints(service, port, &backends))
        .find(|found| !found.is_empty())
        .unwrap_or_default()
}

async fn pass(context: Arc<Context>, port: u16, mut outside: TcpStream, turn: Arc<AtomicUsize>) {
    let endpoints = endpoints(&context.shared.read(), port);
    let first = turn.fetch_add(1, Ordering::Relaxed);
    for step in 0..endpoints.len() {
        let endpoint = endpoints[(first + step) % endpoints.len()];
        if let Ok(mut inside) = TcpStream::connect(endpoint).await {
            let _ = outside.set_nodelay(true);
            let _ = inside.set_nodelay(true);
            // Either side may end the connection as it likes.
            let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
            return;
        }
    }
}
