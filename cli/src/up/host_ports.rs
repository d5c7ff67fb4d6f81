//! Serves the host ports that objects claim; `kubelet::host_port` decides which. Ports are opened before an object is
//! accepted, so that an object whose port is in use is rejected.

use std::collections::BTreeSet;
use std::net::SocketAddrV4;
use std::sync::Arc;

use api::resource::check::Given;
use api::resource::document::Problem;
use tokio_util::sync::CancellationToken;

use crate::kubelet::host_port;
use crate::manifest::object::Key;
use crate::up::context::Context;
use crate::up::gateway;
use crate::up::world::Directory;

/// Listeners that are open but not served yet.
pub type Opened = Vec<(SocketAddrV4, std::net::TcpListener)>;

/// Opens the ports that these objects claim and that are not open yet.
pub fn open(context: &Context, objects: &[Given]) -> Result<Opened, Vec<Problem>> {
    let mut opened: Opened = vec![];
    let mut problems = vec![];
    for given in objects {
        let key = Key::of(&given.object);
        for claim in host_port::claims(&key, &given.object).into_iter().filter(|claim| claim.is_tcp) {
            let address = claim.address;
            let is_open = context.host_ports.open().contains_key(&address);
            if is_open || opened.iter().any(|(other, _)| *other == address) {
                continue;
            }
            match context.host_ports.listen(address.into()) {
                Ok(listener) => opened.push((address, listener)),
                Err(error) => problems.push(Problem {
                    file: given.file.clone(),
                    object: key.to_string(),
                    path: claim.path,
                    reason: format!("host port {address} cannot be opened: {error}"),
                    next: "stop the program that uses the port, or choose another port".into(),
                }),
            }
        }
    }
    if problems.is_empty() { Ok(opened) } else { Err(problems) }
}

/// Serves open listeners. The objects that claim them must already be in the world, because `run` closes unclaimed
/// ports.
pub fn serve(context: &Arc<Context>, opened: Opened) -> std::io::Result<()> {
    for (address, listener) in opened {
        let end = CancellationToken::new();
        let behind = move |directory: &Directory| {
            host_port::endpoints(address, &directory.services, &directory.backends)
        };
        gateway::serve(context, listener, behind, end.clone())?;
        context.host_ports.open().insert(address, end);
    }
    Ok(())
}

/// Closes ports that no object claims, until the mesh ends.
pub async fn run(context: Arc<Context>) {
    let mut changes = context.shared.watch();
    while changes.changed().await.is_ok() {
        let mut open = context.host_ports.open();
        if open.is_empty() {
            continue;
        }
        let wanted: BTreeSet<SocketAddrV4> = {
            let world = context.shared.read();
            let claims = world.objects.iter().flat_map(|(key, object)| host_port::claims(key, object));
            claims.map(|claim| claim.address).collect()
        };
        open.retain(|address, end| {
            let stays = wanted.contains(address);
            if !stays {
                end.cancel();
            }
            stays
        });
    }
}
