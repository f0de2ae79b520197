//! Minimum cuts of small networks (Dinic's algorithm).

/// End of a list of edges.
const NONE: u32 = u32::MAX;

/// Nodes joined by edges of some capacity, each with its reverse beside it: edge `e` and edge `e ^ 1`.
pub(super) struct Network {
    /// First edge of each node.
    first: Vec<u32>,
    /// Next edge of the same node.
    next: Vec<u32>,
    head: Vec<u32>,
    /// What still fits through.
    capacity: Vec<f64>,
}

impl Network {
    pub(super) fn new(nodes: usize, edges: usize) -> Self {
        let vec = || Vec::with_capacity(2 * edges);
        Self { first: vec![NONE; nodes], next: vec(), head: vec(), capacity: Vec::with_capacity(2 * edges) }
    }

    /// Joins two nodes by an edge of each direction. Capacities are not negative.
    pub(super) fn join(&mut self, a: usize, b: usize, forward: f64, backward: f64) {
        for (from, to, capacity) in [(a, b, forward), (b, a, backward)] {
            self.next.push(self.first[from]);
            self.first[from] = self.head.len() as u32;
            self.head.push(to as u32);
            self.capacity.push(capacity);
        }
    }

    /// Which nodes are on the source's side of a minimum cut.
    pub(super) fn source_side(mut self, source: usize, sink: usize) -> Vec<bool> {
        loop {
            let distance = self.distances(source);
            if distance[sink] == NONE {
                return distance.into_iter().map(|distance| distance != NONE).collect();
            }
            self.block(source, sink, &distance);
        }
    }

    /// Edges from the source to each node that still have room; [`NONE`] where there is no way.
    fn distances(&self, source: usize) -> Vec<u32> {
        let mut distance = vec![NONE; self.first.len()];
        distance[source] = 0;
        let mut queue = Vec::with_capacity(self.first.len());
        queue.push(source);
        let mut at = 0;
        while let Some(&node) = queue.get(at) {
            at += 1;
            let mut edge = self.first[node];
            while edge != NONE {
                let head = self.head[edge as usize] as usize;
                if self.capacity[edge as usize] > 0.0 && distance[head] == NONE {
                    distance[head] = distance[node] + 1;
                    queue.push(head);
                }
                edge = self.next[edge as usize];
            }
        }
        distance
    }

    /// Fills paths of shortest length until none is left.
    fn block(&mut self, source: usize, sink: usize, distance: &[u32]) {
        // Edges that were found to lead nowhere are not looked at again.
        let mut current = self.first.clone();
        let mut path: Vec<u32> = Vec::new();
        let mut node = source;
        loop {
            if node == sink {
                let room =
                    path.iter().map(|&edge| self.capacity[edge as usize]).fold(f64::INFINITY, f64::min);
                for &edge in &path {
                    self.capacity[edge as usize] -= room;
                    self.capacity[edge as usize ^ 1] += room;
                }
                // Back to where the first edge is full: it is now exactly 0.
                let full = path.iter().position(|&edge| self.capacity[edge as usize] <= 0.0).unwrap_or(0);
                node = self.head[path[full] as usize ^ 1] as usize;
                path.truncate(full);
                continue;
            }
            let edge = current[node];
            if edge == NONE {
                // A dead end: the edge that led here is given up.
                let Some(edge) = path.pop() else { return };
                node = self.head[edge as usize ^ 1] as usize;
                current[node] = self.next[current[node] as usize];
                continue;
            }
            let head = self.head[edge as usize] as usize;
            if self.capacity[edge as usize] > 0.0 && distance[head] == distance[node] + 1 {
                path.push(edge);
                node = head;
            } else {
                current[node] = self.next[edge as usize];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_cut_is_as_small_as_the_smallest_of_all(capacities in proptest::collection::vec(0u32..20, 36)) {
            let nodes = 6;
            let mut network = Network::new(nodes, 36);
            for (i, &capacity) in capacities.iter().enumerate() {
                network.join(i / nodes, i % nodes, f64::from(capacity), 0.0);
            }
            let weight = |inside: &dyn Fn(usize) -> bool| -> u32 {
                let cut = |&(i, _): &(usize, &u32)| inside(i / nodes) && !inside(i % nodes);
                capacities.iter().enumerate().filter(cut).map(|(_, capacity)| capacity).sum()
            };
            let side = network.source_side(0, nodes - 1);
            prop_assert!(side[0] && !side[nodes - 1]);
            let all = (0..1 << (nodes - 2)).map(|bits: u32| {
                weight(&|node| node == 0 || (node < nodes - 1 && bits >> (node - 1) & 1 == 1))
            });
            prop_assert_eq!(weight(&|node| side[node]), all.min().unwrap());
        }
    }
}
