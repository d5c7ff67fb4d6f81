//! Pure. Gateways and the route sets that apply to them. Together with the services, these are the only inputs to the
//! listeners and routes of gateway proxies.

use super::Catalog;
use super::gateway::Gateway;
use super::list::List;
use super::lookup::ranked;
use super::policy::Mesh;
use super::route::{GatewayRef, RouteSet};
use super::same::Same;
use super::visibility::{Labels, selects};
use std::sync::Arc;

/// The gateways of a mesh. Equal values give equal ports and routes.
#[derive(Debug, Clone, PartialEq)]
pub struct GatewayView {
    mesh: Same<Mesh>,
    gateways: List<Gateway>,
    route_sets: Same<Vec<Arc<RouteSet>>>,
}

impl Catalog {
    /// Returns the gateways with their routes.
    pub fn gateway_view(&self) -> GatewayView {
        GatewayView {
            mesh: Same(self.shared_mesh()),
            gateways: self.list(),
            route_sets: Same(self.shared_route_sets()),
        }
    }
}

impl GatewayView {
    /// The Gateways whose selector matches a proxy with these labels, in any namespace, oldest first.
    pub fn chosen_by(&self, labels: &Labels) -> impl Iterator<Item = &Arc<Gateway>> {
        self.gateways.iter().filter(|gateway| selects(&gateway.selector, labels))
    }

    /// See `Catalog::route_sets`.
    pub fn route_sets(&self, namespace: &str, gateway: &GatewayRef) -> Vec<Arc<RouteSet>> {
        ranked(&self.route_sets, &self.mesh, namespace, gateway)
    }
}
