//! The workloads at clients' addresses. The request path only maps an address to a number; the workloads of unknown
//! addresses are requested over a channel and are read when metrics are rendered. So no request ever waits for one.

use super::held::held;
use api::model::workload::Workload;
use foldhash::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;

/// A table from addresses to workloads.
pub struct Peers {
    table: Mutex<Table>,
    asked: mpsc::UnboundedSender<IpAddr>,
    version: AtomicU64,
}

#[derive(Default)]
struct Table {
    by_address: HashMap<IpAddr, u32>,
    /// Entry n belongs to number n + 1; number 0 is "unknown".
    entries: Vec<Option<Arc<Workload>>>,
}

impl Peers {
    /// Creates an empty table. Returns it with the addresses whose workloads are to be requested.
    pub fn new() -> (Arc<Self>, mpsc::UnboundedReceiver<IpAddr>) {
        let (asked, addresses) = mpsc::unbounded_channel();
        (Arc::new(Self { table: Mutex::default(), asked, version: AtomicU64::new(0) }), addresses)
    }

    /// The number of an address; requests its workload the first time the address is seen.
    pub fn index(&self, address: IpAddr) -> u32 {
        let mut table = held(&self.table);
        if let Some(known) = table.by_address.get(&address) {
            return *known;
        }
        if table.entries.len() >= MAX_PEERS {
            return 0;
        }
        // Without a control plane the channel has no receiver, and clients stay unknown.
        let _ = self.asked.send(address);
        table.add(address, None)
    }

    /// Sets the workload at an address. A different workload gets a different number, so that the series of the
    /// previous one keep their labels.
    pub fn set(&self, address: IpAddr, workload: Option<Workload>) {
        let mut table = held(&self.table);
        let known = table.by_address.get(&address).copied();
        let slot = known.and_then(|index| table.entries.get_mut(index as usize - 1));
        match (slot, workload) {
            (Some(slot), Some(workload)) if slot.as_ref().is_none_or(|old| old.uid == workload.uid) => {
                *slot = Some(Arc::new(workload));
            }
            (None, None) => {}
            (Some(slot), None) if slot.is_none() => {}
            (_, workload) => {
                table.add(address, workload.map(Arc::new));
                self.version.fetch_add(1, Ordering::Release);
            }
        }
    }

    /// Increases when numbers returned earlier may be out of date.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The workload with a number.
    pub fn workload(&self, index: u32) -> Option<Arc<Workload>> {
        let index = (index as usize).checked_sub(1)?;
        held(&self.table).entries.get(index)?.clone()
    }
}

impl Table {
    fn add(&mut self, address: IpAddr, workload: Option<Arc<Workload>>) -> u32 {
        self.entries.push(workload);
        let index = u32::try_from(self.entries.len()).unwrap_or(0);
        self.by_address.insert(address, index);
        index
    }
}

/// The most addresses; beyond it, clients stay unknown. Bounds the memory when many addresses connect once.
const MAX_PEERS: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(uid: &str) -> Workload {
        Workload { uid: uid.into(), ..Workload::default() }
    }

    #[test]
    fn an_address_is_requested_once() {
        let (peers, mut asked) = Peers::new();
        let address: IpAddr = "10.0.0.1".parse().unwrap();
        let index = peers.index(address);
        assert_eq!(peers.index(address), index);
        assert_eq!(asked.try_recv().unwrap(), address);
        assert!(asked.try_recv().is_err());
        assert!(peers.workload(index).is_none());
    }

    #[test]
    fn a_response_names_the_workload_of_earlier_ids() {
        let (peers, _asked) = Peers::new();
        let address: IpAddr = "10.0.0.1".parse().unwrap();
        let index = peers.index(address);
        peers.set(address, Some(workload("a")));
        assert_eq!(peers.workload(index).unwrap().uid, "a");
        assert_eq!(peers.index(address), index);
    }

    #[test]
    fn a_reused_address_does_not_rename_the_series_of_its_former_owner() {
        let (peers, _asked) = Peers::new();
        let address: IpAddr = "10.0.0.1".parse().unwrap();
        let index = peers.index(address);
        peers.set(address, Some(workload("a")));
        let version = peers.version();
        peers.set(address, Some(workload("b")));
        assert_ne!(peers.version(), version);
        assert_eq!(peers.workload(index).unwrap().uid, "a");
        assert_eq!(peers.workload(peers.index(address)).unwrap().uid, "b");
    }
}
