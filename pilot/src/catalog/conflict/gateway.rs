//! Pure. Finds parts of objects that gateways ignore: servers whose protocol differs from that of the port, hosts and
//! SNI names that another object claims first or more specifically, and routes to a port that already has one.

use super::found::{Conflicts, winner};
use crate::catalog::Catalog;
use crate::catalog::gateway_port::Overridden;

pub(super) fn find(catalog: &Catalog, found: &mut Conflicts) {
    for Overridden { loser, path, winner: other, closer, effect } in catalog.overridden_at_gateways() {
        let who = if loser == other {
            "another part of this object".to_owned()
        } else if closer {
            format!("{}, which names it more closely,", other.key())
        } else {
            winner(&other, &loser)
        };
        let next = "remove one of the two, or let them take different hosts or ports";
        found.add(&loser, path, format!("{who} {effect}"), next);
    }
}
