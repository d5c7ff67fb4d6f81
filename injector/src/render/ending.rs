//! Pure. Adds `preStop` hooks that wait until other proxies have stopped sending requests to the pod. Without them, the
//! application would be told to stop at the same moment as the mesh learns that the pod ends, and requests that are under
//! way would fail. The sidecar serves the hook, and limits its time.

use k8s_openapi::{
    api::core::v1::{HTTPGetAction, LifecycleHandler, PodSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

use crate::render::context::{Context, PROXY_NAME};

/// Adds the hook to each container of the application that has no `preStop` hook of its own. The sidecar waits before a
/// hook over the network that it performs for the application; a command of the user is left as it is.
pub fn wait(spec: &mut PodSpec, context: &Context) {
    let Some(port) = port(context) else { return };
    for container in spec.containers.iter_mut().filter(|container| container.name != PROXY_NAME) {
        let hooks = container.lifecycle.get_or_insert_default();
        hooks.pre_stop.get_or_insert_with(|| hook(&container.name, port));
    }
}

/// The hook of a gateway, or of a sidecar that ends together with the application.
pub fn of_proxy(context: &Context) -> Option<LifecycleHandler> {
    port(context).map(|port| hook(PROXY_NAME, port))
}

/// The port where the sidecar serves the hook. `None`: there are no hooks.
fn port(context: &Context) -> Option<u16> {
    let ports = [context.probe_port(), context.status_port()];
    ports.into_iter().find(|port| *port != 0).filter(|_| !context.removal_wait.limit.is_zero())
}

fn hook(container: &str, port: u16) -> LifecycleHandler {
    let http_get = HTTPGetAction {
        path: Some(format!("/app-lifecycle/{container}/prestopz")),
        port: IntOrString::Int(port.into()),
        ..HTTPGetAction::default()
    };
    LifecycleHandler { http_get: Some(http_get), ..LifecycleHandler::default() }
}
