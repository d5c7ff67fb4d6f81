//! Finds groups of modules that use each other, with Tarjan's algorithm.

use std::collections::BTreeMap;

/// The groups of two or more nodes that reach each other.
pub(crate) fn cycles<N: Ord + Clone>(edges: &BTreeMap<N, Vec<N>>) -> Vec<Vec<N>> {
    let mut search =
        Search { edges, next: 0, order: BTreeMap::new(), low: BTreeMap::new(), open: vec![], found: vec![] };
    for node in edges.keys() {
        if !search.order.contains_key(node) {
            search.visit(node);
        }
    }
    search.found
}

struct Search<'a, N> {
    edges: &'a BTreeMap<N, Vec<N>>,
    next: usize,
    order: BTreeMap<N, usize>,
    low: BTreeMap<N, usize>,
    open: Vec<N>,
    found: Vec<Vec<N>>,
}

impl<N: Ord + Clone> Search<'_, N> {
    fn visit(&mut self, node: &N) {
        self.order.insert(node.clone(), self.next);
        self.low.insert(node.clone(), self.next);
        self.next += 1;
        self.open.push(node.clone());
        for other in self.edges.get(node).into_iter().flatten() {
            let reached = if !self.order.contains_key(other) {
                self.visit(other);
                self.low[other]
            } else if self.open.contains(other) {
                self.order[other]
            } else {
                continue;
            };
            let low = self.low[node].min(reached);
            self.low.insert(node.clone(), low);
        }
        if self.low[node] == self.order[node] {
            let from = self.open.iter().position(|open| open == node).expect("it was put there above");
            let mut group = self.open.split_off(from);
            group.sort();
            if group.len() > 1 {
                self.found.push(group);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_that_reach_each_other_are_one_group() {
        let edges = |list: &[(u8, &[u8])]| list.iter().map(|(from, to)| (*from, to.to_vec())).collect();
        assert_eq!(cycles(&edges(&[(1, &[2]), (2, &[3]), (3, &[])])), Vec::<Vec<u8>>::new());
        assert_eq!(cycles(&edges(&[(1, &[2]), (2, &[3]), (3, &[1]), (4, &[1])])), [[1, 2, 3]]);
        assert_eq!(cycles(&edges(&[(1, &[2]), (2, &[1, 3]), (3, &[4]), (4, &[3])])), [[3, 4], [1, 2]]);
    }
}
