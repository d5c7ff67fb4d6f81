//! Pure. What gateways leave out: servers of another kind on a port, hosts and SNI that another object has first or names
//! more closely, and routes to a port that leads somewhere already.

use super::{Losses, winner};
use crate::catalog::Catalog;
use crate::catalog::gateway_port::Lost;

pub(super) fn find(catalog: &Catalog, losses: &mut Losses) {
    for Lost { loser, path, winner: other, closer, effect } in catalog.lost_at_gateways() {
        let who = if loser == other {
            "another part of this object".to_owned()
        } else if closer {
            format!("{}, which names it more closely,", other.key())
        } else {
            winner(&other, &loser)
        };
        let next = "remove one of the two, or let them take different hosts or ports";
        losses.add(&loser, path, format!("{who} {effect}"), next);
    }
}
