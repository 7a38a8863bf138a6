//! Strongly connected components of the stuck threads: the cycles that findings explain.

use std::collections::HashMap;

use super::{Liveness, ThreadKey, WaitGraph};

/// Threads that all lead to each other, or a single one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// Members, in order.
    pub threads: Vec<ThreadKey>,
    /// It is a cycle: more than one thread, or one that waits for itself.
    pub cyclic: bool,
    /// No edge leads from it to another stuck thread.
    pub sink: bool,
}

/// The components of the stuck threads, each after all components that it leads to.
///
/// Tarjan's algorithm without recursion: the chains of a big machine must not overflow the stack.
pub fn components(graph: &WaitGraph<'_>) -> Vec<Component> {
    let nodes: Vec<ThreadKey> = graph
        .index
        .threads()
        .filter(|key| graph.thread(*key) == Liveness::Stuck && !graph.node(*key).dead)
        .filter(|key| !is_bystander(graph, *key))
        .collect();
    let number: HashMap<ThreadKey, usize> = nodes.iter().enumerate().map(|(n, key)| (*key, n)).collect();
    let edges: Vec<Vec<usize>> = nodes
        .iter()
        .map(|key| graph.successors(*key).iter().filter_map(|to| number.get(to).copied()).collect())
        .collect();
    let assigned = tarjan(&edges);
    let count = assigned.iter().max().map_or(0, |m| m + 1);
    let mut out = vec![Component { threads: Vec::new(), cyclic: false, sink: true }; count];
    for (node, component) in assigned.iter().enumerate() {
        out[*component].threads.push(nodes[node]);
        for to in &edges[node] {
            if assigned[*to] == *component {
                out[*component].cyclic = true;
            } else {
                out[*component].sink = false;
            }
        }
    }
    out
}

/// A thread that only asks what hangs (the tracer, a watchdog that waits for it): it is no part of the job's
/// own waits.
fn is_bystander(graph: &WaitGraph<'_>, key: ThreadKey) -> bool {
    graph.index.leads_to_observer(key.process) || graph.index.watches_observer(key)
}

/// For each node, the number of its component; a component's number is higher than those of all it leads to.
fn tarjan(edges: &[Vec<usize>]) -> Vec<usize> {
    const NONE: usize = usize::MAX;
    let mut order = vec![NONE; edges.len()];
    let mut low = vec![NONE; edges.len()];
    let mut assigned = vec![NONE; edges.len()];
    let (mut next, mut components) = (0, 0);
    let mut pending = Vec::new();
    for root in 0..edges.len() {
        if order[root] != NONE {
            continue;
        }
        let mut frames = vec![(root, 0)];
        while let Some((node, edge)) = frames.last_mut() {
            let node = *node;
            if order[node] == NONE {
                order[node] = next;
                low[node] = next;
                next += 1;
                pending.push(node);
            }
            if let Some(to) = edges[node].get(*edge).copied() {
                *edge += 1;
                if order[to] == NONE {
                    frames.push((to, 0));
                } else if assigned[to] == NONE {
                    low[node] = low[node].min(order[to]);
                }
                continue;
            }
            frames.pop();
            if let Some((parent, _)) = frames.last() {
                low[*parent] = low[*parent].min(low[node]);
            }
            if low[node] == order[node] {
                while let Some(member) = pending.pop() {
                    assigned[member] = components;
                    if member == node {
                        break;
                    }
                }
                components += 1;
            }
        }
    }
    assigned
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reachable(edges: &[Vec<usize>], from: usize) -> Vec<bool> {
        let mut seen = vec![false; edges.len()];
        let mut todo = vec![from];
        while let Some(node) = todo.pop() {
            if !std::mem::replace(&mut seen[node], true) {
                todo.extend(&edges[node]);
            }
        }
        seen
    }

    proptest! {
        #[test]
        fn same_component_means_reachable_both_ways(
            edges in proptest::collection::vec(proptest::collection::vec(0usize..12, 0..4), 12)
        ) {
            let assigned = tarjan(&edges);
            let reach: Vec<_> = (0..12).map(|n| reachable(&edges, n)).collect();
            for a in 0..12 {
                for b in 0..12 {
                    prop_assert_eq!(assigned[a] == assigned[b], reach[a][b] && reach[b][a]);
                    prop_assert!(!reach[a][b] || assigned[a] >= assigned[b]);
                }
            }
        }
    }

    #[test]
    fn a_diamond_is_no_cycle() {
        let assigned = tarjan(&[vec![1, 2], vec![3], vec![3], vec![]]);
        let distinct: std::collections::BTreeSet<_> = assigned.iter().collect();
        assert_eq!(distinct.len(), 4);
    }
}
